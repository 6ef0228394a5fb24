#include "runtime/net/keys.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "base/directories.h"
#include "base/error.h"
#include "base/files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kKeyCharacters = 40;
constexpr size_t kMaxName = 64;
constexpr size_t kMaxNodes = 100'000;
constexpr std::string_view kZ85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

// For as long as it lives, new files are the owner's alone. (The mask is the process's; a run's directory has it anyway.)
class PrivateFiles {
 public:
  PrivateFiles() : before_(::umask(077)) {}
  ~PrivateFiles() { ::umask(before_); }

 private:
  mode_t before_;
};

void check_private(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) throw failure("a key cannot be read", {path.string()});
  if (info.st_uid != ::getuid() && ::getuid() != 0) throw bad_input("keys of somebody else", {path.string()});
  if ((info.st_mode & 077) != 0)
    throw bad_input(
        fmt::format("others may read keys (mode {:04o})", info.st_mode & 07777), {path.string()},
        "they may be known: remove those that the run made itself, and it makes new ones; of an invitation ask for a "
        "new one");
}

std::string one_key(const fs::path& file) {
  std::string text = read_file(file);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (!is_curve_key(text)) throw bad_input("not a key: 40 characters of Z85 are expected", {file.string()});
  return text;
}

}  // namespace

bool is_curve_key(std::string_view text) {
  return text.size() == kKeyCharacters &&
         std::all_of(text.begin(), text.end(), [](char c) { return kZ85.find(c) != std::string_view::npos; });
}

CurveKeys read_curve_keys(const fs::path& public_file, const fs::path& secret_file) {
  return {one_key(public_file), one_key(secret_file)};
}

ShellKey read_shell_key(const fs::path& file) {
  constexpr const char* kHint = "RUN/keys/control.key or RUN/keys/read.key of the run; its directory may be on another machine";
  constexpr std::uintmax_t kMostBytes = 4096;
  if (!fs::is_regular_file(file)) throw bad_input("no such key file", {file.string()}, kHint);
  check_private(file);
  if (fs::file_size(file) > kMostBytes) throw bad_input("too large for a key", {file.string()}, kHint);
  ShellKey key;
  std::string* const values[] = {&key.head, &key.keys.public_key, &key.keys.secret_key};
  constexpr const char* kNames[] = {"head", "public", "secret"};
  size_t next = 0;
  int number = 0;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const size_t blank = line.find(' ');
    const std::string value = blank == std::string::npos ? std::string() : line.substr(blank + 1);
    if (next == std::size(kNames) || line.substr(0, blank) != kNames[next] || !is_curve_key(value))
      throw bad_input("not a line of a shell's key", {file.string(), number}, kHint);
    *values[next++] = value;
  }
  if (next != std::size(kNames)) throw bad_input("not a shell's key", {file.string()}, kHint);
  return key;
}

bool is_principal(std::string_view text) {
  if (text == "shell:control" || text == "shell:read") return true;
  if (!text.starts_with("node:")) return false;
  text.remove_prefix(5);
  return !text.empty() && text.size() <= kMaxName && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

void KeyRing::let_in(const std::string& principal, const std::string& public_key) {
  R1_CHECK(is_principal(principal) && is_curve_key(public_key), principal);
  std::lock_guard lock(mutex_);
  principals_[public_key] = principal;
}

void KeyRing::shut_out(const std::string& public_key) {
  std::lock_guard lock(mutex_);
  principals_.erase(public_key);
}

std::string KeyRing::principal_of(const std::string& public_key) const {
  std::lock_guard lock(mutex_);
  const auto found = principals_.find(public_key);
  return found == principals_.end() ? std::string() : found->second;
}

RunKeys::RunKeys(const fs::path& run_dir) : dir_(run_dir / "keys") {
  const PrivateFiles only_ours;
  make_directories(dir_);
  check_private(dir_);
  const auto pair = [&](const std::string& name) {
    const fs::path secret = dir_ / (name + ".secret"), open = dir_ / (name + ".public");
    // The public half is written last: a secret without it was never used.
    if (!fs::exists(open)) {
      const CurveKeys made = new_curve_keys();
      write_file_atomically(secret, made.secret_key + "\n");
      write_file_atomically(open, made.public_key + "\n");
    }
    check_private(secret);
    return read_curve_keys(open, secret);
  };
  head_ = pair("head");
  control_ = pair("control");
  read_ = pair("read");
  const fs::path list = dir_ / "nodes";
  if (!fs::exists(list)) return;
  check_private(list);
  std::istringstream in(read_file(list));
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const size_t blank = line.find(' ');
    const std::string principal = line.substr(0, blank);
    const std::string key = blank == std::string::npos ? std::string() : line.substr(blank + 1);
    if (!is_principal(principal) || !principal.starts_with("node:") || !is_curve_key(key) || nodes_.size() == kMaxNodes)
      throw bad_input("not a node and its key", {list.string(), number},
                      "node:NAME and 40 characters; or remove the file, and nodes get new keys");
    nodes_[key] = principal;
  }
}

