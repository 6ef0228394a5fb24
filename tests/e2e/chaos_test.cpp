// Chaos over all kinds of processes of a run: nodes that the head started, nodes that joined by hand through a cable of ours,
// and the head itself are killed, stopped and cut off, each time the ledger has grown. 50 times here; R1_CHAOS=1000 as often as
// it says (label long).
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/rng.h"
#include "tests/e2e/nodes_fixture.h"
#include "tests/e2e/tcp_proxy.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

int events() {
  const char* const given = std::getenv("R1_CHAOS");
  return given != nullptr ? std::atoi(given) : 50;
}

struct Counts {
  int kills = 0, stops = 0, cuts = 0, resets = 0, heads = 0;
  int all() const { return kills + stops + cuts + resets + heads; }
  std::string text() const {
    return fmt::format("{} kills, {} stops, {} cuts, {} resets, {} heads killed", kills, stops, cuts, resets, heads);
  }
};

class Chaos {
 public:
  Chaos(const Nodes& test, fs::path run, std::vector<std::string> more, uint64_t seed)
      : test_(test), run_(std::move(run)), more_(std::move(more)), rng_(seed, "chaos"), port_(test::free_port()) {
    more_.insert(more_.end(), {"--listen", fmt::format("127.0.0.1:{}", port_), "--invite", "2"});
    for (auto& proxy : proxies_) proxy = std::make_unique<test::TcpProxy>(port_);
    head_.emplace(test_.over_nodes(run_, more_), test_.cache());
  }
  ~Chaos() {
    for (const auto& [at_s, pid] : stopped_) ::kill(pid, SIGCONT);
  }

  // Until the run is over; an event whenever a batch more is committed.
  ProgramResult run(int events, double seconds) {
    const auto begin = std::chrono::steady_clock::now();
    const auto now_s = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
    int64_t seen = 0;
    while (!head_->wait(0.005)) {
      now_s_ = now_s();
      if (now_s_ > seconds) return {-1, "", "it does not end: " + counts.text() + "\n" + read_file(run_ / "r1.log")};
      let_go();
      join();
      const int64_t committed = batches();
      if (committed <= seen || counts.all() >= events) continue;
      seen = committed;
      event();
    }
    for (const auto& [at_s, pid] : stopped_) ::kill(pid, SIGCONT);
    stopped_.clear();
    for (auto& node : joined_)
      if (node) node->wait(30);
    return head_->result();
  }
  Counts counts;

 private:
  int64_t batches() {
    try {
      if (!fs::exists(run_ / "run.db")) return 0;
      if (!store_) store_ = RunStore::open_read_only(run_);
      int64_t all = 0;
      for (const StageRow& stage : store_->stages())
        if (stage.name.rfind("rl", 0) == 0) all += store_->batch_count(stage.id);
      return all;
    } catch (const Error&) {  // the store is being made
      store_.reset();
      return 0;
    }
  }
  // Whoever is stopped or cut off is so for a while.
  void let_go() {
    for (auto at = stopped_.begin(); at != stopped_.end() && at->first <= now_s_; at = stopped_.erase(at))
      ::kill(at->second, SIGCONT);
    for (int i = 0; i < 2; ++i)
      if (heals_s_[i] > 0 && now_s_ >= heals_s_[i]) {
        proxies_[i]->hold(false, false);
        heals_s_[i] = 0;
      }
  }
  // Somebody starts again the nodes that he started.
  void join() {
    for (int i = 0; i < 2; ++i) {
      const fs::path key = run_ / fmt::format("keys/join{}.join", i + 1);
      if ((joined_[i] && !joined_[i]->wait(0)) || !fs::exists(key)) continue;
      joined_[i].emplace(std::vector<std::string>{"--join", fmt::format("127.0.0.1:{}", proxies_[i]->port), "--key",
                                                  key.string(), "--threads", "1"},
                         test_.cache(), 0, R1_NODE);
    }
  }
  double a_while() { return rng_.uniform() * (rng_.chance(0.7) ? 1.5 : 5); }
  void event() {
    std::vector<pid_t> living;
    for (const pid_t pid : Nodes::processes(run_))
      if (Nodes::lives(pid)) living.push_back(pid);
    const double what = rng_.uniform();
    const int link = static_cast<int>(rng_.below(2));
    if (what < 0.04) {
      ++counts.heads;
      head_->send(SIGKILL);
      head_->result();
      head_.emplace(test_.over_nodes(run_, more_), test_.cache());
    } else if (what < 0.55 && !living.empty()) {
      ++counts.kills;
      ::kill(living[rng_.below(living.size())], SIGKILL);
    } else if (what < 0.75 && !living.empty()) {
      ++counts.stops;
      const pid_t pid = living[rng_.below(living.size())];
      ::kill(pid, SIGSTOP);
      stopped_.emplace(now_s_ + a_while(), pid);
    } else if (what < 0.92) {
      ++counts.cuts;
      const auto way = rng_.below(3);
      proxies_[link]->hold(way != 1, way != 0);
      heals_s_[link] = now_s_ + a_while();
    } else {
      ++counts.resets;
      proxies_[link]->reset();
    }
  }

