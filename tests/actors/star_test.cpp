// Stages whose generators and judges run at nodes: the same weights as in one process, whatever happens to the nodes.
#include "tests/actors/star_fixture.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/messages.h"
#include "base/fingerprint.h"
#include "base/log_sink.h"
#include "base/rng.h"
#include "models/forwarding_engines.h"

namespace r1 {
namespace {

struct StarTest : StageTest {
  // What one process gives, for all stages.
  std::map<std::string, std::string> alone() {
    LocalRun run(top / "alone", {});
    run.run_all(1);
    return run.hashes();
  }
};

TEST_F(StarTest, one_node_and_three_give_the_weights_and_datasets_of_one_process) {
  const auto expected = alone();
  for (const int nodes : {1, 3}) {
    LocalRun run(top / std::to_string(nodes), {});
    Star star(run, 7);
    for (int i = 0; i < nodes; ++i) star.add_node();
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
    EXPECT_EQ(run.hashes(), expected) << nodes << " nodes";
    run.expect_exact_ledgers();
    EXPECT_EQ(star.lost, 0);
  }
}

TEST_F(StarTest, a_reference_that_is_never_refreshed_scores_at_a_node) {
  std::string text = read_file(nano_graph());
  const std::string edge = "rl_trainer -> reference [carries=weights, every=4];", model = "\"nano.json\"";
  text.erase(text.find(edge), edge.size());
  text.replace(text.find(model), model.size(), '"' + (nano_graph().parent_path() / "nano.json").string() + '"');
  write_file_atomically(top / "frozen.graph", text);
  LocalRun alone(top / "alone", {}, (top / "frozen.graph").string()), run(top / "run", {}, (top / "frozen.graph").string());
  Star star(run, 7);
  star.add_node();
  for (const char* stage : {"base", "sft", "rl"}) {
    ASSERT_TRUE(alone.run_stage(stage, 1)) << stage;
    ASSERT_EQ(star.run_stage(stage), "") << stage;
  }
  EXPECT_EQ(run.hashes(), alone.hashes());
}

TEST_F(StarTest, a_stage_that_no_node_is_left_for_says_of_each_role_what_it_waits_for) {
  LocalRun run(top / "none", {});
  Star star(run, 7);
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  star.kill(0);
  const std::string said = star.run_stage("rl");
  EXPECT_NE(said.find("for a worker to join"), std::string::npos) << said;
  EXPECT_EQ(said.find("does not say what it waits for"), std::string::npos) << said;
}

TEST_F(StarTest, files_and_weights_that_take_long_to_come_are_no_stall) {
  LocalRun run(top / "run", {});
  Star star(run, 7);
  star.own_caches = true;
  star.files_ns = 20'000'000'000;
  star.add_node();
  const double begin_s = star.world().clock().now_s();
  for (const char* stage : {"base", "sft", "rl"}) ASSERT_EQ(star.run_stage(stage), "") << stage;
  EXPECT_GT(star.world().clock().now_s() - begin_s, 5 * 60);
}

TEST_F(StarTest, a_pool_says_of_each_worker_for_which_answers_it_waits) {
  LocalRun run(top / "run", {});
  Star star(run, 7);
  for (int i = 0; i < 2; ++i) star.add_node();
  std::map<std::string, std::set<std::string>> asked;
  star.after_step = [&](int64_t) {
    for (const WaitRow& wait : star.waits->waits()) {
      if (wait.key.rfind("answers of ", 0) != 0) continue;
      EXPECT_EQ(wait.key, "answers of " + wait.on);
      EXPECT_EQ(wait.reason.rfind("for the answer to ", 0), 0u) << wait.reason;
      asked[wait.owner].insert(wait.on.substr(0, wait.on.find('/')));
    }
  };
  for (const char* stage : {"base", "sft", "rl"}) ASSERT_EQ(star.run_stage(stage), "") << stage;
  EXPECT_EQ(asked["policy"], (std::set<std::string>{"n0", "n1"})) << "both work";
  EXPECT_EQ(asked["reference"].size(), 1u) << "at one node at a time";
}

TEST_F(StarTest, weights_are_fetched_by_whoever_is_fed_with_them_and_are_the_same_weights_as_in_packets) {
  const auto expected = alone();
  for (const bool fetched : {true, false}) {
    LocalRun run(top / (fetched ? "fetched" : "sent"), {});
    Star star(run, 3);
    if (!fetched) star.fetched_bytes = ~size_t{0};
    std::set<std::string> fed;
    star.tamper = [&](MemoryNet::Way way, WireMessage& message) {
      if (way.kind != MemoryNet::Way::Kind::to_node_control && way.kind != MemoryNet::Way::Kind::to_node_bulk) return true;
      const Piece piece = decode_piece(message);
      if (piece.kind == PacketKind::content) fed.insert(run.graph.nodes.at(static_cast<size_t>(piece.node)).id);
      return true;
    };
    for (int i = 0; i < 2; ++i) star.add_node();
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
    EXPECT_EQ(run.hashes(), expected);
    EXPECT_EQ(star.lost, 0);
    const std::set<std::string> all = {"base_eval", "policy", "reference", "rl2_policy", "rm_eval"};
    EXPECT_EQ(fed, fetched ? all : std::set<std::string>{});
  }
}

TEST_F(StarTest, what_many_nodes_need_the_head_sends_once_and_they_have_it_from_each_other) {
  const auto expected = alone();
  std::map<int, int64_t> sent;
  for (const int nodes : {1, 4}) {
    LocalRun run(top / std::to_string(nodes), {});
    Star star(run, 9);
    star.own_caches = true;
    for (int i = 0; i < nodes; ++i) star.add_node();
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
    EXPECT_EQ(run.hashes(), expected) << nodes << " nodes";
    EXPECT_EQ(star.lost, 0);
    EXPECT_EQ(star.peers().doors() > 0, nodes > 1);
    sent[nodes] = star.members().contents().bytes_sent();
  }
  EXPECT_GT(sent[1], 100'000) << "files and weights";
  EXPECT_LT(sent[4], sent[1] + sent[1] / 4) << "the one and the four";
}

TEST_F(StarTest, nodes_that_give_each_other_wrong_bytes_harm_nobody) {
  const auto expected = alone();
  LocalRun run(top / "lies", {});
  Star star(run, 9);
  star.own_caches = true;
  int lies = 0;
  star.tamper_peers = [&](int, MemoryNet::Way way, WireMessage& message) {
    if (way.kind != MemoryNet::Way::Kind::to_node_control && way.kind != MemoryNet::Way::Kind::to_node_bulk) return true;
    Piece piece = decode_piece(message);
    if (piece.kind != PacketKind::blob || piece.parts.empty() || piece.parts[0].size() == 0) return true;
    std::string bytes(piece.parts[0].bytes());
    bytes[bytes.size() / 2] ^= 1;
    piece.parts[0] = WireFrame(bytes);
    message = encode_piece(piece);
    ++lies;
    return true;
  };
  for (int i = 0; i < 3; ++i) star.add_node();
  for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
  EXPECT_EQ(run.hashes(), expected);
  EXPECT_GT(lies, 5) << "who lied is not asked again";
  EXPECT_EQ(star.lost, 0);
}

// Damages differences between versions behind the link's checksum, as a fault of the memory would.
class DamagingCodec final : public PayloadCodec {
 public:
  using Damage = std::function<void(int difference, WeightsMessage&)>;  // counted from 1
  explicit DamagingCodec(Damage damage) : damage_(std::move(damage)) {}
  // What every n-th changes is not what it says.
  explicit DamagingCodec(int nth)
      : DamagingCodec([nth](int difference, WeightsMessage& m) {
          if (difference % nth == 0) m.delta.change.b ^= uint64_t{1} << 40;
        }) {}
  Packet encode(const Payload& payload, const Payload* before) const override {
    return message_codec().encode(payload, before);
  }
  PayloadPtr decode(const std::string& kind, Packet packet, const Asked& asked) const override {
    PayloadPtr payload = message_codec().decode(kind, std::move(packet), asked);
    const auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload);
    if (!weights || weights->delta.full()) return payload;
    auto damaged = std::make_shared<WeightsMessage>(*weights);
    damage_(++differences_, *damaged);
    return damaged;
  }
  int differences() const { return differences_; }

 private:
  const Damage damage_;
  mutable int differences_ = 0;
};

TEST_F(StarTest, a_version_that_a_node_cannot_use_is_asked_for_as_a_whole_and_changes_no_weights) {
  // Generators, references and evaluators are all sent differences.
  std::string text = read_file(nano_graph());
  const std::string edge = "rl_trainer -> policy    [carries=weights, staleness=0];", model = "\"nano.json\"";
  text.insert(text.find(edge),
              "test [role=evaluator, source=\"tiny:reasoning_test\", every=2];\n"
              "    rl_trainer -> test [carries=weights];\n    test -> rl_trainer;\n    ");
  text.replace(text.find(model), model.size(), '"' + (nano_graph().parent_path() / "nano.json").string() + '"');
  write_file_atomically(top / "steered.graph", text);
  // So little is learned that every version is a difference to the one before it, on any CPU.
  const std::vector<std::string> longer = {"rl_trainer.until=batches(10)", "rl_trainer.lr=1e-6"};
  LocalRun alone(top / "alone", longer, (top / "steered.graph").string());
  alone.run_all(1);
  for (const int nth : {1, 3}) {
    LocalRun run(top / fmt::format("damaged-{}", nth), longer, (top / "steered.graph").string());
    const DamagingCodec codec(nth);
    Star star(run, 3);
    star.codec = &codec;
    star.job_ns = 2'000'000'000;  // longer than from one report of waits to the next
    star.add_node();
    std::map<std::string, int> waited;  // for a whole version: how often, by role
    std::set<std::string> waiting;
    star.after_step = [&](int64_t) {
      std::set<std::string> now;
      for (const WaitRow& wait : star.waits->waits("rl"))
        if (wait.key.find("whole weights") != wait.key.npos && wait.on == "rl_trainer") now.insert(wait.owner);
      for (const std::string& role : now) waited[role] += waiting.count(role) == 0;
      waiting = now;
    };
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
    EXPECT_EQ(run.hashes(), alone.hashes()) << "every " << nth;
    EXPECT_EQ(star.lost, 0);
    std::set<std::string> asked;
    for (const auto& row : run.store->events(run.id("rl"), 1000, "sent_whole"))
      for (const char* role : {"policy", "reference", "test"})
        if (std::find(row.begin(), row.end(), role) != row.end()) asked.insert(role);
    if (nth == 1) {
      EXPECT_EQ(asked, (std::set<std::string>{"policy", "reference", "test"}));
      for (const std::string& role : asked)
        EXPECT_GE(waited[role], role == "reference" ? 1 : 2) << role;  // and each wait is over before the next
    }
  }
}

// As if a value that no difference touches had been damaged: the changes are right and the whole is not.
TEST_F(StarTest, weights_that_a_generator_finds_to_be_others_in_idle_time_come_again_whole_and_no_stage_restarts) {
  // So little is learned that every version is a difference to the one before it, on any CPU; the generator alone gets them.
  const std::vector<std::string> set = {"rl_trainer.until=batches(10)", "rl_trainer.lr=1e-6", "reference.host=head"};
  LocalRun alone(top / "alone", set);
  alone.run_all(1);
  LocalRun run(top / "damaged", set);
  const DamagingCodec codec([](int difference, WeightsMessage& m) {
    if (difference == 2 || difference == 4) m.hash.lo ^= 1;
  });
  Star star(run, 3);
  star.codec = &codec;
  star.add_node();
  for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
  EXPECT_EQ(run.hashes(), alone.hashes());
  run.expect_exact_ledgers();
  EXPECT_GE(codec.differences(), 5) << "the test is vacuous";
  EXPECT_EQ(run.store->events(run.id("rl"), 1000, "sent_whole").size(), 2u) << "each was asked for once";
  EXPECT_EQ(star.lost, 0);
}

// Samplers that look at their weights before every step: whether they are still those that were given.
class WatchingEngines final : public ForwardingEngines {
 public:
  using ForwardingEngines::ForwardingEngines;
  std::unique_ptr<Sampler> sampler(const std::string& node, const GeneratorConfig& config,
                                   std::shared_ptr<const WeightSet> weights, int64_t version) const override {
    return std::make_unique<Watched>(*this, inner_->sampler(node, config, weights, version), *weights);
  }
  mutable int64_t steps = 0, on_others = 0;

