#include "actors/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "actors/evaluation_metrics.h"
#include "actors/examples.h"
#include "actors/reward_programs.h"
#include "actors/role_kind.h"
#include "actors/stop_attribute.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "models/engines.h"
#include "models/generation/stop_texts.h"
#include "rewards/metrics.h"
#include "rewards/rules.h"
#include "tasks/chat_template.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

constexpr size_t kGroupsScoredTogether = 16;

// Of one source under way: samples, then scores, and gives on what is complete in the order of prompts.
class SourcePass {
 public:
  SourcePass(const RunEnv& env, const EvaluationSpec& spec, const std::string& source, bool greedy, const EvaluatedModel& model,
             Scorer* scorer, const EvaluationHooks& hooks)
      : spec_(spec),
        greedy_(greedy),
        model_(model),
        scorer_(scorer),
        hooks_(hooks),
        engine_(env.engines->sampler("evaluation", config(spec), model.weights, 0)) {
    out_.name = source;
    if (!spec.stop.empty()) stops_ = std::make_shared<const StopTexts>(*model.tokenizer, spec.stop);
    if (scorer != nullptr) {
      scorer->stop_at(stops_);
      expression_.emplace(RewardExpression::parse(spec.rewards, spec.rewards_where));
    }
    submit(env);
  }

  EvaluatedSource run() {
    while (engine_->pending() > 0) {
      next_unit();
      for (GenResult& r : engine_->step()) take(std::move(r));
      report();
    }
    score();
    report();
    return std::move(out_);
  }

 private:
  static GeneratorConfig config(const EvaluationSpec& spec) {
    GeneratorConfig c;
    c.max_running = spec.max_running;
    c.max_rows = spec.max_running;
    return c;
  }

  void submit(const RunEnv& env) {
    const auto source = open_data(env, located_source(out_.name, env.graph_dir), spec_.seed, {.chat = spec_.chat});
    int64_t n = spec_.problems;
    if (source->size()) n = std::min<int64_t>(n, static_cast<int64_t>(*source->size()));
    const int64_t positions = model_.weights->config().max_positions;
    for (int64_t i = 0; i < n; ++i) {
      next_unit();
      EvaluatedPrompt asked{i, source->prompt(static_cast<uint64_t>(i)), {}};
      GenRequest r;
      r.id = out_.prompts.size();
      r.rng_key = rng_key(spec_.seed, "evaluate " + out_.name, static_cast<uint64_t>(i));
      r.prompt = model_.tokenizer->encode(asked.prompt.text, false);
      r.samples = greedy_ ? 1 : static_cast<int>(spec_.samples);
      r.max_new_tokens = spec_.max_tokens;
      r.temperature = greedy_ ? 0.f : static_cast<float>(spec_.temperature);
      r.top_p = greedy_ ? 1.f : static_cast<float>(spec_.top_p);
      r.stop_ids = model_.weights->config().eos_ids;
      r.stop_texts = stops_;
      if (static_cast<int64_t>(r.prompt.size()) >= positions) {
        ++out_.too_long;
        continue;
      }
      auto message = std::make_shared<PromptMessage>();
      message->draw = message->prompt_index = i;
      message->text = asked.prompt.text;
      message->tokens = r.prompt;
      message->facts = asked.prompt.facts;
      message->conversation = asked.prompt.conversation;
      asked_.push_back(std::move(message));
      out_.prompts.push_back(std::move(asked));
      engine_->submit(std::move(r));
    }
  }

  void take(GenResult&& r) {
    auto group = std::make_shared<TrajectoriesMessage>();
    group->prompt = asked_[r.id];
    group->samples = std::move(r.samples);
    group->finished = std::move(r.finished);
    groups_.push_back(std::move(group));
    places_.push_back(r.id);
    if (groups_.size() >= kGroupsScoredTogether) score();
  }

