// Who attacks the shell of a run: stop still gets through, memory stays, and nobody else gets in.
#include "runtime/shell/shell_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/shell/shell_client.h"
#include "runtime/shell/shell_socket.h"
#include "runtime/store/run_store.h"
#include "tests/resident_memory.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

int connected(const std::filesystem::path& run_dir) {
  const ShellDirectory directory(run_dir);
  const sockaddr_un address = directory.address();
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{5, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

// All bytes until the peer closes or five seconds pass in silence.
std::string drained(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}

struct Door : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  SystemClock clock;
  WaitRegistry waits{clock};
  std::atomic<int> stops{0};
  ShellLimits limits;

  ShellSources sources() {
    ShellSources s;
    s.store = store.get();
    s.waits = &waits;
    s.roles = [] { return std::vector<ShellRole>(); };
    s.stages = [] { return std::vector<ShellStage>(); };
    s.order = [](const ShellOrder& order) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // a slow run
      order.reply->answer("{}");
      return true;
    };
    s.stop = [this] { ++stops; };
    return s;
  }
  void expect_stop_gets_through() {
    const double begin = clock.now_s();
    EXPECT_NE(ShellClient(dir.path()).ask("stop").find("stopping"), std::string::npos);
    EXPECT_EQ(stops, 1);
    EXPECT_LT(clock.now_s() - begin, 8) << "seconds";
  }
};

TEST_F(Door, answers_questions_one_after_the_other_on_one_connection) {
  const ShellServer server(sources(), dir.path());
  ASSERT_TRUE(server.listening());
  const int fd = connected(dir.path());
  ASSERT_EQ(::send(fd, "help\nnonsense\n", 14, 0), 14);
  ::shutdown(fd, SHUT_WR);
  const std::string text = drained(fd);
  ::close(fd);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_NE(text.find("no command 'nonsense'"), std::string::npos) << text;
}

