#include "actors/training_attrs.h"

#include <fmt/format.h>

#include <utility>

#include "actors/config_table.h"
#include "actors/graph_checks.h"
#include "actors/placed_attrs.h"
#include "actors/role_kind.h"
#include "actors/training_plan.h"
#include "base/rng.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using namespace spec;

AttrSpec only(std::vector<std::string> objectives, AttrSpec attr) {
  return only_with("objective", std::move(objectives), std::move(attr));
}
AttrSpec grpo(AttrSpec attr) { return only({"grpo"}, std::move(attr)); }
AttrSpec muon(AttrSpec attr) { return only_with("optimizer", {"muon"}, std::move(attr)); }

// What the stage is; no engine sees it.
std::vector<AttrSpec> stage_attrs() {
  return {
      changeable(
          text("until", "",
               "when the stage ends: batches(N), plateau(METRIC, WINDOW, EPSILON, MIN), tokens(N), ... joined by and/or")),
      integer("epochs", "0", 0, 1'000'000, "passes over a finite set of examples; 0: take them as they come"),
      only({"pretrain", "sft", "reward_model"},
           integer("batch", "32", 1, 1 << 20, "examples (or pairs) a batch; of groups: the prompter's groups_per_batch")),
      changeable(number(
          "min_trained", "0.01", 0, 1,
          "the stage fails when it trained on a smaller share of its groups (or examples); nothing at all always fails")),
      changeable(integer("idle_batches", "50", 0, 1'000'000'000,
                         "the stage ends and fails after so many batches in a row that taught nothing; 0: never")),
      changeable(number("snapshot_s", "10", 0, 1e6,
                        "seconds of training between snapshots of the trainer's state, at least; 0: one after every batch")),
      changeable(number("snapshot_share", "0.01", 1e-6, 1,
                        "snapshots come so rarely that training stands still for them no more than this share of its time")),
      changeable(integer("keep_versions", "0", 0, 1'000'000,
                         "versions/STAGE: so many of the last versions of the weights can be made again (r1-convert --at)")),
      choice("save_dtype", "none", {"none", "f32", "f16", "bf16"},
             "exports/STAGE: the trained model once more in this type, for transformers; checkpoints/STAGE is f32 always"),
      only({"reward_model"},
           choice("sees", "response", {"answer", "response"}, "its judge shows it the final answer, or the whole response"))};
}

// Combinations of grpo's attributes without a meaning (docs/grpo.md).
void check_grpo_attrs(const GraphView& graph, const NodePlan& node) {
  const Attrs& a = node.attrs;
  const auto refuse = [&](const std::string& what, const char* attr, const std::string& hint) {
    throw bad_input(what, attr_place(node, attr), hint);
  };
  const NodePlan* filter = stage_node(graph, node.stage, "filter");
  const bool resamples = filter != nullptr && filter->attrs.text("fill") == "resample";
  const bool sequence = a.text("ratio") == "sequence", cispo = a.text("clip") == "cispo", decoupled = a.flag("decoupled");
  if (sequence && cispo)
    refuse("clip=cispo weighs every token by its own ratio, ratio=sequence has none", "clip", "ratio=token, or clip=ppo");
  if (sequence && a.text("loss_mean") != "sequence")
    refuse(fmt::format("ratio=sequence treats a sequence as one, loss_mean={} does not", a.text("loss_mean")), "loss_mean",
           "loss_mean=sequence");
  if (!decoupled && a.text("behave_above") == "mask")
    refuse("behave_above=mask is about the importance weights of decoupled=true", "behave_above", "add decoupled=true");
  if (!decoupled && a.text("behave_cap") != a.fallback.at("behave_cap"))
    refuse("behave_cap bounds the importance weights of decoupled=true", "behave_cap", "add decoupled=true");
  if (a.text("mean_over") == "all" && resamples)
    refuse("mean_over=all counts the groups with equal rewards, and fill=resample draws others in their place", "mean_over",
           "mean_over=kept");
  if (decoupled && a.number("behave_cap") <= 0)
    refuse("behave_cap=0 leaves no importance weight", "behave_cap", "behave_cap=2");
}

// A reward model that starts from another one goes on with what that one sees.
void check_sees(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const NodePlan& origin = model_origin(graph, node);
  std::string sees;
  if (origin.artifact)
    sees = model_config(graph_dir, origin).sees;
  else if (origin.attrs.text("objective") == "reward_model")
    sees = origin.attrs.text("sees");
  if (!sees.empty() && sees != node.attrs.text("sees"))
    throw bad_input(
        fmt::format("'{}' goes on with the reward model '{}', which was trained with sees={}", node.id, origin.id, sees),
        attr_place(node, "sees"), fmt::format("sees={}", sees));
}

void check_mtp(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  if (!node.attrs.flag("mtp")) return refuse_without_effect(node, "mtp_weight", "with mtp=false", "add mtp=true");
  if (node.attrs.number("mtp_weight") <= 0)
    throw bad_input("mtp=true needs a positive mtp_weight", attr_place(node, "mtp_weight"), "mtp_weight=\"0.3\"");
  need_mtp_module(graph_dir, graph, node, "mtp");
}