  void score() {
    std::vector<Scorer::GroupScores> scores;
    if (scorer_ != nullptr && !groups_.empty()) scores = scorer_->score(groups_, *model_.tokenizer);
    for (size_t g = 0; g < groups_.size(); ++g) {
      const TrajectoriesMessage& group = *groups_[g];
      for (size_t i = 0; i < group.samples.size(); ++i) {
        EvaluatedResponse& response = out_.prompts[places_[g]].responses.emplace_back();
        response.sample = greedy_ ? -1 : static_cast<int>(i);
        response.tokens = group.sampled_tokens(i);
        response.finished = group.finished[i] != 0;
        if (scorer_ == nullptr) {
          response.text =
              completion_of(group.samples[i], group.prompt->tokens.size(), response.finished, *model_.tokenizer, stops_.get())
                  .text;
        } else {
          response.text = std::move(scores[g].responses[i].text);
          response.score = std::move(scores[g].scores[i]);
          leave_out_comparisons(out_.prompts[places_[g]].input(i), response.score);
        }
      }
      ++answered_;
      asked_[places_[g]].reset();
    }
    groups_.clear();
    places_.clear();
    for (; given_ < out_.prompts.size() && asked_[given_] == nullptr; ++given_)
      if (hooks_.answered) hooks_.answered(out_.name, out_.prompts[given_]);
  }

  // A rule that compares with answers says nothing of a response to a prompt that has none (0 would be a measurement), nor does
  // a reward that asked it.
  void leave_out_comparisons(const RewardInput& in, SampleScore& score) const {
    if (!score.reward || !in.fact("answers").empty()) return;
    bool compared = false;
    expression_->evaluate([&](const std::string& name) {
      compared = compared || compares_with_answers(name);
      const auto part = score.parts.find(name);
      return part != score.parts.end() ? part->second : rule_value(name, in).value_or(0);
    });
    if (!compared) return;
    score.reward.reset();
    std::erase_if(score.parts, [](const auto& part) { return compares_with_answers(part.first); });
  }

  void report() {
    if (!hooks_.progress) return;
    // Groups that wait for their scores are answered, to whoever looks.
    hooks_.progress({answered_ + static_cast<int64_t>(groups_.size()), static_cast<int64_t>(out_.prompts.size()),
                     engine_->stats().tokens_generated});
  }

  const EvaluationSpec& spec_;
  const bool greedy_;
  const EvaluatedModel& model_;
  Scorer* scorer_;
  std::optional<RewardExpression> expression_;  // with a scorer
  const EvaluationHooks& hooks_;
  std::shared_ptr<const StopTexts> stops_;
  std::unique_ptr<Sampler> engine_;
  EvaluatedSource out_;
  std::vector<std::shared_ptr<const PromptMessage>> asked_;         // by place; null: answered
  std::vector<std::shared_ptr<const TrajectoriesMessage>> groups_;  // without scores
  std::vector<size_t> places_;                                      // of those
  size_t given_ = 0;
  int64_t answered_ = 0;
};