TEST_F(Door, nobody_but_the_runs_user_may_enter_its_directory) {
  const ShellServer server(sources(), dir.path());
  struct stat st {};
  ASSERT_EQ(::stat(shell_directory(dir.path()).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat((shell_directory(dir.path()) / "socket").c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(Door, a_line_without_an_end_is_refused_and_takes_no_memory) {
  const ShellServer server(sources(), dir.path());
  const int fd = connected(dir.path());
  const long before = test::resident_kib();
  const std::string block(1 << 16, 'x');
  size_t sent = 0;
  for (int i = 0; i < 4096; ++i) {  // 256 MiB, if it were read
    const ssize_t n = ::send(fd, block.data(), block.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  const std::string text = drained(fd);
  ::close(fd);
  EXPECT_LT(sent, size_t{1} << 24);
  EXPECT_NE(text.find("too long"), std::string::npos) << text;
  EXPECT_LT(test::resident_kib() - before, 8 * 1024);
  expect_stop_gets_through();
}

TEST_F(Door, garbage_is_answered_with_an_error) {
  const ShellServer server(sources(), dir.path());
  const int fd = connected(dir.path());
  std::string bytes(32, '\xff');
  bytes[3] = '\0';
  bytes[31] = '\n';
  ASSERT_EQ(::send(fd, bytes.data(), bytes.size(), 0), 32);
  ::shutdown(fd, SHUT_WR);
  EXPECT_TRUE(nlohmann::json::parse(drained(fd)).contains("error"));
  ::close(fd);
  expect_stop_gets_through();
}

TEST_F(Door, two_thousand_idle_connections_end_nothing) {
  const ShellServer server(sources(), dir.path());
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  if (old.rlim_max != RLIM_INFINITY && old.rlim_max < 2300) GTEST_SKIP() << "no more than " << old.rlim_max << " files here";
  const rlimit more{std::max<rlim_t>(old.rlim_cur, 2300), old.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &more);
  std::vector<int> idle;
  for (int i = 0; i < 2000; ++i) idle.push_back(connected(dir.path()));
  EXPECT_EQ(std::count(idle.begin(), idle.end(), -1), 0);
  expect_stop_gets_through();
  char byte;
  const auto closed = std::count_if(idle.begin(), idle.end(), [&](int fd) { return ::recv(fd, &byte, 1, MSG_DONTWAIT) == 0; });
  EXPECT_GE(closed + static_cast<long>(limits.connections), 2000) << "the run holds no more than its limit";
  for (const int fd : idle) ::close(fd);
  ::setrlimit(RLIMIT_NOFILE, &old);
}

TEST_F(Door, a_stop_gets_through_a_flood_of_slow_questions) {
  const ShellServer server(sources(), dir.path());
  std::atomic<bool> over{false};
  std::vector<std::thread> flood;
  for (int t = 0; t < 8; ++t)
    flood.emplace_back([&] {
      while (!over) {
        const int fd = connected(dir.path());
        if (fd < 0) continue;
        for (int i = 0; i < 20 && !over; ++i)
          if (::send(fd, "inspect x\n", 10, MSG_NOSIGNAL) < 0) break;
        char byte;
        if (::recv(fd, &byte, 1, 0) < 0) break;
        ::close(fd);
      }
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // let it swell
  expect_stop_gets_through();
  over = true;
  for (std::thread& t : flood) t.join();
}

TEST_F(Door, a_stop_goes_before_questions_that_wait) {
  const ShellServer server(sources(), dir.path());
  std::vector<int> asking;
  std::string questions;
  for (int i = 0; i < 20; ++i) questions += "inspect x\n";
  for (size_t i = 0; i + 8 < limits.connections; ++i) {
    asking.push_back(connected(dir.path()));
    ASSERT_GT(::send(asking.back(), questions.data(), questions.size(), MSG_NOSIGNAL), 0);
  }
  // Each answer takes 50 ms: behind all others that would be seconds.
  const double begin = clock.now_s();
  EXPECT_NE(ShellClient(dir.path()).ask("stop").find("stopping"), std::string::npos);
  EXPECT_LT(clock.now_s() - begin, 1.5) << "seconds";
  for (const int fd : asking) ::close(fd);
}

TEST_F(Door, a_peer_that_never_reads_is_let_go) {
  limits.read_s = 0.3;
  for (int m = 0; m < 2000; ++m) store->add_metric(store->ensure_stage("s"), m, "reward", m);
  const ShellServer server(sources(), dir.path(), limits);
  const int fd = connected(dir.path());
  std::string line;
  for (int i = 0; i < 100; ++i) line += "metrics s reward\n";
  const ssize_t asked = ::send(fd, line.data(), line.size(), MSG_NOSIGNAL);
  EXPECT_GT(asked, 0);
  EXPECT_NE(ShellClient(dir.path()).ask("help").find("commands"), std::string::npos) << "others are answered meanwhile";
  pollfd let_go{fd, POLLRDHUP, 0};
  ASSERT_EQ(::poll(&let_go, 1, 120'000), 1) << "it is held for ever";
  const std::string text = drained(fd);  // what had been sent; then the end
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 100);
  ::close(fd);
  expect_stop_gets_through();
}

TEST_F(Door, orders_that_the_run_has_no_time_for_keep_nobody_else_waiting) {
  std::vector<ShellReplyPtr> kept;
  ShellSources s = sources();
  s.order = [&](const ShellOrder& order) {
    kept.push_back(order.reply);
    return true;
  };
  std::vector<int> asking;
  {
    const ShellServer server(std::move(s), dir.path(), limits);
    for (size_t i = 0; i + 4 < limits.connections; ++i) {
      asking.push_back(connected(dir.path()));
      ASSERT_GT(::send(asking.back(), "inspect x\n", 10, MSG_NOSIGNAL), 0);
    }
    EXPECT_NE(ShellClient(dir.path()).ask("help").find("commands"), std::string::npos);
    while (ShellClient(dir.path()).ask("help", 60), kept.size() < asking.size()) std::this_thread::yield();
    kept[7]->answer(R"({"text":"seven"})");
    std::string seven;
    char byte;
    while (seven.find('\n') == seven.npos && ::recv(asking[7], &byte, 1, 0) == 1) seven += byte;
    EXPECT_EQ(seven, "{\"text\":\"seven\"}\n");
    ::close(asking[8]);  // whoever leaves is waited for no more
    while (kept[8]->part("{}")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    expect_stop_gets_through();
  }
  kept.clear();
  for (const int fd : asking) ::close(fd);
}

TEST_F(Door, who_does_not_read_a_long_answer_costs_little) {
  ShellReplyPtr reply;
  ShellSources s = sources();
  std::atomic<bool> asked{false};
  s.order = [&](const ShellOrder& order) {
    reply = order.reply;
    asked = true;
    return true;
  };
  const ShellServer server(std::move(s), dir.path(), limits);
  const int fd = connected(dir.path());
  ASSERT_GT(::send(fd, "ask x\n", 6, MSG_NOSIGNAL), 0);
  while (!asked) std::this_thread::yield();
  const std::string kilobyte = "{\"part\":\"" + std::string(1000, 'x') + "\"}";
  int parts = 0;
  while (parts < 100'000 && reply->part(kilobyte)) ++parts;
  EXPECT_LT(parts, 4'000) << "KiB are held for it, or in its socket";
  reply = nullptr;
  ::close(fd);
  expect_stop_gets_through();
}

TEST_F(Door, a_flood_of_questions_takes_a_small_share_of_a_core) {
  constexpr double kQuestion_s = 0.002, kWhile_s = 1.5;
  ShellSources s = sources();
  s.stages = [] {
    timespec begin{}, now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    do ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while (static_cast<double>(now.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec - begin.tv_nsec) <
           kQuestion_s);
    return std::vector<ShellStage>();
  };
  const ShellServer server(std::move(s), dir.path(), limits);
  std::atomic<int> answers{0};
  std::vector<std::thread> flood;
  for (int t = 0; t < 16; ++t)
    flood.emplace_back([&] {
      const int fd = connected(dir.path());
      char byte;
      const double end = clock.now_s() + kWhile_s;
      while (clock.now_s() < end && ::send(fd, "stages\n", 7, MSG_NOSIGNAL) > 0) {
        while (::recv(fd, &byte, 1, 0) == 1 && byte != '\n') {
        }
        ++answers;
      }
      ::close(fd);
    });
  for (std::thread& t : flood) t.join();
  EXPECT_GT(answers, 0);
  EXPECT_LT(answers * kQuestion_s, 3 * limits.share * kWhile_s + 0.05) << answers << " answers";
  expect_stop_gets_through();
}

TEST_F(Door, a_connection_without_a_question_is_closed_in_time) {
  limits.ask_s = 0.2;
  const ShellServer server(sources(), dir.path(), limits);
  const int fd = connected(dir.path());
  EXPECT_EQ(drained(fd), "");
  ::close(fd);
}

TEST_F(Door, a_run_directory_may_have_a_long_path) {
  const auto deep = dir.path() / std::string(120, 'a') / std::string(120, 'b');
  std::filesystem::create_directories(deep);
  const ShellServer server(sources(), deep);
  ASSERT_TRUE(server.listening());
  EXPECT_NE(ShellClient(deep).ask("help").find("commands"), std::string::npos);
}

TEST_F(Door, where_no_run_goes_on_the_client_says_so) {
  EXPECT_THROW(ShellClient{dir.path()}, Error);
  {
    const ShellServer server(sources(), dir.path());
    EXPECT_FALSE(ShellClient(dir.path()).ask("ps").empty());
  }
  EXPECT_FALSE(std::filesystem::exists(shell_directory(dir.path()) / "socket"));
  EXPECT_THROW(ShellClient{dir.path()}, Error);
}

TEST_F(Door, the_socket_of_a_killed_run_is_replaced) {
  std::filesystem::create_directories(shell_directory(dir.path()));
  std::ofstream(shell_directory(dir.path()) / "socket") << "stale";
  const ShellServer server(sources(), dir.path());
  EXPECT_FALSE(ShellClient(dir.path()).ask("ps").empty());
}

}  // namespace
}  // namespace r1
