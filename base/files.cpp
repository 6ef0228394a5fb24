#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"

namespace r1 {

std::string no_space_hint(int error) {
  if (error == ENOSPC || error == EDQUOT) return "free some space, then run the same command again";
  if (error == EFBIG) return "free some space or raise the limit on file sizes (ulimit -f), then run the same command again";
  return "";
}

[[noreturn]] void refuse_file(const char* verb, const std::filesystem::path& path) {
  const int error = errno;
  throw failure(std::string("cannot ") + verb + ": " + std::strerror(error), {path.string()}, no_space_hint(error));
}

void fsync_directory(const std::filesystem::path& dir) {
  Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) refuse_file("sync directory", dir);
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  return path.string() + ".tmp" + std::to_string(::getpid());
}

bool is_temporary_name(std::string_view name) {
  const size_t digits = name.find_last_not_of("0123456789");
  return digits != name.npos && name.substr(0, digits + 1).ends_with(".tmp");
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path), temporary_(temporary_beside(path)) {
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) refuse_file("create", temporary_);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_file("write", temporary_);
    p += n;
    bytes -= static_cast<size_t>(n);
  }
}

void AtomicFile::finish() {
  if (::fsync(fd_) != 0) refuse_file("sync", temporary_);
  if (::close(std::exchange(fd_, -1)) != 0) refuse_file("close", temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse_file("rename into place", path_);
  temporary_.clear();
  fsync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.finish();
}

std::filesystem::path behind_links(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as the kernel
  std::error_code none;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, none); ++i)
    path = path.parent_path() / std::filesystem::read_symlink(path, none);
  return path;
}

std::string read_file(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) refuse_file("open", path);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) refuse_file("stat", path);
  if (S_ISDIR(st.st_mode)) throw failure("cannot read: is a directory", {path.string()});
  std::string bytes;
  bytes.reserve(static_cast<size_t>(st.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_file("read", path);
    if (n == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(n));
  }
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) refuse_file("open", path);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) refuse_file("stat", path);
  if (!S_ISREG(st.st_mode)) throw failure("cannot read: not a regular file", {path.string()});
  size_ = static_cast<size_t>(st.st_size);
  if (size_ == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (p == MAP_FAILED) refuse_file("map", path);
  data_ = static_cast<const std::byte*>(p);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::optional<DirectoryLock> DirectoryLock::try_lock(const std::filesystem::path& dir) {
  while (true) {
    Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) refuse_file("open", dir);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      if (errno == EINTR) continue;
      refuse_file("lock", dir);
    }
    // Whoever held it may have moved the directory aside in between: then it is another one that lies here now.
    struct stat locked {
    }, here{};
    if (::fstat(fd.get(), &locked) != 0 || ::stat(dir.c_str(), &here) != 0) refuse_file("stat", dir);
    if (locked.st_dev == here.st_dev && locked.st_ino == here.st_ino) return DirectoryLock(fd.release());
  }
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

bool on_network_file_system(const std::filesystem::path& path) {
  struct statfs fs {};
  if (::statfs(path.c_str(), &fs) != 0) refuse_file("stat the file system of", path);
  switch (static_cast<unsigned long>(fs.f_type)) {
    case 0x6969:      // NFS
    case 0xFF534D42:  // CIFS
    case 0xFE534D42:  // SMB2
    case 0x517B:      // SMB
    case 0x01021997:  // 9p
    case 0x65735546:  // FUSE (sshfs, gcsfuse, ...)
    case 0x0BD00BD0:  // Lustre
    case 0x00C36400:  // Ceph
    case 0x47504653:  // GPFS
      return true;
    default:
      return false;
  }
}

}  // namespace r1
