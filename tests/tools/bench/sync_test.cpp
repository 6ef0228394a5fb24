// r1-bench sync as a user runs it, with a small model: the other process holds what was published, and every part is measured.
#include "tests/tools/bench/bench_report.h"

namespace r1 {
namespace {

TEST(SyncBench, verifies_and_measures_a_version_on_its_way_to_another_process) {
  const nlohmann::json report = test::bench_report({"sync", "--json", "--shape", "tiny", "--arch", "llama", "--repeat", "1",
                                                    "--decode", "1", "--decode-seconds", "0.2", "--lr", "1e-5"});
  ASSERT_EQ(report.at("cases").size(), 2u);
  for (const auto& c : report.at("cases"))
    for (const char* number : {"density", "bytes", "convert_s", "hash_s", "encode_s", "link_s", "link_floor_s", "apply_s",
                               "total_s", "of_memcpy", "link_gb_per_s"})
      EXPECT_GT(c.at(number), 0.0) << number << " " << c;
  EXPECT_GT(report.at("cases")[0].at("times_smaller"), 5.0);
  const auto& decoding = report.at("decoding").at(0);
  for (const char* number : {"tokens_per_s", "step_s", "floor_s"}) EXPECT_GT(decoding.at(number), 0.0) << number;
  for (const char* way : {"in_place", "beside"}) EXPECT_GT(decoding.at(way).at("stalled_s"), 0.0) << way;
}

}  // namespace
}  // namespace r1
