// The role in the head that stands for one whose work other processes do: to its host a role like any other, to its workers
// what their neighbours in the stage would be. Hands questions out by a PoolCore, keeps each until its answer is here, sends
// every worker the newest weights as the difference to what it holds, and writes down what workers record. Of the members that
// may do its work it uses as many as it is told to (`replicas`, Members::scale), the least burdened first. Not for roles that
// own something - the trainer, the prompter, the filter - nor for one that is asked nothing (runtime/nodes/sole_role.h).
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
#include "runtime/nodes/state_packet.h"
#include "runtime/nodes/worker_report.h"

namespace r1 {

// What the head does with the weights of a role besides sending them to workers: they are on disk before any worker has them,
// and a stage that begins again begins with them. Thread rule: in jobs of the role.
class StateKeeper {
 public:
  virtual ~StateKeeper() = default;
  virtual PayloadPtr first(RoleContext& context) = 0;  // what was kept last; null: nothing
  virtual void keep(RoleContext& context, const PayloadPtr& state) = 0;
};

struct PoolWorld {
  Members* members = nullptr;           // outlives the roles
  const PayloadCodec* codec = nullptr;  // outlives the roles
  // What a worker needs to make the role: all of OpenRole but stage and recovery. Called in a job, since it reads files.
  std::function<OpenRole(const GraphView&, const NodePlan&)> opens;
  // A state of more than this is fetched by its workers, of the head or of each other (state_packet.h).
  size_t fetched_bytes = size_t{1} << 20;
  std::function<std::unique_ptr<StateKeeper>(const GraphView&, const NodePlan&)> keeper;  // may be absent, and give null
  // Workers at a time, unless Members::scale() says otherwise; 0: all there are. Absent: 0.
  std::function<int64_t(const GraphView&, const NodePlan&)> replicas;
  PoolBroken broken;  // for simulations
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
    std::vector<PayloadPtr> held;                                        // of each state: the last one sent
    std::map<int, std::shared_ptr<const ContentServer::Offer>> fetches;  // by edge, until they are taken in
    WorkerReport report;
  };
  // One coding of a state: the same bytes for all workers that hold the same.
  struct Coding {
    int state = 0;
    PayloadPtr newest, before;
    std::vector<PoolCommand> to;
  };

  // The last state that went as a whole: while there are workers without one, whoever is next is told the same.
  struct Whole {
    PayloadPtr state;
    int64_t number = 0;
    StatePacket sent;
  };

  // PoolEar, on the thread of the links.
  void joined(const Member& member) override;
  void left(const Member& member, const std::string& why) override;
  void received(const Member& member, LinkPacket packet) override;
  void leaves(const Member& member) override;
  void deserted(const std::string& why) override;
  void scaled(int64_t workers) override;

  bool draining(PeerId peer) const;
  void fill(RoleContext& context);
  void shrink();
  void open(RoleContext& context, const Member& member);
  void lose(RoleContext& context, const Member& member, const std::string& why);
  void heard(RoleContext& context, const Member& member, const LinkPacket& packet);
  void answer(RoleContext& context, const Member& member, const LinkPacket& packet);
  void set_state(RoleContext& context, size_t state, PayloadPtr payload);
  void forget(RoleContext& context, std::map<PeerId, Worker>::iterator at);
  void obey(RoleContext& context);
  void obey(RoleContext& context, const PoolCommand& command, std::vector<Coding>& codings);
  void code(RoleContext& context, Coding coding);
  void send(const Coding& coding, const StatePacket& sent);
  void forget_wholes();
  void resend(RoleContext& context, Worker& worker, int edge);
  int state_of(int edge) const;
  void say(PeerId peer, Incarnation incarnation, PacketKind kind, int edge = -1, int64_t number = 0, std::string body = {});
  void finish_if_ended(RoleContext& context);
  void say_waits(RoleContext& context);
  void say_who_is_asked(RoleContext& context);
  std::string names() const;  // of the workers, for people

  const PoolWorld world_;
  RoleContext* context_ = nullptr;
  int node_ = -1, in_ = -1, out_ = -1;
  std::vector<int> state_edges_;
  std::unique_ptr<PoolCore> core_;
  std::unique_ptr<StateKeeper> keeper_;
  OpenRole opens_;
  int64_t most_ = 0;                  // workers; 0: all
  bool had_workers_ = false;          // and has said since that there are none
  std::map<PeerId, Member> members_;  // that may work, whether they do or not
  bool listening_ = false, ended_ = false;
  std::map<int64_t, PayloadPtr> questions_, answers_;
  std::vector<PayloadPtr> newest_;  // of each state
  std::vector<Whole> whole_;        // of each state
  std::map<PeerId, Worker> workers_;
  std::set<std::string> asked_;  // waits for answers
};

}  // namespace r1
