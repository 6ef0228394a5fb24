#include "actors/roles.h"

#include <fmt/format.h>

#include <map>

#include "actors/attribute_ranges.h"
#include "actors/changed_run.h"
#include "actors/evaluator_role.h"
#include "actors/filter_role.h"
#include "actors/generator_role.h"
#include "actors/graph_checks.h"
#include "actors/judge_role.h"
#include "actors/model_checks.h"
#include "actors/prompter_role.h"
#include "actors/reference_role.h"
#include "actors/reward_programs.h"
#include "actors/size_checks.h"
#include "actors/stop_attribute.h"
#include "actors/trainer_role.h"
#include "tasks/source.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

constexpr const char* kStopHelp =
    "texts that end a completion: one as it stands, or several in single quotes and with commas; \\n is a new line";

AttrSpec text(const char* name, const char* fallback, const char* doc) {
  return {name, AttrType::text, fallback, false, doc, {}, {}, {}};
}
AttrSpec required_text(const char* name, const char* doc) { return {name, AttrType::text, "", true, doc, {}, {}, {}}; }
AttrSpec integer(const char* name, const char* fallback, double min, const char* doc) {
  return {name, AttrType::integer, fallback, false, doc, min, {}, {}};
}
AttrSpec number(const char* name, const char* fallback, double min, const char* doc) {
  return {name, AttrType::number, fallback, false, doc, min, {}, {}};
}
AttrSpec flag(const char* name, const char* fallback, const char* doc) {
  return {name, AttrType::flag, fallback, false, doc, {}, {}, {}};
}
AttrSpec choice(const char* name, const char* fallback, std::vector<std::string> choices, const char* doc) {
  return {name, AttrType::choice, fallback, false, doc, {}, {}, std::move(choices)};
}

// Ports.
PortSpec takes(const char* carries, bool required = false, bool many = false) {
  return {carries, true, required, many, false, true};
}
PortSpec takes_finished(const char* carries, bool many = false) { return {carries, true, false, many, true, false}; }
PortSpec takes_weights(Versions versions) {
  PortSpec port = takes("weights");
  port.versions = versions;
  return port;
}
PortSpec gives(const char* carries, bool many = false) { return {carries, false, false, many, false, true}; }
PortSpec gives_finished(const char* carries) { return {carries, false, false, true, true, false}; }

AttrSpec carried(AttrSpec attr, std::vector<std::string> kinds) {
  attr.only_carrying = std::move(kinds);
  return attr;
}
AttrSpec staleness() { return carried(integer("staleness", "0", 0, "versions a trained token may be old"), {"weights"}); }
AttrSpec every() {
  return carried(integer("every", "0", 0, "refresh the reference every so many versions; 0: never"), {"weights"});
}
AttrSpec model_name() { return carried(text("as", "", "the name of a reward model in a judge's `rewards`"), {"model"}); }
AttrSpec capacity() { return integer("capacity", "64", 1, "messages that may be on the way before the sender waits"); }

RoleSpec prompter(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "prompter";
  r.doc = "draws prompts, examples or pairs from a source";
  r.attrs = {
      required_text("source",
                    "where they come from: a built-in source (tiny:reasoning, ...) or jsonl:PATH (relative to the graph file)"),
      integer("groups_per_batch", "32", 1, "prompts drawn for one batch"),
      integer("count", "0", 0, "how many to draw; 0: endless, or the whole file"),
      choice("too_long", "drop", {"drop", "error"},
             "prompts that leave no room in the model: dropped as too_long, or an error (longer examples always are)")};
  r.edge_attrs = {capacity()};
  r.ports = {gives("prompts"), gives("examples"), gives("pairs")};
  r.ports_of = [graph_dir](const NodePlan& node) {
    const RecordKind kind = checked_source_kind(graph_dir, node, node.attrs.text("source"));
    return std::vector<PortSpec>{gives(kind == RecordKind::prompt    ? "prompts"
                                       : kind == RecordKind::example ? "examples"
                                                                     : "pairs")};
  };
  r.check = [](const GraphView& graph, const NodePlan& node) {
    check_taken(graph, node, {"prompts", "examples", "pairs"}, "an edge to a generator, or to a trainer");
  };
  return r;
}

