// r1-bench train --ranks as a user runs it, with little to learn: processes have the bits of threads, and send what a ring
// needs.
#include "tests/tools/bench/bench_report.h"

namespace r1 {
namespace {

TEST(RanksBench, times_ranks_as_threads_and_as_processes_and_counts_what_they_send) {
  for (const char* ranks : {"2", "3"}) {
    const nlohmann::json report =
        test::bench_report({"train", "--ranks", ranks, "--small", "--arch", "llama", "--dtype", "f32", "--json"});
    ASSERT_EQ(report.at("cases").size(), 1u);
    const nlohmann::json& c = report.at("cases")[0];
    EXPECT_TRUE(c.at("verified")) << c;
    for (const char* number : {"alone_ms", "threads_ms", "processes_ms", "exchange_ms", "floor_ms", "link_gb_per_s"})
      EXPECT_GT(c.at(number), 0.0) << c;
    // Shards begin at multiples of 32 elements.
    EXPECT_NEAR(c.at("sent_bytes").get<double>(), c.at("needed_bytes").get<double>(), 8 * 32 * 3) << c;
    EXPECT_GE(c.at("step_bytes"), c.at("sent_bytes")) << c;
  }
}

}  // namespace
}  // namespace r1
