// A run of several processes that is steered: nodes leave and roles are scaled while it stands still, it is asked, and a role
// is killed; it ends with the weights of one process that nobody touched.
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/shell/shell_client.h"
#include "tests/e2e/nodes_fixture.h"
#include "tests/stopped_process.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct SteeredNodes : Nodes {
  fs::path run() const { return top / "run"; }
  nlohmann::json ask(const std::string& line) const { return nlohmann::json::parse(ShellClient(run()).ask(line, 60)); }
  std::string text(const std::string& line) const { return ask(line).value("text", ""); }
  std::string refused(const std::string& line) const { return ask(line).value("error", ""); }
  bool comes_true(const std::function<bool()>& what) const {
    for (int i = 0; i < 3000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  int64_t batches(const std::string& stage) const {
    if (!fs::exists(run() / "shell/socket")) return 0;
    try {
      const nlohmann::json found = row("stages", "stage", stage);
      return found.is_null() ? 0 : found["batches"].get<int64_t>();
    } catch (const Error&) {
      return 0;  // the socket is there a moment before anybody listens
    }
  }
  // Of a table, the row whose `column` is `value`; null: there is none.
  nlohmann::json row(const std::string& line, const std::string& column, const std::string& value) const {
    const nlohmann::json table = ask(line);
    for (const auto& row : table["rows"])
      if (row[column] == value) return row;
    return nullptr;
  }
  std::string state(const std::string& node) const { return row("nodes", "node", node).value("state", ""); }
  size_t workers(const std::string& role) const { return row("inspect " + role, "what", "workers")["value"].size(); }
};

TEST_F(SteeredNodes, nodes_are_shown_with_their_ranks_and_as_silent_before_they_are_lost) {
  auto environment = cache();
  environment.emplace_back("R1_FAULT=slow:rl_trainer:40");
  Program program(over_nodes(run(), {"--set", "rl_trainer.ranks=3", "--set", "rl_trainer.micro_batch_tokens=64"}), environment);
  ASSERT_TRUE(comes_true([&] { return batches("rl") >= 1; }));
  ASSERT_NE(text("pause").find("paused"), std::string::npos);
  EXPECT_EQ(row("nodes", "node", "node1")["ranks"], "1 of rl_trainer") << ask("nodes");
  EXPECT_EQ(row("nodes", "node", "node2")["ranks"], "2 of rl_trainer") << ask("nodes");
  EXPECT_EQ(row("nodes", "node", "node3")["ranks"], "") << ask("nodes");
  const auto place = [&](const char* actor) { return row("ps", "actor", actor)["at"]; };
  EXPECT_TRUE(comes_true([&] { return place("policy") == "node1, node2, node3"; })) << ask("ps");
  EXPECT_EQ(place("rl_trainer"), "head, node1, node2") << ask("ps");
  EXPECT_TRUE(comes_true([&] { return row("nodes", "node", "node3")["memory_mb"] > 1; })) << ask("nodes");
  EXPECT_TRUE(comes_true([&] { return state("node3") == "ok"; }));
  test::stop_process(row("nodes", "node", "node3")["process"].get<pid_t>());
  std::vector<std::string> states;
  nlohmann::json why;
  EXPECT_TRUE(comes_true([&] {
    const nlohmann::json node = row("nodes", "node", "node3");
    if (states.empty() || states.back() != node["state"]) states.push_back(node["state"]);
    if (why.is_null()) why = row("why", "what", "node3 on localhost is silent");
    return node["lost"] == 1 && node["state"] == "ok";
  })) << ask("nodes");
  EXPECT_TRUE(std::any_of(states.begin(), states.end(), [](const std::string& s) { return s.starts_with("silent "); }))
      << fmt::format("{}", fmt::join(states, "; "));
  EXPECT_FALSE(why.is_null());
  text("stop");
  ASSERT_TRUE(program.wait(kPatience_s)) << "does not end";
  EXPECT_TRUE(all_gone(processes(run()), 10)) << "a node outlives its run";
}

TEST_F(SteeredNodes, nodes_leave_roles_are_scaled_and_killed_and_the_weights_are_those_of_one_process) {
  const std::vector<std::string> longer = {"--set", "rl_trainer.until=batches(14)"};
  ASSERT_EQ(run_program(arguments(top / "alone", longer)).code, 0);
  auto environment = cache();
  environment.emplace_back("R1_FAULT=slow:rl_trainer:40");  // so that it can be steered
  Program program(over_nodes(run(), {"--set", "rl_trainer.until=batches(12)"}), environment);
  ASSERT_TRUE(comes_true([&] { return batches("rl") >= 1; }));
  ASSERT_NE(text("pause").find("paused"), std::string::npos);

  EXPECT_NE(refused("drain node9").find("no node 'node9'"), std::string::npos);
  EXPECT_NE(refused("scale rl_trainer 2").find("stays with the head"), std::string::npos);
  EXPECT_NE(refused("scale policy -1").find("no number of nodes"), std::string::npos);
  EXPECT_NE(text("scale policy 1").find("policy: one node at a time (there are: node1, node2, node3)"), std::string::npos);
  EXPECT_TRUE(comes_true([&] { return workers("policy") == 1; })) << ask("inspect policy");
  EXPECT_NE(text("drain node1").find("leaves"), std::string::npos);
  EXPECT_TRUE(comes_true([&] { return state("node1") == "drained, has left"; })) << state("node1");
  EXPECT_NE(refused("drain node1").find("has left"), std::string::npos);
  EXPECT_EQ(row("nodes", "node", "node1")["roles"], "") << "nothing is done by one that is gone";
  const auto roles = [&](const std::string& node) { return row("nodes", "node", node)["roles"].get<std::string>(); };
  EXPECT_TRUE(comes_true([&] { return (roles("node2") + roles("node3")).find("policy") != std::string::npos; }));
  EXPECT_NE(text("scale policy 0").find("all nodes"), std::string::npos);
  EXPECT_TRUE(comes_true([&] { return workers("policy") == 2; })) << ask("inspect policy");
  EXPECT_NE(text("drain node2").find("leaves"), std::string::npos);
  EXPECT_NE(refused("drain node3").find("node3 is the last that can do the work of"), std::string::npos);

  EXPECT_GT(ask("ask \"2 + 3\"").value("tokens", 0), 0);
  EXPECT_NE(text("checkpoint").find("version "), std::string::npos);
  EXPECT_NE(text("set rl_trainer.until batches(14)").find("from batch "), std::string::npos);
  EXPECT_NE(text("resume").find("goes on"), std::string::npos);
  EXPECT_NE(text("kill reference").find("is killed"), std::string::npos);
  ASSERT_TRUE(program.wait(kPatience_s)) << "does not end";
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err << read_file(run() / "r1.log");
  EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "alone"));
  EXPECT_EQ(ledger_complaints(run()), "");
  EXPECT_TRUE(all_gone(processes(run()), 10)) << "a node outlives its run";
  const auto store = RunStore::open_read_only(run());
  EXPECT_EQ(store->events(0, 10, "drain").size(), 2u);
  EXPECT_EQ(store->events(0, 10, "scale").size(), 2u);
}