RoleSpec generator(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "generator";
  r.doc = "samples groups of completions with continuous batching";
  r.attrs = {
      integer("samples", "8", 1, "completions per prompt (G)"),
      number("temperature", "1", 0, "of sampling; 0: greedy"),
      integer("max_tokens", "96", 1, "longest completion, tokens"),
      text("stop", "", kStopHelp),
      integer("top_k", "0", 0, "0: off"),
      {"top_p", AttrType::number, "1", false, "1: off", 0.0, 1.0, {}},
      flag("allow_truncated", "false", "train on samples of a truncated distribution (top_k, top_p) all the same"),
      choice("on_flip", "recompute", {"recompute", "keep", "finish"},
             "what happens to running samples when new weights arrive"),
      integer("max_running", "256", 1, "sequences decoded at once"),
      flag("draft", "false", "the model's multi-token prediction module guesses ahead: the same tokens in fewer decode steps")};
  r.edge_attrs = {capacity(), staleness()};
  r.ports = {takes("prompts", true), takes_weights(Versions::each), takes("credits"), takes_finished("model"),
             gives("trajectories")};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_generator(graph, node);
    parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
    check_model_use(graph_dir, graph, node);
    check_draft(graph_dir, graph, node);
  };
  return r;
}

// Of roles whose `rewards` may ask programs.
std::vector<AttrSpec> program_attrs() {
  return {integer("reward_workers", "0", 0, "processes of a command, connections to an address; 0: one a core, 16"),
          number("reward_timeout_s", "10", 0.01, "seconds that a program may take for one completion"),
          number("reward_start_s", "60", 0, "seconds more for the first one after a command was started"),
          integer("reward_retries", "1", 0,
                  "times that a completion is tried again when a program hung, died or answered nonsense")};
}

RoleSpec judge(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "judge";
  r.doc = "scores completions with rules, reward models and programs";
  r.attrs = {required_text("rewards",
                           "an expression: \"format * (accuracy + 0.2 * language)\"; names: rules, facts, models (as=NAME); "
                           "functions: min, max, abs, sigmoid, clamp, if, overlong(length, MAX, CACHE) (DAPO); programs: "
                           "command('python3 my_reward.py'), http('http://127.0.0.1:8000/score') (docs/rewards.md)"),
             {"max_reward_errors",
              AttrType::number,
              "0.01",
              false,
              "share of the groups (at least one) whose rewards may fail to be numbers; until a group is kept none may, unless "
              "it is 1",
              0.0,
              1.0,
              {}}};
  for (const AttrSpec& a : program_attrs()) r.attrs.push_back(a);
  r.edge_attrs = {capacity(), model_name()};
  r.ports = {takes("trajectories", true), takes_finished("model", true), gives("scored")};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) { check_judge(graph_dir, graph, node); };
  return r;
}

RoleSpec filter(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "filter";
  r.doc = "drops what teaches nothing and forms batches, or keeps the best completions as a dataset";
  r.attrs = {choice("fill", "shrink", {"shrink", "resample"},
                    "groups with equal rewards leave their batch smaller, or are drawn again (then add: filter -> generator)"),
             integer("max_draws", "0", 0, "fill=resample: draws that one batch may take; 0: 4 x groups_per_batch"),
             choice("order", "draw", {"draw", "arrival"},
                    "batches form in draw order, or as groups arrive (late ones are dropped as stale)"),
             text("keep", "accuracy * format", "in front of a dataset: completions for which this is not 0 are kept"),
             integer("max_per_prompt", "2", 1, "in front of a dataset: distinct completions kept of a prompt")};
  r.edge_attrs = {capacity()};
  r.ports = {takes("scored", true), gives("groups"), gives("credits"), gives_finished("dataset")};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) { check_filter(graph_dir, graph, node); };
  return r;
}

RoleSpec reference(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "reference";
  r.doc = "adds a frozen model's log-probabilities for the KL term";
  r.edge_attrs = {capacity(), every()};
  r.ports = {takes("groups", true), takes_weights(Versions::every), takes_finished("model"), gives("groups")};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_taken(graph, node, {"groups"}, "an edge to a trainer");
    check_model_use(graph_dir, graph, node);
  };
  return r;
}

