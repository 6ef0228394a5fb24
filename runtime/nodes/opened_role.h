// One role that a head opened at this node: the role itself in a RoleHost as in the head, whose neighbours are the pool at the
// other end of the link. What the role records goes there; what it recalls came with `open`. Of its journal there is what an
// evaluator needs: what it measured goes there too, and what is known came with `open`. Other roles that wait for the run's
// disk stay with the head. Thread rule: all from the node's thread, but for what HostTransport and StageRecords say.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/flow/role_host.h"
#include "runtime/flow/wire.h"
#include "runtime/net/link.h"
#include "runtime/nodes/kept_states.h"
#include "runtime/nodes/node_words.h"
#include "runtime/nodes/node_world.h"
#include "runtime/nodes/opened_work.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

class OpenedRole final : public OpenedWork, public HostTransport, private StageMemory {
 public:
  struct Services {
    NodeWorld* world = nullptr;
    const PayloadCodec* codec = nullptr;
    std::function<void(LinkPacket)> send;  // to the head
    std::function<int64_t()> cpu_ns;       // inside ops, of the process
    KeptStates* kept = nullptr;            // outlives it; null: there is nothing
  };
  OpenedRole(Services services, Incarnation incarnation, int node, OpenRole open);
  ~OpenedRole() override;

  Incarnation incarnation() const { return incarnation_; }
  const OpenRole& open() const override { return open_; }
  // Makes the role and starts it.
  void begin(std::shared_ptr<const NodeGraph> graph) override;
  void failed(std::exception_ptr error) override { failed(node_, error); }
  void received(const LinkPacket& packet) override;
  void whole(const Packet& packet) override;
  // One that is destroyed without waits for its jobs at hand.
  void close(std::function<void()> then) override;
  void tick(bool fetched) override;  // what the role waits for goes to the head, and that it, or what it waits for, moves
  PayloadPtr state() override { return host_ ? host_->role().state() : nullptr; }

  void post(int from, int to, Envelope envelope) override;
  void run(int from, int on, std::function<void()> call) override;
  void finished(int node) override;
  void failed(int node, std::exception_ptr error) override;
  void end_stage(int node) override;
  void progress(int node, const std::string& text) override;
  bool ask_whole(int node, int edge) override;

 private:
  // As EngineTimes, and tells the head.
  class Times;

  Recovery recovery() const override { return open_.recovery; }
  void draw(int64_t draw, int64_t prompt_index) override;
  void stats(int64_t version, const std::string& json) override;
  void version(const VersionRow& row) override;
  void metric(int64_t step, const std::string& name, double value) override;
  void tally(const std::string& name, double value) override;
  void event(const std::string& actor, const std::string& kind, const std::string& json) override;

  void commit(const BatchRow&, const std::vector<Resolution>&, const std::vector<TrajectoryRow>&) override;
  void snapshot(const SnapshotRow&) override;
  void forget_snapshot(int64_t) override;
  void artifact(const std::string&, const Artifact&, const std::vector<ArtifactFile>&) override;
  void evaluation(const EvaluationRow&, const std::vector<ResponseRow>&) override;
  void remember(const std::string&, const std::string&) override;
  int64_t batches() const override;
  BatchRow batch(int64_t) const override;
  std::vector<TrajectoryRow> trajectories(int64_t) const override;
  std::vector<std::pair<int64_t, std::string>> batch_stats() const override;
  std::vector<ChangeRow> changes() const override;
  std::vector<EvaluationRow> evaluations() const override;
  std::optional<std::string> known_evaluation(const std::string&) const override;
  std::optional<Artifact> artifact_of(const std::string&, const std::string&) const override;
  StoredPlace place(const std::string& table, const std::string& row) const override;
  [[noreturn]] void no_journal() const;

  Envelope message(Packet packet);
  void note(const std::function<void(RoleRecords&)>& what);
  void flush();
  bool is_question(int edge) const;
  void say(PacketKind kind, std::string body = {}, int edge = -1, int64_t number = 0);

  const Services services_;
  const Incarnation incarnation_;
  const int node_;
  const OpenRole open_;
  std::shared_ptr<const NodeGraph> graph_;
  WaitRegistry waits_;
  std::unique_ptr<Times> times_;
  std::atomic<bool> stop_{false};
  bool closed_ = false;
  std::unique_ptr<Executor> executor_, io_;
  std::unique_ptr<RoleHost> host_;
  std::string waits_said_, inspect_said_;
  std::map<int64_t, PayloadPtr> asked_;  // by number, until they are answered
  // Calls that are posted to the node's thread and come when this is gone find it so.
  std::shared_ptr<OpenedRole*> self_;

  std::mutex mutex_;
  RoleRecords records_;        // under mutex_
  bool flush_posted_ = false;  // under mutex_
};

}  // namespace r1
