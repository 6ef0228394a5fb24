// What r1-shell's `set` takes, beside what was set before.
#include "actors/live_set.h"

#include <gtest/gtest.h>

#include "actors/roles.h"
#include "base/error.h"
#include "tests/runtime/temporary_directory.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

struct LiveSet : ::testing::Test {
  const TemporaryDirectory top;
  const std::filesystem::path dir = source_dir() / "tests/e2e/graphs";
  const RoleRegistry registry = role_registry(dir);
  const GraphView graph = load_graph(dir / "nano.graph", registry);
  std::unique_ptr<RunStore> store = RunStore::open(top.path());

  std::string refusal(const std::string& attr, const std::string& value) {
    try {
      check_live_set(graph, registry, *store, "rl_trainer", attr, value);
    } catch (const Error& e) {
      return e.message();
    }
    store->add_changes(store->ensure_stage("rl"), {{1, "rl_trainer." + attr, "", value}});
    return "";
  }
};

TEST_F(LiveSet, what_depended_on_an_attribute_that_changed_stands_in_nobodys_way) {
  EXPECT_NE(refusal("lr_end", "0.1"), "") << "the schedule is constant";
  EXPECT_EQ(refusal("schedule", "cosine"), "");
  EXPECT_EQ(refusal("lr_end", "0.1"), "");
  EXPECT_EQ(refusal("schedule", "constant"), "");
  EXPECT_EQ(refusal("lr", "1e-4"), "");
  EXPECT_NE(refusal("lr_end", "0.2"), "");
}

}  // namespace
}  // namespace r1
