// What the table of cases shows of the CPU alone: the same bits from run to run and for any threads.
#include <gtest/gtest.h>

#include "tests/kernels/every_case.h"

namespace r1::test {
namespace {

class EveryCpuCase : public EveryCaseTest {};

TEST_P(EveryCpuCase, has_bits_that_do_not_depend_on_the_run_or_the_threads) {
  for_each_case([&](const OpCase& c) {
    set_cpu_threads(1);
    const auto one = run_case(c, device(), false);
    for (int threads : {1, 2, 3}) {
      set_cpu_threads(threads);
      EXPECT_EQ(bit_difference(run_case(c, device(), true), one), "") << c.name << ", " << threads << " threads";
    }
    EXPECT_EQ(bit_difference(run_case(c, device(), false), one), "") << c.name << ", 3 threads but not parallel";
    set_cpu_threads(0);
  });
}

INSTANTIATE_TEST_SUITE_P(On, EveryCpuCase, testing::Combine(testing::Values(std::string("cpu")), testing::ValuesIn(kEveryOp)),
                         device_and_op_name);

}  // namespace
}  // namespace r1::test
