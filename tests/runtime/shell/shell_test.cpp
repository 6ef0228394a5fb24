#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/shell/render.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

struct Shell : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  int64_t stage = store->ensure_stage("rl1");
  VirtualClock clock;
  WaitRegistry no_waits{clock};
  ShellSources going() {  // what a run shows that goes on
    ShellSources sources;
    sources.store = store.get();
    sources.waits = &no_waits;
    return sources;
  }
  nlohmann::json ask(const std::string& line) {
    ShellSources sources;
    sources.run_dir = dir.path();
    sources.store = store.get();
    return nlohmann::json::parse(handle_command(line, sources));
  }
};

TEST_F(Shell, shows_the_ledger_and_metrics_of_a_run_that_is_over) {
  for (int64_t d = 0; d < 3; ++d) store->add_draw(stage, d, d);
  store->commit_batch(stage, {0, false, "x", "", ""}, {{0, 0, ""}, {1, -1, "stale"}}, {});
  store->add_metric(stage, 0, "reward", 0.5);
  store->add_metric(stage, 1, "reward", 0.75);
  const auto row = ask("stages")["rows"][0];
  EXPECT_EQ(row["draws"], 3);
  EXPECT_EQ(row["trained"], 1);
  EXPECT_EQ(row["dropped"], 1);
  EXPECT_EQ(row["open"], 1);
  EXPECT_TRUE(row["overlap"].is_null()) << "no engine was measured";
  store->ensure_stage("sft");
  const auto without = ask("stages")["rows"][1];
  for (const char* of_draws : {"draws", "open", "trained", "dropped"})
    EXPECT_TRUE(without[of_draws].is_null()) << of_draws << " of a stage that draws no prompts";
  EXPECT_EQ(ask("metrics")["rows"][0]["value"], 0.75);
  EXPECT_EQ(ask("metrics rl1 reward")["rows"].size(), 2u);
}

TEST_F(Shell, answers_mistakes_with_what_was_meant) {
  store->add_metric(stage, 0, "reward", 0.5);
  EXPECT_EQ(ask("metric")["hint"], "did you mean 'metrics'?");
  EXPECT_EQ(ask("metrics rl2")["hint"], "did you mean rl1?");
  EXPECT_EQ(ask("metrics rl1 rewards")["hint"], "did you mean reward?");
  EXPECT_EQ(ask("ps now")["error"], "ps takes no arguments");
  EXPECT_EQ(ask("")["hint"], "try 'help'");
  EXPECT_EQ(ask("ps")["error"], "no run is going on here");
  store->set_stage_status(stage, StageStatus::running);
  EXPECT_EQ(ask("stages")["rows"][0]["status"], "stopped") << "nobody executes it";
  EXPECT_TRUE(is_error_answer(ask("ps").dump()));
  EXPECT_FALSE(is_error_answer(ask("help").dump()));
}

TEST_F(Shell, shows_versions_and_the_end_of_the_log_of_a_run_that_is_over) {
  store->add_version(stage, 0, "aa");
  store->add_version(stage, 1, "bb");
  store->flush();
  EXPECT_EQ(ask("versions rl1")["rows"], (nlohmann::json{{{"version", 0}, {"hash", "aa"}}, {{"version", 1}, {"hash", "bb"}}}));
  EXPECT_EQ(ask("versions rl2")["hint"], "did you mean rl1?");
  EXPECT_EQ(ask("versions")["error"], "versions takes STAGE");
  EXPECT_EQ(ask("log")["error"], "there is no log");
  std::ofstream(dir.path() / "r1.log") << "one\n\nthree\nfour\n";
  EXPECT_EQ(ask("log")["text"], "one\n\nthree\nfour");
  EXPECT_EQ(ask("log 3")["text"], "\nthree\nfour");
  EXPECT_EQ(ask("log 1")["text"], "four");
  for (const char* wrong : {"log 0", "log x", "log 1.5", "log 99999999999999999999"})
    EXPECT_NE(ask(wrong)["error"].get<std::string>().find("no number of lines"), std::string::npos) << wrong;
  const std::string long_line(300 * 1024, 'x');
  std::ofstream(dir.path() / "r1.log") << long_line << "\nlast\n";
  EXPECT_EQ(ask("log")["text"].get<std::string>().size(), 256 * 1024 - 1) << "however long the log is";
}

