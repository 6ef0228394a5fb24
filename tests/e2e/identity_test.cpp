// A run knows its inputs and its own files (P12): what changed since is refused by name, or accepted and journaled.
#include <sqlite3.h>

#include "base/error.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

void flip_a_bit(const fs::path& file) {
  std::string bytes = read_file(file);
  ASSERT_FALSE(bytes.empty());
  bytes[bytes.size() * 2 / 3] = static_cast<char>(bytes[bytes.size() * 2 / 3] ^ 1);
  write_text(file, bytes);
}

struct Identity : BadInputTest {
  fs::path run() const { return top / "run"; }
  // The nano graph; its stages commit 12 + 10 + 6 + 3 + ... batches.
  ProgramResult nano_run(const std::vector<std::string>& environment = {}, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {nano(), "--run", run().string(), "-q", "--set", "node.snapshot_s=0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, environment);
  }
  void killed_after(int commits) {
    const ProgramResult r = nano_run({"R1_FAULT=kill:after_commit:" + std::to_string(commits)});
    ASSERT_EQ(r.code, 128 + 9) << r.err;
  }
};

// ---- what the run wrote itself

struct FlippedBit : Identity, ::testing::WithParamInterface<const char*> {};

TEST_P(FlippedBit, of_a_checkpoint_that_a_stage_starts_from_is_refused_by_name) {
  killed_after(24);  // inside rl, which starts from sft
  flip_a_bit(run() / "checkpoints/sft" / GetParam());
  expect_refusal(nano_run(), {std::string("checkpoints/sft/") + GetParam(), "'sft'", "hash differs", "--fresh"});
}
INSTANTIATE_TEST_SUITE_P(Files, FlippedBit, ::testing::Values("model.safetensors", "config.json", "tokenizer.json"));

TEST_F(Identity, a_flipped_bit_of_a_reference_snapshot_is_refused_by_name) {
  killed_after(28);  // the last batch of rl: its reference was refreshed at version 4
  const fs::path reference = run() / "snapshots/rl-reference-4";
  ASSERT_TRUE(fs::exists(reference));
  flip_a_bit(reference / "model.safetensors");
  expect_refusal(nano_run(), {"snapshots/rl-reference-4/model.safetensors", "'rl'", "hash differs"});
}

TEST_F(Identity, a_flipped_bit_of_a_trajectory_is_named_before_it_is_trained_on) {
  killed_after(25);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((run() / "run.db").c_str(), &db), SQLITE_OK);
  for (const char* sql :
       {"DELETE FROM snapshots WHERE stage = (SELECT id FROM stages WHERE name = 'rl')",
        "UPDATE trajectories SET payload = substr(payload, 1, 8) || x'ff' || substr(payload, 10) WHERE stage = (SELECT id FROM "
        "stages WHERE name = 'rl')"})
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
  const ProgramResult r = nano_run();
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("is damaged: its bytes do not match its hash"), std::string::npos) << r.err;
}

TEST_F(Identity, a_store_that_was_emptied_is_named_as_that) {
  killed_after(3);
  for (const char* file : {"run.db-wal", "run.db-shm"}) fs::remove(run() / file);
  write_text(run() / "run.db", "");
  fs::remove_all(run() / "snapshots");
  expect_refusal(nano_run(), {"run.db", "is empty", "emptied", "run.db-wal", "--fresh"});
}

TEST_F(Identity, a_store_that_lost_its_log_is_named_as_that) {
  killed_after(20);
  ASSERT_GT(fs::file_size(run() / "run.db-wal"), 0u);
  for (const char* file : {"run.db-wal", "run.db-shm"}) fs::remove(run() / file);
  const ProgramResult r = nano_run();
  EXPECT_EQ(r.code, 2) << r.err;
  EXPECT_NE(r.err.find("run.db-wal is gone"), std::string::npos) << r.err;
}

