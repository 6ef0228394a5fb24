#include "kernels/host_device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

#include "base/error.h"

namespace r1 {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;

// Weights and pages of keys are far beyond what the address caches cover in pages of 4 KiB. A wish: the kernel may say no.
void ask_for_huge_pages([[maybe_unused]] void* p, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

DeviceMemory HostDevice::memory() const {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  DeviceMemory m{page * static_cast<size_t>(sysconf(_SC_PHYS_PAGES)), page * static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES))};
  // What is free leaves out the page cache, which gives way.
  std::ifstream lines("/proc/meminfo");
  std::string name;
  for (size_t kibibytes = 0; lines >> name >> kibibytes; lines.ignore(64, '\n'))
    if (name == "MemAvailable:") m.available = kibibytes * 1024;
  m.available = std::min(m.available, m.total);
  return m;
}

std::byte* HostDevice::allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  if (bytes == 0) bytes = kLine;
  void* p = nullptr;
  // Not aligned_alloc, which may insist on whole multiples of the alignment.
  if (bytes > SIZE_MAX - kLine || posix_memalign(&p, alignment, (bytes + kLine - 1) / kLine * kLine) != 0)
    throw failure(fmt::format("no memory for {:.1f} MiB on device {} ({:.1f} MiB are available)", mebibytes(bytes), name_,
                              mebibytes(memory().available)),
                  {}, "use a smaller model, batch or cache; of a trainer, recompute=true or a lower micro_batch_tokens");
  if (alignment == kHugePage) ask_for_huge_pages(p, bytes);
  return static_cast<std::byte*>(p);
}

void HostDevice::free(std::byte* p, size_t) { std::free(p); }

void HostDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) { std::memcpy(dst, src, bytes); }

void HostDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) { std::memcpy(dst, src, bytes); }

}  // namespace r1
