#include "tasks/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "tasks/text_stream.h"

namespace r1 {

namespace {

constexpr size_t kPiece = size_t{1} << 18;
constexpr std::string_view kBlanks = " \t\r\v\f";

[[noreturn]] void too_long(const std::filesystem::path& path, int number) {
  throw bad_input(fmt::format("a line of more than {} MiB", kLongestLine >> 20), {path.string(), number},
                  "expected one JSON object a line");
}

// A file without a name in the directory for temporaries: the system removes it with the process.
int unnamed_file() {
  const std::filesystem::path dir = std::filesystem::temp_directory_path();
  int fd = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string name = (dir / "r1_textXXXXXX").string();
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) throw failure(fmt::format("cannot create a temporary file: {}", std::strerror(errno)), {dir.string()});
  ::unlink(name.c_str());
  return fd;
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& source) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw failure(fmt::format("cannot decompress into a temporary file: {}", std::strerror(errno)), {source.string()},
                    "free some space, or set TMPDIR to a directory with more");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Decompressed data never take the last twentieth of a disk.
void check_space(int fd, const std::filesystem::path& source) {
  struct statvfs disk {};
  if (::fstatvfs(fd, &disk) == 0 && disk.f_bavail < disk.f_blocks / 20)
    throw failure("decompressing it would fill the disk of temporary files", {source.string()},
                  "free some space, or set TMPDIR to a directory with more");
}

}  // namespace

LineFile::LineFile(const std::filesystem::path& path, const Keep& keep) : path_(path) {
  const auto text = open_text(path);
  temporary_ = text->compressed();
  fd_ = temporary_ ? unnamed_file() : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw bad_input(fmt::format("cannot be opened: {}", std::strerror(errno)), {path.string()});
  try {
    opened_ = stamp(-1, path_);
    if (!temporary_) stamp_ = stamp(fd_, path_);
    std::vector<char> buffer(kPiece);
    uint64_t at = 0, begin = 0, unchecked = 0;
    bool blank = true;
    int number = 1;
    for (size_t n; (n = text->read(buffer)) > 0; at += n) {
      const std::string_view piece(buffer.data(), n);
      if (temporary_) {
        if ((unchecked += n) > (uint64_t{64} << 20) || at == 0) check_space(fd_, path), unchecked = 0;
        write_all(fd_, piece, path);
      }
      for (size_t from = 0; from < n;) {
        const size_t end = piece.find('\n', from);
        const std::string_view part = piece.substr(from, end == std::string_view::npos ? end : end - from);
        if (blank && part.find_first_not_of(kBlanks) != std::string_view::npos) {
          blank = false;
          offsets_.push_back(begin);
        }
        if (at + from + part.size() - begin > kLongestLine) too_long(path, number);
        if (end == std::string_view::npos) break;
        ++number;
        from = end + 1;
        begin = at + from;
        blank = true;
      }
    }
    if (!temporary_) check_unchanged();
    if (temporary_) stamp_ = stamp(fd_, path_);
    if (keep) index(keep);
    offsets_.shrink_to_fit();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

// Leaves the lines in the index that are kept.
void LineFile::index(const Keep& keep) {
  size_t kept = 0;
  for (size_t i = 0; i < offsets_.size(); ++i)
    if (keep(line(i))) offsets_[kept++] = offsets_[i];
  offsets_.resize(kept);
}

LineFile::~LineFile() { ::close(fd_); }

LineFile::Stamp LineFile::stamp(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if ((fd >= 0 ? ::fstat(fd, &status) : ::stat(path.c_str(), &status)) != 0)
    throw failure(fmt::format("cannot be looked at: {}", std::strerror(errno)), {path.string()});
  return {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

std::string LineFile::stamp_text() const {
  return fmt::format("{} {} {}", opened_.bytes, opened_.seconds, opened_.nanoseconds);
}

void LineFile::check_unchanged() const {
  if (stamp(fd_, path_) != stamp_)
    throw failure("the file has been changed while it is in use", {path_.string()},
                  "put it back as it was; data of a run stay as they are until it is done");
}

size_t LineFile::read_at(uint64_t offset, char* to, size_t bytes) const {
  for (;;) {
    const ssize_t n = ::pread(fd_, to, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw failure(fmt::format("cannot read: {}", std::strerror(errno)), {path_.string()});
    return static_cast<size_t>(n);
  }
}

std::string LineFile::line(uint64_t index) const {
  R1_CHECK(index < offsets_.size(), fmt::format("line {} of {}", index, offsets_.size()));
  std::string out;
  for (size_t piece = 4096;; piece = std::min(2 * piece, kPiece)) {
    const size_t had = out.size();
    out.resize(had + piece);
    const size_t n = read_at(offsets_[index] + had, out.data() + had, piece);
    const size_t end = std::string_view(out).substr(0, had + n).find('\n', had);
    out.resize(end == std::string::npos ? had + n : end);
    if (end != std::string::npos || n == 0 || out.size() > kLongestLine) break;
  }
  // Looked at after the read: what was written before it is found here, what comes later was not read.
  check_unchanged();
  return out;
}

int LineFile::number(uint64_t index) const {
  const uint64_t end = offsets_.at(index);
  std::vector<char> buffer(kPiece);
  int64_t lines = 1;
  for (uint64_t at = 0; at < end;) {
    const size_t n = read_at(at, buffer.data(), static_cast<size_t>(std::min<uint64_t>(kPiece, end - at)));
    if (n == 0) break;
    lines += std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n), '\n');
    at += n;
  }
  return static_cast<int>(lines);
}

std::string first_line(const std::filesystem::path& path, int& number) {
  const auto text = open_text(path);
  std::vector<char> buffer(kPiece);
  std::string line;
  number = 1;
  for (size_t n; (n = text->read(buffer)) > 0;) {
    std::string_view piece(buffer.data(), n);
    for (size_t end; (end = piece.find('\n')) != std::string_view::npos; piece.remove_prefix(end + 1)) {
      line += piece.substr(0, end);
      if (line.find_first_not_of(kBlanks) != std::string::npos) return line;
      line.clear();
      ++number;
    }
    if ((line += piece).size() > kLongestLine) too_long(path, number);
  }
  return line.find_first_not_of(kBlanks) != std::string::npos ? line : "";
}

}  // namespace r1
