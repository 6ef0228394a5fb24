// Every number of a graph has a bottom and a top (docs/limits.md), and what is beyond is refused before anything is taken.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <functional>

#include "actors/roles.h"
#include "actors/size_checks.h"
#include "base/files.h"
#include "base/memory.h"
#include "runtime/graph/attributes.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

void each_number(const std::function<void(const std::string& owner, const AttrSpec&)>& see) {
  const RoleRegistry registry = role_registry(".");
  const auto walk = [&](const std::string& owner, const std::vector<AttrSpec>& specs) {
    for (const AttrSpec& spec : specs)
      if (spec.type == AttrType::integer || spec.type == AttrType::number) see(owner, spec);
  };
  for (const auto* list : {&registry.roles, &registry.artifacts})
    for (const RoleSpec& role : *list) {
      walk(role.name, role.attrs);
      walk(role.name, role.edge_attrs);
    }
  walk("stage", registry.stage_attrs);
  walk("graph", registry.graph_attrs);
}

bool accepted(const AttrSpec& spec, const std::string& value) {
  try {
    graph::check_value(spec, {value, {"a.graph", 1, 1}}, "node");
    return true;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_LT(std::string(e.what()).size(), 500u);
    return false;
  }
}

std::string text_of(const AttrSpec& spec, double value) {
  return spec.type == AttrType::integer ? fmt::format("{}", static_cast<int64_t>(value)) : fmt::format("{}", value);
}

