// What a tensor is: memory on a device, a type, a shape, strides.
//
// Nothing outside kernels/ dereferences `View::data`: host code moves bytes with Device::copy_* and everything else is an op
// (kernels/ops.h). The fake device hands out addresses that trap, so that a breach of this rule is a crash in a test.
//
// Thread rule: a View is a value. A Tensor shares its storage (reference count is atomic); who writes to it is the owner's
// business.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

namespace r1 {

class Device;

enum class DType : uint8_t { f32, bf16, i32, i64 };
size_t dtype_size(DType);
const char* dtype_name(DType);  // "f32", ...

// A window on device memory. Strides count elements; the last dimension is contiguous (stride 1) unless stated otherwise.
struct View {
  static constexpr int kMaxRank = 4;
  std::byte* data = nullptr;
  Device* device = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};

  explicit operator bool() const { return device != nullptr; }  // false: an absent optional argument
  int64_t size() const;                                         // number of elements
  bool contiguous() const;                                      // row-major without gaps
  int64_t rows() const { return rank == 0 ? 0 : shape[0]; }
  std::string str() const;  // "bf16[12, 96]"

  // Views of the same memory. CHECK on a bad index.
  View slice(int64_t begin, int64_t end) const;              // along dimension 0
  View columns(int64_t begin, int64_t end) const;            // along the last dimension
  View reshape(std::initializer_list<int64_t> shape) const;  // contiguous views only
  // [T, H*D] -> [T, H, D]: splits the last dimension; rows may be strided.
  View heads(int64_t n_heads) const;
};

// Owned (shared) device memory with a view on all of it.
class Tensor {
 public:
  Tensor() = default;
  // Uninitialised, 64-byte aligned. `bytes` limits are the device's business: throws r1::Error (failure) when memory is
  // exhausted.
  Tensor(Device& device, DType dtype, std::initializer_list<int64_t> shape);
  Tensor(Device& device, DType dtype, const int64_t* shape, int rank);

  const View& view() const { return view_; }
  operator const View&() const { return view_; }
  explicit operator bool() const { return static_cast<bool>(view_); }
  size_t bytes() const { return static_cast<size_t>(view_.size()) * dtype_size(view_.dtype); }

 private:
  std::shared_ptr<std::byte> storage_;
  View view_;
};

View contiguous_view(Device& device, std::byte* data, DType dtype, const int64_t* shape, int rank);

// f32 <-> bf16, round to nearest even, NaN kept quiet (docs/recipe.md section 13).
uint16_t bf16_from_f32(float);
float f32_from_bf16(uint16_t);

}  // namespace r1
