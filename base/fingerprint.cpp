#include "base/fingerprint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"

namespace r1 {

FileFingerprint fingerprint_file(const std::filesystem::path& path) {
  const auto refuse = [&](const char* verb) {
    return failure(fmt::format("cannot {}: {}", verb, std::strerror(errno)), {path.string()});
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw refuse("open");
  const std::unique_ptr<const int, void (*)(const int*)> closes(&fd, [](const int* f) { ::close(*f); });
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> buffer(size_t{1} << 20);
  FileFingerprint out;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw refuse("read");
    if (n == 0) break;
    XXH3_128bits_update(state.get(), buffer.data(), static_cast<size_t>(n));
    out.bytes += static_cast<uint64_t>(n);
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  out.content = {h.high64, h.low64};
  return out;
}

}  // namespace r1
