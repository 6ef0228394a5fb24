#include "kernels/host_device.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace r1 {

std::byte* HostDevice::allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  if (bytes == 0) bytes = kAlignment;
  void* p = bytes > SIZE_MAX - kAlignment ? nullptr
                                          : std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (p == nullptr)
    throw failure(fmt::format("no memory for {:.1f} MiB on device {}", static_cast<double>(bytes) / (1 << 20), name_), {},
                  "use a smaller model, batch or cache");
  return static_cast<std::byte*>(p);
}

void HostDevice::free(std::byte* p, size_t) { std::free(p); }

void HostDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) { std::memcpy(dst, src, bytes); }

void HostDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) { std::memcpy(dst, src, bytes); }

}  // namespace r1
