// The main job by an installed copy, where neither the source tree nor the build directory exists: both are hidden behind empty
// file systems in a mount namespace.
#include <fmt/format.h>

#include "tests/e2e/installed.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

struct InstalledMainJob : Installed {
  // Runs it where the source tree and the build directory are empty.
  static Result alone(const std::string& command) {
    return shell(
        fmt::format("cd {} && unshare --mount --map-root-user sh -c 'mount -t tmpfs none \"{}\" && "
                    "{{ [ ! -d \"{}\" ] || mount -t tmpfs none \"{}\"; }} && [ ! -e \"{}/README.md\" ] && exec {}'",
                    (top_ / "elsewhere").string(), r1::source_dir().string(), R1_BUILD_DIR, R1_BUILD_DIR,
                    r1::source_dir().string(), command));
  }
};

TEST_F(InstalledMainJob, is_done_and_holds_its_floors_with_the_source_tree_gone) {
  if (const Result r = alone("true"); r.code != 0) GTEST_SKIP() << "no mount namespaces here: " << r.text;
  const std::string run = (top_ / "elsewhere/runs/r1_full").string();
  const Result job = alone(program("r1-run").string() + " r1_full.graph -q");
  ASSERT_EQ(job.code, 0) << job.text;
  const Result floors = shell("R1_MAIN_JOB=" + run + " " R1_TEST_RUN " --gtest_filter='MainJob.*' --gtest_fail_fast");
  EXPECT_EQ(floors.code, 0) << floors.text;
  EXPECT_NE(floors.text.find("[  PASSED  ]"), std::string::npos) << floors.text;
  EXPECT_EQ(floors.text.find("SKIPPED"), std::string::npos) << floors.text;
  // What needs no training is answered there too.
  for (const std::string& command :
       {program("r1-run").string() + " --report " + run, program("r1-run").string() + " r1_full.graph",
        program("r1-eval").string() + " " + run + "/checkpoints/rl1 --data tiny:reasoning_test " +
            "--rewards accuracy --limit 20 -q",
        program("r1-run").string() + " --replay " + run}) {
    const Result r = alone(command);
    EXPECT_EQ(r.code, 0) << command << ": " << r.text;
  }
}

}  // namespace
}  // namespace r1