void measure_pairs(const RunEnv& env, const EvaluationSpec& spec, const EvaluatedModel& evaluated,
                   const std::vector<std::string>& sources, std::map<std::string, double>& out) {
  const auto& config = evaluated.weights->config();
  const auto engine = env.engines->frozen("evaluation", evaluated.weights);
  RewardModel model;
  model.sees_answer = config.sees == "answer";
  model.tokenizer = evaluated.tokenizer;
  double all_right = 0, all = 0;
  const std::vector<std::string> labels = source_labels(sources);
  for (size_t s = 0; s < sources.size(); ++s) {
    const auto source = open_data(env, located_source(sources[s], env.graph_dir), spec.seed, {.chat = spec.chat});
    std::vector<std::vector<int32_t>> shown;
    int64_t n = spec.problems;
    if (source->size()) n = std::min<int64_t>(n, static_cast<int64_t>(*source->size()));
    for (int64_t i = 0; i < n; ++i) {
      next_unit();
      const Pair p = source->pair(static_cast<uint64_t>(i));
      const auto fits = [&](const std::vector<int32_t>& tokens) {
        return !tokens.empty() && static_cast<int64_t>(tokens.size()) <= config.max_positions;
      };
      auto chosen = shown_tokens(model, p.prompt, p.chosen), rejected = shown_tokens(model, p.prompt, p.rejected);
      if (!fits(chosen) || !fits(rejected)) continue;
      shown.push_back(std::move(chosen));
      shown.push_back(std::move(rejected));
    }
    if (const auto fitting = static_cast<int64_t>(shown.size()) / 2; fitting < n) {
      out["too_long"] += static_cast<double>(n - fitting);
      n = fitting;
    }
    if (n == 0) continue;
    const std::vector<float> scores = engine->scores(shown);
    double right = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float c = scores[static_cast<size_t>(2 * i)], r = scores[static_cast<size_t>(2 * i + 1)];
      if (!std::isfinite(c) || !std::isfinite(r))
        throw failure(fmt::format("the reward model scores pair {} of {} with {} and {}", i, sources[s], c, r));
      right += c > r ? 1 : c == r ? 0.5 : 0;
    }
    if (sources.size() > 1) out[labels[s] + "/pair_accuracy"] = right / static_cast<double>(n);
    all_right += right;
    all += static_cast<double>(n);
  }
  if (all > 0) out["pair_accuracy"] = all_right / all;
}

// The first response of each of the first prompts, and the greedy one behind it.
EvaluatedSource kept_of(const EvaluatedSource& sampled, const EvaluatedSource* greedy, int64_t prompts) {
  EvaluatedSource kept;
  kept.name = sampled.name;
  for (size_t i = 0; i < std::min(sampled.prompts.size(), static_cast<size_t>(prompts)); ++i) {
    const EvaluatedPrompt& from = sampled.prompts[i];
    EvaluatedPrompt& p = kept.prompts.emplace_back(EvaluatedPrompt{from.index, from.prompt, {from.responses.at(0)}});
    if (greedy != nullptr) p.responses.push_back(greedy->prompts.at(i).responses.at(0));
  }
  return kept;
}

// A response without a reward is one that was not measured: the first is told. Throws failure where none has one.
void check_rewards(const std::vector<EvaluatedSource>& sources) {
  int64_t all = 0, without = 0;
  std::string first;
  for (const EvaluatedSource& s : sources)
    for (const EvaluatedPrompt& p : s.prompts)
      for (const EvaluatedResponse& r : p.responses) {
        ++all;
        if (r.score.error.empty() || ++without > 1) continue;
        first = fmt::format("evaluation on {}: prompt {} has a response without a reward: {}", s.name, p.index, r.score.error);
      }
  if (without == 0) return;
  if (without == all) throw failure(fmt::format("no response has a reward: nothing was measured; {}", first));
  log_warn(first);
}

}  // namespace

std::string EvaluationSpec::key() const {
  std::string s;
  for (const auto& source : sources) s += source + ";";
  for (const auto& text : stop) s += fmt::format("stop{}:{};", text.size(), text);
  s += fmt::format("{}n{} k{} T{} g{} m{} s{}", s, problems, samples, temperature, greedy, max_tokens, seed);
  return s + fmt::format(" p{} h{} {} {}", top_p, keep_samples, chat ? chat->name() : "", rewards);
}

RewardInput EvaluatedPrompt::input(size_t response) const {
  const EvaluatedResponse& r = responses.at(response);
  RewardInput in;
  in.prompt = prompt.text;
  in.response = r.text;
  in.facts = &prompt.facts;
  in.finished = r.finished;
  in.tokens = r.tokens;
  return in;
}

std::optional<bool> is_correct(const RewardInput& in, const SampleScore& score) {
  if (!has_answer(in)) return std::nullopt;
  for (const char* rule : {"math", "choice", "exact"})
    if (const auto part = score.parts.find(rule); part != score.parts.end()) return part->second == 1;
  return accuracy_reward(in) == 1;
}

