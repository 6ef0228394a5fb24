#include "actors/progress_line.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/batch_statistics.h"

namespace r1 {

std::string progress_line(const ProgressFacts& facts, const nlohmann::json& stats) {
  std::string line = fmt::format("batch {}{}", facts.batch, facts.limit > 0 ? fmt::format("/{}", facts.limit) : "");
  if (facts.groups)
    line += fmt::format("  reward {}  accuracy {}  format {}  age {}", shown(stats, "reward", 3), shown(stats, "accuracy", 3),
                        shown(stats, "format", 3), shown(stats, "age", 1));
  else
    line += "  loss " + shown(stats, "loss", 4);
  if (facts.incomplete) line += fmt::format("  reward errors {}", shown(stats, "reward_errors", 0));
  if (facts.pairs) line += "  pairs right " + shown(stats, "pair_accuracy", 3);
  if (facts.tokens_per_s > 0) line += fmt::format("  {:.0f} tokens/s", facts.tokens_per_s);
  const auto left_s = static_cast<int64_t>(facts.left_s);
  if (facts.left_s > 0) line += fmt::format("  {}:{:02} left", left_s / 60, left_s % 60);
  return line;
}

}  // namespace r1
