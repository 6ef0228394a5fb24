// Attributes that have an effect only beside others: refused where they were given to one node, left out where they were given
// to all.
#include <gtest/gtest.h>

#include "test_roles.h"

namespace r1 {
namespace {

RoleRegistry registry() {
  RoleRegistry roles = test::roles();
  for (RoleSpec& role : roles.roles)
    for (AttrSpec& attr : role.attrs)
      if (role.name == "trainer" && attr.name == "kl") attr.only_with = {"objective", {"grpo", "pretrain"}};
  return roles;
}

GraphView loaded(const std::string& defaults, const std::string& sft, const std::vector<std::string>& sets = {},
                 const RoleRegistry& roles = registry()) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_graph_text("digraph g {\n" + defaults +
                             "\nsubgraph cluster_a {\n p [role=prompter, source=examples];\n t [role=trainer, objective=sft" +
                             sft +
                             "];\n p -> t;\n}\nsubgraph cluster_b {\n q [role=prompter, source=examples];\n u [role=trainer, "
                             "objective=pretrain];\n q -> u;\n}\n}\n",
                         "g", roles, overrides);
}

TEST(Condition, an_attribute_without_effect_is_refused_at_its_place_and_names_what_it_is_for) {
  for (const auto& [text, sets] :
       std::vector<std::pair<std::string, std::vector<std::string>>>{{", kl=\"0.1\"", {}}, {"", {"t.kl=0.1"}}}) {
    try {
      loaded("", text, sets);
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.message(), "t.kl has no effect with objective=sft");
      EXPECT_EQ(e.hint(), "remove it: it is for objective=grpo or pretrain");
      if (sets.empty()) {
        EXPECT_EQ(e.where().line, 5);
      }
    }
  }
}

TEST(Condition, what_is_given_to_all_reaches_those_that_can_use_it) {
  for (const auto& [defaults, set] :
       std::vector<std::pair<std::string, std::string>>{{"node [kl=\"0.1\"];", ""}, {"", "node.kl=0.1"}, {"", "a.kl=0.1"}}) {
    SCOPED_TRACE(defaults + set);
    const GraphView g = loaded(defaults, "", set.empty() ? std::vector<std::string>() : std::vector<std::string>{set});
    EXPECT_EQ(g.node("t")->attrs.given.count("kl"), 0u);
    EXPECT_EQ(g.node("t")->attrs.number("kl"), 0);
    EXPECT_EQ(g.node("u")->attrs.number("kl"), set == "a.kl=0.1" ? 0 : 0.1);
  }
  EXPECT_THROW(loaded("node [kl=\"0.1\"];", ", kl=\"0.2\""), Error) << "its own value, whatever the default";
}

TEST(Condition, the_default_value_says_nothing_and_a_type_is_checked_all_the_same) {
  EXPECT_EQ(loaded("", ", kl=0").node("t")->attrs.given.count("kl"), 0u);
  EXPECT_THROW(loaded("node [kl=much];", ""), Error);
}

TEST(Condition, what_set_switches_off_takes_what_the_file_says_beside_it_along) {
  const std::vector<std::string> off = {"u.objective=sft"};
  const auto with = [](const std::string& kl, const std::vector<std::string>& sets) {
    std::vector<Override> overrides;
    for (const std::string& set : sets) overrides.push_back(parse_override(set));
    return load_graph_text(
        "digraph g { subgraph cluster_b { q [role=prompter, source=examples]; u [role=trainer, "
        "objective=pretrain, kl=\"" +
            kl + "\"]; q -> u; } }",
        "g", registry(), overrides);
  };
  EXPECT_EQ(with("0.1", {}).node("u")->attrs.number("kl"), 0.1);
  EXPECT_EQ(with("0.1", off).node("u")->attrs.given.count("kl"), 0u);
  EXPECT_THROW(with("0.1", {off[0], "u.kl=0.2"}), Error) << "said on the command line too";
}

TEST(Condition, the_graph_of_a_run_that_began_is_read_as_it_is) {
  RoleRegistry recorded = registry();
  recorded.recorded = true;
  EXPECT_EQ(loaded("", ", kl=\"0.1\"", {}, recorded).node("t")->attrs.number("kl"), 0);
}

TEST(Condition, help_says_it_where_the_role_can_meet_it) {
  RoleRegistry roles = registry();
  EXPECT_NE(describe_roles(roles).find("(objective=grpo or pretrain)"), std::string::npos) << describe_roles(roles);
  for (RoleSpec& role : roles.roles)
    for (AttrSpec& attr : role.attrs)
      if (role.name == "trainer" && attr.name == "objective") attr.choices = {"sft"};
  EXPECT_EQ(describe_roles(roles).find("(objective=grpo"), std::string::npos);
}

}  // namespace
}  // namespace r1
