// Every attribute that an engine is configured by, turned alone, changes its own member of the configuration and no other.
#include "actors/config_table.h"

#include <gtest/gtest.h>

#include <set>

#include "actors/changed_run.h"
#include "actors/evaluation.h"
#include "actors/generator_role.h"
#include "actors/reward_programs.h"
#include "actors/roles.h"
#include "actors/training_attrs.h"
#include "runtime/graph/attributes.h"

namespace r1 {
namespace {

// A value that is allowed and not the default.
std::string other_value(const AttrSpec& spec) {
  switch (spec.type) {
    case AttrType::flag:
      return spec.fallback == "true" ? "false" : "true";
    case AttrType::choice:
      for (const std::string& choice : spec.choices)
        if (choice != spec.fallback) return choice;
      return "";
    case AttrType::integer:
      return fmt::format("{}", static_cast<int64_t>(*spec.max));
    case AttrType::number:
      return spec.fallback == fmt::format("{}", *spec.max) ? fmt::format("{}", *spec.min) : fmt::format("{}", *spec.max);
    case AttrType::text:
      return "another";
  }
  return "";
}

template <class Config>
void turn_every_row(const std::string& role, const ConfigTable<Config>& table) {
  SCOPED_TRACE(role);
  Attrs attrs;
  std::vector<AttrSpec> specs;
  add_specs(table, specs);
  graph::declare(specs, attrs);
  for (const AttrSpec& spec : specs)  // required ones have no default
    if (spec.fallback.empty() && spec.type == AttrType::choice) attrs.fallback[spec.name] = spec.choices.back();
  Config before{};
  configure(table, attrs, before);
  const RoleRegistry registry = role_registry(".");
  const std::vector<AttrSpec>& of_role = registry.find(role)->attrs;
  for (const ConfigRow<Config>& turned : table) {
    const std::string& name = turned.spec.name;
    SCOPED_TRACE(name);
    EXPECT_NE(graph::find_attr(of_role, name), nullptr) << "a graph cannot say it";
    Attrs other = attrs;
    other.given[name] = {other_value(turned.spec), {}};
    graph::check_value(turned.spec, other.given[name], "node");
    Config after{};
    configure(table, other, after);
    for (const ConfigRow<Config>& row : table) {
      if (&row == &turned)
        EXPECT_NE(row.shown(before), row.shown(after)) << "changes nothing";
      else
        EXPECT_EQ(row.shown(before), row.shown(after)) << "changes " << row.spec.name << " too";
    }
  }
}

TEST(ConfigTable, every_attribute_changes_its_own_member_of_the_engine_s_configuration_and_no_other) {
  turn_every_row("trainer", update_table());
  turn_every_row("trainer", layout_table());
  turn_every_row("generator", request_table());
  turn_every_row("generator", generator_table());
  turn_every_row("evaluator", evaluation_table());
  turn_every_row("evaluator", program_table());
  turn_every_row("judge", program_table());
}

// What no table has is the role's own business, and stands here.
TEST(ConfigTable, an_attribute_stands_in_a_table_or_is_known_to_be_the_role_s_own) {
  std::map<std::string, std::set<std::string>> in_tables;
  const auto add = [&](const std::string& role, const auto& table) {
    for (const auto& row : table) EXPECT_TRUE(in_tables[role].insert(row.spec.name).second) << role << "." << row.spec.name;
  };
  for (const char* role : {"trainer", "distiller"}) {
    add(role, update_table());
    add(role, layout_table());
  }
  add("generator", request_table());
  add("generator", generator_table());
  add("evaluator", evaluation_table());
  add("evaluator", program_table());
  add("judge", program_table());
  const std::set<std::string> of_stage = {"until",      "epochs",         "batch",         "min_trained", "idle_batches",
                                          "snapshot_s", "snapshot_share", "keep_versions", "save_dtype",  "sees",
                                          "on",         "host",           "tags"};
  const std::map<std::string, std::set<std::string>> own = {
      {"trainer", of_stage},
      {"distiller", of_stage},
      {"generator", {"stop", "allow_truncated", "on", "host", "tags", "replicas"}},
      {"evaluator", {"problems_before", "every", "keep", "metric", "on", "host", "tags", "replicas"}},
      {"judge", {"rewards", "max_reward_errors", "on", "host", "tags", "replicas"}},
      {"filter", {"fill", "max_draws", "order", "keep", "max_per_prompt"}},
      {"prompter", {"source", "groups_per_batch", "count", "too_long", "decontaminate"}},
      {"reference", {"on", "host", "tags", "replicas"}}};
  for (const RoleSpec& role : role_registry(".").roles)
    for (const AttrSpec& attr : role.attrs)
      EXPECT_NE(in_tables[role.name].count(attr.name), own.at(role.name).count(attr.name)) << role.name << "." << attr.name;
}

// The run store keeps changes of all roles of a stage in one list.
TEST(ChangedNode, is_changed_by_what_was_said_of_it_and_not_of_others_in_its_stage) {
  NodePlan trainer;
  trainer.id = "rl";
  trainer.attrs.fallback = {{"lr", "1e-3"}, {"replicas", "7"}};
  const std::vector<ChangeRow> changes = {
      {2, "rl.lr", "1e-3", "1e-4"}, {2, "policy.replicas", "0", "1"}, {3, "rl2.lr", "1", "2"}};
  EXPECT_EQ(value_after(trainer, changes, "lr"), "1e-4");
  EXPECT_EQ(value_after(trainer, changes, "replicas"), "7");
  EXPECT_EQ(changed_node(trainer, changes, 1).attrs.text("lr"), "1e-3");
}

}  // namespace
}  // namespace r1
