// What the head does with the work of a role that other processes do: a state machine, events in and commands out. Questions -
// draws of a generator or a judge - go to workers lowest first, each is kept until its answer is here, and the questions of a
// lost worker go to others. Each worker is one incarnation of the role: what any other says is refused.
//
// Questions, answers and states are numbers here; PoolRole (pool_role.h) keeps what they stand for and moves it. A *state* is
// something of which workers hold the newest - the weights, the credits of a filter: one is under way to a worker at a time,
// and a worker is ready when it holds the first of each that is needed. Whether a question may be begun under the state it
// holds is the worker's own decision (admission), never made here by what the head holds.
//
// Channels: numbers and credits are those of RoleHost on both sides (runtime/flow/role_host.h). A worker is given at most
// `window` questions that it has not begun, except those that are issued again: they may be what all others wait for. An answer
// counts as under way to the head until it was passed on, so a slow reader slows the workers.
//
// Not in here: messages, connections, threads, clocks. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace r1 {

using WorkerId = uint64_t;     // of the process; never used again
using Incarnation = uint64_t;  // of a role that was opened there; never used again, by later heads neither

struct PoolCommand {
  enum class Kind {
    give,     // question `key` as message `number` of its edge
    state,    // state `state`: what was set last, against `base` (its key; -1: whole), as message `number` of its edge
    credit,   // `number` answers of the worker were passed on so far
    close,    // the worker's role: it has nothing left to do
    pass_on,  // the answer `key`, to the reader
    release,  // `number` questions more, to who asked
    accuse,   // the worker's link does what no link may: `why`
  };
  Kind kind = Kind::give;
  WorkerId worker = 0;
  Incarnation incarnation = 0;
  int64_t key = 0, number = 0, base = -1;
  int state = 0;
  std::string why;
};

// Checks that are left out, so that simulations show what each is for.
struct PoolBroken {
  bool fencing = false;  // what another incarnation of a worker says is taken for the worker's
  bool dedupe = false;   // what was not asked, or was answered, is an answer
};

struct PoolOptions {
  int64_t window = 64;
  std::vector<bool> needed;  // a state each: whether a worker has to hold one before it is given questions
  bool ordered = false;      // answers are passed on in the order of questions
  PoolBroken broken = {};
};

struct PoolCounts {
  int64_t lost = 0;      // workers that were lost with questions or without
  int64_t reissued = 0;  // questions given to another worker
  int64_t refused = 0;   // answers of those that are not the question's worker
};

class PoolCore {
 public:
  explicit PoolCore(PoolOptions options);

  // ---- events. Each may leave commands.
  void joined(WorkerId worker, Incarnation incarnation);
  void lost(WorkerId worker);
  // No new questions; those that it has not begun go to others, and it is closed when what it has begun is answered.
  void drain(WorkerId worker);
  // What follows is from `incarnation` of `worker`; of any other it is refused, and nothing changes.
  void started(WorkerId worker, Incarnation incarnation);
  void begun(WorkerId worker, Incarnation incarnation, int64_t so_far);                  // questions: the credit of its edge
  void has_state(WorkerId worker, Incarnation incarnation, int state, int64_t so_far);   // states it has taken in
  void again(WorkerId worker, Incarnation incarnation, int state);  // it cannot use what it was sent: the newest, once more
  bool answered(WorkerId worker, Incarnation incarnation, int64_t key, int64_t number);  // true: keep the answer
  bool current(WorkerId worker, Incarnation incarnation) const;

  void asked(int64_t key);
  void set_state(int state, int64_t key);  // `key`: of the newest, for `base`
  void room(int64_t answers);              // that the reader takes in now
  void end();                              // of the stage: all are closed

  // What is to be done, in this order.
  std::vector<PoolCommand> take();

  // ---- to look at
  struct Worker {
    Incarnation incarnation = 0;
    bool started = false, draining = false;
    int64_t given = 0, begun = 0, answers = 0, passed_on = 0;
    std::set<int64_t> questions;  // given and not answered
    struct State {
      int64_t sent = 0, taken = 0;  // messages
      int64_t sent_key = -1;        // the last one sent
      int64_t sent_serial = 0;      // of the state, when it was sent
      int64_t held_key() const { return sent == taken ? sent_key : -1; }
    };
    std::vector<State> states;
  };
  const std::map<WorkerId, Worker>& workers() const { return workers_; }
  bool ready(const Worker& worker) const;
  const std::set<int64_t>& waiting() const { return waiting_; }
  std::vector<int64_t> unread() const;  // answers that were not passed on
  const PoolCounts& counts() const { return counts_; }

 private:
  Worker* find(WorkerId worker, Incarnation incarnation);
  void move();
  void pass_on();
  void give();
  void send_states();
  void release();
  void forget(std::map<WorkerId, Worker>::iterator at);

  struct Answer {
    int64_t key = 0;
    WorkerId worker = 0;
    Incarnation incarnation = 0;
  };
  struct Newest {
    int64_t key = -1, serial = 0;
  };

  const PoolOptions options_;
  std::map<WorkerId, Worker> workers_;
  std::set<int64_t> waiting_;          // questions that nobody has
  std::set<int64_t> again_;            // those of them that somebody had
  std::map<int64_t, Answer> answers_;  // not passed on yet, lowest first
  std::deque<int64_t> order_;          // with PoolOptions::ordered: questions whose answers were not passed on
  std::vector<Newest> newest_;
  int64_t asked_ = 0, released_ = 0, room_ = 0;
  bool ended_ = false;
  PoolCounts counts_;
  std::vector<PoolCommand> commands_;
};

}  // namespace r1
