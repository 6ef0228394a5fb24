// A head with a pool, batches in draw order and a ledger; workers that admit draws by the version they hold; links with delays;
// faults in any order - all in virtual time, from a seed. After every event: each draw is in one place and trained once,
// nothing trained is older than the bound, channels are within theirs; and the run ends.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <queue>

#include <fmt/format.h>

#include "base/rng.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {
namespace {

enum class Mutant {
  none,
  believes_the_dead,  // no fencing: an answer that the pool refuses is taken all the same
  heads_version,      // a worker admits by the version of the head instead of its own
};

struct Violation {
  std::string what;
};
void need(bool holds, const std::function<std::string()>& what) {
  if (!holds) throw Violation{what()};
}

constexpr int64_t kBatch = 4, kBatches = 12, kDraws = kBatch * kBatches, kCapacity = 10, kAnswers = 6;
constexpr int64_t kMs = 1000, kS = 1000 * kMs;  // virtual time is in us
constexpr int64_t kLease = 1 * kS, kBeat = 200 * kMs;

// What sampling a draw under a version gives.
uint64_t content(int64_t draw, int64_t version) {
  return rng_key(static_cast<uint64_t>(draw), "content", static_cast<uint64_t>(version));
}

class Cluster {
 public:
  Cluster(uint64_t seed, Mutant mutant) : rng_(seed, "cluster"), mutant_(mutant) {
    staleness_ = static_cast<int64_t>(rng_.below(3));
    workers_.resize(2 + rng_.below(4));
  }

  void run() {
    start_head();
    for (size_t i = 0; i < workers_.size(); ++i) at(below(50 * kMs), [this, i] { start_worker(i); });
    for (int64_t faults = below(14); faults > 0; --faults) at(below(3 * kS), [this] { fault(); });
    while (committed_ < kBatches) {
      need(!events_.empty(), [] { return std::string("nothing happens any more"); });
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      event.run();
      check();
      need(now_ < 90 * kS, [this] { return stuck(); });
    }
    need(ledger_.size() == kDraws, [this] { return fmt::format("{} draws in the ledger", ledger_.size()); });
  }
  PoolCounts counts;

