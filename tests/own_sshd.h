// A real sshd on loopback that is a test's own: its host key, its authorized_keys, a high port. Of the system's ssh nothing is
// touched but /run/sshd, which is made where it is missing. Where there is no sshd, or it does not start, it says why: a reason
// to skip.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "tests/free_port.h"

namespace r1::test {

class OwnSshd {
 public:
  // `more`: lines of its configuration. Keys and files lie in `dir`.
  explicit OwnSshd(std::filesystem::path dir, const std::string& more = {}) : dir_(std::move(dir)) {
    namespace fs = std::filesystem;
    if (!fs::exists("/usr/sbin/sshd") || find_program("ssh", ".").empty() || find_program("ssh-keygen", ".").empty()) {
      missing_ = "no sshd here";
      return;
    }
    // sshd of root wants it at every connection, and the system makes it at boot. It stays: whoever removed it would take it
    // from the sshd of a test that runs beside this one.
    if (std::error_code error; ::getuid() == 0 && !fs::create_directory("/run/sshd", error) && error) {
      missing_ = "/run/sshd cannot be made";
      return;
    }
    for (const char* name : {"host", "user"}) {
      Process keygen = Process::start({{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(name)}, "", {}});
      if (keygen.ended(60) != "exit code 0") missing_ = "ssh-keygen makes no key";
    }
    port = free_port();
    fs::copy_file(path("user.pub"), path("authorized_keys"));
    std::ofstream(path("known_hosts")) << "[127.0.0.1]:" << port << " " << read_file(path("host.pub"));
    // What a login shell prints on every connection, before the command runs.
    std::ofstream(path("sshd_config")) << "Port " << port << "\nListenAddress 127.0.0.1\nHostKey " << path("host")
                                       << "\nAuthorizedKeysFile " << path("authorized_keys")
                                       << "\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
                                       << "PermitRootLogin yes\nMaxStartups 3:100:3\n"
                                       << "ForceCommand echo 'Welcome to this host'; sh -c \"$SSH_ORIGINAL_COMMAND\"\n"
                                       << more;
    sshd_.emplace(Process::start({{"/usr/sbin/sshd", "-D", "-e", "-f", path("sshd_config")}, "", {}}));
    for (int i = 0; i < 1000 && !answers() && !sshd_->ended(0); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (const auto how = sshd_->ended(0)) missing_ = "sshd does not start here: " + *how;
  }
  OwnSshd(const OwnSshd&) = delete;
  OwnSshd& operator=(const OwnSshd&) = delete;

  const std::string& missing() const { return missing_; }  // "": it is there
  int port = 0;
  static std::string user() { return ::getpwuid(::getuid())->pw_name; }
  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  // ssh that knows it and no other.
  std::vector<std::string> ssh() const {
    return {"ssh",
            "-F",
            "/dev/null",
            "-i",
            path("user"),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "UserKnownHostsFile=" + path("known_hosts"),
            "-o",
            "StrictHostKeyChecking=yes"};
  }

 private:
  bool answers() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(port);
    const bool ok = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return ok;
  }

  const std::filesystem::path dir_;
  std::string missing_;
  std::optional<Process> sshd_;
};

}  // namespace r1::test