void check_experts(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const NodePlan& model = model_root(graph, node);
  if (model_config(graph_dir, model).moe.experts > 0) return;
  for (const char* attr : {"bias_update_rate", "balance_loss"})
    refuse_without_effect(node, attr, fmt::format("on model '{}', which has no experts", model.id), "remove it");
}

// A schedule that ends with the stage needs to know when that is; a mini-batch has at least one sequence.
void check_steps(const GraphView& graph, const NodePlan& node) {
  const Attrs& a = node.attrs;
  if (a.text("schedule") != "constant" && a.integer("epochs") == 0 && parse_until(graph, node).batch_limit() == 0)
    throw bad_input(fmt::format("schedule={} ends with the stage, and `until` does not say after how many batches at most",
                                a.text("schedule")),
                    attr_place(node, "schedule"), "until=\"... or batches(500)\", or schedule=constant");
  int64_t sequences = a.integer("batch");
  if (a.text("objective") == "grpo") {
    const NodePlan* generator = stage_node(graph, node.stage, "generator");
    if (generator == nullptr) return;
    sequences = stage_window(graph, node.stage) * generator->attrs.integer("samples");
  }
  if (const int64_t parts = a.integer("mini_batches"); parts > sequences)
    throw bad_input(fmt::format("'{}' cannot make {} mini-batches of a batch of {}", node.id, parts, sequences),
                    attr_place(node, "mini_batches"), fmt::format("mini_batches={} at most", sequences));
}

void check_places(const NodePlan& node) {
  if (node.attrs.integer("ranks") > 1 || node.attrs.text("host") == "head") return;
  refuse_without_effect(node, std::vector<std::string>{"host", "tags"}, "with ranks=1: that is where ranks but the first live",
                        "ranks=2, or remove it");
}

}  // namespace

