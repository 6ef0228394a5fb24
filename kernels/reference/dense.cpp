#include "kernels/reference/dense.h"

#include <cstring>

#include "base/error.h"

namespace r1::reference {

namespace {

// Calls f(address of element, its index in row-major order).
template <class F>
void for_each_element(const View& v, F f) {
  const int64_t n = v.size();
  std::array<int64_t, View::kMaxRank> index{};
  for (int64_t i = 0; i < n; ++i) {
    int64_t offset = 0;
    for (int d = 0; d < v.rank; ++d) offset += index[d] * v.stride[d];
    f(v.data + offset * static_cast<int64_t>(dtype_size(v.dtype)), static_cast<size_t>(i));
    for (int d = v.rank - 1; d >= 0 && ++index[d] == v.shape[d]; --d) index[d] = 0;
  }
}

template <class T>
T read(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <class T>
void write(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

}  // namespace

std::vector<double> load(const View& v) {
  std::vector<double> out(static_cast<size_t>(v.size()));
  for_each_element(v, [&](const std::byte* p, size_t i) {
    switch (v.dtype) {
      case DType::f32:
        out[i] = read<float>(p);
        break;
      case DType::bf16:
        out[i] = f32_from_bf16(read<uint16_t>(p));
        break;
      case DType::i32:
        out[i] = read<int32_t>(p);
        break;
      case DType::i64:
        out[i] = static_cast<double>(read<int64_t>(p));
        break;
    }
  });
  return out;
}

std::vector<int64_t> load_ints(const View& v) {
  R1_CHECK(v.dtype == DType::i32 || v.dtype == DType::i64, v.str());
  std::vector<int64_t> out(static_cast<size_t>(v.size()));
  for_each_element(v,
                   [&](const std::byte* p, size_t i) { out[i] = v.dtype == DType::i32 ? read<int32_t>(p) : read<int64_t>(p); });
  return out;
}

void store(const View& v, const std::vector<double>& values) {
  R1_CHECK(static_cast<int64_t>(values.size()) == v.size(), v.str());
  for_each_element(v, [&](std::byte* p, size_t i) {
    switch (v.dtype) {
      case DType::f32:
        write(p, static_cast<float>(values[i]));
        break;
      case DType::bf16:
        write(p, bf16_from_f32(static_cast<float>(values[i])));
        break;
      case DType::i32:
        write(p, static_cast<int32_t>(values[i]));
        break;
      case DType::i64:
        write(p, static_cast<int64_t>(values[i]));
        break;
    }
  });
}

double rounded(double x, DType dtype) {
  const float f = static_cast<float>(x);
  return dtype == DType::bf16 ? f32_from_bf16(bf16_from_f32(f)) : f;
}

}  // namespace r1::reference
