#include "models/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace r1 {
namespace {

constexpr uint32_t kExponentF32 = 0x7F800000u;
constexpr uint16_t kExponentBf16 = 0x7F80u, kExponentF16 = 0x7C00u;

// Blocks are tested without a branch, so that the compiler can use whole registers.
template <class Bits>
int64_t first_of(const std::byte* data, int64_t n, Bits exponent) {
  constexpr int64_t kBlock = 1024;
  const auto bits_at = [data](int64_t i) {
    Bits bits;
    std::memcpy(&bits, data + static_cast<size_t>(i) * sizeof bits, sizeof bits);
    return bits;
  };
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    Bits bad = 0;
    for (int64_t i = begin; i < end; ++i) bad |= static_cast<Bits>((bits_at(i) & exponent) == exponent);
    if (bad == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if ((bits_at(i) & exponent) == exponent) return i;
  }
  return -1;
}

template <class Bits>
const char* word(const void* value, Bits exponent, int sign_shift) {
  Bits bits;
  std::memcpy(&bits, value, sizeof bits);
  const auto magnitude = static_cast<Bits>(bits & static_cast<Bits>(~(Bits{1} << sign_shift)));
  if (magnitude != exponent) return "nan";
  return (bits >> sign_shift) != 0 ? "-inf" : "inf";
}

}  // namespace

int64_t first_not_finite(const void* data, int64_t n, std::string_view dtype) {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (dtype == "F32") return first_of<uint32_t>(bytes, n, kExponentF32);
  if (dtype == "BF16") return first_of<uint16_t>(bytes, n, kExponentBf16);
  if (dtype == "F16") return first_of<uint16_t>(bytes, n, kExponentF16);
  return -1;
}

std::string not_finite_text(std::string_view tensor, const std::vector<int64_t>& shape, int64_t index, const void* value,
                            std::string_view dtype) {
  const char* text = dtype == "F32"    ? word<uint32_t>(value, kExponentF32, 31)
                     : dtype == "BF16" ? word<uint16_t>(value, kExponentBf16, 15)
                                       : word<uint16_t>(value, kExponentF16, 15);
  std::vector<int64_t> place(shape.size());
  int64_t rest = index;
  for (size_t i = shape.size(); i-- > 0;) {
    const int64_t n = std::max<int64_t>(shape[i], 1);
    place[i] = rest % n;
    rest /= n;
  }
  return fmt::format("tensor '{}' holds {} at [{}]", tensor, text, fmt::join(place, ", "));
}

}  // namespace r1