std::vector<AttrSpec> training_attrs() {
  return {
      text("until", "",
           "when the stage ends: batches(N), plateau(METRIC, WINDOW, EPSILON, MIN), tokens(N), ... joined by and/or"),
      integer("epochs", "0", 0, "passes over a finite set of examples; 0: take them as they come"),
      integer("batch", "32", 1, "examples (or pairs) a batch; grpo: see the prompter's groups_per_batch"),
      choice("optimizer", "adamw", {"adamw", "muon"}, "muon: matrices by Muon, the rest by AdamW"),
      number("lr", "1e-3", 0, "learning rate of AdamW"),
      number("beta1", "0.9", 0, "AdamW"),
      number("beta2", "0.95", 0, "AdamW"),
      number("eps", "1e-8", 0, "AdamW"),
      number("weight_decay", "0", 0, "AdamW, decoupled"),
      number("clip_norm", "1", 0, "largest global gradient norm; 0: off"),
      number("muon_lr", "0.02", 0, "learning rate of Muon"),
      number("muon_momentum", "0.95", 0, "Muon"),
      number("muon_weight_decay", "0.1", 0, "Muon, decoupled"),
      choice("schedule", "constant", {"constant", "cosine", "linear"}, "of the learning rate after warm-up"),
      number("lr_end", "0", 0, "share of the learning rate at the end of the schedule"),
      integer("warmup", "0", 0, "optimizer steps of linear warm-up"),
      integer("mini_batches", "1", 1, "optimizer steps a batch"),
      integer("micro_batch_tokens", "1024", 16, "packed tokens of one forward and backward pass"),
      number("bias_update_rate", "0.001", 0, "experts: step of the selection bias after each optimizer step; 0: off"),
      number("balance_loss", "1e-4", 0, "experts: coefficient of the sequence-wise balance loss; 0: off"),
      flag("mtp", "false", "pretrain: train the model's multi-token prediction module too"),
      number("mtp_weight", "0.3", 0, "mtp: factor on its loss"),
      {"min_trained",
       AttrType::number,
       "0.01",
       false,
       "the stage fails when it trained on a smaller share of its groups (or examples); nothing at all always fails",
       0.0,
       1.0,
       {}},
      integer("idle_batches", "50", 0, "the stage ends and fails after so many batches in a row that taught nothing; 0: never"),
      number("snapshot_s", "10", 0, "seconds of training between snapshots of the trainer's state"),
      choice("save_dtype", "none", {"none", "f32", "f16", "bf16"},
             "exports/STAGE: the trained model once more in this type, for transformers; checkpoints/STAGE is f32 always")};
}

// docs/grpo.md says which of them make which published variant.
std::vector<AttrSpec> grpo_attrs() {
  return {
      choice("advantage", "std", {"std", "mean"},
             "grpo: (reward - mean of the group) / its deviation, or not divided (mean: Dr.GRPO)"),
      choice("ratio", "token", {"token", "sequence"}, "grpo: importance ratio of each token, or of the sequence (GSPO)"),
      choice("clip", "ppo", {"ppo", "cispo"},
             "grpo: beyond the bounds a token teaches nothing (ppo), or with the clipped weight (cispo)"),
      number("clip_low", "0.2", 0, "grpo: ratios are clipped at 1 - clip_low"),
      number("clip_high", "0.2", 0, "grpo: ratios are clipped at 1 + clip_high"),
      number("kl", "0", 0, "grpo: coefficient of the k3 KL term to the reference"),
      choice("loss_mean", "sequence", {"sequence", "token", "constant"},
             "grpo: mean per sequence first, or over all tokens (DAPO), or sum / (sequences x max_tokens) (Dr.GRPO)"),
      choice("mean_over", "kept", {"kept", "all"},
             "grpo: groups with equal rewards are left out of the loss's mean, or count in it (TRL)"),
      integer("inner_epochs", "1", 1, "grpo: passes over a batch"),
      flag("shuffle", "true", "grpo, mini_batches > 1: cut them in a random order, or in the order of the draws"),
      flag("mask_truncated", "false", "grpo: completions that ran into max_tokens are left out of the loss (DAPO)"),
      flag("decoupled", "false", "grpo: proximal log-probabilities at the start of a batch (for stale data)"),
      number("behave_cap", "5", 0, "grpo, decoupled: largest importance weight"),
      choice("behave_above", "cap", {"cap", "mask"}, "grpo, decoupled: larger weights become behave_cap (TIS), or 0 (MIS)")};
}

