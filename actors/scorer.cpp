#include "actors/scorer.h"

#include <fmt/format.h>

#include <cmath>

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
    m.longest = weights->config().max_positions;
    m.engine = std::make_unique<ScoringEngine>(*env.device, weights);
  }
  return models;
}

Scorer::Scorer(RewardExpression expression, std::map<std::string, RewardModel> models)
    : expression_(std::move(expression)), models_(std::move(models)) {}

SampleScore Scorer::score_sample(const RewardInput& in, const std::function<double(const std::string&)>& ask_model) const {
  SampleScore score;
  try {
    score.reward = expression_.evaluate([&](const std::string& name) {
      // A model's name goes before a fact of the same name: the graph says as=NAME, the task's facts are not its author's.
      const double value = models_.count(name) != 0 ? ask_model(name) : rule_or_flag(name, in);
      if (!std::isfinite(value)) throw failure(fmt::format("'{}' is {}", name, value));
      return score.parts[name] = value;
    });
  } catch (const Error& e) {
    if (e.code() == ExitCode::bad_input) throw;
    score.error = e.message();
  } catch (const std::exception& e) {
    score.error = e.what();
  }
  // Recorded where they apply, whether or not the expression uses them: curves are compared across runs.
  const auto standing = [&](const char* name, bool applies, double (*rule)(const RewardInput&)) {
    if (models_.count(name) != 0) return;
    if (applies)
      score.parts[name] = rule(in);
    else
      score.parts.erase(name);
  };
  standing("format", true, format_reward);
  standing("accuracy", in.fact("checkable") != "0", accuracy_reward);
  standing("language", !in.fact("language").empty(), language_reward);
  standing("harmless", in.fact("harm") == "1", refusal_reward);
  return score;
}

// One call of the model for all samples that wait for it. A sample that it cannot be shown fails alone.
void Scorer::answer(const std::string& name, ModelScores& asked,
                    std::span<const std::shared_ptr<const TrajectoriesMessage>> groups, const std::vector<GroupScores>& out) {
  RewardModel& model = models_.at(name);
  std::vector<std::vector<int32_t>> shown;
  std::vector<Place> places;
  for (const Place& at : asked.wanted) {
    std::vector<int32_t> tokens = shown_tokens(model, groups[at.first]->prompt->text, out[at.first].responses[at.second]);
    const auto n = static_cast<int64_t>(tokens.size());
    if (n == 0 || n > model.longest) {
      asked.failed[at] = fmt::format("'{}' would be shown {} tokens, it takes 1 to {}", name, n, model.longest);
      continue;
    }
    shown.push_back(std::move(tokens));
    places.push_back(at);
  }
  asked.wanted.clear();
  if (shown.empty()) return;
  try {
    const std::vector<float> values = model.engine->scores(shown);
    for (size_t i = 0; i < places.size(); ++i) asked.known[places[i]] = values[i];
  } catch (const Error& e) {
    for (const Place& at : places) asked.failed[at] = fmt::format("'{}' gives no score: {}", name, e.message());
  }
}

std::vector<Scorer::GroupScores> Scorer::score(std::span<const std::shared_ptr<const TrajectoriesMessage>> groups,
                                               const Tokenizer& tokenizer) {
  std::vector<GroupScores> out(groups.size());
  std::vector<Place> open;  // (group, sample) without a score
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
    std::vector<Place> waiting;
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
        if (const auto failed = scores.failed.find(at); failed != scores.failed.end()) throw failure(failed->second);
        if (const auto known = scores.known.find(at); known != scores.known.end()) return known->second;
        scores.wanted.insert(at);
        complete = false;
        return 0;
      };
      SampleScore score = score_sample(in, ask);
      if (complete)
        out[g].scores[i] = std::move(score);
      else
        waiting.push_back(at);  // its error, if any, may come from the score that is not there yet
    }
    for (auto& [name, scores] : asked)
      if (!scores.wanted.empty()) answer(name, scores, groups, out);
    open = std::move(waiting);
  }
  return out;
}

}  // namespace r1