TEST_F(Identity, an_older_copy_of_the_store_is_named_as_that) {
  killed_after(3);
  const auto options = fs::copy_options::overwrite_existing;
  for (const char* file : {"run.db", "run.db-wal"}) fs::copy_file(run() / file, top / file, options);
  killed_after(3);
  for (const char* file : {"run.db", "run.db-wal"}) fs::copy_file(top / file, run() / file, options);
  fs::remove(run() / "run.db-shm");
  expect_refusal(nano_run(), {"run.db", "of its", "commits", "an older copy", "--fresh"});
}

// ---- what the run reads

struct Inputs : Identity {
  static constexpr const char* kData = R"({"prompt": "a", "completion": "b"}
{"prompt": "c", "completion": "d"}
{"prompt": "e", "completion": "f"}
)";
  void SetUp() override {
    Identity::SetUp();
    killed_model();
  }
  // A model directory of the test's own, made by a run of the minimal graph.
  void killed_model() {
    write_text(top / "make.graph", minimal());
    ASSERT_EQ(run_program({(top / "make.graph").string(), "--run", (top / "made").string(), "-q"}).code, 0);
    fs::copy(top / "made/checkpoints/a", top / "start");
    write_text(top / "d.jsonl", kData);
    write_text(top / "g.graph", R"__(digraph g {
  m [kind=model, path="start"];
  subgraph cluster_a {
    p [role=prompter, source="jsonl:d.jsonl?template=none"];
    t [role=trainer, objective=sft, batch=1, epochs=4, snapshot_s="0"];
    p -> t;
  }
  m -> t;
}
)__");
  }
  ProgramResult go(const std::vector<std::string>& more = {}, const std::vector<std::string>& environment = {}) {
    std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", run().string(), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, environment);
  }
  void interrupted_run() {
    const ProgramResult r = go({}, {"R1_FAULT=kill:after_commit:5"});
    ASSERT_EQ(r.code, 128 + 9) << r.err;
  }
  void other_data() {
    write_text(top / "d.jsonl", R"({"prompt": "e", "completion": "f"}
{"prompt": "c", "completion": "d"}
{"prompt": "a", "completion": "b"}
)");
  }
};

TEST_F(Inputs, that_are_as_they_were_are_no_matter) {
  interrupted_run();
  write_text(top / "d.jsonl", kData);  // written again, with the same content
  const ProgramResult r = go();
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(run_program({"--replay", run().string()}).code, 0);
}
TEST_F(Inputs, data_that_changed_since_is_refused_by_name_and_accepted_when_told) {
  interrupted_run();
  other_data();
  expect_refusal(go(), {"d.jsonl", "the data of 'p'", "other content", "--accept-inputs"}, 2);
  const ProgramResult r = go({"--accept-inputs"});
  EXPECT_EQ(r.code, 0) << r.err;
  const auto events = RunStore::open_read_only(run())->events(0, 10, "input_changed");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0][2].find("d.jsonl"), std::string::npos);
}
TEST_F(Inputs, start_weights_and_tokenizers_that_changed_since_are_refused_by_name) {
  interrupted_run();
  flip_a_bit(top / "start/model.safetensors");
  expect_refusal(go(), {"start/model.safetensors", "the model 'm'", "other content"}, 2);
  expect_refusal(run_program({"--replay", run().string()}), {"start/model.safetensors", "changed since the run began"});
}

TEST_F(Inputs, that_a_model_can_do_without_are_missed_by_name_and_done_without_when_told) {
  interrupted_run();
  fs::remove(top / "start/generation_config.json");
  expect_refusal(go(), {"start/generation_config.json", "the model 'm'", "gone"}, 2);
  EXPECT_EQ(go({"--accept-inputs"}).code, 0);
}

