#include "base/memory.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace r1 {

uint64_t memory_limit() {
  struct sysinfo info {};
  uint64_t limit = UINT64_MAX;
  if (::sysinfo(&info) == 0) limit = (static_cast<uint64_t>(info.totalram) + info.totalswap) * info.mem_unit;
  // Version 2, then 1; "max" is no number.
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (uint64_t bytes = 0; std::ifstream(file) >> bytes && bytes > 0) limit = std::min(limit, bytes);
  return limit;
}

std::optional<int64_t> resident_bytes() {
  int64_t all = 0, resident = 0;  // pages
  if (!(std::ifstream("/proc/self/statm") >> all >> resident)) return std::nullopt;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 100 ? 0 : 1, kUnits[unit]);
}

}  // namespace r1
