#include "tests/kernels/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace r1::test {

namespace {

double unit_roundoff(DType t) { return t == DType::bf16 ? 0x1p-8 : 0x1p-24; }
bool is_integer(DType t) { return t == DType::i32 || t == DType::i64; }

std::string place_of(size_t i, const Shape& shape) {
  std::string s;
  for (size_t d = shape.size(); d-- > 0;) {
    const auto n = static_cast<size_t>(shape[d]);
    s = std::to_string(i % n) + (s.empty() ? "" : ",") + s;
    i /= n;
  }
  return "[" + s + "]";
}

std::string shape_difference(const Output& got, const Output& want) {
  if (got.name != want.name || got.dtype != want.dtype || got.shape != want.shape || got.bytes.size() != want.bytes.size())
    return fmt::format("{} {} of {} elements against {} {} of {}", dtype_name(got.dtype), got.name, got.values().size(),
                       dtype_name(want.dtype), want.name, want.values().size());
  return {};
}

}  // namespace

std::string difference(const Output& got, const Output& want, const Tolerance& tolerance) {
  if (auto s = shape_difference(got, want); !s.empty()) return s;
  if (is_integer(want.dtype)) return bit_difference(got, want);
  const auto g = got.values(), w = want.values();
  double scale = tolerance.magnitude;
  for (double x : w)
    if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
  const double u = unit_roundoff(want.dtype);
  const double data_u = std::max(u, unit_roundoff(tolerance.data));
  const double fixed = (tolerance.roundings - 1) * 2 * data_u * scale +
                       tolerance.noise * std::sqrt(static_cast<double>(tolerance.reduction)) * 0x1p-24 * scale;
  double worst = 1;
  std::string text;
  for (size_t i = 0; i < w.size(); ++i) {
    if (g[i] == w[i]) continue;  // equal infinities too
    const double allowed = 2 * u * std::abs(w[i]) + fixed;
    const double excess = std::abs(g[i] - w[i]) / allowed;
    if (excess <= worst) continue;  // false for NaN
    if (!std::isnan(worst))
      text = fmt::format("{}{} = {:.9g}, reference {:.9g}, allowed difference {:.3g} ({:.3g} of it)", got.name,
                         place_of(i, got.shape), g[i], w[i], allowed, excess);
    worst = excess;
  }
  return text;
}

std::string bit_difference(const Output& got, const Output& want) {
  if (auto s = shape_difference(got, want); !s.empty()) return s;
  const size_t item = dtype_size(want.dtype);
  const auto first = std::mismatch(got.bytes.begin(), got.bytes.end(), want.bytes.begin()).first;
  if (first == got.bytes.end()) return {};
  const size_t i = static_cast<size_t>(first - got.bytes.begin()) / item;
  return fmt::format("{}{} = {:.9g} against {:.9g}: not the same bits", got.name, place_of(i, got.shape), got.values()[i],
                     want.values()[i]);
}

namespace {

template <class F>
std::string first_difference(const std::vector<Output>& got, const std::vector<Output>& want, F compare) {
  if (got.size() != want.size()) return fmt::format("{} outputs against {}", got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    if (auto s = compare(got[i], want[i]); !s.empty()) return s;
  return {};
}

}  // namespace

std::string difference(const std::vector<Output>& got, const std::vector<Output>& want, const Tolerance& tolerance) {
  return first_difference(got, want, [&](const Output& g, const Output& w) { return difference(g, w, tolerance); });
}

std::string bit_difference(const std::vector<Output>& got, const std::vector<Output>& want) {
  return first_difference(got, want, [](const Output& g, const Output& w) { return bit_difference(g, w); });
}

}  // namespace r1::test
