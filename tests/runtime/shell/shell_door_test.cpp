// A run's shell over the network: who has a key is answered, by what the key is good for; who has none, or too much to ask, is
// not, and the run never waits.
#include "runtime/shell/shell_door.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/net/zmq_links.h"
#include "runtime/shell/render.h"
#include "runtime/shell/shell_caller.h"
#include "runtime/shell/shell_server.h"
#include "runtime/store/run_store.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

PeerHello hello() {
  PeerHello h;
  h.build = "r1 test";
  h.host = "here";
  h.pid = ::getpid();
  return h;
}

struct DoorOfARun : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  SystemClock clock;
  WaitRegistry waits{clock};
  std::atomic<int> stops{0}, orders{0};
  RunKeys keys{dir.path()};
  std::unique_ptr<ShellServer> server;
  std::unique_ptr<ShellDoor> door;

  void SetUp() override {
    keys.write_shell_keys();
    ShellSources s;
    s.store = store.get();
    s.waits = &waits;
    s.roles = [] { return std::vector<ShellRole>(); };
    s.stages = [] { return std::vector<ShellStage>(); };
    s.check_set = [](const std::string&, const std::string&, const std::string&) {};
    s.order = [this](const ShellOrder& order) {
      ++orders;
      order.reply->part(R"({"part":"first "})");
      order.reply->answer(R"({"text":"last"})");
      return true;
    };
    s.stop = [this] { ++stops; };
    server = std::make_unique<ShellServer>(std::move(s), dir.path());
    door = std::make_unique<ShellDoor>(LinkAddress(), keys, hello());
    door->open(*server);
  }
  void TearDown() override {
    door->close();
    server.reset();
    door.reset();
  }
  std::filesystem::path key_file(const char* name) const { return dir.path() / "keys" / name; }
  std::unique_ptr<ShellCaller> caller(const char* name) const {
    return std::make_unique<ShellCaller>(door->address(), read_shell_key(key_file(name)), hello());
  }
};

TEST_F(DoorOfARun, answers_who_has_its_control_key_part_by_part) {
  const auto shell = caller("control.key");
  EXPECT_NE(shell->ask("help").find("commands"), std::string::npos);
  std::string parts;
  const std::string answer = shell->ask("ask \"1 + 1\"", 10, [&](const std::string& part) { parts += part; });
  EXPECT_EQ(parts, R"({"part":"first "})");
  EXPECT_EQ(answer, R"({"text":"last"})");
  EXPECT_NE(shell->ask("stop").find("stopping"), std::string::npos);
  EXPECT_EQ(stops, 1);
}

TEST_F(DoorOfARun, a_key_for_looking_looks_and_steers_nothing) {
  const auto shell = caller("read.key");
  EXPECT_FALSE(is_error_answer(shell->ask("stages")));
  EXPECT_FALSE(is_error_answer(shell->ask("inspect x")));
  const int before = orders;
  for (const char* line : {"stop", "set a.b 1", "pause", "resume", "checkpoint", "kill x", "drain x", "undrain x", "scale x 1",
                           "ask hello", " stop ", "stop\nstop"}) {
    const std::string answer = shell->ask(line);
    EXPECT_TRUE(is_error_answer(answer)) << line << ": " << answer;
    EXPECT_NE(answer.find("for looking"), std::string::npos) << line << ": " << answer;
  }
  EXPECT_EQ(orders, before);
  EXPECT_EQ(stops, 0);
}

TEST_F(DoorOfARun, strangers_and_keys_of_nodes_are_not_let_in) {
  ShellKey stranger = read_shell_key(key_file("control.key"));
  stranger.keys = new_curve_keys();
  EXPECT_THROW(ShellCaller(door->address(), stranger, hello(), 3), Error);
  KeyRing nodes;
  stranger.keys = keys.new_node("node1", nodes);
  EXPECT_THROW(ShellCaller(door->address(), stranger, hello(), 3), Error);
  ShellKey other_run = read_shell_key(key_file("control.key"));
  other_run.head = new_curve_keys().public_key;
  EXPECT_THROW(ShellCaller(door->address(), other_run, hello(), 3), Error);
  EXPECT_FALSE(is_error_answer(caller("read.key")->ask("stages"))) << "who has a key is";
}

TEST_F(DoorOfARun, another_build_is_refused_with_the_reason) {
  PeerHello other = hello();
  other.build = "r1 older";
  try {
    const ShellCaller shell(door->address(), read_shell_key(key_file("read.key")), other);
    FAIL() << "it was let in";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("r1 older"), std::string::npos) << e.what();
  }
}

