#include "kernels/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace r1 {

namespace {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector register
constexpr size_t kMinBlock = size_t{1} << 20;
constexpr size_t kMaxGrowth = size_t{256} << 20;  // beyond this blocks stop doubling: devices are nearly full of weights

}  // namespace

std::unique_ptr<Recording> Device::record(Context&, const std::function<void()>& issue) {
  issue();
  return nullptr;
}

Arena::~Arena() {
  for (const Block& b : blocks_) device_->free(b.data, b.bytes);
}

View Arena::alloc(DType dtype, std::initializer_list<int64_t> shape) {
  return alloc(dtype, shape.begin(), static_cast<int>(shape.size()));
}

View Arena::alloc(DType dtype, const int64_t* shape, int rank) {
  View v = contiguous_view(*device_, nullptr, dtype, shape, rank);
  const size_t wanted = static_cast<size_t>(v.size()) * dtype_size(dtype);
  const size_t bytes = std::max(kAlignment, (wanted + kAlignment - 1) / kAlignment * kAlignment);
  if (blocks_.empty() || used_ + bytes > blocks_[block_].bytes) {
    const size_t next = blocks_.empty() ? 0 : block_ + 1;
    // A kept block that is too small stays behind the new one: marks name only blocks up to the current one.
    if (next >= blocks_.size() || blocks_[next].bytes < bytes) {
      size_t total = 0;
      for (const Block& b : blocks_) total += b.bytes;
      const size_t size = std::max({bytes, kMinBlock, std::min(total, kMaxGrowth)});
      blocks_.insert(blocks_.begin() + static_cast<int64_t>(next), Block{device_->allocate(size), size});
    }
    block_ = next;
    used_ = 0;
  }
  v.data = blocks_[block_].data + used_;
  used_ += bytes;
  size_t in_use = used_;
  for (size_t i = 0; i < block_; ++i) in_use += blocks_[i].bytes;
  high_water_ = std::max(high_water_, in_use);
  return v;
}

void upload(const View& dst, const void* src, size_t bytes) {
  R1_CHECK(dst && dst.contiguous() && bytes == static_cast<size_t>(dst.size()) * dtype_size(dst.dtype),
           fmt::format("upload of {} bytes to {}", bytes, dst.str()));
  if (bytes > 0) dst.device->copy_from_host(dst.data, src, bytes);
}

void download(const View& src, void* dst, size_t bytes) {
  R1_CHECK(src && src.contiguous() && bytes == static_cast<size_t>(src.size()) * dtype_size(src.dtype),
           fmt::format("download of {} bytes from {}", bytes, src.str()));
  if (bytes > 0) src.device->copy_to_host(dst, src.data, bytes);
}

Tensor tensor_from(Device& device, DType dtype, std::initializer_list<int64_t> shape, const void* host_data) {
  Tensor t(device, dtype, shape);
  upload(t.view(), host_data, t.bytes());
  return t;
}

}  // namespace r1
