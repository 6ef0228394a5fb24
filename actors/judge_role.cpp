#include "actors/judge_role.h"

#include <fmt/format.h>

#include <deque>
#include <utility>

#include "actors/messages.h"
#include "actors/reward_programs.h"
#include "actors/scored_writer.h"
#include "actors/scorer.h"
#include "actors/stop_attribute.h"

namespace r1 {

namespace {

class JudgeRole final : public Role {
 public:
  explicit JudgeRole(const RunEnv& env) : env_(env) {}

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
          auto programs = open_programs(rewards, program_options(env_.graph_dir, node));
          loaded_ = std::make_unique<Scorer>(std::move(rewards), load_reward_models(env_, context.graph(), node),
                                             std::move(programs));
          if (out_ < 0)
            writer_ = std::make_unique<ScoredWriter>(env_, context.graph(), node, context.store(), context.stage_id());
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
        "commit scores", [this, window] { writer_->commit(*window); },
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
        "write the scored responses", [this] { writer_->write(); },
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

}  // namespace

std::unique_ptr<Role> make_judge_role(const RunEnv& env) { return std::make_unique<JudgeRole>(env); }

}  // namespace r1