TEST_F(Shell, says_what_a_running_stage_hangs_on) {
  WaitRegistry waits(clock);
  const auto why = [&](const StageTimes& times, const std::string& what) {
    ShellSources sources;
    sources.store = store.get();
    sources.waits = &waits;
    sources.stages = [&] { return std::vector<ShellStage>{{"rl1", "running", times, 0}, {"over", "done", times, 0}}; };
    std::string found;
    const auto answer = nlohmann::json::parse(handle_command("why", sources));
    for (const auto& row : answer.at("rows")) {
      EXPECT_EQ(row["stage"], "rl1") << "a stage that is over hangs on nothing";
      if (row["what"] == what) found = row["value"];
    }
    return found;
  };
  EXPECT_EQ(why({}, "so"), "no engine has worked yet");
  const StageTimes sampling{.seconds = 10, .overlap_s = 4, .engine_s = {{"generator", 9}, {"trainer", 5}}};
  EXPECT_EQ(why(sampling, "so"), "it goes as fast as its generator, at work 90 % of the time");
  EXPECT_NE(why(sampling, "try").find("max_tokens"), std::string::npos);
  EXPECT_EQ(why(sampling, "generator and trainer at once"), "40 % of 10.0 s");
  // An evaluator measures beside the others; it is what the stage waits for only where nothing else is saturated.
  const StageTimes beside{.seconds = 10, .engine_s = {{"evaluator", 10}, {"trainer", 8.8}}};
  EXPECT_EQ(why(beside, "so"), "it goes as fast as its trainer, at work 88 % of the time");
  const StageTimes measuring{.seconds = 10, .engine_s = {{"evaluator", 9.5}, {"trainer", 2}}};
  EXPECT_EQ(why(measuring, "so"), "it goes as fast as its evaluator, at work 95 % of the time");
  const StageTimes turns{.seconds = 10, .engine_s = {{"generator", 5}, {"trainer", 5}}};
  EXPECT_EQ(why(turns, "so"), "generation and training take turns");
  EXPECT_NE(why(turns, "try").find("staleness=1"), std::string::npos);
  const StageTimes idle{.seconds = 10, .idle_s = 6, .engine_s = {{"trainer", 4}}};
  EXPECT_EQ(why(idle, "so"), "no engine is at work 60 % of the time");
  waits.begin("rl1", "rl1_trainer", "groups", "for groups", "rl1_filter");
  EXPECT_NE(why(idle, "rl1_trainer waits").find("for groups (rl1_filter)"), std::string::npos);
  waits.begin("rl1", "rl1_policy", "weights at node2/7", "for newer weights", "rl1_trainer");
  EXPECT_NE(why(idle, "rl1_policy at node2/7 waits").find("for newer weights (rl1_trainer)"), std::string::npos);
}