TEST(Limits, every_numeric_attribute_has_both_bounds_and_keeps_to_them) {
  int seen = 0;
  each_number([&](const std::string& owner, const AttrSpec& spec) {
    SCOPED_TRACE(owner + "." + spec.name);
    ++seen;
    ASSERT_TRUE(spec.min && spec.max);
    ASSERT_LT(*spec.min, *spec.max);
    EXPECT_TRUE(accepted(spec, text_of(spec, *spec.min)));
    EXPECT_TRUE(accepted(spec, text_of(spec, *spec.max)));
    if (!spec.fallback.empty()) {
      EXPECT_TRUE(accepted(spec, spec.fallback)) << "its own default";
    }
    EXPECT_EQ(accepted(spec, "0"), spec.or_zero || *spec.min <= 0);
    const double unit = spec.type == AttrType::integer ? 1 : 0;
    EXPECT_FALSE(accepted(spec, text_of(spec, *spec.max + (unit > 0 ? unit : *spec.max * 1e-3))));
    EXPECT_FALSE(accepted(spec, text_of(spec, *spec.min - (unit > 0 ? unit : *spec.min * 1e-3 + 1e-9))));
    for (const char* beyond : {"1e400", "-1e400", "inf", "nan", "1e999999999", "", "0x10", "1e5000000000000000000"})
      EXPECT_FALSE(accepted(spec, beyond)) << beyond;
    for (const char* beyond : {"9223372036854775807", "9223372036854775808"}) {
      EXPECT_EQ(accepted(spec, beyond), *spec.max > 1e19) << beyond;
    }
    EXPECT_FALSE(accepted(spec, std::string(100'000, '9')));
  });
  EXPECT_GT(seen, 50);
}

TEST(Limits, what_is_no_value_is_refused_on_one_line_that_names_attribute_and_value) {
  const RoleRegistry registry = role_registry(".");
  int seen = 0;
  const auto refuses = [&](const std::string& owner, const std::vector<AttrSpec>& specs) {
    for (const AttrSpec& spec : specs) {
      if (spec.type == AttrType::text) continue;  // whoever reads it says what is wrong with it
      ++seen;
      for (const auto& [value, shown] : std::vector<std::pair<std::string, std::string>>{{"[1,2]", "[1,2]"},
                                                                                         {"10s", "10s"},
                                                                                         {"5 MB", "5 MB"},
                                                                                         {"50%", "50%"},
                                                                                         {"½", "½"},
                                                                                         {"１", "１"},
                                                                                         {"+1", "+1"},
                                                                                         {"1_000", "1_000"},
                                                                                         {" ", "' '"},
                                                                                         {"1\n2", "1\\n2"},
                                                                                         {"\x1b[31m", "\\x1b[31m"},
                                                                                         {"日本", "日本"}}) {
        SCOPED_TRACE(fmt::format("{}.{} = '{}'", owner, spec.name, value));
        try {
          graph::check_value(spec, {value, {"a.graph", 1, 1}}, owner);
          ADD_FAILURE() << "accepted";
        } catch (const Error& e) {
          const std::string said = e.what();
          EXPECT_NE(said.find(owner + "." + spec.name), std::string::npos) << said;
          EXPECT_NE(said.find(shown), std::string::npos) << said;
          EXPECT_EQ(said.find_first_of("\n\x1b"), std::string::npos) << said;
        }
      }
    }
  };
  for (const auto* list : {&registry.roles, &registry.artifacts})
    for (const RoleSpec& role : *list) {
      refuses(role.name, role.attrs);
      refuses(role.name, role.edge_attrs);
    }
  refuses("stage", registry.stage_attrs);
  refuses("graph", registry.graph_attrs);
  EXPECT_GT(seen, 100);
}

TEST(Limits, the_table_of_the_docs_has_every_attribute_with_its_bounds) {
  const std::string docs = read_file(source_dir() / "docs/limits.md");
  each_number([&](const std::string& owner, const AttrSpec& spec) {
    const std::string row = fmt::format("| `{}` | {} | {} | ", spec.name, *spec.min, *spec.max);
    EXPECT_NE(docs.find(row), std::string::npos) << owner << ": no row " << row;
  });
}

TEST(Limits, help_shows_both_bounds) {
  const std::string help = describe_roles(role_registry("."));
  EXPECT_NE(help.find("integer 1..65536"), std::string::npos) << help;
  EXPECT_NE(help.find("number 0..0.9999"), std::string::npos);
}

std::string check(const std::vector<std::string>& settings) {
  const fs::path dir = source_dir() / "tests/e2e/graphs";
  std::vector<Override> overrides;
  for (const std::string& s : settings) overrides.push_back(parse_override(s));
  try {
    load_graph(dir / "nano.graph", role_registry(dir), overrides);
    return "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
}

TEST(Limits, numbers_that_multiply_are_checked_together) {
  const std::string batch = check({"policy.samples=65536", "policy.max_tokens=16777216"});
  EXPECT_NE(batch.find("a batch of 4 groups x 65536 samples x 16777216 tokens takes "), std::string::npos) << batch;
  EXPECT_NE(
      check({"node.problems=1000000", "node.samples=65536"}).find("1000000 problems x 65536 samples x 24 tokens are more"),
      std::string::npos)
      << check({"node.problems=1000000", "node.samples=65536"});
}

TEST(Limits, a_batch_that_the_machine_does_not_hold_is_refused_before_anything_is_sampled) {
  // 60 bytes a token with a trainer and a reference, 26 where it is only written down.
  const auto tokens = [](double share, double bytes) {
    return std::to_string(static_cast<int64_t>(share * static_cast<double>(memory_limit()) / (bytes * 1024 * 64)));
  };
  const auto rl = [&](const std::string& longest) {
    return check({"prompts.groups_per_batch=1024", "policy.samples=64", "policy.max_tokens=" + longest});
  };
  EXPECT_EQ(rl(tokens(0.9, 60)), "accepted");
  const std::string said = rl(tokens(1.001, 60));
  EXPECT_NE(said.find("a batch of 1024 groups x 64 samples x " + tokens(1.001, 60) + " tokens takes "), std::string::npos)
      << said;
  EXPECT_NE(said.find("of memory; this machine has " + bytes_text(static_cast<double>(memory_limit()))), std::string::npos)
      << said;
  EXPECT_NE(said.find("fewer groups_per_batch or samples, a lower max_tokens"), std::string::npos) << said;
  const auto dataset = [&](const std::string& longest) {
    return check({"rs_prompts.groups_per_batch=1024", "rs_policy.samples=64", "rs_policy.max_tokens=" + longest});
  };
  EXPECT_EQ(dataset(tokens(0.9, 26)), "accepted");
  EXPECT_NE(dataset(tokens(1.001, 26)).find("takes "), std::string::npos);
}

TEST(Limits, a_model_that_no_machine_holds_is_refused_with_both_numbers) {
  const fs::path dir = fs::temp_directory_path() / ("r1_limits_" + std::to_string(::getpid()));
  fs::create_directories(dir);
  std::string config = read_file(source_dir() / "tests/e2e/graphs/nano.json");
  const auto replace = [&](const std::string& key, const std::string& value) {
    const size_t at = config.find("\"" + key + "\":");
    ASSERT_NE(at, std::string::npos) << key;
    const size_t end = config.find_first_of(",}", at);
    config.replace(at, end - at, "\"" + key + "\": " + value);
  };
  replace("hidden_size", "65536");
  replace("intermediate_size", "262144");
  replace("num_hidden_layers", "100");
  write_file_atomically(dir / "large.json", config);
  const std::string said = check({"nano_model.config=" + (dir / "large.json").string()});
  EXPECT_NE(said.find("'nano_model' is a model of 5.15e+12 parameters, which takes at least 9.4 TiB; this machine has"),
            std::string::npos)
      << said;
  fs::remove_all(dir);
}

}  // namespace
}  // namespace r1
