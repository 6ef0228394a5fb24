// A run store as a run would leave it, without a run: a graph of four stages and made-up batches, completions and metrics.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "actors/codec.h"
#include "actors/roles.h"
#include "actors/summary.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"
#include "tests/source_dir.h"
#include "tools/report/page.h"

namespace r1::report {

inline constexpr const char* kFixtureGraph = R"dot(digraph fixture {
  graph [seed=7];
  nano [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_base {
    corpus       [role=prompter, source="tiny:pretrain"];
    base_trainer [role=trainer, objective=pretrain, batch=4, lr="1e-3", until="batches(30)"];
    corpus -> base_trainer;
    base_eval [role=evaluator, source="tiny:reasoning_test"];
    base_trainer -> base_eval [carries=weights];
  }
  nano -> base_trainer;
  subgraph cluster_plain {
    label = "RL <script>alert('label')</script>";
    a_prompts [role=prompter, source="tiny:reasoning", groups_per_batch=2];
    a_policy  [role=generator, samples=2];
    a_judge   [role=judge, rewards="accuracy"];
    a_filter  [role=filter];
    a_trainer [role=trainer, objective=grpo, lr="1e-3", until="batches(5)"];
    a_prompts -> a_policy -> a_judge -> a_filter -> a_trainer;
    a_trainer -> a_policy [carries=weights, staleness=2];
    a_eval [role=evaluator, source="tiny:reasoning_test"];
    a_trainer -> a_eval [carries=weights];
  }
  base_trainer -> a_trainer;
  subgraph cluster_spoken {
    b_prompts [role=prompter, source="tiny:reasoning", groups_per_batch=2];
    b_policy  [role=generator, samples=2];
    b_judge   [role=judge, rewards="accuracy + 0.2 * language"];
    b_filter  [role=filter];
    b_trainer [role=trainer, objective=grpo, lr="1e-3", until="batches(5)"];
    b_prompts -> b_policy -> b_judge -> b_filter -> b_trainer;
    b_trainer -> b_policy [carries=weights, staleness=2];
    b_eval [role=evaluator, source="tiny:reasoning_test"];
    b_trainer -> b_eval [carries=weights];
  }
  base_trainer -> b_trainer;
  subgraph cluster_taught {
    docs    [role=prompter, source="tiny:cold_start", count=8];
    student [role=distiller, epochs=1, batch=4, lr="1e-3"];
    docs -> student;
    student_eval [role=evaluator, source="tiny:reasoning_test"];
    student -> student_eval [carries=weights];
  }
  base_trainer -> student;
}
)dot";

struct RunFixture {
  RunFixture() {
    graph_dir = source_dir() / "tests/e2e/graphs";
    registry = role_registry(graph_dir);
    graph = load_graph_text(kFixtureGraph, "fixture", registry);
    write_file_atomically(dir.path() / "graph.graph", graph_dot(graph, registry, false));
    store = RunStore::open(dir.path());
    store->set_meta("graph_dir", graph_dir.string());
    store->set_meta("machine", "2 cores, a <made-up> machine, 3 GiB");
    store->set_meta("fingerprint", "r1 test; cpu; f32");
  }