  const Nodes& test_;
  const fs::path run_;
  std::vector<std::string> more_;
  Rng rng_;
  const int port_;
  std::unique_ptr<test::TcpProxy> proxies_[2];
  std::optional<Program> head_, joined_[2];
  std::unique_ptr<RunStore> store_;
  std::multimap<double, pid_t> stopped_;
  double heals_s_[2] = {0, 0}, now_s_ = 0;
};

struct ChaosTest : Nodes {
  // Enough batches for `n` events: two that come between two looks are one occasion. Learning slowly, or a thousand batches
  // end in groups of equal rewards and the stage as idle.
  std::vector<std::string> batches_for(int n) const {
    return {"--set", fmt::format("rl_trainer.until=batches({})", n * 3 / 2 + 4),
            "--set", "rl_trainer.lr=1e-5",
            "--set", "rl2_trainer.until=batches(4)"};
  }
  void TearDown() override {
    EXPECT_TRUE(all_gone(processes(top / "run"), 20)) << "a node outlives its run";
    Nodes::TearDown();
  }
};

TEST_F(ChaosTest, ends_in_the_weights_of_one_process) {
  const int n = events() * 7 / 10;
  // Two ranks of the trainer are at nodes too: whoever of them is hit ends what the trainer does.
  std::vector<std::string> settings = batches_for(n);
  settings.insert(settings.end(), {"--set", "rl_trainer.ranks=3", "--set", "rl_trainer.micro_batch_tokens=64", "--set",
                                   "node.snapshot_s=0", "--set", "graph.max_restarts=100"});
  ASSERT_EQ(run_program(arguments(top / "alone", settings)).code, 0);
  Chaos chaos(*this, top / "run", settings, 1);
  const ProgramResult r = chaos.run(n, 200 + 10.0 * n);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "alone")) << chaos.counts.text();
  EXPECT_EQ(ledger_complaints(top / "run"), "");
  EXPECT_GE(chaos.counts.all(), n) << chaos.counts.text();
  const std::string log = read_file(top / "run/r1.log");
  const std::regex seated("rank [12] of rl_trainer lives at ");
  const auto seats = std::distance(std::sregex_iterator(log.begin(), log.end(), seated), std::sregex_iterator());
  EXPECT_GT(seats, 2) << "no rank was hit";
  std::printf("%s; %zd seats of ranks\n", chaos.counts.text().c_str(), static_cast<ssize_t>(seats));
}

TEST_F(ChaosTest, with_staleness_ends_in_a_run_whose_replay_is_equal) {
  const int n = events() * 3 / 10;
  std::vector<std::string> settings = batches_for(n);
  settings.insert(settings.end(), {"--set", "edge.staleness=2"});
  Chaos chaos(*this, top / "run", settings, 2);
  const ProgramResult r = chaos.run(n, 200 + 10.0 * n);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(ledger_complaints(top / "run"), "");
  EXPECT_GE(chaos.counts.all(), n) << chaos.counts.text();
  const ProgramResult replay = run_program({"--replay", (top / "run").string()});
  EXPECT_EQ(replay.code, 0) << replay.out;
  std::printf("%s\n", chaos.counts.text().c_str());
}

}  // namespace
}  // namespace r1
