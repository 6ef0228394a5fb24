#include <fmt/format.h>
#include <hwy/base.h>
#include <hwy/highway.h>

#include "kernels/cpu/cpu_table.h"
#include "kernels/cpu/bf16_matmul.h"
#include "kernels/cpu/isa.h"
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
  static const HostTraits traits{.fast_bf16 = cpu::has_bf16_matmul(),
                                 .concurrent_parts = true,
                                 .cheap_bf16_row_parts = cpu::has_weights_as_rows(cpu::isa())};
  return traits;
}

std::string cpu_instruction_set() { return cpu::isa_name(cpu::isa()); }

std::string cpu_fingerprint() {
  const cpu::Isa isa = cpu::isa();
  return fmt::format("cpu {}, Highway {}.{}.{} {}, {}, bf16 {}", cpu::isa_name(isa), HWY_MAJOR, HWY_MINOR, HWY_PATCH,
                     cpu::simd_target(), cpu::matmul_library(),
                     isa == cpu::Isa::avx512_bf16 && !cpu::chain_is_two_multiply_adds() ? "own kernel, pairs of its own kind"
                     : cpu::own_bf16(isa)                                               ? "own kernel"
                     : cpu_traits().fast_bf16                                           ? "hardware"
                                                                                        : "as f32");
}

}  // namespace r1
