// A fixture for tests that walk the table of cases: its parameter is a device and an op.
// Thread rule: as GoogleTest.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {

class EveryCaseTest : public testing::TestWithParam<std::tuple<std::string, const char*>> {
 protected:
  Device& device() { return open_device(std::get<0>(GetParam())); }
  // Every n-th case of the op, the first included.
  template <class F>
  void for_each_case(F f, int every = 1) {
    int n = 0;
    for (const OpCase& c : op_cases())
      if (c.name.substr(0, c.name.find(' ')) == std::get<1>(GetParam()) && n++ % every == 0) f(c);
    EXPECT_GT(n, 0) << "no cases";
  }
};

#define R1_OP_STRING(Struct, field) #Struct,
inline const char* const kEveryOp[] = {R1_OPS(R1_OP_STRING)};
#undef R1_OP_STRING

inline auto every_device_and_op() { return testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kEveryOp)); }
inline std::string device_and_op_name(const testing::TestParamInfo<std::tuple<std::string, const char*>>& i) {
  return device_test_name(std::get<0>(i.param)) + "_" + std::get<1>(i.param);
}

}  // namespace r1::test
