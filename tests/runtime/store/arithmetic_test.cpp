#include "runtime/store/arithmetic.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "runtime/store/run_directory.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Arithmetic : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());

  int64_t stage(const std::string& name, int64_t batches, StageStatus status) {
    const int64_t id = store->ensure_stage(name);
    for (int64_t v = store->batch_count(id); v < batches; ++v) store->commit_batch(id, {v, false, "payload", "", ""}, {}, {});
    store->set_stage_status(id, status);
    return id;
  }
  void snapshot(const std::string& name, int64_t version) {
    const std::string file = "snapshots/" + name + "-" + std::to_string(version) + ".state";
    fs::create_directories(dir.path() / "snapshots");
    std::ofstream(dir.path() / file) << "state " << version;
    store->add_snapshot(store->ensure_stage(name), {version, file});
  }
  void change(const std::string& before, const std::string& now) {
    note_arithmetic(*store, dir.path(), {before + " all", now + " all", before, now});
  }
  std::string parts(const std::string& name) {
    std::string text;
    for (const ArithmeticPart& p : arithmetic_parts(*store, name, "last"))
      text += std::to_string(p.from) + "/" + std::to_string(p.published) + " " + p.fingerprint + "; ";
    return text;
  }
};

TEST_F(Arithmetic, of_a_run_that_never_changed_is_its_last) { EXPECT_EQ(parts("rl"), "0/0 last; "); }

TEST_F(Arithmetic, changes_for_a_stage_that_is_learning_where_its_newest_snapshot_is) {
  stage("base", 9, StageStatus::done);
  stage("rl", 7, StageStatus::running);
  snapshot("rl", 3);
  snapshot("rl", 5);
  change("card", "cpu");
  EXPECT_EQ(parts("base"), "0/0 card; ") << "it had ended";
  EXPECT_EQ(parts("rl"), "0/0 card; 5/7 cpu; ");
  EXPECT_EQ(parts("later"), "0/0 cpu; ") << "it had not begun";

  stage("rl", 9, StageStatus::running);
  snapshot("rl", 8);
  change("cpu", "card");
  EXPECT_EQ(parts("rl"), "0/0 card; 5/7 cpu; 8/9 card; ");
  stage("rl", 9, StageStatus::done);
  change("card", "cpu");
  EXPECT_EQ(parts("rl"), "0/0 card; 5/7 cpu; 8/9 card; ");
  EXPECT_EQ(parts("base"), "0/0 card; ");
}

TEST_F(Arithmetic, of_what_is_trained_again_from_its_beginning_is_the_newest_alone) {
  stage("rl", 4, StageStatus::running);
  change("card", "cpu");
  EXPECT_EQ(parts("rl"), "0/4 cpu; ");
}

TEST_F(Arithmetic, of_a_trainer_stays_where_only_others_change) {
  stage("rl", 4, StageStatus::running);
  note_arithmetic(*store, dir.path(), {"a", "b", "cpu", "cpu"});
  EXPECT_EQ(parts("rl"), "0/0 last; ");
}

TEST_F(Arithmetic, keeps_the_state_that_it_changed_at_when_the_snapshot_goes) {
  const int64_t id = stage("rl", 6, StageStatus::running);
  snapshot("rl", 5);
  change("card", "cpu");
  store->remove_snapshot(id, 5);
  remove_leftovers(dir.path(), *store);
  EXPECT_FALSE(fs::exists(dir.path() / "snapshots/rl-5.state"));
  EXPECT_EQ(read_file(dir.path() / arithmetic_file("rl", 5)), "state 5");
}

TEST_F(Arithmetic, that_is_not_what_was_written_is_a_damaged_store) {
  store->add_event(0, "r1-run", "fingerprint", R"({"before":"a","now":"b","trained":{"before":"a"}})");
  EXPECT_THROW(parts("rl"), Error);
}

}  // namespace
}  // namespace r1
