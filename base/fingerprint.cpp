#include "base/fingerprint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash_stream.h"
#include "base/stop.h"

namespace r1 {
namespace {

constexpr size_t kPiece = size_t{4} << 20;
constexpr int64_t kGrain_ns = 2'000'000'000;  // coarse kernel clocks tick 4 ms, some file systems keep seconds

Descriptor open_for_reading(const std::filesystem::path& file) {
  Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) refuse_file("open", file);
  return fd;
}

int64_t ns(const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

}  // namespace

std::string FileStamp::text() const { return fmt::format("{} {} {} {} {}", device, inode, bytes, modified_ns, changed_ns); }

bool FileStamp::settled(double wall_s) const {
  const auto now_ns = static_cast<int64_t>(wall_s * 1e9);
  return changed_ns + kGrain_ns < now_ns && modified_ns + kGrain_ns < now_ns;
}

FileStamp file_stamp(int descriptor, const std::filesystem::path& name_for_errors) {
  struct stat st {};
  if (::fstat(descriptor, &st) != 0) refuse_file("stat", name_for_errors);
  return {st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), ns(st.st_mtim), ns(st.st_ctim)};
}

FileStamp file_stamp(const std::filesystem::path& file) {
  const Descriptor in = open_for_reading(file);
  return file_stamp(in.get(), file);
}

namespace {

FileFingerprint read_whole(int fd, const std::filesystem::path& file, uint64_t expected, const FingerprintProgress& progress) {
  if (::lseek(fd, 0, SEEK_SET) < 0 && errno != ESPIPE) refuse_file("read", file);
  HashStream content;
  std::vector<char> piece(kPiece);
  FileFingerprint found;
  while (true) {
    next_unit();
    const ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_file("read", file);
    if (n == 0) break;
    content.add({piece.data(), static_cast<size_t>(n)});
    found.bytes += static_cast<uint64_t>(n);
    if (progress) progress(found.bytes, expected);
  }
  found.content = content.value();
  return found;
}

}  // namespace

FileFingerprint fingerprint_file(const std::filesystem::path& file, const FingerprintProgress& progress) {
  const Descriptor in = open_for_reading(file);
  const FileStamp before = file_stamp(in.get(), file);
  const FileFingerprint found = read_whole(in.get(), file, before.bytes, progress);
  FileStamp after = file_stamp(in.get(), file);
  if (after == before) return found;
  // The change time alone is also that of a link made or a name taken away, as other processes do to what they share. A write
  // whose time was set back shows in what is read.
  after.changed_ns = before.changed_ns;
  const bool same = after == before && read_whole(in.get(), file, before.bytes, progress) == found;
  after = file_stamp(in.get(), file);
  after.changed_ns = before.changed_ns;
  if (!same || after != before) throw failure("the file was written while it was read", {file.string()});
  return found;
}

}  // namespace r1