TEST_F(Shell, says_of_each_wait_how_long_it_may_last_and_names_once_who_is_waited_for) {
  VirtualClock virtual_clock;
  WaitRegistry waits(virtual_clock);
  ShellSources sources;
  sources.store = store.get();
  sources.waits = &waits;
  sources.stall_s = 60;
  sources.job_stall_s = 600;
  sources.roles = [] { return std::vector<ShellRole>{{"rl1", "policy", "generator", "running", ""}}; };
  waits.begin("rl1", "policy", "job sample under version 3", "running", "");
  for (const char* key : {"weights at node1", "weights at node2"})
    waits.begin("rl1", "policy", key, "for newer weights than version 3", "rl1_trainer");
  waits.begin("rl1", "policy", "answers", "for answers", "");
  virtual_clock.advance_ns(2'000'000'000);
  const auto roles = nlohmann::json::parse(handle_command("ps", sources)),
             all = nlohmann::json::parse(handle_command("waits", sources));
  const auto& ps = roles.at("rows").at(0);
  EXPECT_EQ(ps["jobs"], "sample under version 3");
  EXPECT_EQ(ps["waits_for"], "for answers, rl1_trainer");
  std::map<std::string, std::string> limits;
  for (const auto& row : all.at("rows")) {
    limits[row["wait"]] = row["limit"];
    EXPECT_EQ(row["waiting_s"], 2.0);
  }
  EXPECT_EQ(limits.at("job sample under version 3"), "600 s idle");
  EXPECT_EQ(limits.at("answers"), "60 s idle");
}

TEST(Render, draws_what_is_to_be_plotted_above_the_table_for_who_watches) {
  const std::string json =
      R"({"title":"t","columns":["step","value"],"plot":"value","rows":[{"step":0,"value":0},{"step":1,"value":null},{"step":2,"value":8}]})";
  const std::string drawn = render_answer(json, 40), table = render_answer(json);
  EXPECT_EQ(table, "step  value\n   0      0\n   1\n   2      8\n");
  EXPECT_TRUE(drawn.ends_with(table)) << drawn;
  EXPECT_TRUE(drawn.starts_with("          8   █\n")) << drawn;
  EXPECT_NE(drawn.find("          0 ▁ █\n"), std::string::npos) << "a gap where nothing was measured: " << drawn;
}

TEST_F(Shell, lists_the_processes_of_a_run_of_several_and_says_when_it_is_one) {
  ShellSources sources = going();
  EXPECT_EQ(nlohmann::json::parse(handle_command("nodes", sources))["error"], "this run is one process");
  std::vector<ShellNode> nodes{{"node1", "localhost", 4711, 2, "ok", {"rl1_policy", "rl1_judge"}, 0, {}},
                               {"node2", "gpu07", 0, 0, "is lost, starts again", {}, 3, {}}};
  sources.nodes = [&] { return nodes; };
  EXPECT_EQ(handle_command("nodes", sources).find("\"lost\",\"roles\",\"ranks\""), std::string::npos) << "no trainer has ranks";
  nodes[0].ranks = {{"rl1_trainer", 1}, {"rl1_trainer", 3}};
  nodes[0].resident_bytes = 81'900'000;
  const auto answer = nlohmann::json::parse(handle_command("nodes", sources));
  EXPECT_EQ(answer["columns"].back(), "ranks");
  const auto& rows = answer["rows"];
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["ranks"], "1 of rl1_trainer, 3 of rl1_trainer");
  EXPECT_EQ(rows[0]["memory_mb"], 81);
  EXPECT_TRUE(rows[1]["memory_mb"].is_null()) << "what is not there has no memory";
  EXPECT_EQ(rows[1]["ranks"], "");
  EXPECT_EQ(rows[0]["process"], 4711);
  EXPECT_EQ(rows[0]["roles"], "rl1_policy, rl1_judge");
  EXPECT_TRUE(rows[1]["process"].is_null()) << "what is not there has no number";
  EXPECT_EQ(rows[1]["lost"], 3);
}

TEST_F(Shell, the_roles_of_a_run_of_several_processes_are_shown_with_where_they_are) {
  ShellSources sources = going();
  sources.roles = [] {
    std::vector<ShellRole> roles;
    for (const char* name : {"prompts", "policy", "judge", "trainer", "eval"})
      roles.push_back({"rl1", name, "a role", "running", ""});
    return roles;
  };
  const auto places = [&] {
    std::map<std::string, nlohmann::json> places;
    const auto answer = nlohmann::json::parse(handle_command("ps", sources));
    for (const auto& row : answer["rows"]) places[row["actor"]] = row["at"];
    return places;
  };
  EXPECT_EQ(handle_command("ps", sources).find("\"at\","), std::string::npos) << "one process has no places";
  ShellNode first{"node1", "here", 4711, 2, "ok", {"policy", "judge"}, 0, {}},
      second{"node2", "here", 4712, 2, "ok", {"policy"}, 0, {}};
  second.ranks = {{"trainer", 1}, {"trainer", 2}};
  sources.nodes = [&] { return std::vector{first, second}; };
  sources.at_nodes = {"policy", "judge", "eval"};
  EXPECT_NE(handle_command("ps", sources).find("\"role\",\"at\",\"state\""), std::string::npos);
  const std::map<std::string, nlohmann::json> expected = {
      {"prompts", "head"}, {"policy", "node1, node2"}, {"judge", "node1"}, {"trainer", "head, node2"}, {"eval", ""}};
  EXPECT_EQ(places(), expected) << "an evaluator that waits for a node is nowhere";
}

