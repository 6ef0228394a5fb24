#include "tasks/text_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tasks/conversion.h"

namespace r1 {

namespace {

constexpr size_t kStreamPiece = size_t{1} << 18;
constexpr uint64_t kFreeGrowth = uint64_t{64} << 20;

class PlainText : public TextStream {
 public:
  PlainText(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PlainText() override { ::close(fd_); }
  size_t read(std::span<char> to) override {
    for (;;) {
      const ssize_t n = ::read(fd_, to.data(), to.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw failure(fmt::format("cannot read: {}", std::strerror(errno)), {path_.string()});
      return static_cast<size_t>(n);
    }
  }
  bool compressed() const override { return false; }

 private:
  std::filesystem::path path_;
  int fd_;
};

// What decoders share: a buffer of compressed bytes, and the bound on what becomes of them.
class CompressedText : public TextStream {
 public:
  CompressedText(std::filesystem::path path, int fd) : path_(std::move(path)), file_(path_, fd), buffer_(kStreamPiece) {}
  bool compressed() const override { return true; }
  size_t read(std::span<char> to) override {
    const size_t n = decode(to);
    given_ += n;
    if (given_ > kFreeGrowth && given_ / kMostGrowth > taken_)
      throw bad_input(fmt::format("{} compressed bytes become more than {} bytes of text", taken_, given_), {path_.string()},
                      "decompress it yourself if that is right");
    return n;
  }

 protected:
  virtual size_t decode(std::span<char> to) = 0;
  // The next compressed bytes; empty at the end of the file.
  std::span<const char> more() {
    const size_t n = file_.read(buffer_);
    taken_ += n;
    return {buffer_.data(), n};
  }
  [[noreturn]] void broken(const std::string& what) const {
    throw bad_input(what, {path_.string()}, "make or copy the file again");
  }

 private:
  std::filesystem::path path_;
  PlainText file_;
  std::vector<char> buffer_;
  uint64_t taken_ = 0, given_ = 0;
};

class GzipText final : public CompressedText {
 public:
  GzipText(std::filesystem::path path, int fd) : CompressedText(std::move(path), fd) {
    if (::inflateInit2(&z_, 15 + 16) != Z_OK) throw failure("zlib does not start");
  }
  ~GzipText() override { ::inflateEnd(&z_); }

 private:
  size_t decode(std::span<char> to) override {
    z_.next_out = reinterpret_cast<Bytef*>(to.data());
    z_.avail_out = static_cast<uInt>(to.size());
    while (z_.avail_out == to.size()) {
      if (z_.avail_in == 0) {
        const auto bytes = more();
        if (bytes.empty()) {
          if (!between_) broken("the .gz file is cut off");
          return 0;
        }
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
        z_.avail_in = static_cast<uInt>(bytes.size());
      }
      if (between_ && ::inflateReset(&z_) != Z_OK) broken("the .gz file is broken");  // a file may hold several members
      between_ = false;
      const int result = ::inflate(&z_, Z_NO_FLUSH);
      if (result == Z_STREAM_END)
        between_ = true;
      else if (result != Z_OK && result != Z_BUF_ERROR)
        broken(fmt::format("the .gz file is broken: {}", z_.msg != nullptr ? z_.msg : "zlib gives up"));
    }
    return to.size() - z_.avail_out;
  }

  z_stream z_{};
  bool between_ = false;  // members of the file
};

class ZstdText final : public CompressedText {
 public:
  ZstdText(std::filesystem::path path, int fd) : CompressedText(std::move(path), fd), z_(ZSTD_createDStream()) {
    if (z_ == nullptr) throw failure("zstd does not start");
  }
  ~ZstdText() override { ZSTD_freeDStream(z_); }

 private:
  size_t decode(std::span<char> to) override {
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !full_) {
        const auto bytes = more();
        if (bytes.empty()) {
          if (inside_) broken("the .zst file is cut off");
          return 0;
        }
        in_ = {bytes.data(), bytes.size(), 0};
      }
      const size_t result = ZSTD_decompressStream(z_, &out, &in_);  // windows above 128 MiB are refused
      if (ZSTD_isError(result) != 0) broken(fmt::format("the .zst file is broken: {}", ZSTD_getErrorName(result)));
      inside_ = result != 0;
      full_ = out.pos == out.size;  // more may wait inside
    }
    return out.pos;
  }

  ZSTD_DStream* z_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool inside_ = false, full_ = false;
};

void refuse_other_formats(const std::filesystem::path& path, std::string_view head) {
  using namespace std::literals;
  const auto refuse = [&](const std::string& what, const std::string& hint) { throw bad_input(what, {path.string()}, hint); };
  if (head.starts_with("\xFF\xFE"sv) || head.starts_with("\xFE\xFF"sv) ||
      (head.size() >= 4 && ((head[0] != 0 && head[1] == 0) || (head[0] == 0 && head[1] != 0))))
    refuse("the text is UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW");
  if (head.starts_with("\xFD"
                       "7zXZ"sv))
    refuse("an .xz file", "plain text, .gz and .zst are read: xz -d FILE");
  if (head.starts_with("BZh"sv)) refuse("a .bz2 file", "plain text, .gz and .zst are read: bzip2 -d FILE");
  if (head.starts_with("PK\x03\x04"sv)) refuse("a .zip file", "plain text, .gz and .zst are read: unzip FILE");
  if (head.starts_with("PAR1"sv))
    refuse("a Parquet file",
           "write it as JSON lines, one JSON object a line: pandas.read_parquet(FILE).to_json(NEW, "
           "orient=\"records\", lines=True)");
  const size_t first = head.find_first_not_of(" \t\r\n");
  if ((path.extension() == ".csv" || path.extension() == ".tsv") && first != head.npos && head[first] != '{')
    refuse("a table, and no JSON lines", csv_command(path.string()));
}

}  // namespace

TextStream::~TextStream() = default;

std::unique_ptr<TextStream> open_text(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) throw bad_input("no such file", {path.string()});
    throw bad_input(fmt::format("cannot be read: {}", std::strerror(errno)), {path.string()});
  }
  // A pipe or a device may never end, and cannot be read twice.
  if (!S_ISREG(status.st_mode))
    throw bad_input(S_ISDIR(status.st_mode) ? "is a directory, not a file" : "is not a regular file", {path.string()});
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw bad_input(fmt::format("cannot be opened: {}", std::strerror(errno)), {path.string()});
  char bytes[8] = {};
  const ssize_t n = ::pread(fd, bytes, sizeof bytes, 0);
  const std::string_view head(bytes, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (head.starts_with("\x1F\x8B")) return std::make_unique<GzipText>(path, fd);
  if (head.starts_with("\x28\xB5\x2F\xFD")) return std::make_unique<ZstdText>(path, fd);
  auto plain = std::make_unique<PlainText>(path, fd);
  refuse_other_formats(path, head);
  return plain;
}

}  // namespace r1
