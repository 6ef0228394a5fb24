// The tile instructions of kernels/cpu/tiles.h, and the products made of them, against AVX-512's, and products by multiply-adds
// against a plain loop: bit by bit, on a machine without an operating system. For an emulated CPU (see `run`), as no Linux with
// tiles boots on one yet. What it says goes to the first serial port; the last line is "DONE: N wrong".
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/amx_matmul.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tiles.h"

// What the compiler takes for granted.
extern "C" void* memcpy(void* to, const void* from, size_t n) {
  void* const begin = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
  return begin;
}
extern "C" void* memset(void* to, int value, size_t n) {
  void* const begin = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return begin;
}
extern "C" int memcmp(const void* a, const void* b, size_t n) {
  const auto *x = static_cast<const unsigned char*>(a), *y = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < n; ++i)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

namespace r1::cpu {
namespace {
Isa set = Isa::amx;
}  // namespace
// In place of isa.cpp and threads.cpp.
Isa isa() { return set; }
std::byte* scratch_bytes(ScratchSlot, size_t) {
  alignas(64) static std::byte memory[16 << 20];
  return memory;
}
}  // namespace r1::cpu

namespace {
using namespace r1::cpu;

constexpr uint16_t kSerial = 0x3f8;
void out(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
uint8_t in(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
void say(const char* text) {
  for (; *text != 0; ++text) {
    while ((in(kSerial + 5) & 0x20) == 0) {
    }
    out(kSerial, static_cast<uint8_t>(*text));
  }
}
void say(unsigned long n) {
  char digits[24] = {};
  int at = 23;
  do digits[--at] = static_cast<char>('0' + n % 10);
  while ((n /= 10) != 0);
  say(digits + at);
}

uint64_t next_number() {  // xorshift64
  static uint64_t state = 88172645463325252;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
// Exponents of operands. `small`: products and sums pass through the least normal number.
enum class Kind { ordinary, some_denormal, small };
uint16_t half(Kind kind) {
  const uint64_t r = next_number();
  const uint64_t exponent = kind == Kind::small                                 ? 55 + (r >> 32) % 16
                            : kind == Kind::some_denormal && (r >> 32) % 8 == 0 ? 0
                                                                                : 118 + (r >> 40) % 16;
  return static_cast<uint16_t>((r & 0x807f) | exponent << 7);
}
uint32_t single(Kind kind) {
  const uint64_t r = next_number();
  const uint64_t exponent = kind == Kind::small                                 ? (r >> 40) % 12
                            : kind == Kind::some_denormal && (r >> 32) % 4 == 0 ? 0
                                                                                : 118 + (r >> 40) % 16;
  return static_cast<uint32_t>((r & 0x807fffff) | exponent << 23);
}

uint64_t wrong_in_all = 0;
void result(const char* what, uint64_t wrong, uint64_t cases) {
  say(what), say(": "), say(wrong), say(" of "), say(cases), say(" wrong\n");
  wrong_in_all += wrong;
}

void check_dots(const char* what, Kind kind) {
  HardwareTiles hardware;
  static SoftwareTiles software;
  static TileOperands x, got, want;
  uint64_t wrong = 0;
  constexpr int kRounds = 300;
  for (int round = 0; round < kRounds; ++round) {
    for (auto* const operand : {&x.a, &x.b})
      for (auto& row : *operand)
        for (uint32_t& pair : row) pair = half(kind) | static_cast<uint32_t>(half(kind)) << 16;
    for (auto& row : x.c)
      for (uint32_t& bits : row) bits = single(kind);
    two_products(hardware, x, got);
    two_products(software, x, want);
    wrong += memcmp(got.c, want.c, sizeof got.c) != 0;
  }
  result(what, wrong, kRounds);
}

void check_moves() {
  static uint32_t from[16 * 40], to[16 * 24];
  for (uint32_t i = 0; i < 16 * 40; ++i) from[i] = i;
  HardwareTiles tiles;
  tiles.load<3>(from, 40 * 4);
  tiles.store<3>(to, 24 * 4);
  uint64_t wrong = 0;
  for (uint32_t r = 0; r < 16; ++r)
    for (uint32_t c = 0; c < 24; ++c) wrong += to[r * 24 + c] != (c < 16 ? from[r * 40 + c] : 0);
  tiles.zero<3>();
  tiles.store<3>(to, 24 * 4);
  for (uint32_t r = 0; r < 16; ++r)
    for (uint32_t c = 0; c < 16; ++c) wrong += to[r * 24 + c] != 0;
  result("load, store, zero", wrong, 16 * 24 + 16 * 16);
}

constexpr int64_t kMost = 100 * 256;
uint16_t a[kMost], b[kMost], bias[128];
float got[kMost], want[kMost];
void fill(int64_t of_a, int64_t of_b, int64_t of_c) {
  for (int64_t i = 0; i < of_a; ++i) a[i] = half(Kind::ordinary);
  for (int64_t i = 0; i < of_b; ++i) b[i] = half(Kind::ordinary);
  for (uint16_t& x : bias) x = half(Kind::ordinary);
  for (int64_t i = 0; i < of_c; ++i) {
    const uint32_t bits = single(Kind::ordinary);
    std::memcpy(&got[i], &bits, sizeof bits);
    want[i] = got[i];
  }
}

void check_matmul() {
  struct Form {
    bool trans_b, c_transposed, accumulate, bias;
  };
  constexpr Form kForms[] = {{true, false, false, false}, {true, false, false, true},   {true, true, false, false},
                             {true, true, false, true},   {false, false, false, false}, {false, false, true, false}};
  uint64_t wrong = 0, cases = 0;
  for (const int64_t m : {1, 15, 16, 31, 32, 47, 64, 65, 100})
    for (const int64_t n : {1, 16, 17, 33, 64})
      for (const int64_t k : {2, 31, 32, 64, 97, 256})
        for (const Form& f : kForms) {
          fill(m * k, n * k, m * n);
          for (const Isa isa : {Isa::amx, Isa::amx_software}) {
            set = isa;
            tile_matmul({a, k, b, f.trans_b ? k : n, f.trans_b, f.bias ? bias : nullptr, isa == Isa::amx ? got : want,
                         r1::DType::f32, f.c_transposed ? m : n, m, n, k, f.accumulate, f.c_transposed});
          }
          ++cases;
          wrong += memcmp(got, want, static_cast<size_t>(m * n) * sizeof(float)) != 0;
        }
  result("tile_matmul", wrong, cases);
}

void check_weight_product() {
  uint64_t wrong = 0, cases = 0;
  for (const int64_t n : {16, 32, 40, 64})
    for (const int64_t k : {16, 32, 50, 96})
      for (const int64_t t : {1, 32, 33, 200}) {
        fill(t * n, t * k, n * k);
        for (const Isa isa : {Isa::amx, Isa::amx_software}) {
          set = isa;
          tile_weight_product({a, n, b, k, isa == Isa::amx ? got : want, k, n, k, t});
        }
        ++cases;
        wrong += memcmp(got, want, static_cast<size_t>(n * k) * sizeof(float)) != 0;
      }
  result("tile_weight_product", wrong, cases);
}

// The chain of an element: of each pair the odd one first.
__attribute__((target("fma"))) float chain(int64_t row, int64_t column, int64_t n, int64_t k, bool trans_b) {
  const auto widened = [](uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  };
  float sum = 0;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t at = i + 1; at >= i; --at)
      if (at < k) sum = __builtin_fmaf(widened(a[row * k + at]), widened(b[trans_b ? column * k + at : at * n + column]), sum);
  return sum;
}

// forms: b stored [n,k]; b stored [k,n]; c transposed, if the product knows that.
void check_multiply_adds(const char* what, void (*product)(const Bf16Matmul&), int forms) {
  static uint16_t rounded[kMost];
  uint64_t wrong = 0, cases = 0;
  for (const int64_t m : {1, 6, 8, 15, 33, 64})
    for (const int64_t n : {1, 16, 17, 50})
      for (const int64_t k : {1, 2, 31, 64, 300})
        for (int form = 0; form < forms; ++form) {
          const bool trans_b = form != 1, turned = form == 2;
          fill(m * k, n * k, m * n);
          const int64_t ldc = turned ? m : n;
          product({a, k, b, trans_b ? k : n, trans_b, nullptr, got, r1::DType::f32, ldc, m, n, k, false, turned});
          product({a, k, b, trans_b ? k : n, trans_b, nullptr, rounded, r1::DType::bf16, ldc, m, n, k, false, turned});
          for (int64_t row = 0; row < m; ++row)
            for (int64_t column = 0; column < n; ++column) {
              const float sum = chain(row, column, n, k, trans_b);
              uint32_t bits;
              std::memcpy(&bits, &sum, sizeof bits);
              const int64_t at = turned ? column * m + row : row * n + column;
              ++cases;
              wrong += memcmp(&got[at], &sum, sizeof sum) != 0 ||
                       rounded[at] != static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
            }
        }
  result(what, wrong, cases);
}

struct Features {
  bool avx512, tiles;
};
Features features() {
  uint32_t a = 7, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return {(b >> 16 & 1) != 0, (d >> 24 & 1) != 0};
}

void check_tiles() {
  check_dots("products of ordinary numbers", Kind::ordinary);
  check_dots("products with denormal numbers", Kind::some_denormal);
  check_dots("products near the least normal number", Kind::small);
  check_moves();
  check_matmul();
  check_weight_product();
}

}  // namespace

extern "C" void bare_main() {
  constexpr uint8_t kSetup[][2] = {{1, 0}, {3, 0x80}, {0, 1}, {1, 0}, {3, 3}, {2, 0}};  // 115200 baud, eight bits
  for (const auto& [port, value] : kSetup) out(static_cast<uint16_t>(kSerial + port), value);
  const auto [avx512, tiles] = features();
  tiles ? check_tiles() : say("this CPU has no tiles\n");
  set = Isa::avx512;  // without an instruction for bf16
  avx512 ? check_multiply_adds("bf16_matmul_by_multiply_adds", bf16_matmul_by_multiply_adds, 3) : say("nor AVX-512\n");
  check_multiply_adds("bf16_matmul_on_avx2", bf16_matmul_on_avx2, 2);
  say("DONE: "), say(wrong_in_all), say(" wrong\n");
}
