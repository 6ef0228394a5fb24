// What only the emulator shows: the same bits whatever way the threads of a block take turns. A kernel that lacks a barrier
// gives other bits under a schedule in which one warp runs far ahead.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/kernels/every_case.h"

namespace r1::test {
namespace {

class EmulatedCase : public EveryCaseTest {};

TEST_P(EmulatedCase, has_the_same_bits_under_every_schedule) {
  if (!emulated(device())) GTEST_SKIP() << "a card takes its own schedule";
  const bool slow = std::string(std::get<1>(GetParam())) == "Sample";
  int n = 0;
  for_each_case(
      [&](const OpCase& c) {
        const auto fair = run_case(c, device());
        // Each case under one of them, in turn: cases differ in size more than in what they do.
        const char* const schedules[] = {"unfair", "both", "eager"};
        const char* const schedule = schedules[n++ % 3];
        setenv("R1_CUDA_SCHEDULE", schedule, 1);
        EXPECT_EQ(bit_difference(run_case(c, device()), fair), "") << c.name << ", " << schedule;
        unsetenv("R1_CUDA_SCHEDULE");
      },
      slow ? 11 : 5);
}

INSTANTIATE_TEST_SUITE_P(On, EmulatedCase, every_device_and_op(), device_and_op_name);

}  // namespace
}  // namespace r1::test