 private:
  struct Event {
    int64_t at, order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };
  void at(int64_t when, std::function<void()> run) { events_.push({when, order_++, std::move(run)}); }
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_.below(static_cast<uint64_t>(n))); }

  // ---- links: in order in each direction; one that was cut delivers nothing any more
  struct Link {
    size_t worker = 0;
    bool up = true, cut[2] = {false, false};
    int64_t last[2] = {0, 0};
  };
  enum { kToHead, kToWorker };
  void send(WorkerId id, int direction, std::function<void()> arrives) {
    Link& link = links_[id];
    link.last[direction] = std::max(link.last[direction], now_ + 50 + below(rng_.chance(0.05) ? 60 * kMs : 500));
    at(link.last[direction], [this, id, direction, arrives] {
      const Link& l = links_[id];
      if (!l.up || l.cut[direction]) return;
      if (direction == kToHead) {
        if (head_up_) arrives();
        return;
      }
      Worker& w = workers_[l.worker];
      const auto takes = [this, id, arrives, i = l.worker] {
        if (workers_[i].up && workers_[i].link == id) arrives();
      };
      w.paused ? w.later.push_back(takes) : takes();
    });
  }

  // ---- workers
  struct Worker {
    bool up = false, paused = false, busy = false;
    int64_t life = 0;
    WorkerId link = 0;
    Incarnation incarnation = 0;
    int64_t given = 0, begun = 0, answers = 0, passed_on = 0, states = 0, version = -1, heard = 0;
    std::set<int64_t> waiting;
    std::deque<std::function<void()>> later;  // while it is paused
  };
  void start_worker(size_t i) {
    const int64_t life = workers_[i].life + 1;
    workers_[i] = {};
    workers_[i].up = true;
    workers_[i].life = life;
    connect(i);
    beat(i, life);
  }
  void connect(size_t i) {
    Worker& w = workers_[i];
    w.link = ++link_ids_;
    links_[w.link].worker = i;
    w.incarnation = 0;
    w.heard = now_;
    send(w.link, kToHead, [this, id = w.link] { hello(id); });
  }
  void beat(size_t i, int64_t life) {
    at(now_ + kBeat, [this, i, life] {
      Worker& w = workers_[i];
      if (w.life != life || !w.up) return;
      if (!w.paused && now_ - w.heard > 2 * kLease)
        connect(i);
      else if (!w.paused)
        send(w.link, kToHead, [this, id = w.link] { heard(id); });
      beat(i, life);
    });
  }
  void opened(size_t i, Incarnation incarnation) {
    Worker& w = workers_[i];
    w.incarnation = incarnation;
    w.given = w.begun = w.answers = w.passed_on = w.states = 0;
    w.version = -1;
    w.waiting.clear();
    at(now_ + below(50 * kMs), [this, i, incarnation, id = w.link] {
      if (workers_[i].up && workers_[i].link == id && workers_[i].incarnation == incarnation && !workers_[i].paused)
        send(id, kToHead, [this, id, incarnation] { act(id, [&] { pool_->started(id, incarnation); }); });
      else if (workers_[i].link == id && workers_[i].paused)
        workers_[i].later.push_back([this, i, incarnation, id] {
          if (workers_[i].up && workers_[i].link == id)
            send(id, kToHead, [this, id, incarnation] { act(id, [&] { pool_->started(id, incarnation); }); });
        });
    });
  }
  void take(size_t i, const PoolCommand& c) {
    Worker& w = workers_[i];
    w.heard = now_;
    if (c.kind == PoolCommand::Kind::close) {
      w.incarnation = 0;
      return;
    }
    if (c.incarnation != w.incarnation) return;
    if (c.kind == PoolCommand::Kind::give) {
      need(c.number == ++w.given, [&] { return fmt::format("worker {}: a gap before draw {}", i, c.key); });
      w.waiting.insert(c.key);
    } else if (c.kind == PoolCommand::Kind::state) {
      need(c.number == ++w.states, [&] { return fmt::format("worker {}: a gap before version {}", i, c.key); });
      need(c.base == -1 || c.base == w.version,
           [&] { return fmt::format("version {} against {} for a worker that holds {}", c.key, c.base, w.version); });
      need(c.key >= w.version, [&] { return fmt::format("version {} after {}", c.key, w.version); });
      w.version = c.key;
      tell(i, [so_far = w.states](PoolCore& pool, WorkerId id, Incarnation in) { pool.has_state(id, in, 0, so_far); });
    } else if (c.kind == PoolCommand::Kind::credit) {
      w.passed_on = std::max(w.passed_on, c.number);
    }
    work(i);
  }
  void tell(size_t i, std::function<void(PoolCore&, WorkerId, Incarnation)> says) {
    Worker& w = workers_[i];
    send(w.link, kToHead, [this, id = w.link, in = w.incarnation, says] { act(id, [&] { says(*pool_, id, in); }); });
  }
  void work(size_t i) {
    Worker& w = workers_[i];
    if (w.busy || !w.up || w.waiting.empty() || w.version < 0 || w.answers - w.passed_on >= kAnswers) return;
    const int64_t draw = *w.waiting.begin();
    const int64_t version = mutant_ == Mutant::heads_version ? committed_ : w.version;
    if (draw >= (staleness_ + version + 1) * kBatch) return;
    w.waiting.erase(draw);
    w.busy = true;
    tell(i, [so_far = ++w.begun](PoolCore& pool, WorkerId id, Incarnation in) { pool.begun(id, in, so_far); });
    at(now_ + kMs + below(rng_.chance(0.1) ? 200 * kMs : 20 * kMs),
       [this, i, life = w.life, id = w.link, in = w.incarnation, draw, v = w.version] {
         const auto done = [this, i, life, id, in, draw, v] {
           Worker& worker = workers_[i];
           if (worker.life != life || !worker.up) return;
           worker.busy = false;
           // What was begun for another incarnation is said all the same: the head has to refuse it.
           const int64_t number = in == worker.incarnation && id == worker.link ? ++worker.answers : 1;
           send(id, kToHead, [this, id, in, draw, v, number] { answer(id, in, draw, v, number); });
           work(i);
         };
         workers_[i].paused ? workers_[i].later.push_back(done) : done();
       });
  }

  // ---- the head
  void start_head() {
    ++epoch_;
    incarnations_ = 0;
    head_up_ = true;
    heard_.clear();
    held_.clear();
    pool_.emplace(PoolOptions{.window = 1 + below(8), .needed = {true}});
    next_ = committed_ * kBatch;
    pool_->set_state(0, committed_);
    asked_ = released_ = 0;
    ask();
    tick(epoch_);
  }
  void tick(uint64_t epoch) {
    at(now_ + kBeat, [this, epoch] {
      if (!head_up_ || epoch_ != epoch) return;
      std::vector<WorkerId> dead;
      for (const auto& [id, when] : heard_) now_ - when > kLease ? dead.push_back(id) : send_beat(id);
      for (const WorkerId id : dead) lose(id);
      tick(epoch);
    });
  }
  void send_beat(WorkerId id) {
    send(id, kToWorker, [this, i = links_[id].worker] { workers_[i].heard = now_; });
  }
  void lose(WorkerId id) {
    heard_.erase(id);
    pool_->lost(id);
    obey();
  }
  void hello(WorkerId id) {
    heard_[id] = now_;
    const Incarnation incarnation = (epoch_ << 32) + ++incarnations_;
    send(id, kToWorker, [this, i = links_[id].worker, incarnation] {
      workers_[i].heard = now_;
      opened(i, incarnation);
    });
    pool_->joined(id, incarnation);
    obey();
  }
  void heard(WorkerId id) {
    if (heard_.count(id) != 0) heard_[id] = now_;
  }
  // A peer that was declared dead is told so, and comes back as another.
  void act(WorkerId id, const std::function<void()>& event) {
    if (heard_.count(id) == 0)
      send(id, kToWorker, [this, i = links_[id].worker, id] {
        if (workers_[i].link == id) connect(i);
      });
    heard(id);
    event();
    obey();
  }
  void answer(WorkerId id, Incarnation in, int64_t draw, int64_t version, int64_t number) {
    act(id, [&] {
      if (pool_->answered(id, in, draw, number))
        content_[draw] = {version, content(draw, version)};
      else if (mutant_ == Mutant::believes_the_dead)
        arrive(draw, version, content(draw, version));
    });
  }
  void obey(const PoolCommand& c) {
    switch (c.kind) {
      case PoolCommand::Kind::give:
      case PoolCommand::Kind::state:
      case PoolCommand::Kind::credit:
      case PoolCommand::Kind::close:
        send(c.worker, kToWorker, [this, i = links_[c.worker].worker, c] { take(i, c); });
        break;
      case PoolCommand::Kind::release:
        released_ += c.number;
        break;
      case PoolCommand::Kind::pass_on:
        arrive(c.key, content_.at(c.key).first, content_.at(c.key).second);
        break;
      case PoolCommand::Kind::accuse:
        throw Violation{"accused: " + c.why};
    }
  }
  void obey() {
    for (auto commands = pool_->take(); !commands.empty(); commands = pool_->take())
      for (const PoolCommand& c : commands) obey(c);
    counts.lost = std::max(counts.lost, pool_->counts().lost);
    counts.reissued = std::max(counts.reissued, pool_->counts().reissued);
    counts.refused = std::max(counts.refused, pool_->counts().refused);
    ask();
    if (!room_due_ && !pool_->unread().empty()) {
      room_due_ = true;
      at(now_ + below(5 * kMs), [this] {
        room_due_ = false;
        if (!head_up_) return;
        pool_->room(1 + below(4));
        obey();
      });
    }
  }
  void ask() {
    const int64_t before = next_;
    while (next_ < kDraws && asked_ - released_ < kCapacity) {
      ++asked_;
      pool_->asked(next_++);
    }
    if (next_ != before) obey();
  }
  void arrive(int64_t draw, int64_t version, uint64_t value) {
    need(held_.count(draw) == 0 && ledger_.count(draw) == 0, [&] { return fmt::format("draw {} was answered twice", draw); });
    need(value == content(draw, version), [&] { return fmt::format("draw {} has another content", draw); });
    held_[draw] = version;
    while (committed_ < kBatches && commit()) pool_->set_state(0, committed_);
  }
  bool commit() {
    const int64_t first = committed_ * kBatch;
    for (int64_t d = first; d < first + kBatch; ++d)
      if (held_.count(d) == 0) return false;
    for (int64_t d = first; d < first + kBatch; ++d) {
      const int64_t version = held_.at(d);
      need(committed_ - version <= staleness_,
           [&] { return fmt::format("draw {} of batch {} was sampled under version {}", d, committed_, version); });
      need(ledger_.emplace(d, version).second, [&] { return fmt::format("draw {} was trained twice", d); });
      held_.erase(d);
    }
    ++committed_;
    return true;
  }

  // ---- faults and invariants
  void fault() {
    const auto i = static_cast<size_t>(below(static_cast<int64_t>(workers_.size())));
    Worker& w = workers_[i];
    switch (below(6)) {
      case 0:  // kill -9, and started again
        if (!w.up) break;
        w.up = false;
        ++w.life;
        links_[w.link].up = false;
        at(now_ + below(2 * kS), [this, i] {
          if (!workers_[i].up) start_worker(i);
        });
        break;
      case 1:  // SIGSTOP and SIGCONT
        if (!w.up || w.paused) break;
        w.paused = true;
        at(now_ + below(4 * kS), [this, i, life = w.life] {
          Worker& worker = workers_[i];
          if (worker.life != life) return;
          worker.paused = false;
          for (const auto& f : std::exchange(worker.later, {})) f();
        });
        break;
      case 2:
        if (w.up) links_[w.link].cut[0] = links_[w.link].cut[1] = true;
        break;
      case 3:
        if (w.up) links_[w.link].cut[below(2)] = true;
        break;
      case 4:  // the head dies; what was not committed is drawn again
        if (!head_up_ || !rng_.chance(0.3)) break;
        head_up_ = false;
        for (auto& [id, link] : links_) link.up = false;
        at(now_ + below(3 * kS), [this] {
          start_head();
          for (size_t j = 0; j < workers_.size(); ++j)
            if (workers_[j].up && !workers_[j].paused) connect(j);
        });
        break;
      default:
        break;
    }
  }
  std::string stuck() const {
    std::string text = fmt::format("no end after 90 s: {} of {} batches; asked {} released {}, waiting {}, unread {}",
                                   committed_, kBatches, asked_, released_, pool_->waiting().size(), pool_->unread().size());
    for (const auto& [id, w] : pool_->workers())
      text +=
          fmt::format("; {} {}: {} questions, given {}, begun {}, answers {}, passed on {}", id,
                      pool_->ready(w) ? "ready" : "not ready", w.questions.size(), w.given, w.begun, w.answers, w.passed_on);
    return text;
  }
  void check() {
    if (!head_up_ || mutant_ == Mutant::believes_the_dead) return;
    std::map<int64_t, int> places;
    for (const int64_t d : pool_->waiting()) ++places[d];
    for (const auto& [id, w] : pool_->workers()) {
      for (const int64_t d : w.questions) ++places[d];
      need(w.answers - w.passed_on <= kAnswers, [&] { return fmt::format("{} answers of a worker are here", w.answers); });
    }
    for (const auto& [d, version] : held_) ++places[d];
    for (const int64_t d : pool_->unread()) ++places[d];
    for (int64_t d = committed_ * kBatch; d < next_; ++d)
      need(places[d] == 1, [&] { return fmt::format("draw {} is in {} places", d, places[d]); });
    need(asked_ - released_ <= kCapacity, [&] { return fmt::format("{} draws are asked and not begun", asked_ - released_); });
  }

  Rng rng_;
  const Mutant mutant_;
  int64_t staleness_ = 0, now_ = 0, order_ = 0;
  std::priority_queue<Event> events_;
  std::map<WorkerId, Link> links_;
  WorkerId link_ids_ = 0;
  std::vector<Worker> workers_;

  std::map<int64_t, int64_t> ledger_;  // durable: draw -> the version it was sampled under
  int64_t committed_ = 0;
  uint64_t epoch_ = 0;

  bool head_up_ = false, room_due_ = false;
  uint64_t incarnations_ = 0;
  std::optional<PoolCore> pool_;
  std::map<WorkerId, int64_t> heard_;
  std::map<int64_t, int64_t> held_;
  std::map<int64_t, std::pair<int64_t, uint64_t>> content_;
  int64_t next_ = 0, asked_ = 0, released_ = 0;
};

