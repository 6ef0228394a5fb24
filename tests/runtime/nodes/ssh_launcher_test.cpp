// The launcher over a real sshd on loopback, which is this test's own. Skipped where sshd is not installed.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <thread>

#include "runtime/nodes/launcher.h"
#include "tests/own_sshd.h"
#include "tests/runtime/nodes/launch_log.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

bool there(pid_t pid) { return ::kill(pid, 0) == 0; }

struct SshLauncherTest : testing::Test {
  void SetUp() override {
    sshd.emplace(dir.path());
    if (!sshd->missing().empty()) GTEST_SKIP() << sshd->missing();
    options.ssh = sshd->ssh();
    options.between_tries_s = 0.1;
  }
  LaunchSpec node(const std::string& script) const {
    LaunchSpec spec;
    spec.name = "node1";
    spec.host = "127.0.0.1";
    spec.port = sshd->port;
    spec.user = test::OwnSshd::user();
    spec.words = {"sh", "-c", script};
    spec.line = R"({"key":"it's a \"secret\" $HOME"})";
    return spec;
  }

  TemporaryDirectory dir;
  std::optional<test::OwnSshd> sshd;
  LauncherOptions options;
  test::LaunchLog log;
};

constexpr const char* kNodeProgram = R"(read -r line; echo "R1NODE$line"; echo $$ >&2; cat > /dev/null; exit 7)";

TEST_F(SshLauncherTest, a_node_is_told_its_line_through_a_noisy_login_and_ends_with_its_stdin) {
  Launcher launcher(log, options);
  const LaunchId id = launcher.start(node(kNodeProgram));
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
  const LaunchId id = launcher.start(node(kNodeProgram));
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
  for (int i = 0; i < 12; ++i) ids.push_back(launcher.start(node(kNodeProgram)));
  for (const LaunchId id : ids) EXPECT_TRUE(log.wait_started(id).started) << log.wait_started(id).end;
}

TEST_F(SshLauncherTest, a_host_whose_key_is_not_known_is_an_end_with_its_reason) {
  std::ofstream(sshd->path("known_hosts")) << "";
  options.tries = 1;
  Launcher launcher(log, options);
  const auto entry = log.wait_ended(launcher.start(node(kNodeProgram)));
  EXPECT_FALSE(entry.started);
  EXPECT_NE(entry.end.find("Host key verification failed"), std::string::npos) << entry.end;
}

}  // namespace
}  // namespace r1
