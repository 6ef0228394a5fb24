// What the head knows of one worker from its records: engines that are at work there, what it waits for, what it shows of
// itself. Passed on into the stage as if the role ran here. Not what a worker is given or answers (pool_core.h).
// Thread rule: the role's.
#pragma once

#include <map>
#include <set>
#include <string>

#include "runtime/flow/role.h"
#include "runtime/nodes/members.h"
#include "runtime/nodes/node_words.h"

namespace r1 {

class WorkerReport {
 public:
  // All of it but RoleRecords::evaluations, which are for a journal.
  void take(RoleContext& context, Members& members, const Member& member, const RoleRecords& records);
  // The worker is gone: its engines stand still and it waits for nothing.
  void forget(RoleContext& context);
  const std::string& inspected() const { return inspected_; }  // JSON

 private:
  std::map<std::string, int> engines_;  // jobs at hand there
  std::set<std::string> waits_;         // keys of the role's waits that are the worker's
  std::string inspected_ = "{}";
};

// A worker could not use what it was sent on `edge` - `what` - and is sent it as a whole: for log and store.
void note_sent_whole(RoleContext& context, const Member& member, int edge, const std::string& what);

}  // namespace r1
