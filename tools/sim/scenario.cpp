#include "tools/sim/scenario.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"

namespace r1 {
namespace {

// Every kind of stage that a fault can hurt in its own way: streamed examples, a finite set in epochs, reinforcement learning
// with a reference that is refreshed, rejection sampling that writes a dataset, a student that reads it.
constexpr const char* kGraph = R"DOT(digraph simulated {{
  graph [seed=5, precision=f32, stall_s=20, job_stall_s=60];
  node [problems=2, max_tokens=12];
  small [kind=model, config="model.json", tokenizer=tiny];

  subgraph cluster_base {{
    corpus       [role=prompter, source="tiny:pretrain"];
    base_trainer [role=trainer, objective=pretrain, batch=4, lr="1e-2", until="batches(3)", snapshot_s="0.05"{base_ranks}];
    base_eval    [role=evaluator, source="tiny:reasoning_test", greedy=false];
    corpus -> base_trainer;
    base_trainer -> base_eval [carries=weights];
  }}
  small -> base_trainer;

  subgraph cluster_sft {{
    docs        [role=prompter, source="tiny:cold_start", count=8];
    sft_trainer [role=trainer, objective=sft, epochs=2, batch=4, lr="1e-2", snapshot_s="0.02"];
    docs -> sft_trainer;
  }}
  base_trainer -> sft_trainer;

  subgraph cluster_rl {{
    prompts    [role=prompter, source="tiny:reasoning", groups_per_batch=3];
    policy     [role=generator, samples=2, temperature=1];
    judge      [role=judge, rewards="0.01 * length + format"];
    groups     [role=filter{filter}];
    reference  [role=reference];
    rl_trainer [role=trainer, objective=grpo, lr="1e-3", kl="0.01", until="batches(6)", snapshot_s="0.05"{rl_ranks}];
    prompts -> policy -> judge -> groups -> reference -> rl_trainer;
    {credits}
    rl_trainer -> policy    [carries=weights, staleness={staleness}];
    rl_trainer -> reference [carries=weights, every=2];
  }}
  sft_trainer -> rl_trainer;

  subgraph cluster_rejection {{
    rs_prompts [role=prompter, source="tiny:reasoning", count=6, groups_per_batch=3];
    rs_policy  [role=generator, samples=2];
    rs_judge   [role=judge, rewards="length"];
    rs_filter  [role=filter, keep="length >= 2", max_per_prompt=2];
    rs_prompts -> rs_policy -> rs_judge -> rs_filter;
  }}
  rl_trainer -> rs_policy;

  subgraph cluster_distill {{
    student [role=distiller, epochs=1, batch=4, lr="1e-3"];
  }}
  small -> student;
  rs_filter -> student;
}}
)DOT";

// Reward models judge, and an evaluator steers: it measures every second version and the trainer waits for it, keeps the best
// and ends by what was measured.
constexpr const char* kJudgedGraph = R"DOT(digraph simulated {{
  graph [seed=5, precision=f32, stall_s=20, job_stall_s=60];
  node [problems=2, max_tokens=12];
  small [kind=model, config="model.json", tokenizer=tiny];

  subgraph cluster_helpful {{
    pairs           [role=prompter, source="tiny:helpful_pairs", count=8];
    helpful_trainer [role=trainer, objective=reward_model, sees=answer, epochs=2, batch=4, lr="1e-2", snapshot_s="0.02"];
    pairs_eval      [role=evaluator, source="tiny:helpful_pairs_test"];
    pairs -> helpful_trainer;
    helpful_trainer -> pairs_eval [carries=weights];
  }}
  small -> helpful_trainer;

  subgraph cluster_rl {{
    prompts    [role=prompter, source="tiny:all_scenarios", groups_per_batch=3];
    policy     [role=generator, samples=2, temperature=1];
    judge      [role=judge, rewards="sigmoid(helpful) + 0.01 * length"];
    groups     [role=filter{filter}];
    rl_trainer [role=trainer, objective=grpo, lr="1e-3", until="above(held_out/reward, 0.115, 2) or batches(6)", snapshot_s="0.05"{rl_ranks}];
    test       [role=evaluator, source="tiny:reasoning_test", every=2, keep=best, rewards="0.01 * length"];
    prompts -> policy -> judge -> groups -> rl_trainer;
    {credits}
    rl_trainer -> policy [carries=weights, staleness={staleness}];
    rl_trainer -> test   [carries=weights];
    test -> rl_trainer;
  }}
  small -> rl_trainer;
  helpful_trainer -> judge [as=helpful];
}}
)DOT";

