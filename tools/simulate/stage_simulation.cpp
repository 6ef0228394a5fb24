#include "tools/simulate/stage_simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "runtime/nodes/pool_core.h"

namespace r1::simulate {

namespace {

constexpr int64_t kMostEvents = 200'000'000;
constexpr double kEnd = 1e-9;  // of a token: what is left below is rounding

// What happens, in order of time; at equal times in order of its planning.
class Events {
 public:
  double now() const { return now_; }
  void at(double time, std::function<void()> run) { queue_.push({std::max(time, now_), ++planned_, std::move(run)}); }
  bool step() {
    if (queue_.empty()) return false;
    Event next = queue_.top();
    queue_.pop();
    now_ = next.time;
    next.run();
    return true;
  }

 private:
  struct Event {
    double time = 0;
    int64_t order = 0;
    std::function<void()> run;
    bool operator<(const Event& other) const { return time != other.time ? time > other.time : order > other.order; }
  };
  double now_ = 0;
  int64_t planned_ = 0;
  std::priority_queue<Event> queue_;
};

// Does one thing after the other.
struct Server {
  double free = 0, busy = 0;
  void use(Events& events, double seconds, std::function<void()> then) {
    free = std::max(free, events.now()) + seconds;
    busy += seconds;
    events.at(free, std::move(then));
  }
};

class Stage {
 public:
  Stage(const StageShape& shape, const Machines& machines, const Costs& costs, uint64_t seed)
      : s_(shape),
        c_(costs),
        seed_(seed),
        trainers_(machines.trainers),
        apart_(machines.reference_apart),
        learns_(shape.sort == StageSort::learns_from_samples),
        pool_({.window = shape.capacity, .needed = {true}}) {
    R1_CHECK(!machines.generators.empty() && (trainers_ > 0 || !learns_), "a stage needs devices");
    for (const int host : machines.generators) workers_.emplace_back().host = host;
  }

  StageResult run() {
    pool_.room(room_ = s_.capacity);
    for (size_t w = 0; w < workers_.size(); ++w) {
      pool_.joined(w, 1);
      pool_.started(w, 1);
    }
    pool_.set_state(0, 0);  // the weights that the stage starts from are there
    for (const PoolCommand& c : pool_.take())
      if (c.kind == PoolCommand::Kind::state) pool_.has_state(c.worker, 1, 0, c.number);
    ask();
    for (int64_t events = 0; version_ < s_.batches && events_.step(); ++events)
      if (events == kMostEvents) throw failure("the simulation does not end", {}, "fewer batches, or fewer samples");
    R1_CHECK(version_ == s_.batches, fmt::format("the simulation stands still after {} batches", version_));
    return result();
  }

 private:
  struct Group {
    int64_t draw = 0, version = 0;  // of its first token
    int64_t left = 0;               // samples that run
    double tokens = 0;              // of all completions
  };
  struct Worker {
    int host = 0;
    int64_t version = 0, answers = 0, begun = 0;
    std::set<int64_t> waiting;  // draws
    // Sequences that run, by the progress at which each ends: all make one token a step.
    std::multimap<double, int64_t> running;  // -> draw
    std::map<int64_t, Group> groups;
    double progress = 0, last = 0;  // tokens of each, up to that time
    double stalled_until = 0;       // prefill
    double busy = 0, held_back = 0;
    double context = 0;  // tokens of what runs, about
    int64_t plan = 0;    // the planned event that counts
  };

  double step_s(const Worker& w) const {
    return c_.generate.step_s + static_cast<double>(w.running.size()) * c_.generate.token_s;
  }

  // Brings what a generator has done up to now.
  void advance(Worker& w) {
    const double now = events_.now(), passed = now - w.last;
    if (!w.running.empty()) {
      w.busy += passed;
      const double moving = now - std::max(w.last, std::min(w.stalled_until, now)), step = step_s(w);
      const double tokens = step > 0 ? moving / step : std::numeric_limits<double>::infinity();
      // Never beyond the next end: that is an event of its own.
      const double made = std::min(tokens, w.running.begin()->first - w.progress);
      w.progress += made;
      w.context += made * static_cast<double>(w.running.size());
    } else if (!w.waiting.empty()) {
      w.held_back += passed;
    }
    w.last = now;
  }

  void plan(size_t number) {
    Worker& w = workers_[number];
    const int64_t mine = ++w.plan;
    if (w.running.empty()) return;
    const double left = std::max(0.0, w.running.begin()->first - w.progress);
    const double at = std::max(events_.now(), w.stalled_until) + left * step_s(w);
    events_.at(at, [this, number, mine] {
      Worker& worker = workers_[number];
      if (worker.plan != mine) return;
      advance(worker);
      worker.progress = std::max(worker.progress, worker.running.begin()->first);  // what rounding left
      finish(number);
      admit(number);
      plan(number);
    });
  }