 private:
  class Watched final : public Sampler {
   public:
    Watched(const WatchingEngines& of, std::unique_ptr<Sampler> inner, const WeightSet& weights)
        : of_(of), inner_(std::move(inner)), weights_(&weights), given_(weights.hash()) {}
    void submit(GenRequest request) override { inner_->submit(std::move(request)); }
    int64_t pending() const override { return inner_->pending(); }
    std::vector<GenResult> step() override {
      ++of_.steps;
      of_.on_others += weights_->hash() != given_;
      return inner_->step();
    }
    void set_weights(std::shared_ptr<const WeightSet> weights, int64_t version) override {
      weights_ = weights.get();
      given_ = weights->hash();
      inner_->set_weights(std::move(weights), version);
    }
    int64_t version() const override { return inner_->version(); }
    std::vector<uint64_t> cancel_all() override { return inner_->cancel_all(); }
    const GeneratorStats& stats() const override { return inner_->stats(); }

   private:
    const WatchingEngines& of_;
    const std::unique_ptr<Sampler> inner_;
    const WeightSet* weights_;
    Hash128 given_;
  };
};

// Differences are applied to the set that is sampled with, so a bad one leaves nothing to go on with, while samples run.
TEST_F(StarTest, nothing_is_sampled_with_weights_that_a_bad_difference_has_begun_to_change) {
  const std::vector<std::string> set = {"rl_trainer.until=batches(10)", "rl_trainer.lr=1e-6", "reference.host=head",
                                        "edge.staleness=2"};
  LocalRun run(top / "run", set);
  const DamagingCodec codec(2);
  const auto engines = std::make_shared<WatchingEngines>(device_engines(open_device("cpu")));
  Star star(run, 3);
  star.codec = &codec;
  star.engines = engines;
  star.job_ns = 1'000'000;
  star.add_node();
  for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
  EXPECT_GE(run.store->events(run.id("rl"), 1000, "sent_whole").size(), 2u) << "the test is vacuous";
  EXPECT_GT(engines->steps, 0);
  EXPECT_EQ(engines->on_others, 0) << "of " << engines->steps << " steps";
  run.expect_exact_ledgers();
}

// Nodes die and others join, at steps that the seed says; one is always there.
void disturb(Star& star, Rng& rng, int64_t& kills) {
  auto next = std::make_shared<int64_t>(static_cast<int64_t>(rng.below(600)));
  auto alive = std::make_shared<std::vector<int>>();
  for (int i = 0; i < 3; ++i) alive->push_back(star.add_node());
  star.after_step = [&star, &rng, &kills, next, alive](int64_t step) {
    if (step == 0) *next = static_cast<int64_t>(rng.below(600));
    if (step < *next) return;
    *next = step + 1 + static_cast<int64_t>(rng.below(1200));
    const size_t victim = rng.below(alive->size());
    star.kill((*alive)[victim]);
    alive->erase(alive->begin() + static_cast<int64_t>(victim));
    ++kills;
    while (alive->size() < 2 || (alive->size() < 3 && rng.chance(0.7))) alive->push_back(star.add_node());
  };
}

TEST_F(StarTest, nodes_that_are_killed_at_any_moment_change_no_weights) {
  const auto expected = alone();
  int64_t kills = 0, reissued = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    LocalRun run(top / std::to_string(seed), {});
    Rng rng(seed, "kills");
    Star star(run, seed);
    disturb(star, rng, kills);
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name << " seed " << seed;
    EXPECT_EQ(run.hashes(), expected) << "seed " << seed;
    run.expect_exact_ledgers();
    reissued += star.reissued;
  }
  EXPECT_GT(kills, 10);
  EXPECT_GT(reissued, 10);
}

// Rows of the failure table of docs/operations.md: what happens to one of two nodes in the middle of `rl`, where the seed says.
struct Trouble {
  const char* name;
  std::function<void(Star&, int node)> happens;
  bool lost;  // the head gives its work to others
};

void corrupt_next(Star& star, int wire) {
  star.tamper = [&star, wire](MemoryNet::Way way, WireMessage& message) {
    if (way.wire != wire || message.header.empty()) return true;
    message.header[message.header.size() / 2] ^= 4;
    star.tamper = {};
    return true;
  };
}
void lose_next(Star& star, int wire) {
  star.tamper = [&star, wire](MemoryNet::Way way, WireMessage&) {
    if (way.wire != wire) return true;
    star.tamper = {};
    return false;
  };
}
void cut(Star& star, int node, bool to_head, bool to_node, double seconds) {
  const int wire = star.wire(node);
  if (to_head) star.net().cut(wire, true);
  if (to_node) star.net().cut(wire, false);
  star.after(seconds, [&star, wire] { star.net().heal(wire); });
}

TEST_F(StarTest, whatever_happens_to_a_node_or_its_link_the_weights_are_those_of_one_process) {
  const std::vector<Trouble> table = {
      {"it is stopped for less than a lease",
       [](Star& star, int n) {
         star.stop(n, true);
         star.after(1.5, [&star, n] { star.stop(n, false); });
       },
       false},
      {"it is stopped for longer: what it says then is refused",
       [](Star& star, int n) {
         star.stop(n, true);
         star.after(5, [&star, n] { star.stop(n, false); });
       },
       true},
      {"its link is cut and heals within a lease", [](Star& star, int n) { cut(star, n, true, true, 2); }, false},
      {"its link is cut for longer", [](Star& star, int n) { cut(star, n, true, true, 5); }, true},
      {"it is not heard", [](Star& star, int n) { cut(star, n, true, false, 8); }, true},
      {"it does not hear", [](Star& star, int n) { cut(star, n, false, true, 8); }, true},
      {"it is not heard for less than a lease", [](Star& star, int n) { cut(star, n, true, false, 2); }, false},
      {"its connection is reset", [](Star& star, int n) { star.net().reset(star.wire(n)); }, true},
      {"a message of its link is damaged", [](Star& star, int n) { corrupt_next(star, star.wire(n)); }, true},
      {"a message of its link is lost", [](Star& star, int n) { lose_next(star, star.wire(n)); }, true},
      {"it leaves", [](Star& star, int n) { EXPECT_TRUE(star.node(n).ask_to_leave()); }, false},
      {"it is drained", [](Star& star, int n) { star.members().drain(star.members().list().at(n).peer); }, false},
  };
  const auto expected = alone();
  for (const Trouble& trouble : table) {
    SCOPED_TRACE(trouble.name);
    LocalRun run(top / trouble.name, {});
    Star star(run, 3);
    const int node = star.add_node();
    star.add_node();
    for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
    star.after_step = [&](int64_t step) {
      if (step == 400) trouble.happens(star, node);
    };
    star.job_ns = 100'000'000;
    ASSERT_EQ(star.run_stage("rl"), "");
    EXPECT_EQ(run.hashes().at("rl"), expected.at("rl"));
    run.expect_exact_ledgers();
    EXPECT_EQ(star.lost > 0, trouble.lost) << star.lost << " lost, " << star.reissued << " issued again";
  }
}

TEST_F(StarTest, roles_are_done_by_as_many_nodes_as_the_run_is_scaled_to) {
  const auto expected = alone();
  LocalRun run(top / "run", {});
  Star star(run, 5);
  for (int i = 0; i < 4; ++i) star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  const auto index = [&](const char* id) {
    for (size_t n = 0; n < run.graph.nodes.size(); ++n)
      if (run.graph.nodes[n].id == id) return static_cast<int>(n);
    return -1;
  };
  star.members().scale(index("policy"), 1);
  star.after_step = [&](int64_t step) {
    if (step == 300) star.members().scale(index("policy"), 3);
    if (step == 600) star.members().scale(index("policy"), 2);
    if (step == 900) star.members().scale(index("judge"), 1);
    if (step == 1100) star.members().scale(index("policy"), 0);
  };
  ASSERT_EQ(star.run_stage("rl"), "");
  EXPECT_EQ(run.hashes().at("rl"), expected.at("rl"));
  run.expect_exact_ledgers();
  EXPECT_EQ(star.lost, 0);
}

TEST_F(StarTest, with_staleness_the_replay_of_a_run_whose_nodes_died_is_equal_and_no_token_is_older) {
  int64_t kills = 0;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    LocalRun run(top / std::to_string(seed), {"edge.staleness=2"});
    Rng rng(seed, "kills");
    Star star(run, seed);
    disturb(star, rng, kills);
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name << " seed " << seed;
    run.expect_exact_ledgers();
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
      EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
    const auto summary =
        nlohmann::json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, run.id("rl"), {}, 1));
    EXPECT_LE(summary.at("staleness_max").get<int>(), 2);
  }
  EXPECT_GT(kills, 3);
}

