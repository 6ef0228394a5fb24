#include "models/weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/tiny.h"

namespace r1::test {
namespace {

TEST(WeightSet, LaysOutEveryDTypeByTheSameElementOffsets) {
  const ModelConfig c = tiny_config(Architecture::qwen3);
  Device& d = open_device("reference");
  const WeightSet a(d, c, DType::f32), b(d, c, DType::bf16);
  EXPECT_EQ(a.flat().size(), b.flat().size());
  int64_t parameters = 0;
  for (size_t i = 0; i < a.specs().size(); ++i) {
    EXPECT_EQ((a.param(i).data - a.flat().data) / 4, (b.param(i).data - b.flat().data) / 2);
    EXPECT_EQ((b.param(i).data - b.flat().data) % 64, 0);
    parameters += a.param(i).size();
  }
  EXPECT_EQ(parameters, c.parameter_count());
}

TEST(WeightSet, HashDependsOnEveryValueAndOnTheType) {
  const ModelConfig c = tiny_config(Architecture::llama);
  Device& d = open_device("reference");
  const auto w = random_weights(d, c, 1);
  const Hash128 before = w->hash();
  EXPECT_EQ(random_weights(d, c, 1)->hash(), before);
  EXPECT_NE(random_weights(d, c, 2)->hash(), before);
  for (size_t i = 0; i < w->specs().size(); ++i) {
    std::vector<float> host = download_as<float>(w->param(i));
    const float last = host.back();
    host.back() = std::nextafter(last, 10.0f);
    upload(w->param(i), host);
    EXPECT_NE(w->hash(), before) << w->specs()[i].name;
    host.back() = last;
    upload(w->param(i), host);
  }
  EXPECT_EQ(w->hash(), before);
  WeightSet narrow(d, c, DType::bf16);
  Context ctx(d);
  run(ctx, Copy{w->flat(), narrow.flat()});
  EXPECT_NE(narrow.hash(), before);
}

TEST(WeightSet, HashIgnoresTheGapsBetweenParameters) {
  // The layout is an implementation's business: only names, types, shapes and values are hashed.
  const ModelConfig c = tiny_config(Architecture::llama);
  Device& d = open_device("reference");
  const auto w = random_weights(d, c, 1);
  const Hash128 before = w->hash();
  const int64_t end = (w->param(1).data - w->flat().data) / 4 + w->param(1).size();
  const int64_t next = (w->param(2).data - w->flat().data) / 4;
  ASSERT_GT(next, end);
  upload(w->flat().slice(end, end + 1), std::vector<float>{1.0f});
  EXPECT_EQ(w->hash(), before);
}

TEST(Initialize, DrawsTheStatedSpreads) {
  ModelConfig c = tiny_config(Architecture::llama);
  c.vocab_size = 400;
  c.hidden = 96;
  c.head_dim = 24;
  c.ffn = 256;
  WeightSet w(open_device("reference"), c, DType::f32);
  initialize(w, 5);
  for (size_t i = 0; i < w.specs().size(); ++i) {
    const ParamSpec& s = w.specs()[i];
    double sum = 0, squares = 0;
    const std::vector<float> host = download_as<float>(w.param(i));
    for (float x : host) sum += x, squares += static_cast<double>(x) * x;
    const double n = static_cast<double>(host.size()), mean = sum / n, std = std::sqrt(squares / n - mean * mean);
    if (s.role == ParamRole::norm) {
      EXPECT_EQ(mean, 1.0);
      EXPECT_EQ(std, 0.0);
      continue;
    }
    double expected = s.role == ParamRole::embedding ? 0.1
                      : s.role == ParamRole::head    ? 0.02
                                                     : 1 / std::sqrt(static_cast<double>(s.shape[1]));
    if (s.name.find("o_proj") != std::string::npos || s.name.find("down_proj") != std::string::npos)
      expected /= 2;  // sqrt(2 * 2 layers)
    // Standard errors of mean and deviation over n values, five of them.
    EXPECT_NEAR(mean, 0, 5 * expected / std::sqrt(n)) << s.name;
    EXPECT_NEAR(std, expected, 5 * expected / std::sqrt(2 * n)) << s.name;
  }
}

}  // namespace
}  // namespace r1::test
