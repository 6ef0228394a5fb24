// The CPU's kernels over the whole table of cases: close to the reference, the same bits from run to run and for any threads.
#include <gtest/gtest.h>

#include "tests/kernels/op_cases.h"

namespace r1::test {
namespace {

class EveryCase : public testing::TestWithParam<const char*> {
 protected:
  // Cases of the op that the parameter names.
  template <class F>
  void for_each_case(F f) {
    int n = 0;
    for (const OpCase& c : op_cases()) {
      if (c.name.substr(0, c.name.find(' ')) != GetParam()) continue;
      f(c);
      ++n;
    }
    EXPECT_GT(n, 0) << "no cases";
  }
};

TEST_P(EveryCase, cpu_agrees_with_the_reference_and_touches_nothing_else) {
  Device &cpu = open_device("cpu"), &reference = open_device("reference");
  for_each_case(
      [&](const OpCase& c) { EXPECT_EQ(difference(run_case(c, cpu), run_case(c, reference), c.tolerance), "") << c.name; });
}

TEST_P(EveryCase, cpu_bits_do_not_depend_on_the_run_or_the_threads) {
  Device& cpu = open_device("cpu");
  for_each_case([&](const OpCase& c) {
    set_cpu_threads(1);
    const auto one = run_case(c, cpu, false);
    for (int threads : {1, 2, 3}) {
      set_cpu_threads(threads);
      EXPECT_EQ(bit_difference(run_case(c, cpu, true), one), "") << c.name << ", " << threads << " threads";
    }
    EXPECT_EQ(bit_difference(run_case(c, cpu, false), one), "") << c.name << ", 3 threads but not parallel";
    set_cpu_threads(0);
  });
}

#define R1_OP_STRING(Struct, field) #Struct,
const char* const kOps[] = {R1_OPS(R1_OP_STRING)};
INSTANTIATE_TEST_SUITE_P(Op, EveryCase, testing::ValuesIn(kOps), [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace r1::test
