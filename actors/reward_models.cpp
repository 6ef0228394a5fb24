#include "actors/reward_models.h"

#include <fmt/format.h>

#include "actors/examples.h"
#include "models/model_files.h"

namespace r1 {
namespace {

class ModelSource final : public ScoreSource {
 public:
  ModelSource(std::string name, RewardModel model) : name_(std::move(name)), model_(std::move(model)) {}

  void submit(std::vector<ScoreItemPtr> items, Done done) override {
    std::vector<std::vector<int32_t>> shown;
    std::vector<size_t> places;
    for (size_t i = 0; i < items.size(); ++i) {
      std::vector<int32_t> tokens = shown_tokens(model_, items[i]->prompt, items[i]->response + items[i]->end);
      const auto n = static_cast<int64_t>(tokens.size());
      if (n == 0 || n > model_.longest) {
        done(i, {{}, {}, fmt::format("'{}' would be shown {} tokens, it takes 1 to {}", name_, n, model_.longest)});
        continue;
      }
      shown.push_back(std::move(tokens));
      places.push_back(i);
    }
    if (shown.empty()) return;
    // An engine that fails has judged nothing: no error of these items, but a failure of whoever asks.
    const std::vector<float> values = model_.engine->scores(shown);
    for (size_t i = 0; i < places.size(); ++i) done(places[i], {values[i], {}, ""});
  }

 private:
  std::string name_;
  RewardModel model_;
};

}  // namespace

std::vector<int32_t> shown_tokens(const RewardModel& model, const std::string& prompt, const std::string& response) {
  return tokenise_example(*model.tokenizer, {prompt, shown_response(response, model.sees_answer), false}).tokens;
}

RewardModel make_reward_model(const EngineFactory& engines, std::shared_ptr<WeightSet> weights,
                              std::shared_ptr<const Tokenizer> tokenizer, const std::string& name, const Where& where) {
  if (!weights->config().scalar_head)
    throw failure("'" + name + "' is not a reward model: its checkpoint has no scalar head", where,
                  "train it with objective=reward_model");
  check_tokenizer_fits(*tokenizer, weights->config(), fmt::format("the tokenizer of '{}'", name), where);
  RewardModel m;
  m.tokenizer = std::move(tokenizer);
  m.sees_answer = weights->config().sees == "answer";
  m.longest = weights->config().max_positions;
  m.engine = engines.frozen(name, weights);
  return m;
}

std::map<std::string, RewardModel> load_reward_models(const RunEnv& env, const GraphView& graph, const NodePlan& node) {
  std::map<std::string, RewardModel> models;
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "model" || !edge.attrs.has("as")) continue;
    const NodePlan& origin = graph.nodes[edge.from];
    const std::string name = edge.attrs.text("as");
    models[name] = make_reward_model(*env.engines, load_origin_weights(env, origin, graph, env.precision),
                                     node_tokenizer(env, graph, origin), name, edge.where);
  }
  return models;
}

std::unique_ptr<ScoreSource> make_model_source(const std::string& name, RewardModel model) {
  return std::make_unique<ModelSource>(name, std::move(model));
}

}  // namespace r1
