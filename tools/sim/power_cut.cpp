#include "tools/sim/power_cut.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

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
std::optional<Durable> durable;     // while a PowerCut lives
std::function<void()> before_sync;  // of that PowerCut
std::string watched;                // its directory

using Stat = struct ::stat;

std::optional<Stat> stat_of(const fs::path& path) {
  Stat st{};
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return st;
}

std::string bytes_of(const fs::path& path) {
  std::error_code gone;
  const auto size = fs::file_size(path, gone);
  std::string bytes(gone ? 0 : size, '\0');
  std::ifstream in;
  in.rdbuf()->pubsetbuf(nullptr, 0);
  in.open(path, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
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

int synced(int fd, long call) {
  fs::path path;
  std::function<void()> look;
  {
    const std::lock_guard lock(mutex);
    if (durable) {
      std::error_code gone;
      path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), gone);
      if (path.native().starts_with(watched)) look = before_sync;
    }
  }
  if (look) look();
  const auto result = static_cast<int>(::syscall(call, fd));
  const int error = errno;
  const std::lock_guard lock(mutex);
  if (result == 0 && durable && !path.empty()) note(path);
  errno = error;
  return result;
}

}  // namespace

PowerCut::PowerCut(const fs::path& dir, std::function<void()> look) : dir_(dir) {
  const std::lock_guard lock(mutex);
  durable.emplace();
  before_sync = std::move(look);
  watched = fs::canonical(dir).native();
  note(dir);
  for (const auto& entry : fs::recursive_directory_iterator(dir)) note(entry.path());
}

PowerCut::~PowerCut() {
  const std::lock_guard lock(mutex);
  durable.reset();
  before_sync = nullptr;
}

void PowerCut::restore(const fs::path& to) const {
  const std::lock_guard lock(mutex);
  if (const auto st = stat_of(dir_)) rebuild(st->st_ino, to);
}

}  // namespace r1

extern "C" {
__attribute__((visibility("default"))) int fsync(int fd) { return r1::synced(fd, SYS_fsync); }
__attribute__((visibility("default"))) int fdatasync(int fd) { return r1::synced(fd, SYS_fdatasync); }
}