TEST_F(DoorOfARun, sixty_four_shells_are_answered_at_once_and_one_more_is_let_go) {
  std::vector<std::unique_ptr<ShellCaller>> shells;
  for (int i = 0; i < 64; ++i) shells.push_back(caller(i % 2 == 0 ? "read.key" : "control.key"));
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (const auto& shell : shells) threads.emplace_back([&] { answered += !is_error_answer(shell->ask("stages", 60)); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(answered, 64);
  EXPECT_THROW(caller("read.key")->ask("stages", 10), Error);
  shells.pop_back();
  for (int tries = 0;; ++tries) {  // its end is heard of
    try {
      EXPECT_FALSE(is_error_answer(caller("read.key")->ask("stages")));
      break;
    } catch (const Error&) {
      ASSERT_LT(tries, 50);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

// As a shell that does not keep to one question at a time.
struct Pushing : LinkSink {
  std::atomic<PeerId> peer{0};
  std::atomic<bool> lost{false};
  void peer_up(PeerId id, const PeerHello&) override { peer = id; }
  void received(PeerId, LinkPacket) override {}
  void peer_lost(PeerId, const std::string&) override { lost = true; }
  void not_joined(const std::string&, bool) override { lost = true; }
};

TEST_F(DoorOfARun, who_pushes_questions_is_let_go_and_a_stop_gets_through) {
  const ShellKey key = read_shell_key(key_file("read.key"));
  std::vector<std::unique_ptr<Pushing>> sinks;
  std::vector<std::unique_ptr<Links>> links;
  for (int i = 0; i < 8; ++i) {
    ZmqNodeOptions options;
    options.head = door->address();
    options.head_key = key.head;
    options.keys = key.keys;
    LinkTerms terms;
    terms.self = hello();
    sinks.push_back(std::make_unique<Pushing>());
    links.push_back(zmq_dial(std::move(options), std::move(terms), *sinks.back()));
  }
  for (const auto& sink : sinks)
    while (sink->peer == 0 && !sink->lost) std::this_thread::yield();
  for (int n = 0; n < 2000; ++n)
    for (size_t i = 0; i < links.size(); ++i) {
      LinkPacket packet;
      packet.kind = PacketKind::command;
      packet.number = static_cast<uint64_t>(n);
      packet.body = n % 2 == 0 ? "stages" : std::string(4000, 'x');
      links[i]->send(sinks[i]->peer, std::move(packet));
    }
  EXPECT_NE(caller("control.key")->ask("stop", 60).find("stopping"), std::string::npos);
  EXPECT_EQ(stops, 1);
  const double limit = clock.now_s() + 60;
  for (const auto& sink : sinks) {
    while (!sink->lost && clock.now_s() < limit) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(sink->lost);
  }
}

TEST_F(DoorOfARun, a_question_that_is_too_long_is_refused) {
  EXPECT_NE(caller("read.key")->ask(std::string(5000, 'x')).find("too long"), std::string::npos);
}

TEST_F(DoorOfARun, key_files_that_are_none_and_those_that_others_may_read_are_refused_by_line) {
  const auto said = [](const std::filesystem::path& file) {
    try {
      read_shell_key(file);
      return std::string("no error");
    } catch (const Error& e) {
      return std::string(e.what());
    }
  };
  const auto written = [&](const std::string& text) {
    const auto file = dir.path() / "a.key";
    std::ofstream(file, std::ios::trunc) << text;
    ::chmod(file.c_str(), 0600);
    return said(file);
  };
  const std::string z(40, 'a');
  EXPECT_NE(said(dir.path() / "none").find("no such key file"), std::string::npos);
  EXPECT_NE(written("").find("not a shell's key"), std::string::npos);
  EXPECT_NE(written("head " + z + "\npublic x\n").find(":2"), std::string::npos) << written("head " + z + "\npublic x\n");
  EXPECT_NE(written("secret " + z + "\n").find("not a line"), std::string::npos);
  EXPECT_NE(written("head " + z + "\npublic " + z + "\nsecret " + z + "\nhead " + z + "\n").find(":4"), std::string::npos);
  EXPECT_NE(written(std::string(5000, '#')).find("too large"), std::string::npos);
  EXPECT_EQ(written("# a comment\nhead " + z + "\npublic " + z + "\nsecret " + z + "\n"), "no error");
  ::chmod(key_file("read.key").c_str(), 0644);
  EXPECT_NE(said(key_file("read.key")).find("others may read"), std::string::npos);
}

}  // namespace
}  // namespace r1
