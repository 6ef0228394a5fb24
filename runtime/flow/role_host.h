// RoleHost: what runs one role. Owns its channel ends (capacities, sequence numbers, credits), hands its jobs to executors,
// registers its waits. Knows no CAF: messages leave through a HostTransport and come back as Envelopes (data), completions of
// jobs as calls, so a CAF actor and the deterministic LocalScheduler host the same class.
//
// Channels: the sender counts messages sent and not yet released by the receiver; release travels back as a credit, which says
// how many so far: one that is lost or comes twice means nothing once the next is here. Every
// message of an edge carries its number (from 1); a gap fails the receiver, naming the lost message. An edge that carries
// weights or metrics conflates: at most one message is under way, a newer one replaces the one that waits to be sent.
//
// That the stage ends is said to every role, and again with every later message of a role that knows it: one that missed the
// message learns it from its neighbours.
//
// A role that recalls is started when what it recalls is read, on the I/O executor; what arrives before waits.
//
// A role's part is over when it called finish() and its jobs are done. finish() releases what the role still held; what arrives
// after it is released unseen, and release() does nothing any more.
//
// Thread rule: start(), handle() and run() from one logical thread. Executors call back through HostTransport::run only.
// Destroy the executors (which joins them) before the host.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "runtime/flow/engine_times.h"
#include "runtime/flow/executor.h"
#include "runtime/fault.h"
#include "runtime/flow/role.h"
#include "runtime/flow/steered_role.h"
#include "runtime/flow/wait_registry.h"

namespace r1 {

constexpr int64_t kDefaultCapacity = 64;  // of an edge without capacity=
// What room() says about a conflating edge.
constexpr int64_t kConflatingRoom = int64_t{1} << 30;

bool conflates(const EdgePlan& edge);

// Senders other than roles, for HostTransport.
constexpr int kFromExecutor = -1, kFromIo = -2, kFromConductor = -3, kFromOutside = -4;

// Thread rule: thread-safe.
class HostTransport {
 public:
  virtual ~HostTransport() = default;
  // Delivers to the host of node `to` by RoleHost::handle; in order for equal (from, to). `from`: a node or one of the above.
  virtual void post(int from, int to, Envelope envelope) = 0;
  // Hands `call` to the host of node `on` of this process by RoleHost::run; in order with what `from` posts to it.
  virtual void run(int from, int on, std::function<void()> call) = 0;
  virtual void finished(int node) = 0;
  virtual void failed(int node, std::exception_ptr error) = 0;
  virtual void end_stage(int node) = 0;  // posts stage_end to every role of the stage, the caller included
  virtual void progress(int node, const std::string& text) = 0;
  // RoleContext::ask_whole.
  virtual bool ask_whole(int /*node*/, int /*edge*/) { return false; }
};

// What the hosts of a stage share; outlives them.
struct HostServices {
  const GraphView* graph = nullptr;
  const StagePlan* stage = nullptr;
  int64_t stage_id = 0;
  RunStore* store = nullptr;
  StageMemory* memory = nullptr;  // of the roles; null: what `store` has of the stage
  WaitRegistry* waits = nullptr;
  EngineTimes* times = nullptr;
  const Clock* clock = nullptr;
  FaultPlan* faults = nullptr;
  HostTransport* transport = nullptr;
  const std::atomic<bool>* stop = nullptr;  // jobs look at it between their units (base/stop.h); null: they never stop early
  // While true, no job of a role begins but those of the I/O thread; resume() then makes up for it. Null: never.
  const std::atomic<bool>* paused = nullptr;
};

class RoleHost final : public RoleContext, public StageControl {
 public:
  // `node`: index into the graph's nodes. The executors outlive calls into the host, not the host.
  RoleHost(const HostServices& services, int node, std::unique_ptr<Role> role, Executor& executor, Executor& io);
  ~RoleHost() override;