TEST_F(Inputs, are_not_needed_to_show_a_finished_run_nor_to_replay_it_but_for_the_start_weights) {
  const ProgramResult done = go();
  ASSERT_EQ(done.code, 0) << done.err;
  fs::remove(top / "d.jsonl");
  const ProgramResult again = go();
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("This run is complete"), std::string::npos) << again.out;
  const ProgramResult replay = run_program({"--replay", run().string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  fs::rename(top / "start", top / "elsewhere");
  EXPECT_EQ(go().code, 0);
  expect_refusal(run_program({"--replay", run().string()}), {"start/model.safetensors", "is gone", "'m'"});
}

// ---- what somebody else writes while the run goes on

// The second stage is slow; what the third one starts from, or learns, is replaced meanwhile.
struct ReplacedInMidRun : Inputs {
  // `third`: where the third stage's model comes from.
  std::string graph(const std::string& third) const {
    const auto stage = [](const std::string& name, const std::string& batches) {
      return "  subgraph cluster_" + name + " {\n    p" + name +
             " [role=prompter, source=\"jsonl:d.jsonl?template=none\"];\n    t" + name +
             " [role=trainer, objective=sft, batch=1, epochs=4, until=\"batches(" + batches + ")\"];\n    p" + name + " -> t" +
             name + ";\n  }\n";
    };
    return "digraph g {\n  m [kind=model, path=\"start\"];" +
           std::string(third == "later" ? " later [kind=model, path=\"later\"];" : "") + "\n" + stage("a", "1") +
           stage("b", "10") + stage("c", "1") + "  m -> ta -> tb; " + third + " -> tc;\n}\n";
  }
  // `file`: relative to the graph. "": with the same content.
  ProgramResult with_replaced(const std::string& third, const fs::path& file, const std::string& content) {
    fs::remove_all(top / "later");
    fs::copy(top / "start", top / "later");
    write_text(top / "g.graph", graph(third));
    Program live({(top / "g.graph").string(), "--run", run().string(), "-q"}, {"R1_FAULT=slow:tb:50"});
    while (committed_by_b() < 2)
      if (live.wait(0.01)) return live.result();
    write_text(top / "new", content.empty() ? read_file(top / file) : content);
    fs::rename(top / "new", top / file);
    EXPECT_LT(committed_by_b(), 10) << "the test is vacuous: the second stage was over";
    return live.result();
  }
  int64_t committed_by_b() const {
    try {
      const auto store = RunStore::open_read_only(run());
      return store->stages().size() < 2 ? 0 : store->batch_count(store->stages()[1].id);
    } catch (const Error&) {  // it is being made
      return 0;
    }
  }
  static std::string other(const fs::path& file) {
    std::string content = read_file(file);
    if (file.extension() == ".json") return content + "\n";
    content[content.size() * 2 / 3] = static_cast<char>(content[content.size() * 2 / 3] ^ 1);
    return content;
  }
};

struct ReplacedFile : ReplacedInMidRun, ::testing::WithParamInterface<const char*> {};
TEST_P(ReplacedFile, an_input_that_is_read_later_is_an_error_with_its_name) {
  const std::string file = std::string("later/") + GetParam();
  const ProgramResult r = with_replaced("later", file, other(top / "start" / GetParam()));
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find(file + ": the file has been changed while it is in use"), std::string::npos) << r.err;
  fs::copy_file(top / "start" / GetParam(), top / file, fs::copy_options::overwrite_existing);
  EXPECT_EQ(go().code, 0) << "it is as it was";
}
INSTANTIATE_TEST_SUITE_P(Files, ReplacedFile, ::testing::Values("model.safetensors", "config.json", "tokenizer.json"));

TEST_F(ReplacedInMidRun, an_input_of_the_same_content_is_no_matter) {
  const ProgramResult r = with_replaced("later", "later/model.safetensors", "");
  EXPECT_EQ(r.code, 0) << r.err;
}

TEST_F(ReplacedInMidRun, a_checkpoint_of_the_run_s_own_is_an_error_with_its_name_too) {
  ASSERT_EQ(with_replaced("ta", "later/model.safetensors", "").code, 0);
  const std::string content = other(run() / "checkpoints/a/model.safetensors");
  fs::remove_all(run());
  const ProgramResult r = with_replaced("ta", "run/checkpoints/a/model.safetensors", content);
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("checkpoints/a/model.safetensors: the file has been changed while it is in use"), std::string::npos)
      << r.err;
}

}  // namespace
}  // namespace r1
