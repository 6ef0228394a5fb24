// r1-bench as a user runs it.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/line_process.h"

namespace r1::test {

// What `r1-bench WHAT --json ...` prints; it has to end with exit code 0, and everything verified.
inline nlohmann::json bench_report(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), R1_BENCH);
  LineProcess bench({std::move(arguments), "", {}}, {});
  std::string text;
  for (;;) {
    const auto reply = bench.read_line(240, nullptr);
    if (reply.outcome != LineProcess::Outcome::line) break;
    text += reply.line + "\n";
  }
  EXPECT_EQ(bench.finish(60), "exit code 0") << bench.last_words();
  nlohmann::json report = nlohmann::json::parse(text);
  EXPECT_TRUE(report.at("verified"));
  return report;
}

}  // namespace r1::test
