#include "actors/evaluation.h"

#include <fmt/format.h>

#include <cmath>

#include "actors/examples.h"
#include "actors/scorer.h"
#include "base/stop.h"
#include "base/rng.h"
#include "models/generation/generator_engine.h"
#include "rewards/metrics.h"
#include "rewards/response.h"
#include "rewards/rules.h"

namespace r1 {

std::string EvaluationSpec::key() const {
  std::string s;
  for (const auto& source : sources) s += source + ";";
  return fmt::format("{}n{} k{} T{} g{} m{} s{}", s, problems, samples, temperature, greedy, max_tokens, seed);
}

namespace {

struct Answered {
  std::vector<Prompt> prompts;
  std::vector<std::string> responses;  // samples of prompt i at [i * samples, (i + 1) * samples)
  std::vector<RewardInput> inputs;     // views into the two above
  int64_t too_long = 0;                // prompts that leave no room in the model: left out
};

Answered answer(const RunEnv& env, const EvaluationSpec& spec, const std::string& source_name, bool greedy,
                const std::shared_ptr<const WeightSet>& weights, const Tokenizer& tokenizer) {
  const auto source = open_data(env, located_source(source_name, env.graph_dir), spec.seed, {.chat = spec.chat});
  Answered a;
  const int64_t samples = greedy ? 1 : spec.samples;
  int64_t n = spec.problems;
  if (source->size()) n = std::min<int64_t>(n, static_cast<int64_t>(*source->size()));
  GeneratorConfig config;
  config.max_running = spec.max_running;
  config.max_rows = spec.max_running;
  GeneratorEngine engine(*env.device, config, weights, 0);
  const int64_t positions = weights->config().max_positions;
  std::vector<size_t> prompt_tokens;
  for (int64_t i = 0; i < n; ++i) {
    check_stop();
    Prompt prompt = source->prompt(static_cast<uint64_t>(i));
    GenRequest r;
    r.id = prompt_tokens.size();
    r.rng_key = rng_key(spec.seed, "evaluate " + source_name, static_cast<uint64_t>(i));
    r.prompt = tokenizer.encode(prompt.text, false);
    r.samples = static_cast<int>(samples);
    r.max_new_tokens = spec.max_tokens;
    r.temperature = greedy ? 0.f : static_cast<float>(spec.temperature);
    r.stop_ids = weights->config().eos_ids;
    if (static_cast<int64_t>(r.prompt.size()) >= positions) continue;
    a.prompts.push_back(std::move(prompt));
    prompt_tokens.push_back(r.prompt.size());
    engine.submit(std::move(r));
  }
  a.too_long = n - static_cast<int64_t>(prompt_tokens.size());
  n -= a.too_long;
  a.responses.resize(static_cast<size_t>(n * samples));
  a.inputs.resize(a.responses.size());
  while (engine.pending() > 0)
    for (const GenResult& r : engine.step())
      for (size_t s = 0; s < r.samples.size(); ++s) {
        const size_t at = r.id * static_cast<size_t>(samples) + s;
        a.responses[at] = completion_text(r.samples[s], prompt_tokens[r.id], tokenizer);
        a.inputs[at].finished = r.finished[s] != 0;
        a.inputs[at].tokens = static_cast<int64_t>(r.samples[s].tokens.size() - prompt_tokens[r.id]);
      }
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    const Prompt& p = a.prompts[i / static_cast<size_t>(samples)];
    a.inputs[i].prompt = p.text;
    a.inputs[i].response = a.responses[i];
    a.inputs[i].facts = &p.facts;
  }
  return a;
}

void put(std::map<std::string, double>& to, const std::string& name, const std::optional<double>& value) {
  if (value) to[name] = *value;
}

void measure_prompts(const RunEnv& env, const EvaluationSpec& spec, const std::string& source,
                     const std::shared_ptr<const WeightSet>& weights, const Tokenizer& tokenizer,
                     std::map<std::string, double>& out) {
  const Answered sampled = answer(env, spec, source, false, weights, tokenizer);
  if (sampled.too_long > 0) out["too_long"] += static_cast<double>(sampled.too_long);
  for (const auto& [domain, m] : measure_by_domain(sampled.inputs)) {
    if (domain == "general") {
      put(out, "general_accuracy", m.accuracy);
      put(out, "harmless", m.harmless);
      put(out, "courtesy", m.courtesy);
      put(out, "over_refusal", m.over_refusal);
      double right = 0, count = 0;
      for (const RewardInput& in : sampled.inputs) {
        if (in.fact("domain") != "general" || in.fact("harm") == "1" || in.fact("courtesy").empty()) continue;
        right += accuracy_reward(in) * courtesy_reward(in) * format_reward(in);
        count += 1;
      }
      if (count > 0) out["helpful"] = right / count;
    } else {
      put(out, "accuracy", m.accuracy);
      put(out, "format", m.format);
      put(out, "language", m.language);
      put(out, "length", m.length);
      out["problems"] = static_cast<double>(sampled.prompts.size());
    }
  }
  for (const auto& [kind, m] : measure_by("kind", sampled.inputs)) put(out, "accuracy_" + kind, m.accuracy);
  if (spec.samples > 1) {
    double right = 0, count = 0;
    const auto k = static_cast<size_t>(spec.samples);
    for (size_t i = 0; i < sampled.prompts.size(); ++i) {
      const auto completions = std::span<const RewardInput>(sampled.inputs).subspan(i * k, k);
      if (!has_answer(completions[0])) continue;
      right += consensus_accuracy(completions);
      count += 1;
    }
    if (count > 0) out["cons"] = right / count;
  }
  if (!spec.greedy) return;
  const Answered greedy = answer(env, spec, source, true, weights, tokenizer);
  for (const auto& [domain, m] : measure_by_domain(greedy.inputs))
    put(out, domain == "general" ? "general_accuracy_greedy" : "accuracy_greedy", m.accuracy);
}

void measure_pairs(const RunEnv& env, const EvaluationSpec& spec, const std::string& name,
                   const std::shared_ptr<const WeightSet>& weights, const Tokenizer& tokenizer,
                   std::map<std::string, double>& out) {
  const auto source = open_data(env, located_source(name, env.graph_dir), spec.seed, {.chat = spec.chat});
  ScoringEngine engine(*env.device, weights);
  RewardModel model;
  model.sees_answer = weights->config().sees == "answer";
  model.tokenizer = std::shared_ptr<const Tokenizer>(&tokenizer, [](const Tokenizer*) {});
  std::vector<std::vector<int32_t>> shown;
  int64_t n = spec.problems;
  if (source->size()) n = std::min<int64_t>(n, static_cast<int64_t>(*source->size()));
  for (int64_t i = 0; i < n; ++i) {
    check_stop();
    const Pair p = source->pair(static_cast<uint64_t>(i));
    const auto fits = [&](const std::vector<int32_t>& tokens) {
      return !tokens.empty() && static_cast<int64_t>(tokens.size()) <= weights->config().max_positions;
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
  if (n == 0) return;
  const std::vector<float> scores = engine.scores(shown);
  double right = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float c = scores[static_cast<size_t>(2 * i)], r = scores[static_cast<size_t>(2 * i + 1)];
    if (!std::isfinite(c) || !std::isfinite(r))
      throw failure(fmt::format("the reward model scores pair {} of {} with {} and {}", i, name, c, r));
    right += c > r ? 1 : c == r ? 0.5 : 0;
  }
  out["pair_accuracy"] = right / static_cast<double>(n);
}

}  // namespace

std::map<std::string, double> evaluate_model(const RunEnv& env, const EvaluationSpec& spec,
                                             std::shared_ptr<const WeightSet> weights, const Tokenizer& tokenizer) {
  std::map<std::string, double> out;
  for (const std::string& source : spec.sources) {
    if (source_kind(located_source(source, env.graph_dir)) == RecordKind::pair)
      measure_pairs(env, spec, source, weights, tokenizer, out);
    else
      measure_prompts(env, spec, source, weights, tokenizer, out);
  }
  return out;
}

}  // namespace r1