std::vector<std::string> reward_names(const EvaluationSpec& spec) {
  if (spec.rewards.empty()) return {};
  const RewardExpression expression = RewardExpression::parse(spec.rewards, spec.rewards_where);
  std::vector<std::string> names = expression.variables();
  for (const ProgramCall& call : program_calls(expression)) names.insert(names.end(), call.parts.begin(), call.parts.end());
  return names;
}

EvaluatedSource answer_source(const RunEnv& env, const EvaluationSpec& spec, const std::string& source, bool greedy,
                              const EvaluatedModel& model, Scorer* scorer, const EvaluationHooks& hooks) {
  return SourcePass(env, spec, source, greedy, model, scorer, hooks).run();
}

Evaluation evaluate_model(const RunEnv& env, const EvaluationSpec& spec, const EvaluatedModel& model,
                          std::map<std::string, RewardModel> models, const EvaluationHooks& hooks) {
  const std::vector<std::string> names = reward_names(spec);
  std::optional<Scorer> scorer;
  if (!spec.rewards.empty()) {
    const RewardExpression expression = RewardExpression::parse(spec.rewards, spec.rewards_where);
    scorer.emplace(expression, std::move(models), open_programs(expression, spec.programs));
  }
  Scorer* const scores = scorer ? &*scorer : nullptr;
  std::vector<std::string> pairs;
  std::vector<EvaluatedSource> sampled, greedy;
  for (const std::string& source : spec.sources) {
    if (source_kind(located_source(source, env.graph_dir)) == RecordKind::pair) {
      pairs.push_back(source);
      continue;
    }
    sampled.push_back(answer_source(env, spec, source, false, model, scores, hooks));
    if (spec.greedy) greedy.push_back(answer_source(env, spec, source, true, model, scores, hooks));
  }
  Evaluation out;
  out.metrics = prompt_metrics(spec, names, sampled, greedy);
  if (!pairs.empty()) measure_pairs(env, spec, model, pairs, out.metrics);
  if (scorer) check_rewards(sampled);
  for (size_t i = 0; i < sampled.size(); ++i)
    out.kept.push_back(kept_of(sampled[i], spec.greedy ? &greedy[i] : nullptr, spec.keep_samples));
  return out;
}

const ConfigTable<EvaluationSpec>& evaluation_table() {
  using C = EvaluationSpec;
  using namespace spec;
  static const ConfigTable<C> kTable = {
      reads(changeable(required_text("source", "held-out prompts or pairs; several separated by commas")), &C::sources,
            [](const Attrs& a) { return split_sources(a.text("source")); }),
      sets(changeable(integer("problems", "1500", 1, 1'000'000, "prompts of each source")), &C::problems),
      sets(changeable(integer("samples", "1", 1, 65536, "completions per prompt; above 1 also cons@k")), &C::samples),
      sets(changeable(temperature("of sampling; 0: greedy")), &C::temperature),
      sets(changeable(top_p()), &C::top_p),
      sets(changeable(flag("greedy", "true", "a second pass with argmax")), &C::greedy),
      sets(changeable(integer("max_tokens", "96", 1, 1 << 24, "longest completion, tokens")), &C::max_tokens),
      reads(changeable(stop()), &C::stop, [](const Attrs& a) { return parse_stop_texts(a.text("stop"), a.where("stop")); }),
      sets(changeable(integer("max_running", "256", 1, 65536, "sequences decoded at once")), &C::max_running),
      sets(changeable(
               text("rewards", "", "an expression as of a judge: its mean and that of every name in it are measured too")),
           &C::rewards),
      sets(changeable(integer(
               "keep_samples", "8", 0, 10'000,
               "prompts of each source of which the first sampled response and the greedy one are kept (r1-run --samples)")),
           &C::keep_samples)};
  return kTable;
}

EvaluationSpec evaluation_spec(const RunEnv& env, const NodePlan& node) {
  EvaluationSpec spec;
  configure(evaluation_table(), node.attrs, spec);
  spec.rewards_where = attr_place(node, "rewards");
  spec.programs = run_program_options(env, node);
  spec.seed = env.seed;
  return spec;
}

}  // namespace r1
