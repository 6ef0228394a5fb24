// The role in the head that stands for one which a single other process does whole, because it is asked nothing and owns what
// it does: an evaluator. Sends it the newest message of each of its edges, gives on what it says, and writes into the journal
// what it measured, before anything that it says later is heard. When its process is lost, or is to leave, the role begins anew
// at another one, as it would after a restart of its stage: it is sent the newest messages again, and what it says a second
// time (by Payload::number()) is not given on.
//
// Not for roles that are asked questions (runtime/nodes/pool_role.h). A role that throws there fails here; a process that dies
// does not. Thread rule: as Role.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "runtime/flow/role.h"
#include "runtime/nodes/pool_role.h"
#include "runtime/nodes/state_packet.h"

namespace r1 {

class SoleRole final : public Role, private PoolEar {
 public:
  explicit SoleRole(PoolWorld world);
  ~SoleRole() override;

  bool recalls() const override { return true; }
  void start(RoleContext& context) override;
  void receive(RoleContext& context, int edge, PayloadPtr payload) override;
  void on_stage_end(RoleContext& context) override;
  std::string inspect() const override;

 private:
  // An edge whose newest message the worker is to have.
  struct State {
    PayloadPtr newest;
    int64_t serial = 0;  // of it
  };
  struct Sent {
    int64_t sent = 0, taken = 0, serial = 0;
    PayloadPtr held;  // the last one sent
  };
  struct Worker {
    Member member;
    Incarnation incarnation = 0;
    bool started = false;
    std::map<int, Sent> states;                                          // by edge
    std::map<int, std::shared_ptr<const ContentServer::Offer>> fetches;  // by edge, until they are taken in
    std::map<int, int64_t> said;                                         // messages, by edge
    std::deque<LinkPacket> unheard;                                      // behind records that are being written
    WorkerReport report;
  };

  // PoolEar, on the thread of the links.
  void joined(const Member& member) override;
  void left(const Member& member, const std::string& why) override;
  void received(const Member& member, LinkPacket packet) override;
  void leaves(const Member& member) override;
  void deserted(const std::string& why) override;
  void scaled(int64_t) override {}  // it is always one

  void find_worker(RoleContext& context);
  void resend(RoleContext& context, int edge);
  void lose(RoleContext& context, const std::string& why);
  void hear(RoleContext& context);
  void heard(RoleContext& context, const LinkPacket& packet);
  void said(RoleContext& context, const LinkPacket& packet);
  void write(RoleContext& context, RoleRecords records);
  void send_states(RoleContext& context);
  void say(PacketKind kind, int edge = -1, int64_t number = 0);
  void say_waits(RoleContext& context);

  const PoolWorld world_;
  RoleContext* context_ = nullptr;
  int node_ = -1;
  std::map<int, State> states_;         // by edge
  std::map<int, int64_t> last_number_;  // given on, by edge
  std::map<PeerId, Member> members_;
  std::optional<Worker> worker_;
  bool listening_ = false, looking_ = false, writing_ = false, stage_ended_ = false, done_ = false;
  int64_t lost_ = 0;
};

}  // namespace r1
