// Programs that r1 starts: they end when they are told to and when r1 is gone, whatever they have started themselves; nothing
// that they say takes r1 with it.
#include "base/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/line_process.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// It is there and no zombie.
bool alive(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  const size_t name_end = text.rfind(") ");
  return name_end != std::string::npos && text[name_end + 2] != 'Z' && text[name_end + 2] != 'X';
}

bool soon_gone(pid_t pid) {
  for (int i = 0; i < 1000 && alive(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !alive(pid);
}

ProcessSpec shell(const std::string& script) { return {{"sh", "-c", script}, "", {}}; }

// Three processes: the program, a child of its group, one in a session of its own whose parent has ended.
constexpr const char* kFamily = R"(sleep 1000 & a=$!
(setsid sleep 1000 & echo $! > "$F"); while [ ! -s "$F" ]; do :; done
echo $$ $a $(cat "$F"); cat > /dev/null; sleep 1000)";

std::vector<pid_t> pids_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<pid_t> pids;
  for (pid_t p = 0; in >> p;) pids.push_back(p);
  return pids;
}

struct ProcessTest : ::testing::Test {
  fs::path dir = fs::temp_directory_path() / ("r1_process_" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }
  ProcessSpec family() const {
    ProcessSpec spec = shell(kFamily);
    spec.environment = {"F=" + (dir / "pid").string()};
    return spec;
  }
};

TEST_F(ProcessTest, an_ended_program_takes_along_what_it_started_even_from_a_session_of_its_own) {
  std::vector<pid_t> pids;
  {
    LineProcess p(family(), {});
    const auto reply = p.read_line(30, nullptr);
    ASSERT_EQ(reply.outcome, LineProcess::Outcome::line);
    pids = pids_of(reply.line);
    ASSERT_EQ(pids.size(), 3u) << reply.line;
    for (const pid_t pid : pids) EXPECT_TRUE(alive(pid));
  }
  for (const pid_t pid : pids) EXPECT_FALSE(alive(pid)) << pid;
}

TEST_F(ProcessTest, a_program_and_all_that_it_started_end_when_this_process_is_killed) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    LineProcess p(family(), {});
    const std::string line = p.read_line(30, nullptr).line + "\n";
    [[maybe_unused]] const ssize_t n = ::write(ends[1], line.data(), line.size());
    for (;;) ::pause();
  }
  ::close(ends[1]);
  char buffer[200] = {};
  ASSERT_GT(::read(ends[0], buffer, sizeof buffer - 1), 0);
  ::close(ends[0]);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const auto pids = pids_of(buffer);
  ASSERT_EQ(pids.size(), 3u) << buffer;
  for (const pid_t pid : pids) EXPECT_TRUE(soon_gone(pid)) << pid;
}

TEST_F(ProcessTest, nothing_of_this_process_is_open_in_a_program) {
  const int open_one = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  LineProcess other(shell("cat"), {});
  LineProcess p(shell("echo $(ls /proc/self/fd | wc -l)"), {});
  const auto reply = p.read_line(30, nullptr);
  EXPECT_EQ(reply.line, "4") << "0, 1, 2 and the directory that ls reads";
  ::close(open_one);
}

TEST_F(ProcessTest, it_runs_in_its_directory_with_its_environment_and_tells_how_it_ended) {
  ProcessSpec spec = shell("pwd; echo $ONE; exit 7");
  spec.directory = dir;
  spec.environment = {"ONE=1"};
  LineProcess p(spec, {});
  EXPECT_EQ(p.read_line(30, nullptr).line, fs::canonical(dir).string());
  EXPECT_EQ(p.read_line(30, nullptr).line, "1");
  const auto end = p.read_line(30, nullptr);
  EXPECT_EQ(end.outcome, LineProcess::Outcome::ended);
  EXPECT_EQ(end.how, "exit code 7");
  LineProcess killed(shell("kill -SEGV $$"), {});
  EXPECT_NE(killed.read_line(30, nullptr).how.find("signal 11"), std::string::npos);
}

