#include "kernels/cpu/isa.h"

#include <cpuid.h>
#include <fmt/format.h>
#include <hwy/highway.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <dnnl.hpp>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {
namespace {

struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
Leaf leaf7(unsigned sub) {
  Leaf l;
  __get_cpuid_count(7, sub, &l.a, &l.b, &l.c, &l.d);
  return l;
}

// Tiles are large, so that a process asks the kernel for them first. Source: Linux, Documentation/arch/x86/xstate.rst.
bool tiles_are_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  static const bool has = [] {
    const unsigned d = leaf7(0).d;
    const bool bf16 = (d >> 22) & 1, tile = (d >> 24) & 1;
    return bf16 && tile && has_isa(Isa::avx512_bf16) && tiles_are_permitted();
  }();
  return has;
}

// Our kernels on tiles were written against the manual: where a CPU's tiles gave other bits than those that all tests are made
// with, they would not be taken unasked.
bool tiles_are_as_written() {
  static const bool as_written = [] {
    HardwareTiles tiles;
    return tiles_agree(tiles);
  }();
  return as_written;
}

// The targets of Highway and the widest set of oneDNN that belong to it. Neither has begun when this is called.
void tell_libraries(Isa isa) {
  constexpr int64_t kAvx512 = HWY_AVX3 | HWY_AVX3_DL, kAvx2 = kAvx512 | HWY_AVX2;
  const auto limit = [](int64_t disabled, dnnl::cpu_isa widest) {
    if (disabled != 0) hwy::DisableTargets(disabled);
    R1_CHECK(dnnl::set_max_cpu_isa(widest) == dnnl::status::success, "oneDNN began before its instruction set was chosen");
  };
  switch (isa) {
    case Isa::scalar:
      return limit(kAvx2 | HWY_SSE4 | HWY_SSSE3, dnnl::cpu_isa::sse41);
    case Isa::avx2:
      return limit(kAvx512, dnnl::cpu_isa::avx2);
    case Isa::avx512:  // without VNNI, which f32 products have no use for: one fingerprint for all machines with AVX-512
      return limit(0, dnnl::cpu_isa::avx512_core);
    case Isa::avx512_bf16:
    case Isa::amx_software:
    case Isa::amx:
      return limit(0, dnnl::cpu_isa::avx512_core_bf16);
    case Isa::amx_onednn:
      return limit(0, dnnl::cpu_isa::all);
  }
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx_onednn:
      return "amx_onednn";
    case Isa::amx_software:
      return "amx_software";
    case Isa::amx:
      return "amx";
  }
  return "";
}

bool has_isa(Isa isa) {
  __builtin_cpu_init();
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return has_isa(Isa::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case Isa::avx512_bf16:
    case Isa::amx_software:
      return has_isa(Isa::avx512) && (leaf7(1).a >> 5 & 1) != 0;
    case Isa::amx_onednn:
    case Isa::amx:
      return has_amx();
  }
  return false;
}

Isa default_isa() {
  if (has_isa(Isa::amx) && tiles_are_as_written()) return Isa::amx;
  for (const Isa isa : {Isa::amx_onednn, Isa::avx512_bf16, Isa::avx512, Isa::avx2})
    if (has_isa(isa)) return isa;
  return Isa::scalar;
}

Isa chosen_isa(const std::string& asked) {
  if (asked.empty()) return default_isa();
  std::vector<std::string> known, here;
  for (const Isa isa : kEveryIsa) {
    known.emplace_back(isa_name(isa));
    if (has_isa(isa)) here.emplace_back(isa_name(isa));
  }
  for (const Isa isa : kEveryIsa) {
    if (asked != isa_name(isa)) continue;
    if (has_isa(isa)) return isa;
    throw bad_input(fmt::format("R1_ISA asks for {}, which this machine does not have", asked), {},
                    fmt::format("it has {}", fmt::join(here, ", ")));
  }
  const std::string near = nearest(asked, known);
  throw bad_input(fmt::format("R1_ISA names an unknown instruction set '{}'", asked), {},
                  near.empty() ? fmt::format("known: {}", fmt::join(known, ", ")) : fmt::format("did you mean '{}'?", near));
}

Isa isa() {
  static const Isa chosen = [] {
    const char* const asked = std::getenv("R1_ISA");
    const Isa isa = chosen_isa(asked != nullptr ? asked : "");
    tell_libraries(isa);
    return isa;
  }();
  return chosen;
}

}  // namespace r1::cpu