  void stall(Worker& w, double tokens) {
    w.stalled_until = std::max(w.stalled_until, events_.now()) + tokens * c_.generate.prefill_token_s;
  }

  void admit(size_t number) {
    Worker& w = workers_[number];
    const int64_t before = w.begun;
    while (!w.waiting.empty() && (!learns_ || *w.waiting.begin() < (s_.staleness + w.version + 1) * s_.groups) &&
           (w.running.empty() || static_cast<int64_t>(w.running.size()) + s_.samples <= s_.max_running)) {
      const int64_t draw = *w.waiting.begin();
      w.waiting.erase(w.waiting.begin());
      Group& group = w.groups[draw];
      group.draw = draw;
      group.version = w.version;
      group.left = s_.samples;
      for (int64_t i = 0; i < s_.samples; ++i) {
        const double length = length_of(draw, i);
        group.tokens += length;
        w.running.emplace(w.progress + length, draw);
      }
      stall(w, c_.tokens.prompt);  // of a group once
      w.context += c_.tokens.prompt * static_cast<double>(s_.samples);
      ++w.begun;
    }
    if (w.begun != before) {
      pool_.begun(number, 1, w.begun);
      obey_soon();
    }
  }

  // Log-normal of that mean and deviation, in whole tokens, the same for a draw and sample whoever makes it.
  double length_of(int64_t draw, int64_t sample) const {
    double length = c_.tokens.mean;
    if (c_.tokens.deviation > 0) {
      const double spread = std::log1p(c_.tokens.deviation * c_.tokens.deviation / (c_.tokens.mean * c_.tokens.mean));
      Rng rng(seed_, "length", static_cast<uint64_t>(draw), static_cast<uint64_t>(sample));
      length = std::exp(std::log(c_.tokens.mean) - spread / 2 + std::sqrt(spread) * rng.normal());
    }
    return std::clamp(std::round(length), 1.0, static_cast<double>(s_.max_tokens));
  }

  void finish(size_t number) {
    Worker& w = workers_[number];
    while (!w.running.empty() && w.running.begin()->first <= w.progress + kEnd) {
      const int64_t draw = w.running.begin()->second;
      w.running.erase(w.running.begin());
      Group& group = w.groups.at(draw);
      if (--group.left > 0) continue;
      w.context -= group.tokens + c_.tokens.prompt * static_cast<double>(s_.samples);
      generated_ += group.tokens;
      const Group done = group;
      w.groups.erase(draw);
      const double tokens = done.tokens + c_.tokens.prompt * static_cast<double>(s_.samples);
      to_head(w.host, tokens * c_.bytes.token, [this, number, done] {
        groups_[done.draw] = done;
        pool_.answered(number, 1, done.draw, ++workers_[number].answers);
        obey_soon();
      });
    }
  }

  // ---- the head's link

  void over(Server& way, int host, double bytes, double& sum, std::function<void()> then) {
    if (host == 0) return events_.at(events_.now(), std::move(then));
    sum += bytes;
    way.use(events_, bytes / c_.link.bytes_per_s,
            [this, then = std::move(then)] { events_.at(events_.now() + c_.link.latency_s, then); });
  }
  void to_head(int host, double bytes, std::function<void()> then) { over(in_, host, bytes, bytes_in_, std::move(then)); }
  void to_worker(int host, double bytes, std::function<void()> then) { over(out_, host, bytes, bytes_out_, std::move(then)); }

  // ---- the head

  void obey_soon() {
    if (std::exchange(obeying_, true)) return;
    events_.at(events_.now(), [this] {
      obeying_ = false;
      obey();
    });
  }

  void obey() {
    using Kind = PoolCommand::Kind;
    for (const PoolCommand& c : pool_.take()) {
      const auto number = static_cast<size_t>(c.worker);
      switch (c.kind) {
        case Kind::give:
          to_worker(workers_[number].host, c_.tokens.prompt * c_.bytes.token, [this, number, draw = c.key] {
            Worker& w = workers_[number];
            advance(w);
            w.waiting.insert(draw);
            admit(number);
            plan(number);
          });
          break;
        case Kind::state:
          to_worker(workers_[number].host, c_.bytes.weights, [this, number, version = c.key, sent = c.number] {
            Worker& w = workers_[number];
            advance(w);
            w.version = version;
            if (s_.recompute && !w.running.empty()) stall(w, w.context);
            pool_.has_state(number, 1, 0, sent);
            obey_soon();
            admit(number);
            plan(number);
          });
          break;
        case Kind::pass_on:
          --room_;
          judge_.use(events_, c_.judge.completion_s * static_cast<double>(s_.samples), [this, draw = c.key] {
            judged_.insert(draw);
            obey();  // so that both know the same room
            pool_.room(++room_);
            filter();
            obey_soon();
          });
          break;
        case Kind::release:
          released_ += c.number;
          ask();
          break;
        case Kind::accuse:
          throw failure("the simulated pool accuses a worker: " + c.why);
        case Kind::credit:
        case Kind::close:
          break;
      }
    }
  }

