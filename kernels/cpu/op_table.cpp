#include <cpuid.h>

#include <hwy/base.h>
#include <hwy/highway.h>

#include "kernels/cpu/bf16_matmul.h"
#include "kernels/cpu/cpu_table.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/threads.h"

namespace r1 {
namespace {

template <class Op, void (*Kernel)(Context&, const Op&)>
void metered(Context& context, const Op& op) {
  cpu::MeterScope meter;
  Kernel(context, op);
}

bool has_bf16_dot_products() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool amx_bf16 = (d >> 22) & 1;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return amx_bf16;
  const bool avx512_bf16 = (a >> 5) & 1;
  return amx_bf16 || avx512_bf16;
}

}  // namespace

const OpTable& cpu_op_table() {
  static const OpTable table = [] {
    OpTable t;
#define R1_SET_ENTRY(Struct, field) t.field = &metered<Struct, &cpu::field>;
    R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
    return t;
  }();
  return table;
}

HostTraits cpu_traits() {
  static const HostTraits traits{.fast_bf16 = has_bf16_dot_products() && cpu::has_bf16_matmul(),
                                 .concurrent_parts = true,
                                 .cheap_bf16_row_parts = cpu::has_own_bf16_matmul()};
  return traits;
}

std::string cpu_fingerprint() {
  return "cpu " + std::string(cpu::simd_target()) + ", Highway " + std::to_string(HWY_MAJOR) + "." + std::to_string(HWY_MINOR) +
         "." + std::to_string(HWY_PATCH) + ", " + cpu::matmul_library() + ", bf16 " +
         (cpu::has_own_bf16_matmul() ? "own kernel"
          : cpu_traits().fast_bf16   ? "hardware"
                                     : "emulated");
}

}  // namespace r1
