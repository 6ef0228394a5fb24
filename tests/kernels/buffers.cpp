#include "tests/kernels/buffers.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace r1::test {

namespace {

constexpr int64_t kGuardBytes = 192;

int64_t size_of(const Shape& shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  return n;
}

// Calls f(byte offset from v.data) for each element, in row-major order.
template <class F>
void for_each_offset(const View& v, F f) {
  const auto item = static_cast<int64_t>(dtype_size(v.dtype));
  std::array<int64_t, View::kMaxRank> index{};
  for (int64_t i = 0, n = v.size(); i < n; ++i) {
    int64_t offset = 0;
    for (int d = 0; d < v.rank; ++d) offset += index[d] * v.stride[d];
    f(offset * item);
    for (int d = v.rank - 1; d >= 0 && ++index[d] == v.shape[d]; --d) index[d] = 0;
  }
}

// The bytes from the first element to behind the last.
int64_t extent_bytes(const View& v) {
  if (v.size() == 0) return 0;
  int64_t last = 0;
  for (int d = 0; d < v.rank; ++d) last += (v.shape[d] - 1) * v.stride[d];
  return (last + 1) * static_cast<int64_t>(dtype_size(v.dtype));
}

}  // namespace

std::vector<std::byte> to_bytes(DType dtype, const std::vector<double>& values) {
  std::vector<std::byte> bytes(values.size() * dtype_size(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* p = bytes.data() + i * dtype_size(dtype);
    const float f = static_cast<float>(values[i]);
    if (dtype == DType::f32) std::memcpy(p, &f, 4);
    if (dtype == DType::bf16) {
      const uint16_t h = bf16_from_f32(f);
      std::memcpy(p, &h, 2);
    }
    if (dtype == DType::i32) {
      const int32_t n = static_cast<int32_t>(values[i]);
      std::memcpy(p, &n, 4);
    }
    if (dtype == DType::i64) {
      const int64_t n = static_cast<int64_t>(values[i]);
      std::memcpy(p, &n, 8);
    }
  }
  return bytes;
}

std::vector<double> to_values(DType dtype, const std::vector<std::byte>& bytes) {
  std::vector<double> values(bytes.size() / dtype_size(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* p = bytes.data() + i * dtype_size(dtype);
    float f = 0;
    uint16_t h = 0;
    int32_t n = 0;
    int64_t m = 0;
    if (dtype == DType::f32) std::memcpy(&f, p, 4), values[i] = f;
    if (dtype == DType::bf16) std::memcpy(&h, p, 2), values[i] = f32_from_bf16(h);
    if (dtype == DType::i32) std::memcpy(&n, p, 4), values[i] = n;
    if (dtype == DType::i64) std::memcpy(&m, p, 8), values[i] = static_cast<double>(m);
  }
  return values;
}

std::vector<std::byte> read_bytes(const View& v) {
  std::vector<std::byte> window(static_cast<size_t>(extent_bytes(v)));
  if (!window.empty()) v.device->copy_to_host(window.data(), v.data, window.size());
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<size_t>(v.size()) * dtype_size(v.dtype));
  for_each_offset(v, [&](int64_t at) {
    for (size_t b = 0; b < dtype_size(v.dtype); ++b) bytes.push_back(window[static_cast<size_t>(at) + b]);
  });
  return bytes;
}

std::vector<double> read_values(const View& v) { return to_values(v.dtype, read_bytes(v)); }

void write_bytes(const View& v, const std::vector<std::byte>& bytes) {
  R1_CHECK(bytes.size() == static_cast<size_t>(v.size()) * dtype_size(v.dtype), v.str());
  std::vector<std::byte> window(static_cast<size_t>(extent_bytes(v)));
  if (window.empty()) return;
  v.device->copy_to_host(window.data(), v.data, window.size());
  size_t i = 0;
  for_each_offset(v, [&](int64_t at) {
    for (size_t b = 0; b < dtype_size(v.dtype); ++b) window[static_cast<size_t>(at) + b] = bytes[i++];
  });
  v.device->copy_from_host(v.data, window.data(), window.size());
}

View Buffers::place(DType dtype, const Shape& shape, Layout layout, const std::vector<std::byte>* contents, bool writable) {
  const auto item = static_cast<int64_t>(dtype_size(dtype));
  View v = contiguous_view(device_, nullptr, dtype, shape.data(), static_cast<int>(shape.size()));
  if (v.rank > 1) v.stride[0] += layout.gap;
  const int64_t begin = kGuardBytes + layout.offset * item;
  const int64_t total = (begin + extent_bytes(v) + kGuardBytes + 1) / 2 * 2;

  Buffer buffer;
  buffer.before.assign(static_cast<size_t>(total), std::byte{0xFF});
  buffer.may_change.assign(static_cast<size_t>(total), 0);
  size_t i = 0;
  for_each_offset(v, [&](int64_t at) {
    for (int64_t b = 0; b < item; ++b) {
      if (contents) buffer.before[static_cast<size_t>(begin + at + b)] = (*contents)[i++];
      buffer.may_change[static_cast<size_t>(begin + at + b)] = writable;
    }
  });
  buffer.storage = Tensor(device_, DType::bf16, {total / 2});
  upload(buffer.storage.view(), buffer.before.data(), buffer.before.size());
  v.data = buffer.storage.view().data + begin;
  buffers_.push_back(std::move(buffer));
  return v;
}

View Buffers::in(DType dtype, const Shape& shape, Layout layout, double scale) {
  std::vector<double> x(static_cast<size_t>(size_of(shape)));
  for (double& e : x) e = rng_.normal() * scale;
  return values(dtype, shape, x, layout);
}

View Buffers::inout(DType dtype, const Shape& shape, Layout layout, double scale) {
  std::vector<double> x(static_cast<size_t>(size_of(shape)));
  for (double& e : x) e = rng_.normal() * scale;
  return inout_values(dtype, shape, x, layout);
}

View Buffers::out(DType dtype, const Shape& shape, Layout layout) { return place(dtype, shape, layout, nullptr, true); }

View Buffers::values(DType dtype, const Shape& shape, const std::vector<double>& x, Layout layout) {
  R1_CHECK(static_cast<int64_t>(x.size()) == size_of(shape),
           fmt::format("{} values for {} elements", x.size(), size_of(shape)));
  const auto bytes = to_bytes(dtype, x);
  return place(dtype, shape, layout, &bytes, false);
}

View Buffers::inout_values(DType dtype, const Shape& shape, const std::vector<double>& x, Layout layout) {
  R1_CHECK(static_cast<int64_t>(x.size()) == size_of(shape),
           fmt::format("{} values for {} elements", x.size(), size_of(shape)));
  const auto bytes = to_bytes(dtype, x);
  return place(dtype, shape, layout, &bytes, true);
}

View Buffers::ints(const Shape& shape, const std::vector<int64_t>& x, DType dtype, Layout layout) {
  std::vector<std::byte> bytes(x.size() * dtype_size(dtype));
  for (size_t i = 0; i < x.size(); ++i) std::memcpy(&bytes[i * dtype_size(dtype)], &x[i], dtype_size(dtype));  // little endian
  return place(dtype, shape, layout, &bytes, false);
}

std::vector<std::string> Buffers::damage() const {
  std::vector<std::string> found;
  for (size_t b = 0; b < buffers_.size(); ++b) {
    const auto after = download_as<uint16_t>(buffers_[b].storage);
    const auto* bytes = reinterpret_cast<const std::byte*>(after.data());
    for (size_t i = 0; i < buffers_[b].before.size(); ++i)
      if (bytes[i] != buffers_[b].before[i] && !buffers_[b].may_change[i]) {
        found.push_back(
            fmt::format("buffer {} (in order of creation): byte {} was overwritten, guard is {} bytes", b, i, kGuardBytes));
        break;
      }
  }
  return found;
}

std::vector<Output> outputs_of(const AnyOp& any) {
  std::vector<Output> outputs;
  std::visit(
      [&](const auto& op) {
        for_each_view(op, [&](const View& v, ViewInfo info) {
          if (v && info.use != Use::in)
            outputs.push_back({info.name, v.dtype, Shape(v.shape.begin(), v.shape.begin() + v.rank), read_bytes(v)});
        });
      },
      any);
  return outputs;
}

}  // namespace r1::test