  // As many draws as the channel has room for.
  void ask() {
    for (; asked_ < s_.batches * s_.groups && asked_ - released_ < s_.capacity; ++asked_) pool_.asked(asked_);
    obey_soon();
  }

  // Whether a group teaches something: as many of any number of draws in a row as `kept` says.
  bool kept(int64_t draw) const {
    const auto n = static_cast<double>(draw);
    return std::floor((n + 1) * c_.kept + kEnd) > std::floor(n * c_.kept + kEnd);
  }

  struct Batch {
    double tokens = 0;
    std::vector<int64_t> versions;  // of its groups
  };

  void filter() {
    for (; judged_.count(next_) != 0; ++next_) {
      judged_.erase(next_);
      const Group group = groups_.at(next_);
      groups_.erase(next_);
      if (kept(next_)) {
        forming_.tokens += group.tokens + c_.tokens.prompt * static_cast<double>(s_.samples);
        forming_.versions.push_back(group.version);
      }
      if ((next_ + 1) % s_.groups != 0) continue;
      const double seconds = s_.reference ? forming_.tokens * c_.reference.token_s / trainers_ : 0;
      if (!apart_) reference_.busy += seconds;
      (apart_ ? reference_ : devices_).use(events_, seconds, [this, batch = std::exchange(forming_, {})] {
        ready_.push_back(batch);
        train();
      });
    }
  }

  void train() {
    if (training_ || ready_.empty()) return;
    training_ = true;
    const Batch batch = std::move(ready_.front());
    ready_.pop_front();
    for (const int64_t v : batch.versions) {
      ages_ += static_cast<double>(version_ - v);
      age_max_ = std::max(age_max_, version_ - v);
      ++aged_;
    }
    trained_ += batch.tokens;
    if (!learns_) {  // it is kept
      between_.use(events_, c_.between.batch_s, [this] {
        ++version_;
        training_ = false;
        train();
      });
      return;
    }
    const double seconds = c_.train.batch_s + batch.tokens * c_.train.token_s / trainers_;
    trainer_busy_ += seconds;
    between_.use(events_, c_.between.batch_s, [this, seconds] { learn(seconds); });
  }

  void learn(double seconds) {
    devices_.use(events_, seconds, [this] {
      training_ = false;
      pool_.set_state(0, ++version_);
      obey_soon();
      train();
    });
  }

  StageResult result() {
    StageResult r;
    r.sort = s_.sort;
    r.seconds = events_.now();
    r.batches = version_;
    r.tokens_generated = generated_;
    r.tokens_trained = trained_;
    const double t = std::max(r.seconds, 1e-300);
    r.idlest = 1;
    for (Worker& w : workers_) {
      advance(w);
      r.generators += w.busy / t / static_cast<double>(workers_.size());
      r.held_back += w.held_back / t / static_cast<double>(workers_.size());
      r.idlest = std::min(r.idlest, w.busy / t);
      r.busiest = std::max(r.busiest, w.busy / t);
    }
    r.trainer = trainer_busy_ / t;
    r.devices_shared = !apart_;
    r.reference = reference_.busy / t;
    r.judge = judge_.busy / t;
    r.link_out = out_.busy / t;
    r.link_in = in_.busy / t;
    r.bytes_out = bytes_out_;
    r.bytes_in = bytes_in_;
    r.age = aged_ > 0 ? ages_ / static_cast<double>(aged_) : 0;
    r.age_max = age_max_;
    return r;
  }

