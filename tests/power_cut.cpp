#include "tests/power_cut.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace fs = std::filesystem;

namespace r1 {
namespace {

struct Entry {
  ino_t inode = 0;
  bool directory = false;
};

// By inode: a rename changes nothing that is durable until the directory is synced.
struct Durable {
  std::map<ino_t, std::string> bytes;
  std::map<ino_t, std::map<std::string, Entry>> names;
};

std::mutex mutex;
std::optional<Durable> durable;  // while a PowerCut lives

using Stat = struct ::stat;

std::optional<Stat> stat_of(const fs::path& path) {
  Stat st{};
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return st;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void note(const fs::path& path) {
  const auto st = stat_of(path);
  if (!st) return;
  if (S_ISREG(st->st_mode)) durable->bytes[st->st_ino] = bytes_of(path);
  if (!S_ISDIR(st->st_mode)) return;
  auto& names = durable->names[st->st_ino];
  names.clear();
  for (const auto& entry : fs::directory_iterator(path))
    if (const auto is = stat_of(entry.path())) names[entry.path().filename().string()] = {is->st_ino, S_ISDIR(is->st_mode)};
}

void rebuild(ino_t directory, const fs::path& to) {
  fs::create_directories(to);
  const auto names = durable->names.find(directory);
  if (names == durable->names.end()) return;
  for (const auto& [name, entry] : names->second) {
    if (entry.directory) {
      rebuild(entry.inode, to / name);
    } else {
      const auto bytes = durable->bytes.find(entry.inode);
      std::ofstream(to / name, std::ios::binary) << (bytes == durable->bytes.end() ? std::string() : bytes->second);
    }
  }
}

int synced(int fd, int result) {
  const std::lock_guard lock(mutex);
  if (result != 0 || !durable) return result;
  const int error = errno;
  std::error_code gone;
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), gone);
  if (!gone) note(path);
  errno = error;
  return result;
}

}  // namespace

PowerCut::PowerCut(const fs::path& dir) : dir_(dir) {
  const std::lock_guard lock(mutex);
  durable.emplace();
  note(dir);
  for (const auto& entry : fs::recursive_directory_iterator(dir)) note(entry.path());
}

PowerCut::~PowerCut() {
  const std::lock_guard lock(mutex);
  durable.reset();
}

void PowerCut::restore(const fs::path& to) const {
  const std::lock_guard lock(mutex);
  if (const auto st = stat_of(dir_)) rebuild(st->st_ino, to);
}

}  // namespace r1

extern "C" {
__attribute__((visibility("default"))) int fsync(int fd) { return r1::synced(fd, static_cast<int>(::syscall(SYS_fsync, fd))); }
__attribute__((visibility("default"))) int fdatasync(int fd) {
  return r1::synced(fd, static_cast<int>(::syscall(SYS_fdatasync, fd)));
}
}
