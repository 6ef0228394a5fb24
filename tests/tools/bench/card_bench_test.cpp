// r1-bench on a card, emulated and in its smallest shape: it verifies, and what it cannot measure is absent.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/tools/bench/bench_report.h"
#include "tools/bench/benchmarks.h"
#include "tools/bench/kernel_cases.h"

namespace r1::bench {
namespace {

struct CardBench : ::testing::Test {
  void SetUp() override { setenv("R1_CUDA_PLUGIN", R1_EMULATED_PLUGIN, 1); }
  void TearDown() override {
    for (const char* name : {"R1_CUDA_PLUGIN", "R1_CUBLASLT", "R1_STAND_IN_WRONG"}) unsetenv(name);
  }
};

TEST_F(CardBench, verifies_products_and_times_them_beside_a_copy_and_no_product_of_a_library) {
  Device& card = open_device("gpu:0");
  CeilingMeter meter(card, /*quick=*/true);
  const auto results = bench_kernels(card, meter, {.filter = "Linear", .small = true});
  ASSERT_GE(results.size(), 6u);
  for (const CaseResult& r : results) {
    EXPECT_TRUE(r.verification.ok) << r.name << ": " << r.verification.how;
    EXPECT_GT(r.measured_ns, 0) << r.name;
    EXPECT_GT(r.ceilings.read_bytes, 0);
    EXPECT_EQ(r.fraction(), 0) << "no product was measured";
    EXPECT_EQ(r.threads, 1);
  }
  EXPECT_NE(meter.why_missing(), "");
  const nlohmann::json j = report_json({"kernels", "", "", results, meter.why_missing()});
  EXPECT_TRUE(j["cases"][0]["fraction_of_ceiling"].is_null()) << j["cases"][0].dump();
  EXPECT_TRUE(j["cases"][0]["ceilings"]["matmul_bf16_gflops"].is_null());
  EXPECT_GT(j["cases"][0]["ceilings"]["memory_read_gb_per_s"], 0);
  EXPECT_NE(j["not_measured"], "");
}

TEST_F(CardBench, times_products_beside_those_of_cublaslt_when_they_are_the_same) {
  setenv("R1_CUBLASLT", R1_CUBLASLT_STAND_IN, 1);
  for (const char* type : {"f32", "bf16"}) {
    for (const bool wrong : {false, true}) {
      if (wrong) setenv("R1_STAND_IN_WRONG", "1", 1);
      const nlohmann::json report =
          test::bench_report({"kernels", "--device", "gpu:0", "--small", "--filter", "Linear 16", "--dtype", type, "--json"});
      const nlohmann::json& c = report.at("cases").at(0);
      EXPECT_TRUE(c.at("ceilings").at("matmul_bf16_gflops").is_number());
      EXPECT_EQ(c.at("rows"), 16);  // what a peer has to know: tools/bench/peers/triton_product.py
      EXPECT_EQ(c.at("in"), verified_sizes().hidden);
      EXPECT_EQ(c.at("out"), 2 * verified_sizes().ffn);
      EXPECT_EQ(c.contains("cublaslt_ns"), !wrong) << c;
      EXPECT_NE(c.at("note").get<std::string>().find(wrong ? "cuBLASLt's result: " : "of cuBLASLt's time"), std::string::npos)
          << c;
      unsetenv("R1_STAND_IN_WRONG");
    }
  }
}

TEST_F(CardBench, samples_on_a_card_what_its_training_pass_says) {
  Device& card = open_device("gpu:0");
  CeilingMeter meter(card, true);
  const CaseResult r =
      bench_generate(card, meter, bench_models("tiny")[0], {.batch = 2, .prompt = 3, .tokens = 4, .repetitions = 1});
  EXPECT_TRUE(r.verification.ok) << r.verification.how;
  EXPECT_GT(r.measured_ns, 0);
  EXPECT_FALSE(r.breakdown.empty());
}

}  // namespace
}  // namespace r1::bench