RoleSpec trainer(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "trainer";
  r.doc = "learns: commits a batch, takes optimizer steps, publishes a version";
  r.attrs = training_attrs();
  r.attrs.insert(
      r.attrs.begin(),
      {"objective", AttrType::choice, "", true, "what is learned", {}, {}, {"pretrain", "sft", "grpo", "reward_model"}});
  for (const AttrSpec& a : grpo_attrs()) r.attrs.push_back(a);
  r.attrs.push_back(choice("sees", "response", {"answer", "response"},
                           "reward_model: its judge shows it the final answer, or the whole response"));
  r.attrs.push_back(number("score_l2", "0", 0, "reward_model: coefficient of score^2"));
  r.edge_attrs = {capacity(), every(), staleness(), model_name()};
  r.ports = {
      takes("groups"),         takes("examples", false, true), takes("pairs", false, true), takes_finished("dataset", true),
      takes_finished("model"), gives("weights", true),         gives_finished("model"),     takes("metrics", false, true)};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_trainer(graph_dir, graph, node);
    check_model_use(graph_dir, graph, node);
    check_mtp(graph_dir, graph, node);
  };
  return r;
}

RoleSpec distiller(const fs::path& graph_dir) {
  RoleSpec r = trainer(graph_dir);
  r.name = "distiller";
  r.doc = "trains a student on a teacher's curated answers (supervised, as in the paper)";
  r.attrs = training_attrs();
  r.attrs.insert(r.attrs.begin(), choice("objective", "sft", {"sft"}, "what is learned"));
  for (const AttrSpec& a : grpo_attrs()) r.attrs.push_back(a);
  r.attrs.push_back(choice("sees", "response", {"response"}, "reward models only"));
  r.attrs.push_back(number("score_l2", "0", 0, "reward models only"));
  return r;
}

RoleSpec evaluator(const fs::path& graph_dir) {
  RoleSpec r;
  r.name = "evaluator";
  r.doc = "measures a stage's first and last weights on held-out prompts";
  r.attrs = {
      required_text("source", "held-out prompts or pairs; several separated by commas"),
      integer("problems", "1500", 1, "prompts of each source"),
      integer("problems_before", "0", 0, "the same for the first weights (random ones teach little); 0: as `problems`"),
      integer("samples", "1", 1, "completions per prompt; above 1 also cons@k"),
      number("temperature", "1", 0, "of sampling"),
      {"top_p", AttrType::number, "1", false, "1: off", 0.0, 1.0, {}},
      flag("greedy", "true", "a second pass with argmax"),
      integer("max_tokens", "96", 1, "longest completion, tokens"),
      text("stop", "", kStopHelp),
      integer("max_running", "256", 1, "sequences decoded at once"),
      text("rewards", "", "an expression as of a judge: its mean and that of every name in it are measured too"),
      integer("every", "0", 0,
              "batches between measurements on the way, for which the trainer waits (then add: evaluator -> trainer); 0: none"),
      choice("keep", "last", {"last", "best"},
             "best: the version with the highest `metric` is kept beside the last one, in checkpoints/STAGE-best"),
      text("metric", "", "keep=best: the metric that decides; default: reward, or accuracy without `rewards`"),
      integer("keep_samples", "8", 0, "prompts of each source whose responses are kept (r1-run --samples, the report)")};
  for (const AttrSpec& a : program_attrs()) r.attrs.push_back(a);
  r.edge_attrs = {capacity(), model_name()};
  r.ports = {takes_weights(Versions::last), takes_finished("model", true), gives("metrics")};
  r.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_evaluator(graph_dir, graph, node);
    parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
    check_model_use(graph_dir, graph, node);
  };
  return r;
}

RoleSpec model_artifact() {
  RoleSpec r;
  r.name = "model";
  r.doc = "a model: a Hugging Face directory, a GGUF file, or random weights for a config.json";
  r.attrs = {
      text("path", "", "a Hugging Face model directory, or a GGUF file"),
      text("config", "", "a config.json to start from random weights"),
      text("tokenizer", "", "a tokenizer.json, or tiny; default: the one of path"),
      text("template", "auto", "its chat template: auto (its files' own), none, or a built-in one (llama3, chatml, ...)")};
  r.ports = {gives_finished("model")};
  r.ports[0].inside = true;
  return r;
}

