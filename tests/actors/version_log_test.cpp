// What keep_versions keeps: the last versions, each of which can be made again, whatever happened to the process.
#include "actors/version_log.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "models/version_files.h"
#include "tests/actors/stage_fixture.h"
#include "tests/models/generation/random_models.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct VersionLogTest : ::testing::Test {
  fs::path top;
  Device& device = open_device("cpu");
  ModelConfig config = testing::random_model_config(Architecture::qwen2);
  RunEnv env;
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "r1_versions_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top = env.run_dir = name;
  }
  void TearDown() override { fs::remove_all(top); }

  std::shared_ptr<const WeightsMessage> version(int64_t v) {
    auto set = testing::random_weights(device, config, DType::bf16, 1);
    Context ctx(device);
    run(ctx, Fill{set->param(0).slice(0, 1), static_cast<float>(v + 1)});
    auto m = std::make_shared<WeightsMessage>();
    m->version = v;
    m->hash = set->hash();
    m->weights = set;
    return m;
  }
  void add(VersionLog& log, int64_t first, int64_t last) {
    for (int64_t v = first; v <= last; ++v) log.add(version(v), {});
  }
  fs::path dir() const { return top / "versions" / "rl"; }
  std::vector<int64_t> kept(int64_t up_to) {
    std::vector<int64_t> found;
    for (int64_t v = 0; v <= up_to; ++v) try {
        EXPECT_EQ(rebuild_version(device, dir(), v).weights->hash(), version(v)->hash) << v;
        found.push_back(v);
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ExitCode::bad_input);
      }
    return found;
  }
};

TEST_F(VersionLogTest, the_last_versions_can_be_made_again_and_those_before_go) {
  VersionLog log(env, "rl", 3);
  add(log, 0, 1);
  EXPECT_EQ(kept(9), (std::vector<int64_t>{0, 1}));
  add(log, 2, 7);
  EXPECT_EQ(kept(9), (std::vector<int64_t>{3, 4, 5, 6, 7}));
  EXPECT_EQ(version_segments(dir()), (std::vector<int64_t>{3, 6}));
}

TEST_F(VersionLogTest, after_a_restart_from_an_earlier_version_there_are_still_as_many) {
  {
    VersionLog log(env, "rl", 4);
    add(log, 0, 8);
  }
  for (const int64_t first : {7, 9, 10}) {  // from a snapshot, or from the last one
    VersionLog log(env, "rl", 4);
    add(log, first, first + 1);
    const std::vector<int64_t> found = kept(first + 3);
    ASSERT_GE(found.size(), 4u) << first;
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(found[found.size() - 1 - i], first + 1 - static_cast<int64_t>(i)) << first;
  }
}

TEST_F(VersionLogTest, a_damaged_file_is_refused_and_named) {
  VersionLog log(env, "rl", 4);
  add(log, 0, 2);
  const fs::path file = dir() / "0" / "1.delta";
  std::string bytes = read_file(file);
  bytes[bytes.size() - 3] ^= 4;
  write_file_atomically(file, bytes);
  for (const int64_t v : {1, 2}) try {
      rebuild_version(device, dir(), v);
      ADD_FAILURE() << v;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("1.delta"), std::string::npos) << e.what();
    }
  EXPECT_EQ(rebuild_version(device, dir(), 0).weights->hash(), version(0)->hash);
}

TEST_F(StageTest, a_stage_that_keeps_versions_learns_the_same_and_has_them_under_their_published_hashes) {
  LocalRun plain(top / "plain", {}), run(top / "run", {"base_trainer.keep_versions=5"});
  ASSERT_TRUE(plain.run_stage("base", 1)) << plain.report;
  ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
  EXPECT_EQ(run.hashes().at("base"), plain.hashes().at("base"));
  const fs::path dir = run.dir / "versions" / "base";
  for (int64_t v = 8; v <= 12; ++v)
    EXPECT_EQ(rebuild_version(*run.env.device, dir, v).weights->hash().hex(),
              run.store->version_hash(run.id("base"), v).value_or("none"))
        << v;
  EXPECT_THROW(rebuild_version(*run.env.device, dir, 2), Error);
  EXPECT_FALSE(fs::exists(plain.dir / "versions"));
}

}  // namespace
}  // namespace r1