void RunKeys::fill(KeyRing& ring) const {
  fill_shells(ring);
  for (const auto& [key, principal] : nodes_) ring.let_in(principal, key);
}

void RunKeys::fill_shells(KeyRing& ring) const {
  ring.let_in("shell:control", control_.public_key);
  ring.let_in("shell:read", read_.public_key);
}

void RunKeys::write_shell_keys() const {
  const PrivateFiles only_ours;
  const auto write = [&](const char* name, const char* may, const CurveKeys& keys) {
    write_file_atomically(dir_ / name,
                          fmt::format("# r1-shell HOST:PORT --key FILE: {} this run\nhead {}\npublic {}\nsecret {}\n", may,
                                      head_.public_key, keys.public_key, keys.secret_key));
  };
  write("control.key", "looks at and steers", control_);
  write("read.key", "looks at", read_);
}

CurveKeys RunKeys::new_node(const std::string& name, KeyRing& ring) {
  const CurveKeys made = new_curve_keys();
  const std::string principal = "node:" + name;
  R1_CHECK(is_principal(principal), name);
  if (nodes_.size() == kMaxNodes) throw failure("a run has too many nodes", {dir_.string()}, "start it in a new directory");
  nodes_[made.public_key] = principal;
  std::string list;
  for (const auto& [key, holder] : nodes_) list += fmt::format("{} {}\n", holder, key);
  const PrivateFiles only_ours;
  write_file_atomically(dir_ / "nodes", list);
  ring.let_in(principal, made.public_key);
  return made;
}

fs::path RunKeys::invite(const std::string& name, KeyRing& ring) {
  const fs::path file = dir_ / (name + ".join");
  if (fs::exists(file)) {
    const Invitation there = read_invitation(file);
    if (there.head_key == head_.public_key && nodes_.count(there.keys.public_key) != 0) return file;
  }
  const CurveKeys made = new_node(name, ring);
  const PrivateFiles only_ours;
  write_file_atomically(file, fmt::format("{} {} {} {}\n", name, head_.public_key, made.public_key, made.secret_key));
  return file;
}

void RunKeys::take_back(const std::string& name) {
  std::error_code gone;
  fs::remove(dir_ / (name + ".join"), gone);
}

Invitation read_invitation(const fs::path& file) {
  const char* const hint = "RUN/keys/NAME.join of the run that is to be joined; r1-run --invite makes it";
  if (!fs::is_regular_file(file)) throw bad_input("there is no such invitation", {file.string()}, hint);
  check_private(file);
  if (fs::file_size(file) > 4096) throw bad_input("not an invitation", {file.string()}, hint);
  std::istringstream in(read_file(file));
  Invitation invitation;
  std::string more;
  in >> invitation.name >> invitation.head_key >> invitation.keys.public_key >> invitation.keys.secret_key;
  const bool whole = is_principal("node:" + invitation.name) && is_curve_key(invitation.head_key) &&
                     is_curve_key(invitation.keys.public_key) && is_curve_key(invitation.keys.secret_key);
  if (!whole || in >> more) throw bad_input("not an invitation", {file.string()}, hint);
  return invitation;
}

}  // namespace r1