TEST_F(ProcessTest, what_cannot_be_started_is_an_error_that_says_why) {
  const auto message = [](const ProcessSpec& spec) {
    try {
      Process::start(spec);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(message({{"no_such_program_here"}, "", {}}).find("'no_such_program_here' cannot be started: No such file"),
            std::string::npos);
  std::ofstream(dir / "plain") << "echo\n";
  EXPECT_NE(message({{(dir / "plain").string()}, "", {}}).find("Permission denied"), std::string::npos);
  EXPECT_NE(message({{"true"}, dir / "nowhere", {}}).find("cannot be started"), std::string::npos);
}

TEST_F(ProcessTest, silence_endless_lines_and_closed_pipes_end_at_their_limits) {
  using Outcome = LineProcess::Outcome;
  LineProcess silent(shell("sleep 1000"), {});
  EXPECT_EQ(silent.exchange("x", 0.2, nullptr).outcome, Outcome::timed_out);
  LineProcess deaf(shell("sleep 1000"), {});
  EXPECT_EQ(deaf.exchange(std::string(1 << 22, 'x'), 0.2, nullptr).outcome, Outcome::timed_out) << "more than a pipe holds";
  LineProcess endless(shell("cat /dev/zero"), {});
  EXPECT_EQ(endless.exchange("x", 30, nullptr).outcome, Outcome::too_long);
  LineProcess closing(shell("exec >&-; sleep 1000"), {});
  const auto closed = closing.read_line(30, nullptr);
  EXPECT_EQ(closed.outcome, Outcome::ended);
  EXPECT_EQ(closed.how, "it closed its output");
  LineProcess gone(shell("exit 0"), {});
  EXPECT_EQ(gone.exchange(std::string(1 << 22, 'x'), 30, nullptr).outcome, Outcome::ended) << "and no SIGPIPE";
  std::atomic<bool> stop{true};
  LineProcess stopped(shell("sleep 1000"), {});
  EXPECT_EQ(stopped.exchange("x", 1000, &stop).outcome, Outcome::stopped);
}

TEST_F(ProcessTest, a_program_that_answers_before_it_has_read_all_is_no_deadlock) {
  LineProcessOptions options;
  options.longest_line = 1 << 23;
  LineProcess p(shell("cat"), options);
  const std::string line(1 << 22, 'x');
  const auto reply = p.exchange(line, 60, nullptr);
  EXPECT_EQ(reply.outcome, LineProcess::Outcome::line);
  EXPECT_TRUE(reply.line == line);
}

TEST_F(ProcessTest, a_flood_on_stderr_is_read_to_its_end_and_handed_over_at_a_bounded_rate) {
  std::mutex mutex;
  std::vector<std::string> lines;
  LineProcessOptions options;
  options.on_error_line = [&](const std::string& line) {
    std::lock_guard lock(mutex);
    lines.push_back(line);
  };
  {
    LineProcess p(shell("i=0; while [ $i -lt 20000 ]; do echo word $i >&2; i=$((i+1)); done; echo done"), options);
    EXPECT_EQ(p.read_line(60, nullptr).line, "done");
    EXPECT_EQ(p.finish(30).value_or(""), "exit code 0");
  }
  ASSERT_GE(lines.size(), 200u);
  EXPECT_EQ(lines[0], "word 0");
  EXPECT_LT(lines.size(), 2000u);
  EXPECT_NE(lines.back().find("lines left out"), std::string::npos) << lines.back();
}

TEST_F(ProcessTest, many_programs_one_after_the_other_leave_no_file_open_and_no_zombie) {
  const auto open_files = [] { return std::distance(fs::directory_iterator("/proc/self/fd"), {}); };
  const auto before = open_files();
  for (int i = 0; i < 100; ++i) {
    LineProcess p(shell(i % 2 == 0 ? "echo x; sleep 1000" : "exit 1"), {});
    p.read_line(30, nullptr);
  }
  try {
    Process::start({{"no_such_program_here"}, "", {}});
  } catch (const Error&) {
  }
  EXPECT_EQ(open_files(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST(SplitCommand, words_are_parted_by_blanks_and_quotes_keep_them) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(split_command("python3  my_reward.py --x=1"), (Words{"python3", "my_reward.py", "--x=1"}));
  EXPECT_EQ(split_command(R"(sh -c "a b" '' c"d e"f)"), (Words{"sh", "-c", "a b", "", "cd ef"}));
  EXPECT_EQ(split_command(" "), Words{});
  EXPECT_FALSE(split_command("a 'b"));
}

}  // namespace
}  // namespace r1
