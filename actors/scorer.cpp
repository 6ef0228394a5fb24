#include "actors/scorer.h"

#include "actors/examples.h"
#include "rewards/rules.h"

namespace r1 {

std::string completion_text(const Sequence& sample, size_t prompt_tokens, const Tokenizer& tokenizer) {
  return tokenizer.decode(std::span<const int32_t>(sample.tokens).subspan(prompt_tokens), false);
}

std::vector<int32_t> shown_tokens(const RewardModel& model, const std::string& prompt, const std::string& response) {
  return tokenise_example(*model.tokenizer, {prompt, shown_response(response, model.sees_answer), false}).tokens;
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

SampleScore Scorer::score_sample(const RewardInput& in, const std::function<double(const std::string&)>& ask_model) const {
  SampleScore score;
  score.reward = expression_.evaluate([&](const std::string& name) {
    // A model's name goes before a fact of the same name: the graph says as=NAME, the task's facts are not its author's.
    if (models_.count(name) != 0) return score.parts[name] = ask_model(name);
    const std::optional<double> rule = rule_value(name, in);
    if (!rule) throw failure("the reward '" + name + "' is neither a rule, a fact of this prompt nor a model");
    return *rule;
  });
  // Always recorded, whether or not the expression uses them: curves are compared across runs.
  score.parts["format"] = format_reward(in);
  if (in.fact("checkable") != "0") score.parts["accuracy"] = accuracy_reward(in);
  if (!in.fact("language").empty()) score.parts["language"] = language_reward(in);
  if (in.fact("harm") == "1") score.parts["harmless"] = refusal_reward(in);
  return score;
}

std::vector<Scorer::GroupScores> Scorer::score(std::span<const std::shared_ptr<const TrajectoriesMessage>> groups,
                                               const Tokenizer& tokenizer) {
  std::vector<GroupScores> out(groups.size());
  std::vector<std::pair<size_t, size_t>> open;  // (group, sample) without a score
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const Sequence& s : groups[g]->samples)
      out[g].responses.push_back(completion_text(s, groups[g]->prompt->tokens.size(), tokenizer));
    out[g].scores.resize(groups[g]->samples.size());
    for (size_t i = 0; i < groups[g]->samples.size(); ++i) open.emplace_back(g, i);
  }
  // An expression says which models it needs only as it is evaluated (`if`): whoever meets a score that is not there waits for
  // the next round, and each round asks every model once.
  std::map<std::string, ModelScores> asked;
  while (!open.empty()) {
    std::vector<std::pair<size_t, size_t>> waiting;
    for (const auto& at : open) {
      const auto& [g, i] = at;
      const TrajectoriesMessage& group = *groups[g];
      RewardInput in;
      in.prompt = group.prompt->text;
      in.response = out[g].responses[i];
      in.facts = &group.prompt->facts;
      in.finished = group.finished[i] != 0;
      in.tokens = static_cast<int64_t>(group.samples[i].tokens.size() - group.prompt->tokens.size());
      bool complete = true;
      const auto ask = [&](const std::string& name) -> double {
        ModelScores& scores = asked[name];
        if (const auto known = scores.known.find(at); known != scores.known.end()) return known->second;
        scores.wanted.insert(at);
        complete = false;
        return 0;
      };
      try {
        SampleScore score = score_sample(in, ask);
        if (complete) out[g].scores[i] = std::move(score);
      } catch (const Error& e) {
        if (e.code() == ExitCode::bad_input) throw;
        if (complete) out[g].error = e.what();  // else it may come from the score that was not there
      }
      if (!complete) waiting.push_back(at);
    }
    for (auto& [name, scores] : asked) {
      RewardModel& model = models_.at(name);
      std::vector<std::vector<int32_t>> shown;
      for (const auto& [g, i] : scores.wanted)
        shown.push_back(shown_tokens(model, groups[g]->prompt->text, out[g].responses[i]));
      if (shown.empty()) continue;
      const std::vector<float> values = model.engine->scores(shown);
      size_t n = 0;
      for (const auto& at : scores.wanted) scores.known[at] = values[n++];
      scores.wanted.clear();
    }
    open = std::move(waiting);
  }
  return out;
}

}  // namespace r1