struct Found {
  int64_t failing = 0, lost = 0, reissued = 0, refused = 0;
  std::string first;
};
Found search(uint64_t seeds, Mutant mutant) {
  Found found;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    Cluster cluster(seed, mutant);
    try {
      cluster.run();
    } catch (const Violation& v) {
      if (found.failing++ == 0) found.first = fmt::format("seed {}: {}", seed, v.what);
    }
    found.lost += cluster.counts.lost;
    found.reissued += cluster.counts.reissued;
    found.refused += cluster.counts.refused;
  }
  return found;
}

TEST(PoolSchedule, every_draw_is_trained_once_and_young_enough_whatever_dies_stops_or_is_cut) {
  const Found found = search(3000, Mutant::none);
  EXPECT_EQ(found.failing, 0) << found.first;
  EXPECT_GT(found.lost, 1000);
  EXPECT_GT(found.reissued, 1000);
  EXPECT_GT(found.refused, 20);
}

TEST(PoolSchedule, a_head_that_believes_the_dead_is_found) {
  const Found found = search(1500, Mutant::believes_the_dead);
  EXPECT_GT(found.failing, 5) << "of 1500";
  EXPECT_NE(found.first.find("twice"), std::string::npos) << found.first;
}

TEST(PoolSchedule, a_worker_that_admits_by_the_versions_of_the_head_is_found) {
  EXPECT_GT(search(50, Mutant::heads_version).failing, 25) << "of 50";
}

}  // namespace
}  // namespace r1
