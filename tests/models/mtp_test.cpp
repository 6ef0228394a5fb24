// The multi-token prediction module: what it predicts, that it is left alone unless asked for, its files.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "models/generation/kv_cache.h"
#include "models/safetensors.h"
#include "models/training/mtp_loss.h"
#include "models/training/objective.h"
#include "tests/models/generation/temporary_dir.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

using testing::TemporaryDir;

ModelConfig with_mtp() {
  ModelConfig c = tiny_config(Architecture::deepseek_v3);
  c.mtp_layers = 1;
  return c;
}

TrainerConfig pretrain(bool mtp) {
  TrainerConfig c;
  c.objective = Objective::pretrain;
  c.mtp = mtp;
  return c;
}

std::vector<double> log_softmax(const float* row, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(row[i]));
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(row[i] - std::log(sum));
  return out;
}

TEST(Mtp, PredictsTheTokenAfterTheNextFromARowAndTheNextToken) {
  Device& device = open_device("reference");
  const auto w = random_weights(device, with_mtp(), 1);
  const Model model(device, w->config());
  const std::vector<std::vector<int32_t>> texts = {{3, 1, 4, 1, 5, 9, 2}, {6, 5, 3}, {5, 8}};
  double loss = 0, right = 0, counted = 0;
  for (const std::vector<int32_t>& t : texts) {
    Context ctx(device);
    const auto n = static_cast<int32_t>(t.size()) - 1;
    std::vector<int32_t> positions;
    for (int32_t i = 0; i < n; ++i) positions.push_back(i);
    const AttentionContext attention = PackedAttention{upload_i32(ctx, {0, n})};
    Pass p{ctx, *w, attention};
    const View at = upload_i32(ctx, positions);
    const Value h = model.final_rows(p, model.trunk(p, upload_i32(ctx, {t.begin(), t.end() - 1}), at), View{});
    const Value rows = model.mtp_rows(p, h, upload_i32(ctx, {t.begin() + 1, t.end()}), at);
    const std::vector<float> logits = download_as<float>(model.logits(p, rows.view));
    for (size_t i = 0; i + 2 < t.size(); ++i) {
      const auto logp = log_softmax(logits.data() + i * 19, 19);
      loss -= logp[static_cast<size_t>(t[i + 2])];
      right += std::max_element(logp.begin(), logp.end()) - logp.begin() == t[i + 2];
      ++counted;
    }
  }
  ASSERT_EQ(counted, 6);
  TrainBatch batch;
  for (const auto& t : texts) batch.sequences.push_back({t});
  TrainerEngine trainer(device, pretrain(true), *w);
  const TrainStats stats = trainer.train(batch);
  EXPECT_NEAR(stats.mtp_loss, loss / counted, 1e-5);
  EXPECT_NEAR(stats.mtp_accuracy, right / counted, 1e-12);
  TrainerEngine plain(device, pretrain(false), *w);
  const TrainStats without = plain.train(batch);
  EXPECT_EQ(without.loss, stats.loss) << "the main loss is the main model's";
  EXPECT_EQ(without.mtp_loss, 0);
}

TEST(Mtp, IsLeftAloneUnlessAskedFor) {
  Device& device = open_device("cpu");
  for (const char* optimizer : {"adamw", "muon"}) {
    for (const bool mtp : {false, true}) {
      const auto start = random_weights(device, with_mtp(), 2);
      TrainerConfig c = pretrain(mtp);
      c.optimizer = optimizer;
      c.weight_decay = 0.1;
      c.precision = DType::bf16;
      TrainerEngine e(device, c, *start);
      for (uint64_t i = 0; i < 2; ++i) e.train(random_batch(i, 6, 19));
      for (size_t i = 0; i < start->specs().size(); ++i) {
        const ParamSpec& s = start->specs()[i];
        const bool same = download_as<float>(start->param(i)) == download_as<float>(e.masters().param(i));
        EXPECT_EQ(same, s.mtp && !mtp) << optimizer << " " << s.name;
      }
      EXPECT_EQ(e.train(random_batch(2, 6, 19)).expert_load.size(), mtp ? 2u : 1u);
    }
  }
}

TEST(Mtp, Learns) {
  Device& device = open_device("cpu");
  TrainerConfig c = pretrain(true);
  c.lr = 1e-2;
  WeightSet start(device, with_mtp(), DType::f32);
  initialize(start, 1);
  TrainerEngine e(device, c, start);
  TrainBatch batch = random_batch(2, 8, 19);
  for (size_t i = 0; i < batch.sequences.size(); ++i) batch.sequences[i].tokens[0] = static_cast<int32_t>(i);
  EXPECT_NEAR(e.train(batch).mtp_loss, std::log(19.0), 0.4);
  for (int i = 0; i < 150; ++i) e.train(batch);
  const TrainStats stats = e.train(batch);
  EXPECT_LT(stats.mtp_loss, 0.5);
  EXPECT_GT(stats.mtp_accuracy, 0.9);
}

TEST(Mtp, SaveLoadContinueIsBitEqual) {
  const TemporaryDir dir;
  Device& device = open_device("cpu");
  TrainerConfig c = pretrain(true);
  c.optimizer = "muon";
  TrainerEngine a(device, c, *random_weights(device, with_mtp(), 1));
  for (uint64_t i = 0; i < 3; ++i) a.train(random_batch(i, 8, 19));
  a.save(dir.path() / "state");
  TrainerEngine b(device, c, *random_weights(device, with_mtp(), 99));
  b.load(dir.path() / "state");
  for (uint64_t i = 3; i < 5; ++i)
    EXPECT_EQ(a.train(random_batch(i, 8, 19)).mtp_loss, b.train(random_batch(i, 8, 19)).mtp_loss);
  EXPECT_EQ(b.masters_hash(), a.masters_hash());
}

