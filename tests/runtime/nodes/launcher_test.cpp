// Programs that the launcher starts, here and by what looks like ssh: they are told their line, greet, and end.
#include "runtime/nodes/launcher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "tests/runtime/nodes/launch_log.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

using test::LaunchLog;

LaunchSpec shell(const std::string& script, const std::string& line = "{}") {
  LaunchSpec spec;
  spec.name = "node1";
  spec.words = {"sh", "-c", script};
  spec.line = line;
  return spec;
}

// Within a minute.
bool soon(const std::function<bool()>& is_so) {
  for (int i = 0; i < 6000; ++i) {
    if (is_so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

bool alive(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  const size_t name_end = text.rfind(") ");
  return name_end != std::string::npos && text[name_end + 2] != 'Z' && text[name_end + 2] != 'X';
}

constexpr const char* kNode = R"(read line; echo "R1NODE{\"got\":$line}"; echo beside >&2; cat > /dev/null; echo over)";

TEST(LauncherTest, a_program_is_told_its_line_greets_and_ends_with_its_stdin) {
  LaunchLog log;
  Launcher launcher(log);
  const LaunchId id = launcher.start(shell(kNode, R"({"key":"secret"})"));
  EXPECT_EQ(log.wait_started(id).greeting, R"({"got":{"key":"secret"}})");
  EXPECT_GT(launcher.pid(id), 0);
  launcher.end(id);
  const auto entry = log.wait_ended(id);
  EXPECT_TRUE(entry.end.starts_with("exit code 0")) << entry.end;
  EXPECT_EQ(entry.ends, 1);
  EXPECT_EQ(entry.lines, (std::vector<std::string>{"beside", "over"}));
  EXPECT_EQ(launcher.pid(id), 0);
}

TEST(LauncherTest, noise_before_the_greeting_is_logged_and_a_second_greeting_is_noise) {
  LaunchLog log;
  Launcher launcher(log);
  const LaunchId id = launcher.start(shell(R"(printf 'Welcome to \033[1mgpu07\r\n xR1NODE{}\nR1NODE{1}\nR1NODE{2}\nlast')"));
  const auto entry = log.wait_ended(id);
  EXPECT_EQ(entry.greeting, "{1}");
  EXPECT_EQ(entry.lines, (std::vector<std::string>{"Welcome to ?[1mgpu07", " xR1NODE{}", "R1NODE{2}", "last"}));
}

TEST(LauncherTest, how_a_program_ended_and_what_it_said_last_is_told) {
  LaunchLog log;
  Launcher launcher(log);
  const LaunchId failed = launcher.start(shell("echo 'no such library' >&2; echo 'info: it listens' >&2; exit 3"));
  EXPECT_EQ(log.wait_ended(failed).end, "exit code 3; it said: no such library");
  const LaunchId killed = launcher.start(shell(kNode));
  log.wait_started(killed);
  ::kill(launcher.pid(killed), SIGKILL);
  EXPECT_TRUE(log.wait_ended(killed).end.starts_with("signal 9")) << log.wait_ended(killed).end;
  LaunchSpec missing = shell("");
  missing.words = {"/no/such/r1-node"};
  const auto none = log.wait_ended(launcher.start(missing));
  EXPECT_NE(none.end.find("'/no/such/r1-node' cannot be started"), std::string::npos) << none.end;
  EXPECT_FALSE(none.started);
}

TEST(LauncherTest, one_that_does_not_end_with_its_stdin_is_killed_with_all_that_it_started) {
  TemporaryDirectory dir;
  const std::string file = (dir.path() / "pid").string();
  LaunchLog log;
  LauncherOptions options;
  options.grace_s = 0.2;
  Launcher launcher(log, options);
  const LaunchId id =
      launcher.start(shell("setsid sleep 1000 & echo $! > " + file + "; echo 'R1NODE{}'; while :; do sleep 1000; done"));
  log.wait_started(id);
  const pid_t own = launcher.pid(id), child = std::stoi(read_file(file));
  EXPECT_TRUE(alive(own) && alive(child));
  launcher.end(id);
  EXPECT_TRUE(log.wait_ended(id).end.starts_with("it was killed: it did not end with its stdin"));
  EXPECT_TRUE(soon([&] { return !alive(own) && !alive(child); }));
}

TEST(LauncherTest, one_that_says_nothing_is_given_up) {
  LaunchLog log;
  LauncherOptions options;
  options.start_s = 0.2;
  Launcher launcher(log, options);
  const auto entry = log.wait_ended(launcher.start(shell("echo 'Last login: yesterday'; exec sleep 1000")));
  EXPECT_EQ(entry.end, "it said nothing within 0.2 s; it said: Last login: yesterday");
}

TEST(LauncherTest, no_more_than_so_many_are_being_started_at_once) {
  LaunchLog log;
  LauncherOptions options;
  options.at_once = 2;
  Launcher launcher(log, options);
  std::vector<LaunchId> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(launcher.start(shell("cat > /dev/null")));
  const auto running = [&] {
    return std::count_if(ids.begin(), ids.end(), [&](LaunchId id) { return launcher.pid(id) != 0; });
  };
  EXPECT_TRUE(soon([&] { return running() == 2; }));
  for (const LaunchId id : ids) {
    EXPECT_LE(running(), 2);
    EXPECT_TRUE(soon([&] { return launcher.pid(id) != 0; }));
    launcher.end(id);
    EXPECT_EQ(log.wait_ended(id).ends, 1);
  }
}

TEST(LauncherTest, nothing_outlives_a_launcher) {
  LaunchLog log;
  std::vector<pid_t> pids;
  {
    LauncherOptions options;
    options.grace_s = 0.2;
    Launcher launcher(log, options);
    for (const char* script : {kNode, "echo 'R1NODE{}'; while :; do sleep 1000; done"}) {
      const LaunchId id = launcher.start(shell(script));
      log.wait_started(id);
      pids.push_back(launcher.pid(id));
    }
    launcher.start(shell("exec sleep 1000"));
  }
  for (const pid_t pid : pids) EXPECT_FALSE(alive(pid));
  EXPECT_EQ(log.wait(1, [](const auto&) { return true; }).ends, 0);
}

TEST(LauncherTest, a_flood_of_lines_is_bounded) {
  LaunchLog log;
  Launcher launcher(log);
  const auto entry =
      log.wait_ended(launcher.start(shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; "
                                          "head -c 100000 /dev/zero | tr '\\0' x; echo; echo 'R1NODE{}'")));
  EXPECT_TRUE(entry.started);
  EXPECT_LE(entry.lines.size(), 400u);
  for (const std::string& line : entry.lines) EXPECT_LE(line.size(), 2000u);
}

TEST(LauncherTest, a_quoted_command_is_taken_apart_into_its_words) {
  const std::vector<std::string> words = {"printf", "<%s>", "a b", "c'd", "", "$HOME", "\"", "\\", "`id`", "-x;y"};
  LaunchLog log;
  Launcher launcher(log);
  const auto entry = log.wait_ended(launcher.start(shell(shell_quoted(words))));
  EXPECT_EQ(entry.lines, (std::vector<std::string>{"<a b><c'd><><$HOME><\"><\\><`id`><-x;y>"}));
}

TEST(LauncherTest, the_command_of_ssh_holds_no_secret_and_no_option_of_a_host) {
  LaunchSpec spec = shell("x", "{\"key\":\"secret\"}");
  spec.host = "-oProxyCommand=id";
  spec.user = "me";
  spec.port = 2222;
  spec.words = {"r1-node", "--stdin"};
  const std::vector<std::string> words = launch_words(spec, {});
  for (const std::string& word : words) EXPECT_EQ(word.find("secret"), std::string::npos);
  ASSERT_GE(words.size(), 4u);
  EXPECT_EQ(words[0], "ssh");
  EXPECT_EQ((std::vector<std::string>(words.end() - 3, words.end())),
            (std::vector<std::string>{"--", "-oProxyCommand=id", "exec 'r1-node' '--stdin'"}));
}

// An ssh that turns away its first calls, as sshd does with too many at once, and then runs the command in a login shell of its
// own.
struct FakeSsh : testing::Test {
  void turn_away(int calls) {
    std::ofstream out(dir.path() / "ssh");
    out << "#!/bin/sh\ncount=$(cat " << dir.path().string() << "/count 2>/dev/null || echo 0)\necho $((count+1)) > "
        << dir.path().string() << "/count\nif [ $count -lt " << calls
        << " ]; then echo 'kex_exchange_identification: Connection closed' >&2; exit 255; fi\nfor last; do :; done\n"
        << "echo 'Linux motd'\nexec sh -c \"$last\"\n";
    out.close();
    std::filesystem::permissions(dir.path() / "ssh", std::filesystem::perms::owner_all);
    options.ssh = {(dir.path() / "ssh").string()};
    options.between_tries_s = 0.01;
  }
  LaunchSpec remote() const {
    LaunchSpec spec = shell(kNode);
    spec.host = "gpu07";
    return spec;
  }
  TemporaryDirectory dir;
  LauncherOptions options;
  LaunchLog log;
};

TEST_F(FakeSsh, that_gives_up_is_tried_again) {
  turn_away(2);
  Launcher launcher(log, options);
  const LaunchId id = launcher.start(remote());
  EXPECT_EQ(log.wait_started(id).greeting, "{\"got\":{}}");
  launcher.end(id);
  EXPECT_TRUE(log.wait_ended(id).end.starts_with("ssh: exit code 0 after 3 tries"));
}

TEST_F(FakeSsh, that_goes_on_giving_up_is_an_end_with_its_reason) {
  turn_away(100);
  Launcher launcher(log, options);
  const auto entry = log.wait_ended(launcher.start(remote()));
  EXPECT_FALSE(entry.started);
  EXPECT_TRUE(entry.end.starts_with("ssh: exit code 255 after 3 tries; it said: kex_exchange")) << entry.end;
  EXPECT_EQ(read_file(dir.path() / "count"), "3\n");
}

// srun, which runs the words after its own on another machine.
TEST_F(FakeSsh, and_srun_is_given_words_and_the_line_on_its_stdin) {
  std::ofstream out(dir.path() / "srun");
  out << "#!/bin/sh\nwhile [ \"${1#--}\" != \"$1\" ]; do echo \"$1\"; shift; done\nexec \"$@\"\n";
  out.close();
  std::filesystem::permissions(dir.path() / "srun", std::filesystem::perms::owner_all);
  options.srun = {(dir.path() / "srun").string()};
  Launcher launcher(log, options);
  LaunchSpec spec = remote();
  spec.way = LaunchSpec::Way::srun;
  const LaunchId id = launcher.start(spec);
  EXPECT_EQ(log.wait_started(id).greeting, "{\"got\":{}}");
  launcher.end(id);
  const auto entry = log.wait_ended(id);
  EXPECT_TRUE(entry.end.starts_with("srun: exit code 0")) << entry.end;
  EXPECT_EQ(std::count(entry.lines.begin(), entry.lines.end(), "--nodelist=gpu07"), 1);
  spec.words = {"sh", "-c", "exit 255"};
  EXPECT_TRUE(log.wait_ended(launcher.start(spec)).end.starts_with("srun: exit code 255; "));  // not ssh's: not tried again
}

TEST_F(FakeSsh, whose_program_greeted_is_not_tried_again) {
  turn_away(0);
  Launcher launcher(log, options);
  LaunchSpec spec = remote();
  spec.words = {"sh", "-c", "echo 'R1NODE{}'; exit 255"};
  EXPECT_TRUE(log.wait_ended(launcher.start(spec)).end.starts_with("ssh: exit code 255; "));
  EXPECT_EQ(read_file(dir.path() / "count"), "1\n");
}

}  // namespace
}  // namespace r1
