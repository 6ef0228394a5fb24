#include "actors/judge_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "actors/graph_checks.h"
#include "actors/messages.h"
#include "actors/metric_table.h"
#include "actors/placed_attrs.h"
#include "actors/reward_programs.h"
#include "actors/scored_writer.h"
#include "actors/scorer.h"
#include "actors/stop_attribute.h"
#include "rewards/expression.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

class JudgeRole final : public Role {
 public:
  explicit JudgeRole(const RunEnv& env) : env_(env) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    const auto outputs = context.outputs("scored");
    if (!outputs.empty()) out_ = outputs[0];
    busy_ = true;
    context.submit(
        "load rewards", "",
        [this, &context] {
          const NodePlan& node = context.node();
          auto rewards = RewardExpression::parse(node.attrs.text("rewards"), node.attrs.where("rewards"));
          tokenizer_ = node_tokenizer(env_, context.graph(), node);
          auto programs = open_programs(rewards, run_program_options(env_, node));
          loaded_ = std::make_unique<Scorer>(std::move(rewards), load_reward_models(env_, context.graph(), node),
                                             std::move(programs));
          if (out_ < 0) writer_ = std::make_unique<ScoredWriter>(env_, context.graph(), node, context.recovered());
          if (const NodePlan* generator = stage_node(context.graph(), node.stage, "generator"))
            loaded_->stop_at(node_stop_texts(*generator, *tokenizer_));
        },
        [this, &context] {
          busy_ = false;
          scorer_ = std::move(loaded_);
          if (writer_ && writer_->complete()) write(context);
          for (auto& group : std::exchange(early_, {})) scorer_->add(std::move(group));
          pump(context);
        });
  }

  // The engine takes what arrives while it is at work: a program that is slow with one group is not idle for the others.
  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    in_ = edge;
    ++open_;
    auto group = std::dynamic_pointer_cast<const TrajectoriesMessage>(payload);
    if (scorer_)
      scorer_->add(std::move(group));
    else
      early_.push_back(std::move(group));
    pump(context);
  }
  void on_room(RoleContext& context, int) override { pump(context); }
  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    if (scorer_) scorer_->wake();
    if (!busy_) context.finish();
  }
  std::string inspect() const override { return fmt::format(R"({{"groups":{}}})", open_); }

 private:
  void pump(RoleContext& context) {
    if (ended_) {
      if (!busy_) context.finish();
      return;
    }
    while (!outbox_.empty() && (out_ < 0 || context.room(out_) > 0)) {
      if (out_ < 0)
        writer_->add(std::static_pointer_cast<const ScoredMessage>(outbox_.front()));
      else
        context.send(out_, outbox_.front());
      outbox_.pop_front();
      context.release(in_);
    }
    if (writer_) commit(context);
    if (busy_ || !outbox_.empty() || open_ == 0) return;
    auto scored = std::make_shared<std::vector<PayloadPtr>>();
    busy_ = true;
    context.submit(
        fmt::format("score {} groups", open_), "judge",
        [this, scored] {
          for (Scorer::GroupScores& scores : scorer_->next(*tokenizer_)) {
            auto m = std::make_shared<ScoredMessage>();
            m->group = std::move(scores.group);
            m->responses = std::move(scores.responses);
            m->scores = std::move(scores.scores);
            scored->push_back(std::move(m));
          }
        },
        [this, &context, scored] {
          busy_ = false;
          open_ -= static_cast<int64_t>(scored->size());
          outbox_.insert(outbox_.end(), scored->begin(), scored->end());
          pump(context);
        });
  }

  // Without anybody to give them to: the groups of a window become durable together, and the last one ends the stage.
  void commit(RoleContext& context) {
    if (committing_ || !scorer_) return;
    auto window = std::make_shared<std::vector<ScoredWriter::Scored>>(writer_->next_window());
    if (window->empty()) {
      if (!writer_->complete())
        context.wait_for("window", fmt::format("for the groups of the next window: {} are scored", writer_->held()), "");
      return;
    }
    context.wait_over("window");
    committing_ = true;
    context.submit_io(
        "commit scores", [this, &context, window] { writer_->commit(*window, context.records(), context.journal()); },
        [this, &context] {
          committing_ = false;
          context.progress(fmt::format("prompts {}/{}", writer_->drawn(), writer_->total()));
          if (writer_->complete()) return write(context);
          pump(context);
        });
  }

  void write(RoleContext& context) {
    committing_ = true;
    context.submit_io(
        "write the scored responses", [this, &context] { writer_->write(context.journal()); },
        [&context] { dynamic_cast<StageControl&>(context).end_stage(); });
  }

  RunEnv env_;
  int in_ = -1, out_ = -1;  // out_ < 0: scores are written by the judge itself
  bool busy_ = false, ended_ = false, committing_ = false;
  int64_t open_ = 0;                                               // groups that are here and not scored
  std::vector<std::shared_ptr<const TrajectoriesMessage>> early_;  // that came before the rewards were loaded
  std::deque<PayloadPtr> outbox_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Scorer> loaded_, scorer_;
  std::unique_ptr<ScoredWriter> writer_;
};

