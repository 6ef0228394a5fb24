// What a role is to the runtime: a plain state machine that turns messages into work and messages. No CAF in here.
//
// A role runs inside a RoleHost, which owns its channels (capacities, credits), its executor and its waits. In a run the host
// is a CAF actor; in tests a deterministic single-threaded scheduler hosts a whole stage (runtime/flow/local_scheduler.h).
//
// A role never computes, blocks or reads a clock of its own: it submits work and receives the completion as a call on itself.
// Thread rule: all calls on a Role and its RoleContext happen in one logical thread; only `work` passed to submit() runs
// elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/flow/envelope.h"
#include "runtime/graph/graph.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

class RoleContext {
 public:
  virtual ~RoleContext() = default;
  virtual const GraphView& graph() const = 0;
  virtual const NodePlan& node() const = 0;

  // Edges of this node inside the stage by payload kind, as edge indices of the graph, in order of declaration.
  virtual std::vector<int> inputs(const std::string& carries) const = 0;
  virtual std::vector<int> outputs(const std::string& carries) const = 0;

  // ---- channels. A channel's capacity counts messages sent and not yet released by the receiver.
  virtual int64_t room(int edge) const = 0;
  // CHECKs room(edge) > 0, except for conflating edges (carries=weights, metrics): those hold the newest message only and never
  // fill.
  virtual void send(int edge, PayloadPtr payload) = 0;
  // The receiver is done with `n` messages of this edge: the sender gets room again.
  virtual void release(int edge, int64_t n = 1) = 0;
  // What came last on this conflating edge cannot be used (a difference to something that is not held): it is to come again, as
  // a whole. False where that cannot be: what it was made of is in this process.
  virtual bool ask_whole(int edge) = 0;

  // ---- work. `work` runs on this role's executor thread, jobs of one role in order; then `done` runs on the role. An
  // exception in `work` or `done` fails the role. `what` names the job in waits and events ("train batch 12"). `engine`: the
  // interval counts as this engine at work ("generator", "trainer", "judge", "reference", "" = none) for busy and overlap.
  virtual void submit(std::string what, std::string engine, std::function<void()> work, std::function<void()> done) = 0;
  // The same on the run's shared I/O thread (run store, files).
  virtual void submit_io(std::string what, std::function<void()> work, std::function<void()> done) = 0;
  // Runs `f` on the role after the messages already queued for it.
  virtual void later(std::function<void()> f) = 0;

  // ---- what is done elsewhere for this role, in other processes (runtime/nodes).
  // Any thread, until the role is destroyed: `call` runs on the role, as messages do; an exception in it fails the role.
  virtual void post_from_outside(std::function<void()> call) = 0;
  // There is progress: deadlines count from now.
  virtual void progressed() = 0;
  // A job of the engine (see submit()) begins or ends there.
  virtual void engine_at_work(const std::string& engine, bool begins) = 0;

  // Seconds of the stage's clock, which only differences of mean anything of; from the role and from its jobs. What it says
  // must not decide what is learned.
  virtual double now_s() const = 0;

  // ---- waits. A role that waits for something other than a job or room says so; one wait per `key`, replaced by the next of
  // the same key.
  virtual void wait_for(const std::string& key, const std::string& reason, const std::string& on_node) = 0;
  virtual void wait_over(const std::string& key) = 0;

  // ---- memory and records (runtime/flow/stage_memory.h).
  // What was there when the stage started; of roles that recall() only.
  virtual const Recovery& recovered() const = 0;
  // From the role and from its jobs; cheap, buffered, durable with the next commit or within a second.
  virtual StageRecords& records() = 0;
  // From jobs only: what waits for the disk.
  virtual StageJournal& journal() = 0;
  virtual void metric(int64_t step, const std::string& name, double value) = 0;
  virtual void event(const std::string& kind, const std::string& json) = 0;
  // One line of progress for the live view (replaces the last one of this role).
  virtual void progress(const std::string& text) = 0;

  // This role's part of the stage is complete. The stage is complete when all its roles are.
  virtual void finish() = 0;
};

class Role {
 public:
  virtual ~Role() = default;
  // Whether it looks at recovered(): then that is read before start(), on the I/O thread.
  virtual bool recalls() const { return false; }
  // Once, before any other call. Every role of the stage exists; messages sent here arrive after their start().
  virtual void start(RoleContext&) = 0;
  // A message on `edge` (an index of the graph's edges).
  virtual void receive(RoleContext&, int edge, PayloadPtr payload) = 0;
  // Room appeared on an edge whose room() was 0.
  virtual void on_room(RoleContext&, int /*edge*/) {}
  // The stage is ending because `until` was reached (said by the role that decided: StageControl below) - stop giving,
  // finish().
  virtual void on_stage_end(RoleContext&) {}
  virtual std::string inspect() const { return "{}"; }  // JSON for the shell
  // The newest message of its state that it holds whole, for who would send it again; null: none. None of its jobs runs any
  // more.
  virtual PayloadPtr state() { return nullptr; }
};

// A role that decides the end of its stage calls this through RoleContext: every role of the stage gets on_stage_end().
class StageControl {
 public:
  virtual ~StageControl() = default;
  virtual void end_stage() = 0;
};
// RoleContext implementations also implement StageControl.

using RoleFactory = std::function<std::unique_ptr<Role>(const GraphView&, const NodePlan&)>;

}  // namespace r1