TEST_F(Shell, a_node_of_which_nothing_is_heard_is_called_silent_before_it_is_lost) {
  ShellSources sources = going();
  sources.stages = [] { return std::vector<ShellStage>{{"rl1", "running", {}, 0}}; };
  ShellNode node{"node1", "gpu07", 4711, 2, "ok", {"rl1_policy"}, 0, {}};
  sources.nodes = [&] { return std::vector{node}; };
  const auto look = [&](std::optional<double> silent_s) {
    node.silent_s = silent_s;
    return nlohmann::json::parse(handle_command("nodes", sources))["rows"][0];
  };
  const auto why = [&] { return handle_command("why", sources); };
  EXPECT_EQ(look(0.9)["state"], "ok") << "less than two beats";
  EXPECT_EQ(look(0.9)["silent_s"], 0.9);
  EXPECT_EQ(why().find("silent"), std::string::npos);
  EXPECT_EQ(look(2.13)["state"], "silent 2.1 s");
  EXPECT_NE(why().find("node1 on gpu07 is silent\",\"value\":\"nothing was heard of it for 2.1 s; after 3 s it is lost"),
            std::string::npos)
      << why();
  node.state = "leaves";
  EXPECT_EQ(look(2.13)["state"], "leaves, silent 2.1 s");
  node.state = "is lost, starts again";
  EXPECT_EQ(look({})["state"], "is lost, starts again");
  EXPECT_TRUE(look({})["silent_s"].is_null()) << "what has no link is not silent for 0 s";
}

TEST(Render, aligns_columns_and_puts_numbers_to_the_right) {
  const std::string json = R"({"title":"t","columns":["node","n","note"],"rows":[
      {"node":"rl1_policy","n":5,"note":"größer"},{"node":"x","n":1234,"note":null},{"node":"y","n":0.25,"note":"z"}]})";
  EXPECT_EQ(render_answer(json),
            "node           n  note\n"
            "rl1_policy     5  größer\n"
            "x           1234\n"
            "y           0.25  z\n");
  EXPECT_EQ(render_answer(json, 21),
            "node           n  not\n"
            "rl1_policy     5  grö\n"
            "x           1234\n"
            "y           0.25  z\n");
}

TEST(Render, cuts_the_widest_columns_so_that_those_to_the_right_of_them_are_seen) {
  const std::string json = R"({"title":"t","columns":["owner","reason","idle_s"],"rows":[
      {"owner":"policy","reason":"für die Antworten von vier Rechnern","idle_s":0.5},{"owner":"x","reason":"kurz","idle_s":12}]})";
  EXPECT_EQ(render_answer(json, 40),
            "owner   reason                    idle_s\n"
            "policy  für die Antworten von v…     0.5\n"
            "x       kurz                          12\n");
  EXPECT_EQ(render_answer(json, 20), "owner   reason\npolicy  für die Ant…\nx       kurz\n") << "nothing is below 12";
}

TEST(Render, puts_what_is_nested_on_lines_of_its_own) {
  const std::string json = R"({"title":"t","columns":["what","value"],"rows":[{"what":"lost","value":0},{"what":"workers",
      "value":[{"worker":"node1/7","role":{"version":3,"waiting":2}},{"worker":"node2/9","role":null}]},{"what":"none","value":[]}]})";
  EXPECT_EQ(render_answer(json),
            "what     value\n"
            "lost     0\n"
            "workers  worker node1/7  version 3  waiting 2\n"
            "         worker node2/9\n"
            "none     []\n");
}

TEST(Render, shows_texts_errors_and_empty_tables) {
  EXPECT_EQ(render_answer(R"({"text":"stopping"})"), "stopping\n");
  EXPECT_EQ(render_answer(R"({"error":"no command 'x'","hint":"try 'help'"})"), "no command 'x' (try 'help')\n");
  EXPECT_EQ(render_answer(R"({"title":"waits","columns":["a"],"rows":[]})"), "waits: none\n");
}

}  // namespace
}  // namespace r1
