#include "runtime/nodes/node_words.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/fingerprint.h"
#include "runtime/nodes/file_cache.h"
#include "runtime/nodes/kept_states.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

OpenRole some_role() {
  OpenRole open;
  open.stage = "rl";
  open.settings = R"({"precision":"f32"})";
  open.files = {{"/run/graph.graph", 12, "00112233445566778899aabbccddeeff"}, {"/x", 0, ""}};
  Recovery& r = open.recovery;
  r.batches = 3;
  r.next_draw = 40;
  r.open_draws = {13, 17};
  r.ledger = {40, 30, 2, {{"stale", 5}, {"equal_rewards", 3}}};
  r.metrics = {{"tokens_generated", {2, -0.0}}, {"x", {1, 1e300}}};
  r.artifacts = {{"reference", {"snapshots/rl-4", "abcd"}}};
  r.snapshots = {{1, "a"}, {2, "b"}};
  r.first_reward_error = "{}";
  r.first_reward_error_place = {"run.db", "events", "stage=1"};
  r.other_arithmetic = true;
  open.evaluations = {{"abcd tiny:x", "{\"accuracy\":0.5}"}};
  open.artifacts = {{{"sft", "checkpoint"}, {"checkpoints/sft", "1234"}}};
  return open;
}

RoleRecords some_records() {
  RoleRecords records;
  records.metrics = {{4, "loss", 0.1}, {std::nullopt, "tokens", 3}};
  records.events = {{"policy", "work", "{}"}};
  records.engines = {{"generator", true}, {"generator", false}};
  records.progress = "half";
  records.waits = std::vector<RoleRecords::Wait>{{"weights", "for version 3", "rl_trainer"}};
  records.inspect = "{\"version\":2}";
  records.moved = true;
  records.cpu_ns = 77;
  ResponseRow scored{"tiny:x", 3, -1, "2+2?", "4", 5, true, true, -0.0, "{}", ""}, open{"tiny:y", 0, 0, "", "", 0, false};
  open.error = "no answer";
  records.evaluations = {{{"test", "during", 4, "abcd tiny:x", "{}"}, {scored, open}}};
  return records;
}

TEST(NodeWords, come_back_as_they_went) {
  const OpenRole open = some_role();
  EXPECT_EQ(encode(decode_open_role(encode(open))), encode(open));
  EXPECT_EQ(decode_open_role(encode(open)).recovery.ledger.dropped.at("stale"), 5);
  EXPECT_TRUE(std::signbit(decode_open_role(encode(open)).recovery.metrics.at("tokens_generated").sum));
  const RoleRecords records = some_records();
  EXPECT_EQ(encode(decode_role_records(encode(records))), encode(records));
  const ResponseRow kept = decode_role_records(encode(records)).evaluations.at(0).kept.at(0);
  EXPECT_TRUE(std::signbit(kept.reward.value()));
  EXPECT_EQ(kept.correct, std::optional<bool>(true));
  EXPECT_FALSE(decode_role_records(encode(RoleRecords())).waits.has_value());
  const FilePiece piece = decode_file_piece(encode(FilePiece{"ab", 5, 6}));
  EXPECT_EQ(piece.hash, "ab");
  EXPECT_EQ(piece.offset, 5u);
  EXPECT_EQ(piece.bytes, 6u);
}

TEST(NodeWords, an_error_keeps_its_code_place_hint_and_whether_it_is_final) {
  const auto back = [](const Error& e) -> Error {
    try {
      std::rethrow_exception(decode_error(encode_error(std::make_exception_ptr(e)), "there/7"));
    } catch (const Error& error) {
      return error;
    }
  };
  const Error bad = back(bad_input("no such thing", {"a.graph", 3, 4}, "another"));
  EXPECT_EQ(bad.code(), ExitCode::bad_input);
  EXPECT_EQ(bad.where().str(), "a.graph:3:4");
  EXPECT_EQ(bad.hint(), "another");
  EXPECT_EQ(bad.message(), "no such thing (at there/7)");
  EXPECT_FALSE(back(failure("x")).final());
  EXPECT_TRUE(back(final_failure("x", {}, "")).final());
}

// Whatever bytes come: an error or a value, nothing else.
TEST(NodeWords, cut_and_damaged_bodies_are_refused_or_read_and_nothing_else_happens) {
  const std::string bodies[] = {encode(some_role()), encode(some_records()), encode(FilePiece{"ab", 5, 6}),
                                encode_error(std::make_exception_ptr(failure("x")))};
  int refused = 0;
  const auto read = [&](const std::string& body) {
    for (const auto& f :
         {+[](const std::string& b) { decode_open_role(b); }, +[](const std::string& b) { decode_role_records(b); },
          +[](const std::string& b) { decode_file_piece(b); }, +[](const std::string& b) { decode_error(b, ""); }}) {
      try {
        f(body);
      } catch (const Error&) {
        ++refused;
      }
    }
  };
  for (const std::string& body : bodies) {
    for (size_t cut = 0; cut < body.size(); ++cut) read(body.substr(0, cut));
    for (size_t at = 0; at < body.size(); ++at)
      for (const char bits : {'\x01', '\x80', '\xff'}) {
        std::string damaged = body;
        damaged[at] ^= bits;
        read(damaged);
      }
  }
  EXPECT_GT(refused, 1000);
}

struct Cache : testing::Test {
  TemporaryDirectory dir;
  NodeFile file_of(const std::string& path, const std::string& text) {
    const auto at = dir.path() / "original";
    std::ofstream(at) << text;
    const FileFingerprint print = fingerprint_file(at);
    return {path, print.bytes, print.hex()};
  }
};

