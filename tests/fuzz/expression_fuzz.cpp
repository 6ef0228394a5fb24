// Reward expressions, read and evaluated: a value that is finite, or the failure of a reward.
#include <cmath>

#include "rewards/expression.h"
#include "rewards/rules.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  fuzz::taken([&] {
    const RewardExpression expression = RewardExpression::parse(fuzz::text_of(data, size), {"g.graph", 3, 5});
    const std::map<std::string, std::string> facts = {{"answer", "7"}, {"level", "2"}, {"domain", "general"}};
    const RewardInput in{"what is 3 + 4 ?", "<think> 3 + 4 = 7 </think> <answer> 7 </answer>", &facts, true, 12};
    double value = 0;
    try {
      value = expression.evaluate([&](const std::string& name) { return rule_or_flag(name, in); });
    } catch (const Error& e) {
      if (e.code() != ExitCode::failed) throw;
    }
    if (!std::isfinite(value)) fuzz::finding("a reward that is not finite");
  });
  return 0;
}
