// A registry like that of actors/ (docs/architecture.md section 5), and graphs that use it.
#pragma once

#include <string>

#include "runtime/graph/graph.h"

namespace r1::test {

inline AttrSpec text(std::string name, std::string fallback = "") {
  return {std::move(name), AttrType::text, std::move(fallback)};
}
inline AttrSpec needed(AttrSpec spec) {
  spec.required = true;
  return spec;
}
inline AttrSpec integer(std::string name, std::string fallback, double min) {
  AttrSpec spec{std::move(name), AttrType::integer, std::move(fallback)};
  spec.min = min;
  return spec;
}
inline AttrSpec number(std::string name, std::string fallback, double min, double max) {
  AttrSpec spec{std::move(name), AttrType::number, std::move(fallback)};
  spec.min = min;
  spec.max = max;
  return spec;
}
inline AttrSpec flag(std::string name, std::string fallback) { return {std::move(name), AttrType::flag, std::move(fallback)}; }
inline AttrSpec choice(std::string name, std::vector<std::string> choices) {
  AttrSpec spec{std::move(name), AttrType::choice, choices[0]};
  spec.choices = std::move(choices);
  return spec;
}
inline AttrSpec on_weights(AttrSpec spec) {
  spec.only_carrying = {"weights"};
  return spec;
}

inline PortSpec in(std::string carries, bool required = false, bool many = false) {
  return {.carries = std::move(carries), .input = true, .required = required, .many = many};
}
inline PortSpec out(std::string carries, bool many = false) {
  return {.carries = std::move(carries), .input = false, .many = many};
}
inline PortSpec finished(PortSpec port) {
  port.crosses = true;
  port.inside = false;
  return port;
}
inline PortSpec both(PortSpec port) {
  port.crosses = true;
  return port;
}

inline RoleRegistry roles() {
  const AttrSpec capacity = integer("capacity", "4", 1);
  const AttrSpec staleness = on_weights(integer("staleness", "0", 0)), every = on_weights(integer("every", "0", 0));

  RoleSpec prompter{.name = "prompter", .doc = "draws prompts"};
  prompter.attrs = {needed(text("source")), integer("groups_per_batch", "32", 1)};
  prompter.edge_attrs = {capacity};
  prompter.ports = {out("prompts"), out("examples"), out("pairs")};
  prompter.ports_of = [](const NodePlan& node) {
    const std::string source = node.attrs.text("source");
    return std::vector<PortSpec>{out(source.find("pairs") != std::string::npos      ? "pairs"
                                     : source.find("examples") != std::string::npos ? "examples"
                                                                                    : "prompts")};
  };

  RoleSpec generator{.name = "generator", .doc = "samples completions"};
  generator.attrs = {integer("samples", "1", 1), number("temperature", "1.0", 0, 10), integer("max_tokens", "96", 1),
                     text("on", "auto"), choice("on_flip", {"recompute", "keep", "finish"})};
  generator.edge_attrs = {capacity, staleness};
  generator.ports = {in("prompts", true), in("weights"), finished(in("weights")), out("trajectories")};

  RoleSpec judge{.name = "judge", .doc = "scores trajectories"};
  judge.attrs = {needed(text("rewards")), text("on", "auto")};
  judge.edge_attrs = {capacity, {.name = "as", .only_carrying = {"model"}}};
  judge.ports = {in("trajectories", true), finished(in("model", false, true)), out("scored")};
  judge.check = [](const GraphView&, const NodePlan& node) {
    const std::string rewards = node.attrs.text("rewards");
    if (const size_t at = rewards.find("!!"); at != std::string::npos)
      throw bad_input("expected a reward, found '!!'", node.attrs.where("rewards"), "rewards are accuracy and format");
  };

  RoleSpec filter{.name = "filter", .doc = "keeps what teaches"};
  filter.attrs = {choice("fill", {"shrink", "resample"}), choice("gives", {"groups", "examples"})};
  filter.edge_attrs = {capacity};
  filter.ports = {in("scored", true), out("groups"), out("examples"), both(out("dataset", true))};

  RoleSpec reference{.name = "reference", .doc = "a frozen model"};
  reference.edge_attrs = {capacity, every};
  reference.ports = {in("groups", true), in("weights"), out("groups")};

  RoleSpec trainer{.name = "trainer", .doc = "learns"};
  trainer.attrs = {choice("objective", {"grpo", "sft", "pretrain", "reward_model"}),
                   number("lr", "1e-3", 0, 1),
                   number("kl", "0", 0, 10),
                   text("until", "batches(10)"),
                   flag("exact", "true"),
                   text("on", "auto")};
  trainer.edge_attrs = {capacity, staleness, every};
  trainer.ports = {in("groups"),
                   in("examples"),
                   in("pairs"),
                   finished(in("weights")),
                   finished(in("dataset")),
                   both(out("weights", true)),
                   finished(out("model", true))};

  RoleSpec distiller{.name = "distiller", .doc = "trains a student"};
  distiller.attrs = {number("lr", "1e-3", 0, 1)};
  distiller.ports = {in("examples"), in("trajectories"), finished(in("dataset")), finished(in("weights", true)),
                     both(out("weights", true))};

  RoleSpec evaluator{.name = "evaluator", .doc = "measures"};
  evaluator.attrs = {integer("prompts", "200", 1)};
  evaluator.edge_attrs = {every};
  evaluator.ports = {both(in("weights", true)), out("metrics")};

  RoleSpec model{.name = "model", .doc = "a checkpoint directory"};
  model.attrs = {needed(text("path"))};
  model.ports = {finished(out("weights", true)), finished(out("model", true))};
  RoleSpec dataset{.name = "dataset", .doc = "a JSONL file"};
  dataset.attrs = {needed(text("path"))};
  dataset.ports = {finished(out("dataset", true))};

  RoleRegistry registry;
  registry.roles = {prompter, generator, judge, filter, reference, trainer, distiller, evaluator};
  registry.artifacts = {model, dataset};
  registry.stage_attrs = {integer("max_seconds", "", 1)};
  registry.graph_attrs = {integer("seed", "1", 0), choice("precision", {"bf16", "f32"})};
  return registry;
}

// docs/architecture.md section 4, with the stage that it starts from.
inline const char* kExample = R"dot(digraph example {
  subgraph cluster_cold_start {
    cold_start_data    [role=prompter, source="tiny:examples"];
    cold_start_trainer [role=trainer, objective=sft, lr="1e-3"];
    cold_start_data -> cold_start_trainer;
  }
  subgraph cluster_rl1 {
    label = "RL stage 1: reasoning";
    rl1_prompts [role=prompter,  source="tiny:reasoning", groups_per_batch=32];
    rl1_policy  [role=generator, samples=8, temperature=1.0, max_tokens=96];
    rl1_judge   [role=judge,     rewards="format * (accuracy + 0.2 + 0.2 * language)"];
    rl1_filter  [role=filter,    fill=shrink];
    rl1_ref     [role=reference];
    rl1_trainer [role=trainer,   objective=grpo, lr="2e-4", kl=0.001, until="plateau(reward, 20, 0.005) or batches(160)"];

    rl1_prompts -> rl1_policy -> rl1_judge -> rl1_filter -> rl1_ref -> rl1_trainer;
    rl1_trainer -> rl1_policy [carries=weights, staleness=2];
    rl1_trainer -> rl1_ref    [carries=weights, every=400];
  }
  cold_start_trainer -> rl1_trainer;   // start from those weights, once that stage is complete
}
)dot";

}  // namespace r1::test
