#include "base/fingerprint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/hash_stream.h"
#include "base/stop.h"

namespace r1 {
namespace {

constexpr size_t kPiece = size_t{4} << 20;
constexpr int64_t kGrain_ns = 2'000'000'000;  // coarse kernel clocks tick 4 ms, some file systems keep seconds

[[noreturn]] void refuse(const char* verb, const std::filesystem::path& file) {
  throw failure(fmt::format("cannot {}: {}", verb, std::strerror(errno)), {file.string()});
}

int64_t ns(const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

struct Reader {
  explicit Reader(const std::filesystem::path& file) : fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd < 0) refuse("open", file);
  }
  ~Reader() { ::close(fd); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  int fd;
};

}  // namespace

std::string FileStamp::text() const { return fmt::format("{} {} {} {} {}", device, inode, bytes, modified_ns, changed_ns); }

bool FileStamp::settled(double wall_s) const {
  const auto now_ns = static_cast<int64_t>(wall_s * 1e9);
  return changed_ns + kGrain_ns < now_ns && modified_ns + kGrain_ns < now_ns;
}

FileStamp file_stamp(int descriptor, const std::filesystem::path& name_for_errors) {
  struct stat st {};
  if (::fstat(descriptor, &st) != 0) refuse("stat", name_for_errors);
  return {st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), ns(st.st_mtim), ns(st.st_ctim)};
}

FileStamp file_stamp(const std::filesystem::path& file) {
  const Reader in(file);
  return file_stamp(in.fd, file);
}

FileFingerprint fingerprint_file(const std::filesystem::path& file, const FingerprintProgress& progress) {
  const Reader in(file);
  const FileStamp before = file_stamp(in.fd, file);
  HashStream content;
  std::vector<char> piece(kPiece);
  FileFingerprint found;
  while (true) {
    check_stop();
    const ssize_t n = ::read(in.fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse("read", file);
    if (n == 0) break;
    content.add({piece.data(), static_cast<size_t>(n)});
    found.bytes += static_cast<uint64_t>(n);
    if (progress) progress(found.bytes, before.bytes);
  }
  if (file_stamp(in.fd, file) != before) throw failure("the file was written while it was read", {file.string()});
  found.content = content.value();
  return found;
}

}  // namespace r1
