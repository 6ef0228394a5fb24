#include "actors/scorer.h"

#include <set>

#include "rewards/response.h"
#include "rewards/rules.h"

namespace r1 {

std::string completion_text(const Sequence& sample, size_t prompt_tokens, const Tokenizer& tokenizer) {
  return tokenizer.decode(std::span<const int32_t>(sample.tokens).subspan(prompt_tokens), false);
}

std::vector<int32_t> shown_tokens(const RewardModel& model, const std::string& prompt, const std::string& response) {
  std::vector<int32_t> tokens = model.tokenizer->encode(prompt, false);
  const std::vector<int32_t> rest = model.tokenizer->encode(model.sees_answer ? without_thought(response) : response, false);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return tokens;
}

std::map<std::string, RewardModel> load_reward_models(const RunEnv& env, const GraphView& graph, const NodePlan& node) {
  std::map<std::string, RewardModel> models;
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "model" || !edge.attrs.has("as")) continue;
    const NodePlan& origin = graph.nodes[edge.from];
    auto weights = load_origin_weights(env, origin, graph, env.precision);
    if (!weights->config().scalar_head)
      throw failure("'" + edge.attrs.text("as") + "' is not a reward model: its checkpoint has no scalar head", edge.where,
                    "train it with objective=reward_model");
    RewardModel& m = models[edge.attrs.text("as")];
    m.tokenizer = node_tokenizer(env, graph, origin);
    m.sees_answer = weights->config().sees == "answer";
    m.engine = std::make_unique<ScoringEngine>(*env.device, weights);
  }
  return models;
}

Scorer::Scorer(RewardExpression expression, std::map<std::string, RewardModel> models)
    : expression_(std::move(expression)), models_(std::move(models)) {}

std::vector<SampleScore> Scorer::score(const TrajectoriesMessage& group, const Tokenizer& tokenizer,
                                       std::vector<std::string>& responses) {
  const PromptMessage& prompt = *group.prompt;
  const size_t n = group.samples.size();
  responses.clear();
  for (const Sequence& s : group.samples) responses.push_back(completion_text(s, prompt.tokens.size(), tokenizer));

  std::map<std::string, std::vector<float>> model_scores;  // filled when first asked for
  const auto ask_model = [&](const std::string& name, size_t i) -> double {
    RewardModel& model = models_.at(name);
    auto& scores = model_scores[name];
    if (scores.empty()) {
      std::vector<std::vector<int32_t>> shown;
      for (const std::string& r : responses) shown.push_back(shown_tokens(model, prompt.text, r));
      scores = model.engine->scores(shown);
    }
    return scores[i];
  };

  std::vector<SampleScore> result(n);
  for (size_t i = 0; i < n; ++i) {
    RewardInput in;
    in.prompt = prompt.text;
    in.response = responses[i];
    in.facts = &prompt.facts;
    in.finished = group.finished[i] != 0;
    in.tokens = static_cast<int64_t>(group.samples[i].tokens.size() - prompt.tokens.size());
    result[i].reward = expression_.evaluate([&](const std::string& name) {
      // A model's name goes before a fact of the same name: the graph says as=NAME, the task's facts are not its author's.
      if (models_.count(name) != 0) return result[i].parts[name] = ask_model(name, i);
      const std::optional<double> rule = rule_value(name, in);
      if (!rule) throw failure("the reward '" + name + "' is neither a rule, a fact of this prompt nor a model");
      return *rule;
    });
    // Always recorded, whether or not the expression uses them: curves are compared across runs.
    result[i].parts["format"] = format_reward(in);
    if (in.fact("checkable") != "0") result[i].parts["accuracy"] = accuracy_reward(in);
    if (!in.fact("language").empty()) result[i].parts["language"] = language_reward(in);
    if (in.fact("harm") == "1") result[i].parts["harmless"] = refusal_reward(in);
  }
  return result;
}

}  // namespace r1
