// The role in the head that stands for one whose work other processes do: to its host a role like any other, to its workers
// what their neighbours in the stage would be. Hands questions out by a PoolCore, keeps each until its answer is here, sends
// every worker the newest weights as the difference to what it holds, and writes down what workers record. Not for roles that
// own something - the trainer, the prompter, the filter - nor for those whose answers depend on the order of questions.
//
// A role that throws at a worker fails here as it would have; a worker that dies does not. Thread rule: as Role.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/flow/role.h"
#include "runtime/flow/wire.h"
#include "runtime/nodes/members.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

struct PoolWorld {
  Members* members = nullptr;           // outlives the roles
  const PayloadCodec* codec = nullptr;  // outlives the roles
  // What a worker needs to make the role: OpenRole::settings and files. Called in a job, since it reads files.
  std::function<OpenRole(const GraphView&, const NodePlan&)> opens;
};

class PoolRole final : public Role, private PoolEar {
 public:
  explicit PoolRole(PoolWorld world);
  ~PoolRole() override;

  bool recalls() const override { return true; }
  void start(RoleContext& context) override;
  void receive(RoleContext& context, int edge, PayloadPtr payload) override;
  void on_room(RoleContext& context, int edge) override;
  void on_stage_end(RoleContext& context) override;
  std::string inspect() const override;

  const PoolCounts& counts() const { return core_->counts(); }

 private:
  struct Worker {
    Member member;
    Incarnation incarnation = 0;
    std::vector<PayloadPtr> held;        // of each state: the last one sent
    std::map<std::string, int> engines;  // at work there
    std::set<std::string> waits;         // keys of this role's waits that are the worker's
    std::string inspected = "{}";
  };
  // One coding of a state: the same bytes for all workers that hold the same.
  struct Coding {
    int state = 0;
    PayloadPtr newest, before;
    std::vector<PoolCommand> to;
  };

  // PoolEar, on the thread of the links.
  void joined(const Member& member) override;
  void left(const Member& member, const std::string& why) override;
  void received(const Member& member, LinkPacket packet) override;

  void open(RoleContext& context, const Member& member);
  void lose(RoleContext& context, const Member& member, const std::string& why);
  void heard(RoleContext& context, const Member& member, const LinkPacket& packet);
  void answer(RoleContext& context, const Member& member, const LinkPacket& packet);
  void record(RoleContext& context, Worker& worker, const RoleRecords& records);
  void forget(RoleContext& context, std::map<PeerId, Worker>::iterator at);
  void obey(RoleContext& context);
  void obey(RoleContext& context, const PoolCommand& command, std::vector<Coding>& codings);
  void code(RoleContext& context, Coding coding);
  void say(PeerId peer, Incarnation incarnation, PacketKind kind, int edge = -1, int64_t number = 0);
  void finish_if_ended(RoleContext& context);
  void say_waits(RoleContext& context);

  const PoolWorld world_;
  RoleContext* context_ = nullptr;
  int node_ = -1, in_ = -1, out_ = -1;
  std::vector<int> state_edges_;
  std::unique_ptr<PoolCore> core_;
  OpenRole opens_;
  bool listening_ = false, ended_ = false;
  std::map<int64_t, PayloadPtr> questions_, answers_;
  std::vector<PayloadPtr> newest_;  // of each state
  std::map<PeerId, Worker> workers_;
};

}  // namespace r1
