// Walks the list of ops: each has a kernel on every device, cases in the table, and a gradient check or a reason.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/kernels/gradient_list.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

#define R1_OP_STRING(Struct, field) #Struct,
const std::set<std::string> kOps = {R1_OPS(R1_OP_STRING)};

TEST(Completeness, every_op_has_a_kernel_on_every_device) {
  for (const std::string& name : every_test_device()) {
    const OpTable& table = open_device(name).ops();
#define R1_EXPECT_KERNEL(Struct, field) EXPECT_NE(table.field, nullptr) << #Struct << " on " << name;
    R1_OPS(R1_EXPECT_KERNEL)
  }
}

// The CPU table must not be the reference under another name, op by op.
TEST(Completeness, every_cpu_kernel_is_its_own) {
  const OpTable &cpu = open_device("cpu").ops(), &reference = open_device("reference").ops();
#define R1_EXPECT_OWN(Struct, field) EXPECT_NE(cpu.field, reference.field) << #Struct;
  R1_OPS(R1_EXPECT_OWN)
}

TEST(Completeness, every_op_has_cases_and_each_case_says_which_op_it_makes) {
  std::map<std::string, int> cases;
  std::set<std::string> names;
  for (const OpCase& c : op_cases()) {
    EXPECT_TRUE(names.insert(c.name).second) << "two cases are called " << c.name;
    Buffers b(open_device("reference"), 1);
    EXPECT_EQ(c.name.substr(0, c.name.find(' ')), op_name(c.make(b)));
    ++cases[c.name.substr(0, c.name.find(' '))];
  }
  for (const std::string& op : kOps) EXPECT_GE(cases[op], 6) << op;
}

TEST(Completeness, every_op_has_a_gradient_check_or_a_reason) {
  std::set<std::string> tests;
  const auto* unit = testing::UnitTest::GetInstance();
  for (int s = 0; s < unit->total_test_suite_count(); ++s) {
    const auto* suite = unit->GetTestSuite(s);
    for (int t = 0; std::string(suite->name()) == "Gradient" && t < suite->total_test_count(); ++t)
      tests.insert(suite->GetTestInfo(t)->name());
  }
  for (const std::string& op : kOps) EXPECT_EQ(gradient_checks().count(op) + without_gradient_check().count(op), 1u) << op;
  for (const auto& [op, test] : gradient_checks()) {
    EXPECT_TRUE(kOps.count(op)) << op;
    EXPECT_TRUE(tests.count(test)) << "no test Gradient." << test;
  }
  for (const auto& [op, reason] : without_gradient_check()) EXPECT_TRUE(kOps.count(op) && reason.size() > 10) << op;
}

}  // namespace
}  // namespace r1::test