const char* name(DeathKind kind) {
  return kind == DeathKind::kill ? "kill" : kind == DeathKind::power ? "power cut" : "interrupt";
}
const char* name(LinkFaultKind kind) {
  return kind == LinkFaultKind::lost ? "lost" : kind == LinkFaultKind::twice ? "twice" : "damaged";
}

// Two seeds of five are stars.
constexpr double kAlone = 0.6;
constexpr const char* kNodes = "nodes of the scenario";

// Two stars of five have trainers of two or three ranks.
int64_t ranks_of(uint64_t seed) {
  if (Rng(seed, kNodes).chance(kAlone)) return 1;
  Rng rng(seed, "ranks");
  return rng.chance(0.6) ? 1 : 2 + static_cast<int64_t>(rng.below(2));
}

void add_nodes(Scenario& s) {
  Rng rng(s.seed, kNodes);
  if (rng.chance(kAlone)) return;
  s.nodes = 1 + static_cast<int64_t>(rng.below(4));
  s.bytes = false;  // inside the head; what goes to nodes always is
  for (LinkFault& f : s.link_faults)
    if (f.kind == LinkFaultKind::damaged) f.kind = LinkFaultKind::lost;
  s.by_hand = rng.chance(0.3);
  const auto faults = rng.below(9);
  for (uint64_t i = 0; i < faults; ++i) {
    NodeFault f;
    f.kind = static_cast<NodeFaultKind>(rng.below(11));
    f.n = 1 + static_cast<int64_t>(rng.below(9000));
    f.slot = rng.below(static_cast<uint64_t>(s.nodes));
    f.seconds = rng.uniform() * (rng.chance(0.5) ? 2 : 8);  // shorter than a lease, or longer
    s.node_faults.push_back(f);
  }
  Rng ring(s.seed, "faults of rings");
  const auto ring_faults = s.ranks > 1 ? ring.below(5) : 0;
  for (uint64_t i = 0; i < ring_faults; ++i) {
    NodeFault f;
    f.kind = static_cast<NodeFaultKind>(static_cast<uint64_t>(NodeFaultKind::ring_cut_to_next) + ring.below(5));
    f.n = 1 + static_cast<int64_t>(ring.below(9000));
    f.slot = ring.below(static_cast<uint64_t>(s.nodes));
    f.seconds = ring.uniform() * (ring.chance(0.5) ? 2 : 8);
    s.node_faults.push_back(f);
  }
  std::sort(s.node_faults.begin(), s.node_faults.end(), [](const NodeFault& a, const NodeFault& b) { return a.n < b.n; });
}

}  // namespace

const char* node_fault_name(NodeFaultKind kind) {
  constexpr const char* kNames[] = {"killed",
                                    "stopped",
                                    "cut to the head",
                                    "cut to the node",
                                    "cut both ways",
                                    "reset",
                                    "damaged",
                                    "loses a message",
                                    "says it twice",
                                    "drained",
                                    "scaled",
                                    "rings cut to the next",
                                    "rings cut to the one before",
                                    "rings reset",
                                    "damaged in a ring",
                                    "loses a message of a ring"};
  return kNames[static_cast<int>(kind)];
}