TEST_F(StarTest, a_stage_without_nodes_says_that_it_waits_for_one_and_goes_on_when_it_joins) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  EXPECT_NE(star.run_stage("base").find("base_eval: wait 'worker', for a worker to join"), std::string::npos);
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  star.kill(0);
  EXPECT_NE(star.run_stage("rl").find("policy: wait 'workers', for a worker to join"), std::string::npos);
  star.after_step = [&star](int64_t step) {
    if (step == 200) star.add_node();
  };
  EXPECT_EQ(star.run_stage("rl"), "");
}

TEST_F(StarTest, a_stage_that_no_node_will_come_for_fails_at_once_with_the_reason) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.deserted = "node1 on gpu07: ssh: exit code 255";
  const std::string reason = "no node is left that may do its work, and none will come: node1 on gpu07: ssh: exit code 255";
  EXPECT_EQ(star.run_stage("base").rfind("base_eval: " + reason, 0), 0u);
  star.deserted = "";
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "") << stage;
  star.deserted = "node1 on gpu07: ssh: exit code 255";
  star.after_step = [&star](int64_t step) {
    if (step == 100) star.kill(0);
  };
  const std::string why = star.run_stage("rl");
  EXPECT_NE(why.find(": " + reason), std::string::npos) << why;
}

TEST_F(StarTest, a_pool_that_loses_its_last_node_says_so_once_and_at_once) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  std::vector<std::string> said;
  log_to([&said](LogLevel, std::string_view line) { said.emplace_back(line); });
  star.after_step = [&star](int64_t step) {
    if (step == 100) star.kill(0);
    if (step == 300) star.add_node();
  };
  const std::string end = star.run_stage("rl");
  log_to(nullptr);
  EXPECT_EQ(end, "");
  EXPECT_EQ(std::count(said.begin(), said.end(), "policy: no node is left that may do its work; it waits for one to join"), 1);
}

TEST_F(StarTest, what_a_role_throws_at_a_node_fails_the_stage_and_says_where) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  // The graph that the node reads is another one than the head's: its role is not there.
  star.graph_text("digraph nothing { }");
  const std::string why = star.run_stage("rl");
  EXPECT_NE(why.find("(at n0/"), std::string::npos) << why;
}

TEST_F(StarTest, files_reach_nodes_by_content_and_one_that_is_damaged_in_the_cache_is_fetched_again) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.add_node();
  for (const char* stage : {"base", "sft", "rl", "rejection", "reward"}) ASSERT_EQ(star.run_stage(stage), "") << stage;
  size_t weights = 0;
  for (const auto& entry : std::filesystem::directory_iterator(run.dir / "cache")) {
    const FileFingerprint print = fingerprint_file(entry.path());
    EXPECT_EQ(print.hex(), entry.path().filename().string());
    weights += print.bytes > 10'000;
    write_file_atomically(entry.path(), "damaged");
  }
  EXPECT_GE(weights, 1u) << "the checkpoint that rejection sampling starts from";
  star.kill(0);
  star.add_node();
  EXPECT_EQ(star.run_stage("rl2"), "") << "its judge asks a reward model that the head trained";
}

}  // namespace
}  // namespace r1
