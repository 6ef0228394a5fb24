// Small host arrays on their way to a device in one copy: a copy costs microseconds whatever its size, so what one step needs
// goes together. Not for weights.
//
// Order of use: add all, send, then view; clear before the next round. Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/device.h"

namespace r1 {

class Staging {
 public:
  // Where an array will be; default: nowhere (its view is absent).
  struct Slot {
    size_t at = 0;
    DType dtype = DType::f32;
    int64_t n = -1;
  };

  // data: n of int32_t, int64_t or float. Read at once.
  template <class T>
  Slot add(const T* data, size_t n) {
    const Slot slot{bytes_.size(), dtype_of<T>(), static_cast<int64_t>(n)};
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + n * sizeof(T));
    bytes_.resize((bytes_.size() + kAlignment - 1) / kAlignment * kAlignment);
    return slot;
  }
  template <class T>
  Slot add(const std::vector<T>& data) {
    return add(data.data(), data.size());
  }
  // Into memory of the arena.
  void send(Arena& arena) {
    buffer_ = arena.alloc(DType::i64, {static_cast<int64_t>(bytes_.size() / sizeof(int64_t))});
    upload(buffer_, bytes_.data(), bytes_.size());
  }
  // [n], valid as long as the memory that send() took.
  View view(const Slot& s) const {
    return s.n < 0 ? View{} : contiguous_view(*buffer_.device, buffer_.data + s.at, s.dtype, &s.n, 1);
  }
  void clear() { bytes_.clear(); }

 private:
  static constexpr size_t kAlignment = 64;
  template <class T>
  static constexpr DType dtype_of() {
    static_assert(std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t> || std::is_same_v<T, float>);
    return std::is_same_v<T, float> ? DType::f32 : std::is_same_v<T, int32_t> ? DType::i32 : DType::i64;
  }
  std::vector<std::byte> bytes_;
  View buffer_;
};

}  // namespace r1
