// Which instruction set the kernels use: R1_ISA is taken at its word or refused by name.
#include "kernels/cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "kernels/device.h"

namespace r1::test {
namespace {

std::string refusal(const std::string& asked) {
  try {
    cpu::chosen_isa(asked);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.message() + " | " + e.hint();
  }
  return "taken";
}

TEST(InstructionSet, one_that_the_machine_has_is_taken_by_its_name) {
  for (const cpu::Isa isa : cpu::kEveryIsa) {
    if (cpu::has_isa(isa)) {
      EXPECT_EQ(cpu::chosen_isa(cpu::isa_name(isa)), isa) << cpu::isa_name(isa);
    }
  }
  EXPECT_TRUE(cpu::has_isa(cpu::default_isa()));
  EXPECT_EQ(cpu::chosen_isa(""), cpu::default_isa());
}

TEST(InstructionSet, one_that_nobody_knows_is_refused_with_the_nearest_name) {
  EXPECT_EQ(refusal("avx512_bf61"), "R1_ISA names an unknown instruction set 'avx512_bf61' | did you mean 'avx512_bf16'?");
  EXPECT_EQ(
      refusal("neon"),
      "R1_ISA names an unknown instruction set 'neon' | known: scalar, avx2, avx512, avx512_bf16, amx_onednn, amx_software, "
      "amx");
}

TEST(InstructionSet, one_that_the_machine_lacks_is_refused_with_what_it_has) {
  bool lacks = false;
  for (const cpu::Isa isa : cpu::kEveryIsa) {
    if (cpu::has_isa(isa)) continue;
    lacks = true;
    const std::string said = refusal(cpu::isa_name(isa));
    EXPECT_EQ(
        said.find(std::string("R1_ISA asks for ") + cpu::isa_name(isa) + ", which this machine does not have | it has scalar"),
        0u)
        << said;
  }
  if (!lacks) GTEST_SKIP() << "this machine has every instruction set";
}

TEST(InstructionSet, is_in_the_fingerprint_with_what_the_libraries_made_of_it) {
  const char* const asked = std::getenv("R1_ISA");
  const cpu::Isa isa = cpu::chosen_isa(asked ? asked : "");
  const std::string fingerprint = open_device("cpu").fingerprint();
  EXPECT_EQ(fingerprint.find(std::string("cpu ") + cpu::isa_name(isa) + ", "), 0u) << fingerprint;
  const bool wide = isa >= cpu::Isa::avx512;
  EXPECT_EQ(fingerprint.find("AVX3") != std::string::npos, wide) << fingerprint;
  EXPECT_EQ(fingerprint.find("avx512_core") != std::string::npos, wide) << fingerprint;
  EXPECT_EQ(fingerprint.find("avx512_core_bf16") != std::string::npos || fingerprint.find("amx") != std::string::npos,
            isa >= cpu::Isa::avx512_bf16)
      << fingerprint;
  EXPECT_EQ(open_device("cpu").has_fast_bf16(), isa >= cpu::Isa::avx2);
}

// Skylake has no VNNI, Ice Lake has: they compute the same bits, and are nodes of one run.
TEST(InstructionSet, avx512_is_one_arithmetic_on_all_machines_that_have_it) {
  const char* const asked = std::getenv("R1_ISA");
  if (asked == nullptr || cpu::chosen_isa(asked) != cpu::Isa::avx512) GTEST_SKIP() << "it is seen with R1_ISA=avx512";
  const std::string fingerprint = open_device("cpu").fingerprint();
  EXPECT_NE(fingerprint.find(" avx512_core,"), std::string::npos) << fingerprint;
}

}  // namespace
}  // namespace r1::test