// What was told a run outlives its head, from the answer on.
TEST_F(SteeredNodes, drained_nodes_and_scaled_roles_stay_so_when_the_run_is_continued_until_they_are_taken_back) {
  ASSERT_EQ(run_program(arguments(top / "alone", {})).code, 0);
  auto environment = cache();
  environment.emplace_back("R1_FAULT=slow:rl_trainer:40");
  std::optional<Program> program(std::in_place, over_nodes(run()), environment);
  ASSERT_TRUE(comes_true([&] { return batches("rl") >= 1; }));
  ASSERT_NE(text("pause").find("paused"), std::string::npos);
  EXPECT_NE(text("scale policy 1").find("one node at a time"), std::string::npos);
  EXPECT_NE(text("drain node1").find("leaves"), std::string::npos);
  program->send(SIGKILL);  // whether or not it has left
  program->result();
  ASSERT_TRUE(all_gone(processes(run()), 10));
  {
    const auto store = RunStore::open_read_only(run());
    EXPECT_EQ(store->drained(), (std::map<std::string, std::string>{{"node1", "localhost"}}));
  }

  program.emplace(over_nodes(run()), environment);
  ASSERT_TRUE(comes_true([&] { return batches("rl") >= 1 && workers("policy") > 0; }));
  ASSERT_NE(text("pause").find("paused"), std::string::npos);
  EXPECT_EQ(state("node1"), "drained");
  EXPECT_TRUE(row("nodes", "node", "node1")["process"].is_null()) << ask("nodes");
  EXPECT_EQ(workers("policy"), 1u) << ask("inspect policy");
  EXPECT_FALSE(row("why", "what", "node1 on localhost is drained").is_null()) << ask("why");
  EXPECT_EQ(row("why", "what", "policy is scaled").value("value", ""), "to 1 node at a time") << ask("why");
  EXPECT_NE(refused("drain node1").find("drained already"), std::string::npos);
  EXPECT_NE(refused("undrain node2").find("not drained"), std::string::npos);
  EXPECT_NE(text("undrain node1").find("started"), std::string::npos);
  EXPECT_TRUE(comes_true([&] { return state("node1") == "ok"; })) << state("node1");
  EXPECT_NE(text("scale policy 0").find("all nodes"), std::string::npos);
  EXPECT_TRUE(comes_true([&] { return workers("policy") == 3; })) << ask("inspect policy");
  EXPECT_TRUE(row("why", "what", "policy is scaled").is_null()) << ask("why");
  EXPECT_NE(text("drain node3").find("leaves"), std::string::npos);
  EXPECT_NE(text("undrain node3").find("node3"), std::string::npos);  // before it has left, or after
  EXPECT_TRUE(comes_true([&] { return state("node3") == "ok"; })) << state("node3");
  EXPECT_NE(text("resume").find("goes on"), std::string::npos);
  ASSERT_TRUE(program->wait(kPatience_s)) << "does not end";
  const ProgramResult r = program->result();
  ASSERT_EQ(r.code, 0) << r.err << read_file(run() / "r1.log");
  EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "alone"));
  EXPECT_EQ(ledger_complaints(run()), "");
  EXPECT_NE(read_file(run() / "report.html").find("policy.replicas: 1 → 0"), std::string::npos);
  EXPECT_TRUE(all_gone(processes(run()), 10)) << "a node outlives its run";
}

}  // namespace
}  // namespace r1