  void start();
  void handle(Envelope envelope);
  void run(std::function<void()> call);
  bool finished() const { return reported_; }
  // What was held back while the run was paused begins.
  void resume();
  // An order of the shell: a role that cannot be steered answers so.
  void order(RoleOrder order);
  Role& role() { return *role_; }

  const GraphView& graph() const override { return *services_.graph; }
  const NodePlan& node() const override { return plan_; }
  std::vector<int> inputs(const std::string& carries) const override;  // "": of any kind
  std::vector<int> outputs(const std::string& carries) const override;
  int64_t room(int edge) const override;
  void send(int edge, PayloadPtr payload) override;
  void release(int edge, int64_t n) override;
  bool ask_whole(int edge) override { return services_.transport->ask_whole(index_, edge); }
  void submit(std::string what, std::string engine, std::function<void()> work, std::function<void()> done) override;
  void submit_io(std::string what, std::function<void()> work, std::function<void()> done) override;
  void later(std::function<void()> f) override;
  void post_from_outside(std::function<void()> call) override;
  void progressed() override { services_.waits->progressed(stage_); }
  void engine_at_work(const std::string& engine, bool begins) override;
  double now_s() const override { return services_.clock->now_s(); }
  void wait_for(const std::string& key, const std::string& reason, const std::string& on_node) override;
  void wait_over(const std::string& key) override;
  const Recovery& recovered() const override;
  StageRecords& records() override { return memory_; }
  StageJournal& journal() override;
  void metric(int64_t step, const std::string& name, double value) override;
  void event(const std::string& kind, const std::string& json) override;
  void progress(const std::string& text) override;
  void finish() override;
  void end_stage() override;

 private:
  struct Output {
    std::string name;
    int to = 0;
    int64_t capacity = 0, sent = 0, released = 0;
    int64_t under_way() const { return sent - released; }
    bool conflating = false;
    mutable bool waiting = false;  // the role found no room
    PayloadPtr held;               // conflating: the newest message not sent yet
  };
  struct Input {
    std::string name;
    int from = 0;
    int64_t received = 0, released = 0;
    bool conflating = false;
  };
  struct JobTimes;
  struct Interval;  // consecutive jobs of one engine, joined for the event log

  Output& output(int edge);
  const Output& output(int edge) const;
  Input& input(int edge);
  void transmit(int edge, Output& output, PayloadPtr payload);
  void post(int to, Envelope envelope);
  void stage_ends();
  void give_back(int edge, Input& input, int64_t n);
  void receive(const Envelope& envelope);
  void credit(const Envelope& envelope);
  Job make_job(int from, std::string what, std::string engine, std::function<void()> work, std::function<void()> done);
  void job_done(const std::string& key, const std::string& what, const std::string& engine, const JobTimes& times,
                std::exception_ptr error, const std::function<void()>& done);
  void note_interval(const std::string& what, const std::string& engine, const JobTimes& times);
  void write_interval();
  void guarded(const std::function<void()>& body);
  void report_if_finished();
  void recall();
  void begin();

  HostServices services_;
  int index_;
  const NodePlan& plan_;
  const std::string stage_;
  std::unique_ptr<StageMemory> stored_;
  StageMemory& memory_;
  std::unique_ptr<const Recovery> recovered_;
  std::unique_ptr<Role> role_;
  Executor& executor_;
  Executor& io_;
  std::map<int, Output> outputs_;
  std::map<int, Input> inputs_;
  std::set<std::string> job_keys_, own_waits_;
  int64_t jobs_ = 0;   // submitted so far
  int64_t calls_ = 0;  // later() calls under way
  bool recalling_ = false, started_ = false, finishing_ = false, reported_ = false, failed_ = false, stage_ends_ = false;
  std::vector<std::function<void()>> early_;  // arrived before start()
  std::deque<Job> held_;                      // while the run is paused
  std::unique_ptr<Interval> interval_;
};

}  // namespace r1
