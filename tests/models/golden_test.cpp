// Whole models against Hugging Face transformers (tools/golden/models.py wrote the files).
#include <gtest/gtest.h>

#include <cmath>

#include "models/safetensors.h"
#include "models/training/objective.h"
#include "tests/models/tiny.h"
#include "tests/source_dir.h"

namespace r1::test {
namespace {

template <class T>
std::vector<T> values(const SafetensorsFile& f, const std::string& name) {
  const auto e = f.find(name);
  EXPECT_TRUE(e.has_value()) << name;
  if (!e) return {};
  const T* p = static_cast<const T*>(e->data);
  return {p, p + e->bytes / sizeof(T)};
}

// |a - b| <= tolerance * (largest |b|), so that small entries are held to the scale of their tensor.
void expect_close(const std::vector<float>& a, const std::vector<float>& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  double scale = 0, worst = 0;
  for (float x : b) scale = std::max(scale, std::abs(static_cast<double>(x)));
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  EXPECT_GT(scale, 0) << what;
  EXPECT_LE(worst, tolerance * scale) << what;
}

void check_golden(Device& device, const std::string& name) {
  const SafetensorsFile file(source_dir() / ("tests/models/golden/" + name + ".safetensors"));
  const ModelConfig config = parse_model_config(file.metadata().at("config"), name);
  WeightSet w(device, config, DType::f32);
  for (size_t i = 0; i < w.specs().size(); ++i)
    for (const ParamPart& p : w.specs()[i].parts)
      upload(w.param(i).slice(p.row_begin, p.row_begin + p.rows), values<float>(file, "weight/" + p.name));

  TrainBatch batch;
  for (int s = 0; file.find("ids/" + std::to_string(s)); ++s)
    batch.sequences.push_back({values<int32_t>(file, "ids/" + std::to_string(s))});
  TrainerConfig trainer;
  trainer.objective = Objective::pretrain;
  LossPlan plan;
  plan.config = &trainer;
  plan.sequences = batch.sequences;
  size_t tokens = 0;
  for (const Sequence& s : batch.sequences) tokens += s.tokens.size() - 1;
  plan.sequence_weight.assign(batch.sequences.size(), 1.0f / static_cast<float>(tokens));
  // The gradients of a model with an MTP module include 0.3 times its loss.
  const bool mtp = config.has_mtp();
  if (mtp) plan.mtp_weight = 0.3f / static_cast<float>(tokens - batch.sequences.size());
  const std::vector<MicroBatch> packs = pack(batch.sequences, pack_rules(trainer, 1));
  ASSERT_EQ(packs.size(), 1u);

  const Model model(device, config);
  Lane lane(device);
  {
    const PackedInput input = upload_pack(lane.ctx, packs[0]);
    Pass p{lane.ctx, w, input.attention};
    const Value h = forward_rows(p, model, input);
    const View logits = model.logits(p, h.view);
    const View ahead =
        mtp ? model.logits(p, model.mtp_rows(p, h, upload_i32(lane.ctx, packs[0].targets), input.positions).view) : View{};
    for (size_t s = 0; s < batch.sequences.size(); ++s) {
      std::vector<float> expected = values<float>(file, "logits/" + std::to_string(s));
      expected.resize(expected.size() - static_cast<size_t>(config.vocab_size));  // the last row predicts nothing here
      expect_close(download_as<float>(logits.slice(packs[0].offsets[s], packs[0].offsets[s + 1])), expected, 2e-5,
                   name + " logits");
      if (mtp)
        expect_close(download_as<float>(ahead.slice(packs[0].offsets[s], packs[0].offsets[s + 1])),
                     values<float>(file, "mtp_logits/" + std::to_string(s)), 2e-5, name + " MTP logits");
    }
  }
  lane.ctx.arena.reset();
  LossTotals totals;
  run_loss(lane, model, w, packs[0], plan, true, totals);
  EXPECT_NEAR(totals.loss, values<float>(file, "loss")[0], 2e-5);
  for (size_t i = 0; i < w.specs().size(); ++i) {
    if (w.specs()[i].role == ParamRole::selection_bias) continue;  // its slot holds a load
    for (const ParamPart& p : w.specs()[i].parts)
      expect_close(download_as<float>(lane.grads->param(static_cast<int>(i)).slice(p.row_begin, p.row_begin + p.rows)),
                   values<float>(file, "grad/" + p.name), 1e-4, name + " gradient of " + p.name);
  }
}

const char* const kModels[] = {"llama",           "qwen2",           "qwen3", "deepseek_v3", "deepseek_v3_plain",
                               "deepseek_v3_mtp", "deepseek_v3_yarn"};

TEST(Golden, LogitsAndGradientsAreThoseOfTransformersOnTheReferenceDevice) {
  for (const char* name : kModels) check_golden(open_device("reference"), name);
}

TEST(Golden, LogitsAndGradientsAreThoseOfTransformersOnTheCpu) {
  for (const char* name : kModels) check_golden(open_device("cpu"), name);
}

}  // namespace
}  // namespace r1::test