TEST(Mtp, RowsInPagesHaveTheBitsOfPackedRows) {
  // What a generator that drafts will do: prompt rows in one pass, then row by row.
  Device& device = open_device("cpu");
  const ModelConfig config = with_mtp();
  const Model model(device, config);
  for (DType dtype : {DType::f32, DType::bf16}) {
    const WeightSet w = convert_weights(*random_weights(device, config, 3), config, dtype);
    const auto t = random_sequence(*std::make_unique<Rng>(1, "text"), 40, 19, 0).tokens;
    constexpr int32_t kRows = 39;
    std::vector<int32_t> positions(kRows);
    for (int32_t i = 0; i < kRows; ++i) positions[static_cast<size_t>(i)] = i;

    Context ctx(device);
    const AttentionContext packed = PackedAttention{upload_i32(ctx, {0, kRows})};
    Pass whole{ctx, w, packed};
    const View at = upload_i32(ctx, positions);
    const Value h = model.final_rows(whole, model.trunk(whole, upload_i32(ctx, {t.begin(), t.end() - 1}), at), View{});
    const View rows = model.mtp_rows(whole, h, upload_i32(ctx, {t.begin() + 1, t.end()}), at).view;
    const std::vector<float> expected = download_as<float>(model.logits(whole, rows));

    KvCache cache(device, config, dtype, config.layers + 1);
    cache.reserve(ctx, 4, 4);
    const View table = ctx.arena.alloc(DType::i32, {1, 3});
    upload(table, std::vector<int32_t>{2, 0, 3});
    std::vector<float> got;
    for (int32_t begin = 0, end = 17; begin < kRows; begin = end, end = begin + 1) {
      const auto cut = [&](const std::vector<int32_t>& v, int32_t shift) {
        return upload_i32(ctx, {v.begin() + begin + shift, v.begin() + end + shift});
      };
      const View where = cut(positions, 0);
      const AttentionContext paged = PagedAttention{
          cache.layers(), table, upload_i32(ctx, std::vector<int32_t>(static_cast<size_t>(end - begin), 0)), where};
      Pass p{ctx, w, paged};
      const Value part = model.final_rows(p, model.trunk(p, cut(t, 0), where), View{});
      for (float x : download_as<float>(model.logits(p, model.mtp_rows(p, part, cut(t, 1), where).view))) got.push_back(x);
    }
    EXPECT_EQ(got, expected) << dtype_name(dtype);
  }
}

TEST(Mtp, FilesRepeatTheEmbeddingAndTheHeadAsPublished) {
  Device& device = open_device("cpu");
  const TemporaryDir dir;
  const auto path = dir.path() / "m";
  const auto w = random_weights(device, with_mtp(), 4);
  save_model_dir(path, *w, "{}");
  check_model_dir(path);
  EXPECT_EQ(load_weights(device, path, DType::f32)->hash(), w->hash());
  std::map<std::string, std::vector<int64_t>> shapes;
  std::vector<SafetensorsEntry> entries;
  const SafetensorsFile file(path / "model.safetensors");
  for (const SafetensorsEntry& e : file.entries()) {
    shapes[e.name] = e.shape;
    entries.push_back(e);
  }
  const std::string p = "model.layers.2.";
  for (const char* n : {"embed_tokens.weight", "shared_head.head.weight"})
    EXPECT_EQ(shapes[p + n], (std::vector<int64_t>{19, 16})) << n;
  EXPECT_EQ(shapes[p + "eh_proj.weight"], (std::vector<int64_t>{16, 32}));
  EXPECT_EQ(shapes.count(p + "shared_head.norm.weight"), 1u);

  const auto refused = [&](const std::function<void(std::vector<SafetensorsEntry>&)>& change) -> std::string {
    std::vector<SafetensorsEntry> changed = entries;
    change(changed);
    save_model_dir(dir.path() / "n", *w, "{}");
    write_safetensors(dir.path() / "n/model.safetensors", changed, {});
    try {
      check_model_dir(dir.path() / "n");
      return "";
    } catch (const Error& e) {
      return e.message() + " | " + e.hint();
    }
  };
  const auto drop = [](std::vector<SafetensorsEntry>& list, const std::string& part) {
    std::erase_if(list, [&](const SafetensorsEntry& e) { return e.name.find(part) != std::string::npos; });
  };
  EXPECT_EQ(refused([&](auto& list) {
              drop(list, p + "embed_tokens");
              drop(list, p + "shared_head.head");
            }),
            "")
      << "the copies may be absent";
  EXPECT_EQ(refused([&](auto& list) { drop(list, p); }), "") << "the whole module may be absent, while nobody uses it";
  EXPECT_NE(refused([&](auto& list) { drop(list, p + "eh_proj"); }).find("num_nextn_predict_layers"), std::string::npos);
  EXPECT_NE(refused([&](auto& list) {
              for (SafetensorsEntry& e : list)
                if (e.name == p + "embed_tokens.weight") e.shape = {16, 19};
            }).find("shares the model's embedding"),
            std::string::npos);
}

}  // namespace
}  // namespace r1::test
