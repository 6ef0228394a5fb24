// Ends a test program as skipped (77, SKIP_RETURN_CODE of its ctest entries) where R1_ISA names an instruction set that this
// machine lacks. Any other name that is wrong fails the tests themselves.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/cpu/isa.h"

namespace {

const bool kGoesOn = [] {
  const char* const asked = std::getenv("R1_ISA");
  for (const r1::cpu::Isa isa : r1::cpu::kEveryIsa)
    if (asked != nullptr && std::string(asked) == r1::cpu::isa_name(isa) && !r1::cpu::has_isa(isa)) {
      std::printf("skipped: this machine has no %s\n", asked);
      std::exit(77);
    }
  return true;
}();

}  // namespace