const ConfigTable<TrainerConfig>& update_table() {
  using C = TrainerConfig;
  static const ConfigTable<C> kTable = {
      chooses(required(choice("objective", "", {"pretrain", "sft", "grpo", "reward_model"}, "what is learned")), &C::objective,
              {Objective::pretrain, Objective::sft, Objective::grpo, Objective::reward_model}),
      sets(choice("optimizer", "adamw", {"adamw", "muon"}, "muon: matrices by Muon, the rest by AdamW"), &C::optimizer),
      sets(journaled(number("lr", "1e-3", 1e-12, 1e30, "learning rate of AdamW")), &C::lr),
      sets(journaled(number("beta1", "0.9", 0, 0.9999, "AdamW")), &C::beta1),
      sets(journaled(number("beta2", "0.95", 0, 0.999999, "AdamW")), &C::beta2),
      sets(journaled(number("eps", "1e-8", 1e-30, 1, "AdamW")), &C::eps),
      sets(journaled(number("weight_decay", "0", 0, 100, "AdamW, decoupled")), &C::weight_decay),
      sets(journaled(number("clip_norm", "1", 0, 1e9, "largest global gradient norm; 0: off")), &C::clip_norm),
      sets(muon(journaled(number("muon_lr", "0.02", 1e-12, 1e30, "learning rate of Muon"))), &C::muon_lr),
      sets(muon(journaled(number("muon_momentum", "0.95", 0, 0.9999, "Muon"))), &C::muon_momentum),
      sets(muon(journaled(number("muon_weight_decay", "0.1", 0, 100, "Muon, decoupled"))), &C::muon_weight_decay),
      chooses(journaled(choice("schedule", "constant", {"constant", "cosine", "linear"}, "of the learning rate after warm-up")),
              &C::schedule, {Schedule::constant, Schedule::cosine, Schedule::linear}),
      sets(only_with("schedule", {"cosine", "linear"},
                     journaled(number("lr_end", "0", 0, 1, "share of the learning rate at the end of the schedule"))),
           &C::lr_end),
      sets(journaled(integer("warmup", "0", 0, 1'000'000'000, "optimizer steps of linear warm-up")), &C::warmup_steps),
      sets(integer("mini_batches", "1", 1, 65536, "optimizer steps a batch"), &C::mini_batches),
      sets(integer("micro_batch_tokens", "1024", 16, 1 << 24, "packed tokens of one forward and backward pass; a prompt counts once for its completions"),
           &C::micro_batch_tokens),
      sets(changeable(flag("recompute", "false",
                           "keep only what goes into each layer and compute the rest again in the backward pass (gradient "
                           "checkpointing): less memory, the same weights")),
           &C::recompute),
      sets(integer("ranks", "1", 1, 64,
                   "engines that share each mini-batch's micro-batches and the optimizer: data parallel, on CPUs"),
           &C::ranks),
      sets(journaled(number("bias_update_rate", "0.001", 0, 1,
                            "experts: step of the selection bias after each optimizer step; 0: off")),
           &C::bias_update_rate),
      sets(journaled(number("balance_loss", "1e-4", 0, 1000, "experts: coefficient of the sequence-wise balance loss; 0: off")),
           &C::balance_loss),
      sets(only({"pretrain"}, flag("mtp", "false", "train the model's multi-token prediction module too")), &C::mtp),
      sets(only({"pretrain"}, journaled(number("mtp_weight", "0.3", 0, 1000, "mtp: factor on its loss"))), &C::mtp_weight),
      chooses(
          grpo(choice("ratio", "token", {"token", "sequence"}, "importance ratio of each token, or of the sequence (GSPO)")),
          &C::ratio, {Ratio::token, Ratio::sequence}),
      chooses(grpo(choice("clip", "ppo", {"ppo", "cispo"},
                          "beyond the bounds a token teaches nothing (ppo), or with the clipped weight (cispo)")),
              &C::clip, {Clip::ppo, Clip::cispo}),
      sets(grpo(journaled(number("clip_low", "0.2", 0, 1000, "ratios are clipped at 1 - clip_low"))), &C::clip_low),
      sets(grpo(journaled(number("clip_high", "0.2", 0, 1000, "ratios are clipped at 1 + clip_high"))), &C::clip_high),
      sets(grpo(journaled(number("kl", "0", 0, 1000, "coefficient of the k3 KL term to the reference"))), &C::kl),
      chooses(grpo(choice("loss_mean", "sequence", {"sequence", "token", "constant"},
                          "mean per sequence first, or over all tokens (DAPO), or sum / (sequences x max_tokens) (Dr.GRPO)")),
              &C::loss_mean, {LossMean::sequence, LossMean::token, LossMean::constant}),
      sets(grpo(integer("inner_epochs", "1", 1, 1024, "passes over a batch")), &C::inner_epochs),
      sets(grpo(flag("shuffle", "true", "mini_batches > 1: cut them in a random order, or in the order of the draws")),
           &C::shuffle),
      sets(grpo(flag("decoupled", "false", "proximal log-probabilities at the start of a batch (for stale data)")),
           &C::decoupled),
      sets(grpo(journaled(number("behave_cap", "5", 0, 1e6, "decoupled: largest importance weight"))), &C::behave_cap),
      chooses(
          grpo(choice("behave_above", "cap", {"cap", "mask"}, "decoupled: larger weights become behave_cap (TIS), or 0 (MIS)")),
          &C::behave_mask, {false, true}),
      sets(only({"reward_model"}, number("score_l2", "0", 0, 1000, "coefficient of score^2")), &C::score_l2)};
  return kTable;
}

const ConfigTable<LayoutRules>& layout_table() {
  using C = LayoutRules;
  static const ConfigTable<C> kTable = {
      chooses(grpo(choice("advantage", "std", {"std", "mean"},
                          "(reward - mean of the group) / its deviation, or not divided (mean: Dr.GRPO)")),
              &C::by_deviation, {true, false}),
      chooses(grpo(choice("mean_over", "kept", {"kept", "all"},
                          "groups with equal rewards are left out of the loss's mean, or count in it (TRL)")),
              &C::mean_over_all, {false, true}),
      sets(grpo(flag("mask_truncated", "false", "completions that ran into max_tokens are left out of the loss (DAPO)")),
           &C::mask_truncated)};
  return kTable;
}

std::vector<AttrSpec> training_attrs() {
  std::vector<AttrSpec> attrs;
  add_specs(update_table(), attrs);
  add_specs(layout_table(), attrs);
  for (AttrSpec& attr : stage_attrs()) attrs.push_back(std::move(attr));
  attrs.push_back(on());
  for (AttrSpec& attr : ranks_placed()) attrs.push_back(std::move(attr));
  return attrs;
}

std::vector<AttrSpec> distilling_attrs() {
  std::vector<AttrSpec> attrs = training_attrs();
  attrs.front() = choice("objective", "sft", {"sft"}, "what is learned");
  return attrs;
}

TrainerConfig trainer_config(const RunEnv& env, const GraphView& graph, const NodePlan& node, int64_t batches) {
  TrainerConfig c;
  configure(update_table(), node.attrs, c);
  if (batches == 0) batches = parse_until(graph, node).batch_limit();
  c.total_steps = batches * c.mini_batches * c.inner_epochs;
  c.shuffle_key = rng_key(env.seed, "shuffle " + graph.stages[node.stage].name);
  c.precision = env.precision;
  if (const NodePlan* generator = stage_node(graph, node.stage, "generator")) {
    c.temperature = generator->attrs.number("temperature");
    c.longest_completion = generator->attrs.integer("max_tokens");
  }
  return c;
}

LayoutRules layout_rules(const NodePlan& trainer) {
  LayoutRules rules;
  configure(layout_table(), trainer.attrs, rules);
  rules.stride = trainer.attrs.text("objective") == "reward_model" ? 2 : 1;
  rules.every_token = trainer.attrs.text("objective") == "pretrain";
  return rules;
}

void check_training_attrs(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const std::string objective = node.attrs.text("objective");
  if (objective == "grpo") check_grpo_attrs(graph, node);
  if (objective == "reward_model") check_sees(graph_dir, graph, node);
  check_mtp(graph_dir, graph, node);
  check_experts(graph_dir, graph, node);
  check_steps(graph, node);
  check_places(node);
}

}  // namespace r1
