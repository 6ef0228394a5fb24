// Files: atomic writes, whole reads, read-only maps, and the lock on a run directory.
//
// Every function throws r1::Error (failure, with the path and errno's text) when the operating system refuses.
// Thread rule: functions may be called from any thread; an object belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace r1 {

// The hint beside an errno that says that nothing more fits (disk, quota, limit on files); "" for every other.
std::string no_space_hint(int error);
// Throws failure: "cannot VERB: " and what errno says, with the file's name.
[[noreturn]] void refuse_file(const char* verb, const std::filesystem::path& path);

// Where the new bytes of `path` are written before they are renamed into place: PATH.tmpPID. What a kill leaves of it is known
// by its name.
std::filesystem::path temporary_beside(const std::filesystem::path& path);
bool is_temporary_name(std::string_view file_name);  // ends in ".tmp" or ".tmpDIGITS"

// A file that is written piece by piece and appears whole: after a crash `path` holds the old bytes or the new ones, never a
// mixture. What is not finished is removed.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);  // creates temporary_beside(path)
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  // Fsyncs the temporary file, renames it over `path`, fsyncs the directory. Nothing is written after it.
  void finish();

 private:
  std::filesystem::path path_, temporary_;  // temporary_: "" once it is in place
  int fd_ = -1;
};
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Where the links of a path's last part lead, to what need not exist yet: renaming over a link would replace the link.
std::filesystem::path behind_links(std::filesystem::path path);

std::string read_file(const std::filesystem::path& path);

// A read-only memory map of a whole file; empty files map to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// An exclusive lock on a directory (flock on the directory itself: no file that could be deleted, none that is left in a
// directory which is refused), held for the object's lifetime, released by the kernel when the process dies. It follows the
// directory when that is renamed.
class DirectoryLock {
 public:
  // nullopt when another process holds it. The directory exists.
  static std::optional<DirectoryLock> try_lock(const std::filesystem::path& dir);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// True when `path` lies on a network file system (NFS, SMB, 9p, FUSE, ...), where SQLite's WAL is unsafe.
bool on_network_file_system(const std::filesystem::path& path);

void fsync_directory(const std::filesystem::path& dir);

}  // namespace r1