Scenario scenario_of(uint64_t seed) {
  Rng rng(seed, "scenario");
  Scenario s;
  s.seed = seed;
  const auto variant = rng.below(6);
  std::string filter, credits;
  int64_t staleness = 0;
  if (variant == 1) filter = ", fill=resample, max_draws=8", credits = "groups -> policy;";
  if (variant == 2 || variant == 3) staleness = 1 + static_cast<int64_t>(rng.below(2));
  if (variant == 4) filter = ", order=arrival", staleness = 1;
  if (variant == 5) filter = ", fill=resample, max_draws=8", credits = "groups -> policy;", staleness = 1;
  const char* const graph = Rng(seed, "graph").chance(0.2) ? kJudgedGraph : kGraph;
  s.ranks = ranks_of(seed);
  const std::string ranks = s.ranks > 1 ? fmt::format(", ranks={}", s.ranks) : "";
  const auto whose = Rng(seed, "whose ranks").below(3);  // 0: those of the RL stage alone, 1: of another, 2: of both
  s.graph = fmt::format(fmt::runtime(graph), fmt::arg("filter", filter), fmt::arg("credits", credits),
                        fmt::arg("staleness", staleness), fmt::arg("rl_ranks", whose == 1 && graph == kGraph ? "" : ranks),
                        fmt::arg("base_ranks", whose == 0 ? "" : ranks));
  s.staleness = staleness;
  s.exact = staleness == 0;
  if (rng.chance(0.3)) s.settings.push_back("graph.parallel_stages=2");
  s.bytes = rng.chance(0.5);
  s.message_ns = rng.chance(0.5) ? 0 : 1 + static_cast<int64_t>(rng.below(20'000'000));
  s.job_ns = 1 + static_cast<int64_t>(rng.below(rng.chance(0.2) ? 300'000'000 : 20'000'000));
  const char* nodes[] = {"policy", "judge", "reference", "rl_trainer", "groups", ""};
  if (rng.chance(0.3)) s.slow_node = nodes[rng.below(6)];
  const auto deaths = rng.below(5);
  for (uint64_t i = 0; i < deaths; ++i) {
    Death d;
    d.kind = rng.chance(0.1) ? DeathKind::interrupt : rng.chance(0.5) ? DeathKind::kill : DeathKind::power;
    d.at_sync = d.kind != DeathKind::interrupt && rng.chance(0.5);
    d.n = 1 + static_cast<int64_t>(rng.below(d.at_sync ? 100 : 1200));
    s.deaths.push_back(d);
  }
  const auto links = rng.below(4);
  for (uint64_t i = 0; i < links; ++i)
    s.link_faults.push_back({static_cast<LinkFaultKind>(rng.below(s.bytes ? 3 : 2)), 1 + static_cast<int64_t>(rng.below(700))});
  const auto engines = rng.below(3);
  for (uint64_t i = 0; i < engines; ++i) s.engine_faults.push_back(1 + static_cast<int64_t>(rng.below(120)));
  add_nodes(s);
  return s;
}

Scenario Scenario::undisturbed() const {
  Scenario s = *this;
  s.deaths.clear();
  s.link_faults.clear();
  s.engine_faults.clear();
  s.node_faults.clear();
  s.nodes = 0;
  s.broken = {};
  s.broken_admission = false;
  return s;
}

std::string Scenario::graph_key() const { return graph; }

std::string Scenario::text() const {
  std::string out = fmt::format("{}, {}", exact ? "staleness 0" : "staleness above 0", bytes ? "as bytes" : "handed over");
  for (const std::string& setting : settings) out += ", " + setting;
  if (!slow_node.empty()) out += ", slow " + slow_node;
  for (const Death& d : deaths) out += fmt::format(", {} {} {}", name(d.kind), d.at_sync ? "before sync" : "after step", d.n);
  for (const LinkFault& f : link_faults) out += fmt::format(", message {} {}", f.n, name(f.kind));
  if (nodes > 0) out += fmt::format(", {} nodes{}", nodes, by_hand ? " started by hand" : "");
  if (ranks > 1) out += fmt::format(", {} ranks", ranks);
  for (const NodeFault& f : node_faults)
    out += fmt::format(", node {} {} after step {} for {:.1f} s", f.slot, node_fault_name(f.kind), f.n, f.seconds);
  for (const int64_t n : engine_faults) out += fmt::format(", engine call {} fails", n);
  return out;
}

std::string simulated_model_config() {
  return R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 400, "hidden_size": 8,
  "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8,
  "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 100.0, "tie_word_embeddings": true,
  "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})";
}

}  // namespace r1
