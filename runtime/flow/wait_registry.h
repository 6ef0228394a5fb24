// Every wait has an owner, a reason and a deadline counted from the owner's last progress; a stall names who waits for whom.
// Also counts messages per channel, so that a lost one is named.
// Thread rule: thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace r1 {

struct WaitRow {
  std::string owner;     // node id
  std::string key;       // "room rl1_judge -> rl1_filter", "job train batch 12", or the role's own
  std::string reason;    // "for weights of version 13"
  std::string on;        // node id that can end it; "" for the owner's own job
  double waiting_s = 0;  // since it began
  double idle_s = 0;     // since the stage's last progress anywhere
};
struct ChannelRow {
  std::string edge;  // "rl1_policy -> rl1_judge"
  std::string carries;
  int64_t capacity = 0, sent = 0, received = 0, released = 0;
  std::string last_sent, last_received;  // Payload::describe()
  // Messages sent and never received although later ones were, or although nothing moved since: "message 57 (draw 12)".
  std::vector<std::string> lost;
};

class WaitRegistry {
 public:
  explicit WaitRegistry(const Clock& clock);
  ~WaitRegistry();

  void begin(const std::string& stage, const std::string& owner, const std::string& key, const std::string& reason,
             const std::string& on);
  void end(const std::string& stage, const std::string& owner, const std::string& key);
  // Something moved: a message was received, a job ended, or a unit of its work (base/stop.h).
  void progressed(const std::string& stage);
  void sent(const std::string& stage, const std::string& edge, const std::string& carries, int64_t capacity, int64_t number,
            const std::string& what);
  void received(const std::string& stage, const std::string& edge, int64_t number, const std::string& what);
  void released(const std::string& stage, const std::string& edge, int64_t n);
  // For reports: who gives messages to whom, and that a role's part is over.
  void feeds(const std::string& stage, const std::string& from, const std::string& to);
  void finished(const std::string& stage, const std::string& owner);
  void forget(const std::string& stage);  // the stage has ended or is being restarted

  std::vector<WaitRow> waits(const std::string& stage = "") const;
  std::vector<ChannelRow> channels(const std::string& stage = "") const;
  double idle_s(const std::string& stage) const;  // since the stage's last progress
  // "" while the stage moved within `deadline_s`, or, where it runs a job, within `job_deadline_s` or since that began; else a
  // report of several lines: what stands still, who waits for whom (chains and cycles), which message was lost. A role that has
  // nothing to do because those in front of it have finished is not blamed: they are named.
  std::string stall_report(const std::string& stage, double deadline_s, double job_deadline_s) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
