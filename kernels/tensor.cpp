#include "kernels/tensor.h"

#include <fmt/format.h>

#include "base/error.h"
#include "kernels/device.h"

namespace r1 {

size_t dtype_size(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::i64:
      return 8;
  }
  return 0;
}

const char* dtype_name(DType t) {
  switch (t) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
  }
  return "?";
}

int64_t View::size() const {
  if (device == nullptr) return 0;
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= shape[i];
  return n;
}

bool View::contiguous() const {
  int64_t expected = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && stride[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::string View::str() const {
  if (device == nullptr) return "absent";
  std::string s = dtype_name(dtype);
  s += '[';
  for (int i = 0; i < rank; ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  s += ']';
  if (!contiguous()) {
    s += " strides [";
    for (int i = 0; i < rank; ++i) s += (i ? ", " : "") + std::to_string(stride[i]);
    s += ']';
  }
  return s;
}

View View::slice(int64_t begin, int64_t end) const {
  R1_CHECK(rank >= 1 && 0 <= begin && begin <= end && end <= shape[0], fmt::format("slice [{}, {}) of {}", begin, end, str()));
  View v = *this;
  v.data += begin * stride[0] * static_cast<int64_t>(dtype_size(dtype));
  v.shape[0] = end - begin;
  return v;
}

View View::columns(int64_t begin, int64_t end) const {
  R1_CHECK(rank >= 1 && 0 <= begin && begin <= end && end <= shape[rank - 1],
           fmt::format("columns [{}, {}) of {}", begin, end, str()));
  View v = *this;
  v.data += begin * stride[rank - 1] * static_cast<int64_t>(dtype_size(dtype));
  v.shape[rank - 1] = end - begin;
  return v;
}

View View::reshape(std::initializer_list<int64_t> new_shape) const {
  R1_CHECK(contiguous() && new_shape.size() <= kMaxRank, "reshape of " + str());
  View v = contiguous_view(*device, data, dtype, new_shape.begin(), static_cast<int>(new_shape.size()));
  R1_CHECK(v.size() == size(), "reshape of " + str() + " to " + v.str());
  return v;
}

View View::heads(int64_t n_heads) const {
  R1_CHECK(rank == 2 && n_heads > 0 && shape[1] % n_heads == 0, fmt::format("{} heads of {}", n_heads, str()));
  View v = *this;
  v.rank = 3;
  v.shape[1] = n_heads;
  v.shape[2] = shape[1] / n_heads;
  v.stride[1] = v.shape[2] * stride[1];
  v.stride[2] = stride[1];
  return v;
}

View contiguous_view(Device& device, std::byte* data, DType dtype, const int64_t* shape, int rank) {
  R1_CHECK(0 <= rank && rank <= View::kMaxRank, std::to_string(rank));
  View v;
  v.data = data;
  v.device = &device;
  v.dtype = dtype;
  v.rank = rank;
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    R1_CHECK(shape[i] >= 0, std::to_string(shape[i]));
    v.shape[i] = shape[i];
    v.stride[i] = stride;
    stride *= shape[i];
  }
  return v;
}

Tensor::Tensor(Device& device, DType dtype, std::initializer_list<int64_t> shape)
    : Tensor(device, dtype, shape.begin(), static_cast<int>(shape.size())) {}

Tensor::Tensor(Device& device, DType dtype, const int64_t* shape, int rank)
    : view_(contiguous_view(device, nullptr, dtype, shape, rank)) {
  const size_t n = bytes();
  Device* d = &device;
  storage_ = std::shared_ptr<std::byte>(device.allocate(n), [d, n](std::byte* p) { d->free(p, n); });
  view_.data = storage_.get();
}

}  // namespace r1
