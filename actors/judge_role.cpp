#include "actors/judge_role.h"

#include <fmt/format.h>

#include <deque>

#include "actors/messages.h"
#include "actors/scorer.h"

namespace r1 {

namespace {

constexpr size_t kGroupsPerJob = 16;

class JudgeRole final : public Role {
 public:
  explicit JudgeRole(const RunEnv& env) : env_(env) {}

  void start(RoleContext& context) override {
    out_ = context.outputs("scored").at(0);
    busy_ = true;
    context.submit(
        "load rewards", "",
        [this, &context] {
          const NodePlan& node = context.node();
          tokenizer_ = node_tokenizer(env_, context.graph(), node);
          scorer_ = std::make_unique<Scorer>(RewardExpression::parse(node.attrs.text("rewards"), node.attrs.where("rewards")),
                                             load_reward_models(env_, context.graph(), node));
        },
        [this, &context] {
          busy_ = false;
          pump(context);
        });
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    in_ = edge;
    waiting_.push_back(std::dynamic_pointer_cast<const TrajectoriesMessage>(payload));
    pump(context);
  }
  void on_room(RoleContext& context, int) override { pump(context); }
  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    if (!busy_) context.finish();
  }

 private:
  void pump(RoleContext& context) {
    if (busy_) return;
    if (ended_) return context.finish();
    while (!outbox_.empty() && context.room(out_) > 0) {
      context.send(out_, outbox_.front());
      outbox_.pop_front();
      context.release(in_);
    }
    if (!outbox_.empty() || waiting_.empty()) return;
    auto groups = std::make_shared<std::vector<std::shared_ptr<const TrajectoriesMessage>>>();
    while (!waiting_.empty() && groups->size() < kGroupsPerJob) {
      groups->push_back(waiting_.front());
      waiting_.pop_front();
    }
    auto scored = std::make_shared<std::vector<PayloadPtr>>();
    busy_ = true;
    context.submit(
        fmt::format("score {} groups", groups->size()), "judge",
        [this, groups, scored] {
          auto scores = scorer_->score(*groups, *tokenizer_);
          for (size_t g = 0; g < groups->size(); ++g) {
            auto m = std::make_shared<ScoredMessage>();
            m->group = (*groups)[g];
            m->responses = std::move(scores[g].responses);
            m->scores = std::move(scores[g].scores);
            scored->push_back(std::move(m));
          }
        },
        [this, &context, scored] {
          busy_ = false;
          outbox_.insert(outbox_.end(), scored->begin(), scored->end());
          pump(context);
        });
  }

  RunEnv env_;
  int in_ = -1, out_ = -1;
  bool busy_ = false, ended_ = false;
  std::deque<std::shared_ptr<const TrajectoriesMessage>> waiting_;
  std::deque<PayloadPtr> outbox_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Scorer> scorer_;
};

}  // namespace

std::unique_ptr<Role> make_judge_role(const RunEnv& env) { return std::make_unique<JudgeRole>(env); }

}  // namespace r1
