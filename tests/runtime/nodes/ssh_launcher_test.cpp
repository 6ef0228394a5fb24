// The launcher over a real sshd on loopback, which is this test's own: its host key, its authorized_keys, a high port. Nothing
// of the system's ssh is touched. Skipped where sshd is not installed.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "base/files.h"
#include "base/process.h"
#include "runtime/nodes/launcher.h"
#include "tests/runtime/nodes/launch_log.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool answers(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool ok = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return ok;
}

bool there(pid_t pid) { return ::kill(pid, 0) == 0; }

struct SshLauncherTest : testing::Test {
  void SetUp() override {
    if (!fs::exists("/usr/sbin/sshd") || find_program("ssh", ".").empty() || find_program("ssh-keygen", ".").empty())
      GTEST_SKIP() << "no sshd here";
    if (::getuid() == 0 && !fs::exists("/run/sshd")) {
      std::error_code error;
      made_run_sshd = fs::create_directory("/run/sshd", error);
      if (!made_run_sshd) GTEST_SKIP() << "/run/sshd cannot be made";
    }
    for (const char* name : {"host", "user"}) {
      Process keygen = Process::start({{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(name)}, "", {}});
      ASSERT_EQ(keygen.ended(60), "exit code 0");
    }
    port = free_port();
    fs::copy_file(path("user.pub"), path("authorized_keys"));
    std::ofstream(path("known_hosts")) << "[127.0.0.1]:" << port << " " << read_file(path("host.pub"));
    // What a login shell prints on every connection, before the command runs.
    std::ofstream(path("sshd_config")) << "Port " << port << "\nListenAddress 127.0.0.1\nHostKey " << path("host")
                                       << "\nAuthorizedKeysFile " << path("authorized_keys")
                                       << "\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
                                       << "PermitRootLogin yes\nMaxStartups 3:100:3\n"
                                       << "ForceCommand echo 'Welcome to this host'; sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    sshd.emplace(Process::start({{"/usr/sbin/sshd", "-D", "-e", "-f", path("sshd_config")}, "", {}}));
    for (int i = 0; i < 1000 && !answers(port) && !sshd->ended(0); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (const auto how = sshd->ended(0)) GTEST_SKIP() << "sshd does not start here: " << *how;
    options.ssh = {"ssh",
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
    options.between_tries_s = 0.1;
  }
  void TearDown() override {
    sshd.reset();
    std::error_code error;
    if (made_run_sshd) fs::remove("/run/sshd", error);
  }
  std::string path(const std::string& name) const { return (dir.path() / name).string(); }
  LaunchSpec node(const std::string& script) const {
    LaunchSpec spec;
    spec.name = "node1";
    spec.host = "127.0.0.1";
    spec.port = port;
    spec.user = ::getpwuid(::getuid())->pw_name;
    spec.words = {"sh", "-c", script};
    spec.line = R"({"key":"it's a \"secret\" $HOME"})";
    return spec;
  }

  TemporaryDirectory dir;
  int port = 0;
  bool made_run_sshd = false;
  std::optional<Process> sshd;
  LauncherOptions options;
  test::LaunchLog log;
};

constexpr const char* kNode = R"(read -r line; echo "R1NODE$line"; echo $$ >&2; cat > /dev/null; exit 7)";

TEST_F(SshLauncherTest, a_node_is_told_its_line_through_a_noisy_login_and_ends_with_its_stdin) {
  Launcher launcher(log, options);
  const LaunchId id = launcher.start(node(kNode));
  auto entry = log.wait_started(id);
  ASSERT_TRUE(entry.started) << entry.end;
  EXPECT_EQ(entry.greeting, node("").line);
  entry = log.wait(id, [](const auto& e) { return e.lines.size() >= 2; });
  EXPECT_EQ(entry.lines.at(0), "Welcome to this host");
  const pid_t remote = std::stoi(entry.lines.at(1));
  EXPECT_TRUE(there(remote));
  launcher.end(id);
  EXPECT_TRUE(log.wait_ended(id).end.starts_with("ssh: exit code 7")) << log.wait_ended(id).end;
  for (int i = 0; i < 1000 && there(remote); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(there(remote));
}

TEST_F(SshLauncherTest, a_node_whose_ssh_is_killed_sees_the_end_of_its_stdin) {
  Launcher launcher(log, options);
  const LaunchId id = launcher.start(node(kNode));
  ASSERT_TRUE(log.wait_started(id).started) << log.wait_started(id).end;
  const auto entry = log.wait(id, [](const auto& e) { return e.lines.size() >= 2; });
  const pid_t remote = std::stoi(entry.lines.at(1));
  ::kill(launcher.pid(id), SIGKILL);
  EXPECT_TRUE(log.wait_ended(id).end.starts_with("ssh: signal 9"));
  for (int i = 0; i < 1000 && there(remote); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(there(remote));
}

TEST_F(SshLauncherTest, a_dozen_at_once_all_start_though_sshd_turns_some_away) {
  options.tries = 10;
  Launcher launcher(log, options);
  std::vector<LaunchId> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(launcher.start(node(kNode)));
  for (const LaunchId id : ids) EXPECT_TRUE(log.wait_started(id).started) << log.wait_started(id).end;
}

TEST_F(SshLauncherTest, a_host_whose_key_is_not_known_is_an_end_with_its_reason) {
  std::ofstream(path("known_hosts")) << "";
  options.tries = 1;
  Launcher launcher(log, options);
  const auto entry = log.wait_ended(launcher.start(node(kNode)));
  EXPECT_FALSE(entry.started);
  EXPECT_NE(entry.end.find("Host key verification failed"), std::string::npos) << entry.end;
}

}  // namespace
}  // namespace r1