  // One sequence: `prompt`, then `completion` sampled under `version`.
  std::string sequence(const std::string& prompt, const std::string& completion, int64_t version) const {
    const RunEnv env{dir.path(), graph_dir};
    const auto tokenizer = node_tokenizer(env, graph, *graph.node("a_trainer"));
    Sequence s;
    s.tokens = tokenizer->encode(prompt, false);
    const size_t prompt_tokens = s.tokens.size();
    for (const int32_t id : tokenizer->encode(completion, false)) s.tokens.push_back(id);
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      const bool sampled = i >= prompt_tokens;
      s.trainable.push_back(sampled);
      s.behaviour_logp.push_back(sampled ? -0.7f * static_cast<float>(i - prompt_tokens) : 0);
      s.version.push_back(sampled ? version : -1);
      s.exact.push_back(sampled);
    }
    return encode_sequence(s);
  }

  // Commits batches `first` ... `end` - 1: two draws each, the second dropped for equal rewards.
  void rl_batches(const std::string& stage, int64_t first, int64_t end) {
    const int64_t id = store->ensure_stage(stage);
    store->set_stage_status(id, StageStatus::running);
    for (int64_t v = first; v < end; ++v) {
      std::vector<TrajectoryRow> rows;
      for (const int64_t draw : {2 * v, 2 * v + 1}) {
        store->add_draw(id, draw, draw);
        for (int sample = 0; sample < 2; ++sample)
          rows.push_back(
              {draw, sample, 0.5, R"({"accuracy":0.5,"language":0.25})",
               sequence("<bos> <user> compute 4 9 - 2 9 <asst>", "<think> so two . </think> <answer> 2 0 </answer> <eos>", v)});
      }
      nlohmann::json stats = {{"reward", 0.1 + 0.01 * static_cast<double>(v)},
                              {"accuracy", 0.5},
                              {"language", 0.25},
                              {"length", 9},
                              {"age", 1},
                              {"age_max", 2},
                              {"kept", 1},
                              {"dropped", 1},
                              {"tokens", 40},
                              {"entropy", 0.5},
                              {"kl", 0.01},
                              {"logprob_gap_max", 0.0},
                              {"logprob_gap_tokens", 17},
                              {"grad_norm", 1.5},
                              {"clip_fraction", 0}};
      if (moe) {
        stats["expert_load"] = {{0.7, 0.1, 0.1, 0.1}, {0.25, 0.25, 0.25, 0.25}};
        stats["expert_load_max"] = 2.8;
        stats["expert_bias_spread"] = 0.02;
      }
      store->commit_batch(id, {v, false, "payload", stats.dump()}, {{2 * v, v, ""}, {2 * v + 1, -1, "equal_rewards"}}, rows);
      store->add_version(id, v, "hash");
    }
  }

  void examples(const std::string& stage, int64_t end) {
    const int64_t id = store->ensure_stage(stage);
    store->set_stage_status(id, StageStatus::running);
    for (int64_t v = 0; v < end; ++v)
      store->commit_batch(
          id, {v, false, "payload", fmt::format(R"({{"loss":{},"lr":0.001,"tokens":100,"grad_norm":1}})", 6.0 / (v + 1))}, {},
          {});
  }

  void measure(const std::string& stage, const std::string& when, double accuracy) {
    const int64_t id = store->ensure_stage(stage);
    const auto evaluator = stage_node(graph, static_cast<int>(graph.stage(stage) - graph.stages.data()), "evaluator");
    store->add_evaluation(id,
                          {evaluator->id, when, when == "before" ? 0 : store->batch_count(id), stage + " " + when,
                           fmt::format(R"({{"accuracy":{},"accuracy_greedy":{},"format":0.9,"language":0.8,"length":12.5}})",
                                       accuracy, accuracy)},
                          {});
  }

  void complete(const std::string& stage) {
    const int64_t id = store->ensure_stage(stage);
    StageTimes times;
    times.seconds = 12;
    times.overlap_s = 3;
    times.compute_cpu_s = 6;
    times.idle_s = 1.2;
    times.engine_s = {{"trainer", 9}};
    store->set_stage_times(id, times.json());
    store->complete_stage(id, stage_summary(graph, *graph.stage(stage), *store, id, times, 2));
  }

  // Everything, as after a whole run.
  void run_all() {
    measure("base", "before", 0.0);
    examples("base", 30);
    measure("base", "after", 0.123);
    complete("base");
    for (const auto& [stage, after] : {std::pair{"plain", 0.4}, {"spoken", 0.456}}) {
      measure(stage, "before", 0.123);
      rl_batches(stage, 0, 5);
      measure(stage, "after", after);
      complete(stage);
    }
    measure("taught", "before", 0.123);
    examples("taught", 2);
    measure("taught", "after", 0.789);
    complete("taught");
  }

  std::string page(const std::string& dot = "no-such-program-as-dot") {
    return ReportWriter(graph, registry, *store, dir.path(), graph_dir, dot).page();
  }

  TemporaryDirectory dir;
  std::filesystem::path graph_dir;
  RoleRegistry registry;
  GraphView graph;
  std::unique_ptr<RunStore> store;
  bool moe = false;
};

}  // namespace r1::report
