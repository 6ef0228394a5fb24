// keep_versions as a user meets it: a run that was killed and continued, and r1-convert, which makes a model of a version.
#include <cstdio>

#include "base/files.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

struct KeptVersions : BadInputTest {
  // Exit code; what it said is `said`.
  int convert(const std::string& arguments) {
    FILE* const pipe = ::popen(("cd '" + top.string() + "' && '" R1_CONVERT "' " + arguments + " 2>&1").c_str(), "r");
    char piece[4096];
    said.clear();
    for (size_t n = 0; (n = std::fread(piece, 1, sizeof piece, pipe)) > 0;) said.append(piece, n);
    const int status = ::pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }
  std::string said;
};

TEST_F(KeptVersions, the_last_ones_of_a_run_that_was_killed_become_models) {
  write_text(top / "g.graph", minimal(", keep_versions=3, snapshot_s=0"));
  const std::vector<std::string> go = {(top / "g.graph").string(), "--run", (top / "run").string(), "-q", "--set",
                                       "t.until=batches(7)"};
  ASSERT_EQ(run_program(go, {"R1_FAULT=kill:after_commit:5"}).code, 128 + 9);
  const ProgramResult r = run_program(go);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(convert("run/versions/a"), 0) << said;
  EXPECT_NE(said.find("to 7"), std::string::npos) << said;
  for (const char* version : {"5", "6", "7"})
    ASSERT_EQ(convert("run/versions/a v" + std::string(version) + " --to hf --at " + version), 0) << said;
  ASSERT_EQ(convert("run/checkpoints/a last --to hf"), 0) << said;
  EXPECT_EQ(read_file(top / "v7/model.safetensors"), read_file(top / "last/model.safetensors"));
  EXPECT_EQ(read_file(top / "v7/tokenizer.json"), read_file(top / "last/tokenizer.json"));
  EXPECT_NE(read_file(top / "v6/model.safetensors"), read_file(top / "last/model.safetensors"));
}

TEST_F(KeptVersions, one_that_is_not_there_is_refused_and_those_that_are_are_named) {
  write_text(top / "g.graph", minimal(", keep_versions=3"));
  ASSERT_EQ(run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"}).code, 0);
  EXPECT_EQ(convert("run/versions/a out --to hf --at 9"), 2);
  EXPECT_NE(said.find("version 9 is not kept here"), std::string::npos) << said;
  EXPECT_NE(said.find("kept: 0 to 2"), std::string::npos) << said;
  EXPECT_EQ(convert("run/versions/a out --to hf"), 2);
  EXPECT_NE(said.find("--at N, at most 2"), std::string::npos) << said;
  EXPECT_EQ(convert("run/checkpoints/a out --to hf --at 1"), 2);
  EXPECT_NE(said.find("keep_versions=N"), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(top / "out"));
}

}  // namespace
}  // namespace r1
