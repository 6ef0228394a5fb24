#include "actors/training_plan.h"

#include <fmt/format.h>

#include <cmath>

#include "actors/metric_table.h"
#include "actors/stored_rows.h"
#include "base/rng.h"

namespace r1 {

Until parse_until(const GraphView& graph, const NodePlan& trainer) {
  std::string text = trainer.attrs.text("until");
  if (text.empty() && trainer.attrs.integer("epochs") > 0) text = "epochs(" + trainer.attrs.text("epochs") + ")";
  if (text.empty())
    throw bad_input("trainer '" + trainer.id + "' does not say when it ends", trainer.where,
                    "add until=\"batches(100)\", or epochs=2 for a finite set of examples");
  const Where where = attr_place(trainer, "until");
  UntilNames names;
  names.metrics = trainer_metrics(graph, trainer);
  if (trainer.attrs.text("objective") == "grpo")
    names.no_epochs = "grpo draws new prompts for every batch: epochs has no meaning";
  else if (trainer.attrs.integer("epochs") == 0)
    names.no_epochs = "examples are taken as they come: only epochs=N on '" + trainer.id + "' makes epochs of them";
  return Until::parse(text, where, names);
}

std::shared_ptr<WeightSet> trainer_start_weights(const RunEnv& env, const GraphView& graph, const NodePlan& trainer) {
  auto weights = load_start_weights(env, graph, trainer, DType::f32);
  if (trainer.attrs.text("objective") != "reward_model") return weights;
  ModelConfig config = weights->config();
  config.scalar_head = true;
  config.tied_head = false;
  config.sees = trainer.attrs.text("sees");
  return std::make_shared<WeightSet>(convert_weights(*weights, config, DType::f32));
}

TrainBatch assemble_batch(const BatchContent& content, const std::function<Sequence(int64_t, int32_t)>& trajectories) {
  TrainBatch batch;
  batch.silent_sequences = content.silent_sequences;
  batch.silent_tokens = content.silent_tokens;
  batch.sequences.reserve(content.items.size());
  for (const auto& item : content.items) {
    Sequence s = item.draw >= 0 ? trajectories(item.draw, item.sample) : item.inline_sequence;
    s.advantage = item.advantage;
    s.reference_logp = item.reference_logp;
    batch.sequences.push_back(std::move(s));
  }
  return batch;
}

static TrainBatch batch_of(const BatchRow& row, const std::function<std::vector<TrajectoryRow>(int64_t draw)>& trajectories) {
  int64_t draw_at_hand = -1;
  std::vector<TrajectoryRow> rows;
  return assemble_batch(decode_batch(row.payload), [&](int64_t draw, int32_t sample) {
    if (draw != draw_at_hand) rows = trajectories(draw), draw_at_hand = draw;
    for (const TrajectoryRow& row : rows)
      if (row.sample == sample) return decode_sequence(row.payload);
    throw failure("the run store lacks sample " + std::to_string(sample) + " of draw " + std::to_string(draw));
  });
}

TrainBatch stored_batch(const RunStore& store, int64_t stage, int64_t version) {
  return batch_of(store.batch(stage, version), [&](int64_t draw) { return store.trajectories(stage, draw); });
}
TrainBatch stored_batch(const StageJournal& stage, int64_t version) {
  return batch_of(stage.batch(version), [&](int64_t draw) { return stage.trajectories(draw); });
}

std::vector<float> group_advantages(const std::vector<double>& rewards, bool by_deviation) {
  const auto n = static_cast<double>(rewards.size());
  double mean = 0, squares = 0;
  for (double r : rewards) mean += r / n;
  for (double r : rewards) squares += (r - mean) * (r - mean);
  std::vector<float> a(rewards.size(), 0.f);
  if (rewards.size() < 2 || squares == 0) return a;
  if (!std::isfinite(squares))
    throw failure(fmt::format("the rewards of a group are too far apart to be compared: {}", fmt::join(rewards, ", ")), {},
                  "scale the reward expression");
  const double unit = by_deviation ? std::sqrt(squares / (n - 1)) + 1e-4 : 1;
  for (size_t i = 0; i < rewards.size(); ++i) a[i] = static_cast<float>((rewards[i] - mean) / unit);
  return a;
}

void remember_batches(StageJournal& stage, int64_t batches) { stage.remember("batches", std::to_string(batches)); }
int64_t remembered_batches(const RunStore& store, const std::string& stage) {
  return stored_meta_integer(store, "batches/" + stage);
}

void remember_start(StageJournal& stage, const Hash128& masters) { stage.remember("start", masters.hex()); }
std::string remembered_start(const RunStore& store, const std::string& stage) {
  return store.meta("start/" + stage).value_or("");
}

}  // namespace r1
