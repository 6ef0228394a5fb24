#include "runtime/nodes/file_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
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
  if (!out) throw failure("a file that was sent cannot be written", {path.string()}, "is the disk full?");
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

fs::path FileCache::in_tree(const fs::path& tree, const fs::path& path) {
  return tree / path.lexically_normal().relative_path();
}

void FileCache::place(const NodeFile& file, const fs::path& tree) const {
  const fs::path path = in_tree(tree, file.path);
  if (!fs::path(file.path).is_absolute()) throw failure("a file without a place was announced", {file.path});
  std::error_code none;
  fs::create_directories(path.parent_path());
  if (fs::is_symlink(path, none) && fs::read_symlink(path, none) == name(file)) return;
  fs::remove(path, none);
  fs::create_symlink(name(file), path);
}

fs::path default_file_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return fs::path(cache) / "r1/files";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return fs::path(home) / ".cache/r1/files";
  return fs::temp_directory_path() / fmt::format("r1-files-{}", ::getuid());
}

}  // namespace r1
