// r1-bench channel as a user runs it, with little to carry: every way is verified and measured, and nothing is left running.
#include "tests/tools/bench/bench_report.h"

namespace r1 {
namespace {

TEST(ChannelBench, verifies_and_measures_every_way_between_two_processes) {
  const nlohmann::json report =
      test::bench_report({"channel", "--json", "--mib", "8", "--messages", "50", "--round-trips", "20", "--repeat", "1"});
  EXPECT_GT(report.at("memcpy_gb_per_s"), 0.0);
  EXPECT_EQ(report.at("cases").size(), 5u);
  for (const auto& c : report.at("cases")) {
    EXPECT_TRUE(c.at("verified")) << c;
    for (const char* number : {"gb_per_s", "of_memcpy", "messages_per_s", "round_trip_us"}) EXPECT_GT(c.at(number), 0.0) << c;
  }
}

}  // namespace
}  // namespace r1
