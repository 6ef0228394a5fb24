#include "runtime/nodes/file_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/fingerprint.h"

namespace r1 {

namespace fs = std::filesystem;

FileCache::FileCache(fs::path directory) : directory_(std::move(directory)) {}

fs::path FileCache::name(const NodeFile& file) const {
  const bool hex = file.hash.size() == 32 &&
                   std::all_of(file.hash.begin(), file.hash.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (!hex) throw failure(fmt::format("'{}' is announced with the hash '{}'", file.path, file.hash.substr(0, 40)));
  return directory_ / file.hash;
}

fs::path FileCache::under_way(const NodeFile& file) const {
  return fs::path(name(file).string() + fmt::format(".{}", ::getpid()));
}

bool FileCache::holds(const NodeFile& file) {
  const fs::path path = name(file);
  std::error_code none;
  if (!fs::exists(path, none)) return false;
  // When it was used last, to the hour: what was parsed of a file that is the same is not parsed again.
  const auto now = fs::file_time_type::clock::now();
  if (now - fs::last_write_time(path, none) > std::chrono::hours(1)) fs::last_write_time(path, now, none);
  if (known_.count(file.hash) != 0) return true;
  const FileFingerprint print = fingerprint_file(path);
  if (print.hex() != file.hash || print.bytes != file.bytes) {
    fs::remove(path);
    return false;
  }
  known_.insert(file.hash);
  return true;
}

void FileCache::add(const NodeFile& file, uint64_t offset, std::string_view bytes) {
  const fs::path path = under_way(file);
  fs::create_directories(directory_);
  if (offset == 0) fs::remove(path);
  std::ofstream out(path, std::ios::binary | std::ios::app);
  if (out.tellp() != static_cast<std::streamoff>(offset)) throw failure("a piece of a file is missing", {path.string()});
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (out) return;
  const int error = errno;
  std::error_code none;
  fs::remove(path, none);  // or what is left of it would keep a full disk full
  errno = error;
  refuse_file("write a file that was sent", path);
}

void FileCache::complete(const NodeFile& file) {
  const fs::path path = under_way(file);
  const FileFingerprint print = fingerprint_file(path);
  if (print.hex() != file.hash || print.bytes != file.bytes) {
    fs::remove(path);
    throw failure(fmt::format("'{}' arrived as another file: {} bytes with the hash {}, announced were {} with {}", file.path,
                              print.bytes, print.hex(), file.bytes, file.hash));
  }
  fs::rename(path, name(file));
  known_.insert(file.hash);
}

std::string FileCache::read(const NodeFile& file, uint64_t offset, uint64_t bytes) const {
  for (const fs::path& path : {name(file), under_way(file)}) {
    std::ifstream in(path, std::ios::binary);
    if (!in.seekg(static_cast<std::streamoff>(offset))) continue;
    std::string read(bytes, '\0');
    in.read(read.data(), static_cast<std::streamsize>(bytes));
    read.resize(static_cast<size_t>(in.gcount()));
    return read;
  }
  return {};
}

void FileCache::prune(double unused_s, uint64_t bytes) const {
  struct Found {
    fs::path path;
    uint64_t bytes = 0;
    double unused_s = 0;
  };
  std::vector<Found> files;
  uint64_t sum = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(directory_, none)) {
    const auto used = entry.last_write_time(none);
    if (none || !entry.is_regular_file(none)) continue;
    const std::chrono::duration<double> unused = fs::file_time_type::clock::now() - used;
    files.push_back({entry.path(), entry.file_size(none), unused.count()});
    sum += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const Found& a, const Found& b) { return a.unused_s > b.unused_s; });
  for (const Found& file : files) {
    if (file.unused_s < kSpare_s || (file.unused_s < unused_s && sum <= bytes)) return;
    if (fs::remove(file.path, none)) sum -= file.bytes;
  }
}

fs::path FileCache::in_tree(const fs::path& tree, const fs::path& path) {
  return tree / path.lexically_normal().relative_path();
}

void FileCache::place(const NodeFile& file, const fs::path& tree) const {
  const fs::path path = in_tree(tree, file.path);
  if (!fs::path(file.path).is_absolute()) throw failure("a file without a place was announced", {file.path});
  const fs::path here = name(file);
  std::error_code none;
  fs::create_directories(path.parent_path());
  if (fs::equivalent(path, here, none)) return;
  fs::remove(path, none);
  // Not a symbolic link where it can be helped: a program looks for its modules beside the file that it really is.
  std::error_code unlinked;
  fs::create_hard_link(here, path, unlinked);
  if (unlinked) fs::create_symlink(here, path);
}

fs::path default_file_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return fs::path(cache) / "r1/files";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return fs::path(home) / ".cache/r1/files";
  return fs::temp_directory_path() / fmt::format("r1-files-{}", ::getuid());
}

}  // namespace r1