// Every name is recorded with the statistics of its batch and can stand in `until`, so it has to be told from theirs.
void check_recorded(const RewardExpression& expression, const Where& where) {
  const auto& rules = rule_names();
  for (const std::string& name : expression.variables())
    if (batch_metric(name) != nullptr && std::find(rules.begin(), rules.end(), name) == rules.end())
      throw bad_input(fmt::format("'{}' is the name of a batch's own metric, and cannot be a reward beside it", name), where,
                      "rename the field of the prompts, or the model's as=NAME");
}

// A punishment that begins behind the longest completion is a slip.
void check_overlong(const GraphView& graph, const NodePlan& judge, const RewardExpression& rewards) {
  const NodePlan* generator = stage_node(graph, judge.stage, "generator");
  if (generator == nullptr) return;
  const auto longest = static_cast<double>(generator->attrs.integer("max_tokens"));
  for (const OverlongUse& use : rewards.overlongs())
    if (use.max - use.cache >= longest)
      throw bad_input(fmt::format("overlong punishes completions of more than {} tokens, but '{}' stops at max_tokens={}",
                                  use.max - use.cache, generator->id, longest),
                      use.where, fmt::format("overlong(length, {0}, {1})", longest, std::ceil(longest / 4)));
}

// A judge without a filter writes its scores, and needs to know when it has all.
void check_written_scores(const GraphView& graph, const NodePlan& judge) {
  if (!writes_scores(graph, judge)) return;
  if (const NodePlan* trainer = stage_trainer(graph, judge.stage))
    throw bad_input(fmt::format("'{}' gives its scores to nobody, but '{}' is to learn in this stage", judge.id, trainer->id),
                    judge.where, fmt::format("a filter between them: {} -> FILTER -> {};", judge.id, trainer->id));
  const NodePlan* prompter = stage_node(graph, judge.stage, "prompter");
  if (prompter == nullptr || prompter->attrs.integer("count") == 0)
    throw bad_input(fmt::format("'{}' writes the scored responses, which need an end: how many prompts are drawn", judge.id),
                    prompter != nullptr ? prompter->where : judge.where, "add count=1000 to the prompter");
}

void check_judge(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const RewardExpression rewards = check_expression(graph_dir, graph, node, "rewards");
  check_overlong(graph, node, rewards);
  check_recorded(rewards, attr_place(node, "rewards"));
  check_judge_programs(graph_dir, graph, node);
  check_written_scores(graph, node);
  check_reward_models(graph, node);
  if (const NodePlan* trainer = stage_trainer(graph, node.stage); trainer != nullptr)
    check_varies(graph, node, "rewards",
                 fmt::format("'{}' learns from their differences, and would learn nothing", trainer->id));
  if (reward_model_names(graph, node).empty())
    refuse_without_effect(node, "on", "where no reward model computes: rules and programs are not on devices", "remove it");
  if (writes_scores(graph, node))
    refuse_without_effect(node,
                          node.attrs.text("host") == "head" ? std::vector<std::string>{"tags", "replicas"}
                                                            : std::vector<std::string>{"host", "tags", "replicas"},
                          "on a judge that writes its scores itself: it stays with the head", "remove it");
}

}  // namespace

RoleKind judge_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "judge";
  r.spec.doc = "scores completions with rules, reward models and programs";
  r.spec.attrs = {
      required_text("rewards",
                    "an expression: \"format * (accuracy + 0.2 * language)\"; names: rules, facts, models (as=NAME); "
                    "functions: min, max, abs, sigmoid, clamp, if, overlong(length, MAX, CACHE) (DAPO); programs: "
                    "command('python3 my_reward.py'), http('http://127.0.0.1:8000/score') (docs/rewards.md)"),
      changeable(number("max_reward_errors", "0.01", 0, 1,
                        "share of the groups (at least one) whose rewards may fail to be numbers; until a group is kept none "
                        "may, unless it is 1"))};
  add_specs(program_table(), r.spec.attrs);
  r.spec.attrs.push_back(on());
  for (AttrSpec& attr : placed()) r.spec.attrs.push_back(std::move(attr));
  r.spec.edge_attrs = {capacity(), model_name()};
  r.spec.ports = {takes("trajectories", true), takes_finished("model", true), gives("scored")};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) { check_judge(graph_dir, graph, node); };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<JudgeRole>(env); };
  return r;
}

}  // namespace r1