RoleSpec dataset_artifact() {
  RoleSpec r;
  r.name = "dataset";
  r.doc = "examples as JSON lines (docs/data.md)";
  r.attrs = {required_text("path", "the file"),
             text("template", "auto", "the chat template it is read with: auto (the model's), none, or a built-in one")};
  r.ports = {gives_finished("dataset")};
  r.ports[0].inside = true;
  return r;
}

}  // namespace

RoleRegistry role_registry(const std::filesystem::path& graph_dir) {
  RoleRegistry registry;
  registry.roles = {prompter(graph_dir),  generator(graph_dir), judge(graph_dir),     filter(graph_dir),
                    reference(graph_dir), trainer(graph_dir),   distiller(graph_dir), evaluator(graph_dir)};
  registry.artifacts = {model_artifact(), dataset_artifact()};
  registry.artifacts[0].check = [graph_dir](const GraphView&, const NodePlan& node) { check_model_artifact(graph_dir, node); };
  registry.artifacts[1].check = [graph_dir](const GraphView&, const NodePlan& node) {
    check_dataset_artifact(graph_dir, node);
  };
  registry.graph_attrs = {
      integer("seed", "0", 0, "of everything random"),
      choice("precision", "auto", {"auto", "f32", "bf16"}, "of weights and activations"),
      text("device", "cpu", "where ops run"),
      integer("parallel_stages", "1", 1, "independent stages that may run at the same time"),
      text("tracker", "", "command(PROGRAM ...): is told every batch's metrics as JSON lines (docs/formats.md)"),
      number("stall_s", "60", 0.1, "seconds without progress before a stall is reported"),
      number("job_stall_s", "900", 0.1, "seconds that one piece of work may take"),
      integer("max_restarts", "3", 0, "restarts of a failed stage without progress in between")};
  give_ranges(registry);
  add_size_checks(registry, graph_dir);
  mark_changeable(registry);
  return registry;
}

RoleRegistry recorded_role_registry(const std::filesystem::path& graph_dir,
                                    const std::map<std::string, std::string>& source_kinds) {
  RoleRegistry registry = role_registry(graph_dir);
  for (auto* specs : {&registry.roles, &registry.artifacts})
    for (RoleSpec& role : *specs) {
      role.check = {};
      if (role.ports_of)
        role.ports_of = [source_kinds, before = role.ports_of](const NodePlan& node) {
          const auto known = source_kinds.find(node.attrs.text("source"));
          return known == source_kinds.end() ? before(node) : std::vector<PortSpec>{gives(known->second.c_str())};
        };
    }
  return registry;
}

RoleFactory role_factory(const RunEnv& env) {
  using Make = std::unique_ptr<Role> (*)(const RunEnv&);
  static const std::map<std::string, Make> makers = {{"prompter", make_prompter_role},   {"generator", make_generator_role},
                                                     {"judge", make_judge_role},         {"filter", make_filter_role},
                                                     {"reference", make_reference_role}, {"trainer", make_trainer_role},
                                                     {"distiller", make_trainer_role},   {"evaluator", make_evaluator_role}};
  return [env](const GraphView&, const NodePlan& node) { return makers.at(node.role)(env); };
}

EvaluationSpec evaluation_spec(const RunEnv& env, const NodePlan& node) {
  EvaluationSpec spec;
  spec.sources = split_sources(node.attrs.text("source"));
  spec.problems = node.attrs.integer("problems");
  spec.samples = node.attrs.integer("samples");
  spec.temperature = node.attrs.number("temperature");
  spec.top_p = node.attrs.number("top_p");
  spec.rewards = node.attrs.text("rewards");
  spec.rewards_where = attr_place(node, "rewards");
  spec.programs = program_options(env.graph_dir, node);
  spec.keep_samples = node.attrs.integer("keep_samples");
  spec.greedy = node.attrs.flag("greedy");
  spec.max_tokens = node.attrs.integer("max_tokens");
  spec.max_running = node.attrs.integer("max_running");
  spec.stop = parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
  spec.seed = env.seed;
  return spec;
}

}  // namespace r1