TEST_F(Cache, a_file_comes_in_pieces_is_believed_by_its_hash_and_lies_in_the_tree_under_its_name) {
  const NodeFile file = file_of("/models/a/config.json", "0123456789");
  FileCache cache(dir.path() / "cache");
  EXPECT_FALSE(cache.holds(file));
  cache.add(file, 0, "01234");
  cache.add(file, 5, "56789");
  cache.complete(file);
  EXPECT_TRUE(cache.holds(file));
  for (int i = 0; i < 2; ++i) cache.place(file, dir.path() / "tree");
  std::ifstream in(dir.path() / "tree/models/a/config.json");
  std::string text;
  in >> text;
  EXPECT_EQ(text, "0123456789");
  EXPECT_EQ(FileCache::in_tree("/t", "/a/../b"), "/t/b");
}

TEST_F(Cache, a_file_that_the_disk_does_not_take_is_refused_with_the_reason_and_leaves_nothing_behind) {
  const NodeFile file = file_of("/x", std::string(20'000, 'x'));
  FileCache cache(dir.path() / "cache");
  cache.add(file, 0, std::string(10'000, 'x'));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{15'000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string said;
  try {
    cache.add(file, 10'000, std::string(10'000, 'x'));
  } catch (const Error& e) {
    said = e.message() + " | " + e.hint();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE(said.find("cannot write a file that was sent: File too large | free some space"), std::string::npos) << said;
  EXPECT_TRUE(std::filesystem::is_empty(dir.path() / "cache"));
}

TEST_F(Cache, what_arrives_as_another_file_or_was_damaged_since_is_not_kept) {
  const NodeFile file = file_of("/x", "0123456789");
  FileCache cache(dir.path() / "cache");
  cache.add(file, 0, "012345678X");
  EXPECT_THROW(cache.complete(file), Error);
  EXPECT_FALSE(cache.holds(file));
  EXPECT_THROW(cache.add(file, 3, "34"), Error) << "a piece is missing";
  cache.add(file, 0, "0123456789");
  cache.complete(file);
  std::ofstream(dir.path() / "cache" / file.hash) << "damaged";
  EXPECT_FALSE(FileCache(dir.path() / "cache").holds(file));
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "cache" / file.hash));
  NodeFile evil = file;
  evil.hash = "../../etc/passwd";
  EXPECT_THROW(cache.holds(evil), Error);
  evil = file;
  evil.path = "relative";
  EXPECT_THROW(cache.place(evil, dir.path() / "tree"), Error);
}

TEST(FileCacheTest, what_was_not_used_for_long_is_removed_and_what_is_in_use_stays) {
  TemporaryDirectory dir;
  using Clock = std::filesystem::file_time_type::clock;
  const auto file = [&](const char* name, double unused_s) {
    std::ofstream(dir.path() / name) << std::string(1000, 'x');
    std::filesystem::last_write_time(
        dir.path() / name, Clock::now() - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(unused_s)));
  };
  const auto there = [&](const char* name) { return std::filesystem::exists(dir.path() / name); };
  const double day = 86400;
  file("old", 40 * day), file("older.4711", 50 * day), file("week", 7 * day), file("days", 3 * day), file("today", 0.1 * day);
  const FileCache cache(dir.path());
  cache.prune(30 * day, 1 << 20);
  EXPECT_FALSE(there("old") || there("older.4711"));
  EXPECT_TRUE(there("week") && there("days") && there("today"));
  cache.prune(30 * day, 2500);
  EXPECT_FALSE(there("week"));
  EXPECT_TRUE(there("days"));
  cache.prune(30 * day, 0);
  EXPECT_FALSE(there("days"));
  EXPECT_TRUE(there("today")) << "another process may be about to read it";
}

struct KeptPayload final : Payload {
  explicit KeptPayload(std::string text) : text(std::move(text)) {}
  const char* kind() const override { return "weights"; }
  std::string describe() const override { return text; }
  std::string content() const override { return text; }
  std::string text;
};

TEST(KeptStatesTest, each_state_is_said_in_the_greeting_and_handed_out_once) {
  OpenRole rl, rl2;
  rl.stage = "rl", rl2.stage = "rl2";
  KeptStates kept;
  EXPECT_TRUE(kept_contents(kept.greeting()).empty());
  kept.put(rl, 3, nullptr);
  kept.put(rl, 3, std::make_shared<KeptPayload>(""));
  EXPECT_TRUE(kept_contents(kept.greeting()).empty()) << "what is not known by its content is not kept";
  kept.put(rl, 3, std::make_shared<KeptPayload>("version 7 aa"));
  kept.put(rl, 3, std::make_shared<KeptPayload>("version 8 bb"));
  kept.put(rl2, 9, std::make_shared<KeptPayload>("version 2 cc"));
  EXPECT_EQ(kept_contents(kept.greeting()), (std::vector<std::string>{"version 8 bb", "version 2 cc"}));
  EXPECT_EQ(kept.take("version 7 aa"), nullptr);
  ASSERT_NE(kept.take("version 8 bb"), nullptr);
  EXPECT_EQ(kept.take("version 8 bb"), nullptr);
  kept.forget(rl2, 9);
  EXPECT_EQ(kept.take("version 2 cc"), nullptr) << "its role has something newer";
  for (int i = 0; i < 1000; ++i) kept.put(rl, i, std::make_shared<KeptPayload>(std::string(128, 'x')));
  EXPECT_LE(kept.greeting().size(), kMaxHelloExtra);
  for (const char* garbage : {"x", "\xc4\xff", "\x91\x05"}) EXPECT_THROW(kept_contents(garbage), Error);
}

}  // namespace
}  // namespace r1
