// An installed r1: the programs say who they are, run the shipped graphs without the source tree, and are hardened.
#include "tests/e2e/installed.h"

#include <fstream>

#include "base/files.h"
#include "base/version.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

TEST_F(Installed, every_shipped_graph_is_found_by_name_and_passes_the_check) {
  int checked = 0;
  for (const auto& entry : fs::directory_iterator(r1::source_dir() / "graphs")) {
    if (entry.path().extension() != ".graph") continue;
    const std::string name = entry.path().filename();
    const Result r = run("r1-run", name + " --check");
    // Those that want a model of one's own name what is missing beside them (real_graphs_test.cpp runs them).
    const bool complete = r1::read_file(entry.path()).find("path=\"model") == std::string::npos;
    EXPECT_EQ(r.code, complete ? 0 : 2) << r.text;
    EXPECT_NE(r.text.find((graphs() / name).string()), std::string::npos) << "does not say which file it took: " << r.text;
    ++checked;
  }
  EXPECT_GE(checked, 5);
}

TEST_F(Installed, the_installed_copy_is_what_runs) {
  EXPECT_EQ(run("r1-run", "graphs/rl_only.graph --draw").code, 0);
  fs::rename(graphs() / "models", graphs() / "models.aside");
  const Result r = run("r1-run", "rl_only.graph --check");
  fs::rename(graphs() / "models.aside", graphs() / "models");
  EXPECT_EQ(r.code, 2) << r.text;
  EXPECT_NE(r.text.find((graphs() / "models").string()), std::string::npos) << r.text;
}

TEST_F(Installed, a_name_that_nobody_ships_is_answered_with_those_that_are) {
  const Result r = run("r1-run", "r1_fool.graph");
  EXPECT_EQ(r.code, 2) << r.text;
  EXPECT_NE(r.text.find("no such graph file"), std::string::npos) << r.text;
  EXPECT_NE(r.text.find("r1_full.graph"), std::string::npos) << r.text;
  const Result elsewhere = run("r1-run", "my/r1_full.graph");
  EXPECT_EQ(elsewhere.code, 2) << "only a bare name or graphs/NAME means a shipped graph: " << elsewhere.text;
}

TEST_F(Installed, every_program_says_its_version_commit_build_and_compiler) {
  ASSERT_GE(programs().size(), 3u);
  for (const std::string& name : programs()) {
    const Result r = run(name, "--version");
    EXPECT_EQ(r.code, 0) << r.text;
    EXPECT_EQ(r.text.rfind(name + " " + version() + " (", 0), 0u) << r.text;
    EXPECT_NE(r.text.find(R1_BUILD_TYPE), std::string::npos) << r.text;
  }
}

TEST_F(Installed, no_program_ends_well_when_what_it_says_cannot_be_written) {
  for (const std::string& name : programs()) {
    const Result full = run(name, "--version > /dev/full"), closed = run(name, "--help >&-");
    const Result both = run(name, "--help > /dev/full 2> /dev/full"), none = run(name, "--no-such-option 2> /dev/full");
    EXPECT_EQ(full.code, 1) << name << full.text;
    EXPECT_NE(full.text.find(name + ": the output cannot be written"), std::string::npos) << full.text;
    EXPECT_EQ(closed.code, 1) << name << closed.text;
    EXPECT_EQ(both.code, 1) << name << both.text;
    EXPECT_EQ(none.code, 2) << name << none.text;
  }
}

TEST_F(Installed, no_program_holds_the_path_it_was_built_from) {
  for (const std::string& name : programs())
    EXPECT_EQ(read_file(program(name)).find(r1::source_dir().string()), std::string::npos) << name;
}

TEST_F(Installed, release_programs_are_hardened_and_stripped) {
  if (std::string(R1_BUILD_TYPE) != "Release") GTEST_SKIP() << "build type " << R1_BUILD_TYPE;
  for (const std::string& name : programs()) {
    const std::string file = program(name).string();
    const auto has = [&](const char* options, const char* what) {
      const Result r = shell(std::string("LC_ALL=C readelf -W ") + options + " " + file);
      EXPECT_EQ(r.code, 0) << r.text;
      return r.text.find(what) != std::string::npos;
    };
    EXPECT_TRUE(has("-h", "Type:                              DYN")) << name << " is position independent";
    EXPECT_TRUE(has("-l", "GNU_RELRO")) << name;
    EXPECT_TRUE(has("-d", "BIND_NOW") || has("-d", "Flags: NOW")) << name << ": relocations are read-only once it runs";
    EXPECT_FALSE(has("-l", "GNU_STACK      0x000000 0x0000000000000000 0x0000000000000000 0x000000 0x000000 RWE")) << name;
    EXPECT_TRUE(has("--dyn-syms", "__stack_chk_fail")) << name << " has stack protectors";
    EXPECT_TRUE(has("--dyn-syms", "_chk@")) << name << " has calls that _FORTIFY_SOURCE checks";
    EXPECT_FALSE(has("-S", ".symtab")) << name << " is stripped";
  }
}

TEST_F(Installed, a_reward_in_python_finds_its_module_and_its_guard) {
  EXPECT_TRUE(fs::is_regular_file(top_ / "r1" / R1_LIBEXECDIR / "r1/r1-guard"));
  std::ofstream(top_ / "elsewhere/my_reward.py") << "from r1_reward import reward, serve\n\n@reward\ndef f(response, answer):\n"
                                                    "    return float(response == answer)\n\nserve(f)\n";
  std::ofstream(top_ / "elsewhere/in.jsonl") << R"({"prompt": "p", "answer": "3", "response": "3"})"
                                             << "\n";
  const Result r = run("r1-score", "--rewards \"command('python3 my_reward.py')\" < in.jsonl");
  EXPECT_EQ(r.code, 0) << r.text;
  EXPECT_NE(r.text.find("\"reward\":1.0"), std::string::npos) << r.text;
}

}  // namespace
}  // namespace r1
