// What r1-bench counts, verifies and prints; no time is looked at.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"
#include "kernels/host_device.h"
#include "tools/bench/benchmarks.h"
#include "tests/source_dir.h"
#include "tools/bench/kernel_cases.h"
#include "tools/bench/logits.h"
#include "tools/bench/work.h"

namespace r1::bench {
namespace {

TEST(Bench, every_op_of_the_list_has_a_case) {
  std::set<std::string> covered;
  for (const KernelCase& c : kernel_cases()) covered.insert(c.op());
#define R1_EXPECT_CASE(Struct, field) EXPECT_TRUE(covered.count(#Struct)) << #Struct;
  R1_OPS(R1_EXPECT_CASE)
}

// A model small enough to count by hand: V=10, D=4, one layer, 2 heads of 2, 1 key head, F=6, untied.
ModelConfig by_hand() {
  ModelConfig c;
  c.vocab_size = 10;
  c.hidden = 4;
  c.layers = 1;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 2;
  c.ffn = 6;
  c.max_positions = 16;
  return c;
}

TEST(Bench, the_arithmetic_of_a_training_step_is_6_n_per_token_and_attention) {
  const ModelConfig c = by_hand();
  const auto n = static_cast<double>(c.active_parameter_count()), all = static_cast<double>(c.parameter_count());
  // Two sequences of 3 tokens: 6 causal pairs each, 2 heads, depth 2 for scores and 2 for values, twice that again backward.
  const double attention = 3 * 2 * (2 * 6) * 2 * (2 + 2);
  EXPECT_DOUBLE_EQ(train_flops(c, 2, 3), 6 * n * 6 + attention + 14 * all);
}

TEST(Bench, a_decode_step_reads_the_weights_and_the_cache_once) {
  const ModelConfig c = by_hand();
  const auto n = static_cast<double>(c.active_parameter_count());
  const Work w = decode_work(c, DType::bf16, 3, 5);
  EXPECT_DOUBLE_EQ(w.bytes, 2 * n + 2.0 * 3 * 5 * (2 + 2));
  EXPECT_DOUBLE_EQ(w.flops, 2 * n * 3 + 2.0 * 3 * 5 * 2 * (2 + 2));
}

TEST(Bench, the_floor_is_the_larger_of_arithmetic_and_memory) {
  Ceilings c;
  c.bf16_flops = 100e9;
  c.f32_flops = 50e9;
  c.read_bytes = 10e9;
  EXPECT_DOUBLE_EQ(floor_ns({200, 10, DType::bf16}, c), 2);
  EXPECT_DOUBLE_EQ(floor_ns({200, 10, DType::f32}, c), 4);
  EXPECT_DOUBLE_EQ(floor_ns({200, 30, DType::bf16}, c), 3);
  EXPECT_STREQ(floor_kind({200, 10, DType::bf16}, c), "matmul");
  EXPECT_STREQ(floor_kind({200, 30, DType::bf16}, c), "memory");
}

TEST(Bench, verification_passes_the_kernels_and_catches_a_broken_one) {
  CeilingMeter meter(/*quick=*/true);
  Device& cpu = open_device("cpu");
  const KernelOptions only_swiglu{.filter = "SwiGlu", .time = false};
  for (const CaseResult& r : bench_kernels(cpu, meter, only_swiglu))
    EXPECT_TRUE(r.verification.ok) << r.name << r.verification.how;
  OpTable broken = cpu.ops();
  broken.swiglu = [](Context& ctx, const SwiGlu& op) {
    open_device("cpu").ops().swiglu(ctx, op);
    *reinterpret_cast<uint16_t*>(op.y.data) ^= 0x0100;  // one bit of one number's exponent
  };
  HostDevice wrong("cpu", broken, HostTraits{.fast_bf16 = true, .concurrent_parts = true}, "broken");
  const auto results = bench_kernels(wrong, meter, only_swiglu);
  ASSERT_FALSE(results.empty());
  EXPECT_FALSE(results[0].verification.ok);
  EXPECT_NE(results[0].verification.how.find("the reference says"), std::string::npos) << results[0].verification.how;
  EXPECT_FALSE(Report({"kernels", "", "", results}).ok());
}

TEST(Bench, results_are_kept_and_what_differs_from_them_is_counted) {
  CeilingMeter meter(/*quick=*/true);
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("r1_bench_bits_" + std::to_string(::getpid()));
  const KernelOptions swiglu{.filter = "SwiGlu", .time = false, .small = true, .bits = file};
  Device& cpu = open_device("cpu");
  const auto note = [&](Device& device) { return bench_kernels(device, meter, swiglu).at(0).note; };
  EXPECT_EQ(note(cpu), "") << "it is written";
  EXPECT_EQ(note(cpu), "y: the same bits");
  OpTable broken = cpu.ops();
  broken.swiglu = [](Context& ctx, const SwiGlu& op) {
    open_device("cpu").ops().swiglu(ctx, op);
    reinterpret_cast<uint16_t*>(op.y.data)[7] ^= 0x0001;
  };
  HostDevice wrong("cpu", broken, HostTraits{.fast_bf16 = true, .concurrent_parts = true}, "broken");
  EXPECT_TRUE(note(wrong).starts_with("y: 1 of 33300 differ, by at most ")) << note(wrong);
  KernelOptions others = swiglu;
  others.filter = "RmsNorm";
  EXPECT_THROW(bench_kernels(cpu, meter, others), Error) << "a file of other cases";
  std::filesystem::remove(file);
}

TEST(Bench, a_filter_that_no_case_meets_is_refused_before_anything_is_made) {
  CeilingMeter meter(/*quick=*/true);
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("r1_bench_none_" + std::to_string(::getpid()));
  EXPECT_THROW(bench_kernels(open_device("cpu"), meter, {.filter = "nonsense", .small = true, .bits = file}), Error);
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(Logits, of_no_line_are_none_and_refused) {
  const std::filesystem::path out = std::filesystem::temp_directory_path() / ("r1_logits_" + std::to_string(::getpid()));
  std::istringstream none("\n\n"), one(R"({"tokens": [1, 2, 3]})");
  const auto model = source_dir() / "tests/models/golden/gguf/llama.gguf";
  EXPECT_THROW(write_logits(open_device("cpu"), model, DType::f32, none, out), Error);
  EXPECT_EQ(write_logits(open_device("cpu"), model, DType::f32, one, out), 1);
  std::filesystem::remove(out);
}

TEST(Bench, versions_are_verified_and_every_figure_is_a_share_of_the_step) {
  CeilingMeter meter(/*quick=*/true);
  VersionOptions options;
  options.sequences = 1;
  options.length = 16;
  options.directory = ::testing::TempDir();
  const std::vector<CaseResult> cases = bench_versions(open_device("cpu"), meter, bench_models("tiny")[0], options);
  ASSERT_EQ(cases.size(), 6u);
  for (const CaseResult& c : cases) {
    EXPECT_TRUE(c.verification.ok) << c.name << ": " << c.verification.how;
    EXPECT_GT(c.measured_ns, 0) << c.name;
    EXPECT_FALSE(c.note.empty()) << c.name;
  }
}

TEST(Bench, json_has_the_fraction_the_ceilings_and_the_verdict_of_every_case) {
  CaseResult r;
  r.name = "train llama";
  r.floor = "matmul";
  r.floor_ns = 40;
  r.measured_ns = 80;
  r.ceilings.bf16_flops = 1e12;
  r.verification = {true, "as the reference"};
  const nlohmann::json j = report_json({"train", "a machine", "a fingerprint", {r}});
  EXPECT_EQ(j["machine"], "a machine");
  ASSERT_EQ(j["cases"].size(), 1u);
  EXPECT_DOUBLE_EQ(j["cases"][0]["fraction_of_ceiling"].get<double>(), 0.5);
  EXPECT_TRUE(j["cases"][0].contains("ceilings")) << j.dump(1);
}

}  // namespace
}  // namespace r1::bench
