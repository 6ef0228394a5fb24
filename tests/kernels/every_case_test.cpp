// The whole table of cases on every device: close to the reference, nothing else touched.
#include <gtest/gtest.h>

#include "tests/kernels/every_case.h"

namespace r1::test {
namespace {

class EveryCase : public EveryCaseTest {};

TEST_P(EveryCase, agrees_with_the_reference_and_touches_nothing_else) {
  Device& reference = open_device("reference");
  for_each_case([&](const OpCase& c) {
    try {
      EXPECT_EQ(difference(run_case(c, device()), run_case(c, reference), c.tolerance_on(device())), "") << c.name;
    } catch (...) {  // a card that fails does not say at what
      ADD_FAILURE() << c.name;
      throw;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(On, EveryCase, every_device_and_op(), device_and_op_name);

}  // namespace
}  // namespace r1::test