  const StageShape s_;
  const Costs c_;
  const uint64_t seed_;
  const double trainers_;
  const bool apart_, learns_;
  Events events_;
  PoolCore pool_;
  std::vector<Worker> workers_;
  Server judge_, reference_, devices_, between_, out_, in_;  // devices_: those that train
  bool obeying_ = false, training_ = false;
  int64_t asked_ = 0, released_ = 0, room_ = 0, next_ = 0, version_ = 0;
  std::map<int64_t, Group> groups_;  // answered
  std::set<int64_t> judged_;
  Batch forming_;
  std::deque<Batch> ready_;
  double trainer_busy_ = 0, generated_ = 0, trained_ = 0, ages_ = 0, bytes_out_ = 0, bytes_in_ = 0;
  int64_t aged_ = 0, age_max_ = 0;
};

// The trainer takes a batch after the other: examples come faster than anybody learns from them.
StageResult learn_from_examples(const StageShape& shape, const Machines& machines, const Costs& costs) {
  const double batches = static_cast<double>(shape.batches),
               tokens = static_cast<double>(shape.examples) * costs.example_tokens();
  StageResult r;
  r.sort = shape.sort;
  r.batches = shape.batches;
  r.tokens_trained = batches * tokens;
  const double each = costs.train.batch_s + tokens * costs.train.token_s / machines.trainers;
  r.seconds = batches * (each + costs.between.batch_s);
  r.trainer = r.seconds > 0 ? batches * each / r.seconds : 0;
  return r;
}

// What is sampled, then what is decoded greedily: the second begins when the first has ended.
StageResult evaluate(const StageShape& shape, const Machines& machines, const Costs& costs, uint64_t seed) {
  StageResult r = Stage(shape, machines, costs, seed).run();
  if (!shape.greedy) return r;
  StageShape again = shape;
  again.samples = 1;
  const StageResult greedy = Stage(again, machines, costs, seed).run();
  const double seconds = r.seconds + greedy.seconds;
  const auto both = [&](double StageResult::*use) {
    r.*use = seconds > 0 ? (r.*use * r.seconds + greedy.*use * greedy.seconds) / seconds : 0;
  };
  for (const auto use : {&StageResult::generators, &StageResult::idlest, &StageResult::busiest, &StageResult::judge,
                         &StageResult::link_out, &StageResult::link_in})
    both(use);
  r.seconds = seconds;
  r.tokens_generated += greedy.tokens_generated;
  r.bytes_out += greedy.bytes_out;
  r.bytes_in += greedy.bytes_in;
  return r;
}

// With what is measured in it: shares are of the whole then.
StageResult with_evaluations(StageResult r, const StageShape& shape, const Machines& machines, const Costs& costs) {
  const double before = static_cast<double>(shape.problems.before) * costs.evaluate.problem_s,
               all = shape.problems.all(r.batches) * costs.evaluate.problem_s;
  const double alone = r.seconds,
               seconds = machines.evaluates_beside ? std::max(r.seconds, before) + all - before : r.seconds + all;
  if (seconds <= alone) return r;
  for (const auto use :
       {&StageResult::generators, &StageResult::idlest, &StageResult::busiest, &StageResult::held_back, &StageResult::trainer,
        &StageResult::reference, &StageResult::judge, &StageResult::link_out, &StageResult::link_in})
    r.*use *= alone / seconds;
  r.seconds = seconds;
  r.evaluator = all / seconds;
  return r;
}

}  // namespace

StageResult simulate_stage(const StageShape& shape, const Machines& machines, const Costs& costs, uint64_t seed) {
  switch (shape.sort) {
    case StageSort::evaluates:
      return evaluate(shape, machines, costs, seed);
    case StageSort::samples:
      return Stage(shape, machines, costs, seed).run();
    case StageSort::learns_from_examples:
      return with_evaluations(learn_from_examples(shape, machines, costs), shape, machines, costs);
    case StageSort::learns_from_samples:
      return with_evaluations(Stage(shape, machines, costs, seed).run(), shape, machines, costs);
  }
  R1_CHECK(false, "a stage of no sort");
}

std::string what_to_scale(const StageResult& r) {
  constexpr double kSaturated = 0.85;
  struct Part {
    double use;
    const char* text;
  };
  const Part parts[] = {
      {r.trainer + (r.devices_shared ? r.reference : 0),
       "it goes as fast as its trainer: more devices that train (trainer=), fewer tokens a batch"},
      {r.generators,
       r.sort == StageSort::evaluates
           ? "it goes as fast as its one device: fewer problems or samples, a larger max_running, a smaller max_tokens"
           : "it goes as fast as its generators: more devices that sample"},
      {r.link_out, "it goes as fast as the head's link sends: smaller differences, a faster link, fewer and larger generators"},
      {r.link_in, "it goes as fast as the head's link takes in: a faster link"},
      {r.reference, "it goes as fast as its reference: more devices that train share it, or kl=0"},
      {r.evaluator, "it goes as fast as its evaluators: fewer problems, or every= of more batches"},
      {r.judge, "it goes as fast as its judge, one thread of the head: judges at nodes, cheaper rewards"}};
  const Part& most =
      *std::max_element(std::begin(parts), std::end(parts), [](const Part& a, const Part& b) { return a.use < b.use; });
  if (most.use >= kSaturated) return most.text;
  if (r.sort == StageSort::evaluates)
    return "its one device waits for the longest completions: fewer max_tokens, or more problems for the same tail";
  if (r.sort == StageSort::samples)
    return "nobody is saturated: at the end devices wait for the longest completions; more prompts (count=), or fewer devices";
  if (r.held_back > 0.1) return "generators wait for newer versions: a larger staleness, or a faster trainer";
  return "nobody is saturated: batches wait for their longest completions; more groups a batch, or a larger staleness and "
         "capacity";
}

}  // namespace r1::simulate
