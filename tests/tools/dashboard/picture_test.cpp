#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "runtime/flow/wait_registry.h"
#include "tests/tools/report/run_fixture.h"
#include "tools/dashboard/page.h"
#include "tools/dashboard/prometheus_text.h"
#include "tools/dashboard/state_json.h"
#include "tools/dashboard/trajectories.h"

namespace r1::dashboard {
namespace {

struct Pictured : testing::Test {
  report::RunFixture run;
  VirtualClock clock;
  WaitRegistry waits{clock};
  ShellSources sources;

  void SetUp() override {
    sources.waits = &waits;
    sources.roles = [] { return std::vector<ShellRole>{{"plain", "a_policy", "generator", "running", "says \"hello\""}}; };
    sources.stages = [] {
      ShellStage stage{"plain", "running", {}, 1};
      stage.times.seconds = 10;
      stage.times.engine_s = {{"generator", 6}, {"trainer", 4}};
      return std::vector<ShellStage>{stage};
    };
  }
  RunPicture taken() {
    run.store->flush();
    return PictureTaker(run.graph, run.dir.path(), {"fixture", "f32", "a machine", "cpu", "print", 7, 2}, sources).take();
  }
  int64_t id(const std::string& stage) { return run.store->ensure_stage(stage); }
};

// name{labels} -> value, as Prometheus would read the text; fails where it would.
std::map<std::string, double> samples_in(const std::string& text) {
  static const std::regex sample(R"re(([a-z_][a-z0-9_]*)(\{([a-z_]+="([^"\\\n]|\\.)*",?)*\})? (\S+))re");
  std::map<std::string, double> out;
  std::set<std::string> typed, helped;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::smatch m;
    std::istringstream words(line);
    std::string hash, kind, name, type;
    words >> hash >> kind >> name >> type;
    if (kind == "HELP" || kind == "TYPE") {
      EXPECT_TRUE((kind == "HELP" ? helped : typed).insert(name).second) << line << ": twice";
      if (kind == "TYPE") {
        EXPECT_EQ(type == "counter", name.ends_with("_total")) << line;
      }
      EXPECT_FALSE(type.empty()) << line;
    } else if (std::regex_match(line, m, sample)) {
      EXPECT_TRUE(typed.contains(m[1]) && helped.contains(m[1])) << line;
      EXPECT_TRUE(out.emplace(m[1].str() + m[2].str(), std::stod(m[5])).second) << line << ": twice";
    } else {
      ADD_FAILURE() << "no sample: " << line;
    }
  }
  return out;
}

TEST_F(Pictured, prometheus_reads_names_units_help_and_types_by_its_conventions) {
  run.measure("plain", "before", 0.123);
  run.rl_batches("plain", 0, 3);
  run.store->add_tally(id("plain"), "tokens_generated", 500);
  run.store->add_tally(id("plain"), "tokens_generated", 400);
  waits.sent("plain", "a_policy -> a_judge", "trajectories", 64, 1, "draw \"1\"");
  waits.begin("plain", "a_trainer", "room", "for groups", "a_filter");
  clock.advance_ns(2'500'000'000);
  const std::string text = prometheus_text(taken());
  for (const char* help :
       {"r1_batch_length Of the newest batch: Length, tokens a completion.\n", "temperature (share).\n",
        "r1_held_out_length Before and after the stage: how long completions are (tokens a completion, mean).\n"})
    EXPECT_NE(text.find(help), text.npos) << help;
  const auto samples = samples_in(text);
  const auto is = [&](const std::string& name, double value) {
    ASSERT_TRUE(samples.contains(name)) << name;
    EXPECT_DOUBLE_EQ(samples.at(name), value) << name;
  };
  is(R"(r1_tokens_generated_total{stage="plain"})", 900);
  is(R"(r1_tokens_trained_total{stage="plain"})", 80);  // of the newest batch it is not known yet what was learned
  is(R"(r1_batches_total{stage="plain"})", 3);
  is(R"(r1_batch_reward{stage="plain"})", 0.11);
  is(R"(r1_batch_score{stage="plain",part="accuracy"})", 0.5);
  is(R"(r1_draws_dropped_total{stage="plain",reason="equal_rewards"})", 3);
  is(R"(r1_engine_busy_seconds_total{stage="plain",engine="generator"})", 6);
  is(R"(r1_stage_status{stage="plain",status="running"})", 1);
  is(R"(r1_stage_status{stage="base",status="waiting"})", 1);
  is(R"(r1_held_out_accuracy{stage="plain",moment="before"})", 0.123);
  is(R"(r1_channel_messages_under_way{edge="a_policy -> a_judge",carries="trajectories"})", 1);
  is(R"(r1_role_waiting_seconds{node="a_trainer"})", 2.5);
  EXPECT_FALSE(samples.contains(R"(r1_batches_total{stage="base"})")) << "what was not measured is no sample";
  EXPECT_FALSE(samples.contains(R"(r1_batch_kl{stage="base"})"));
  EXPECT_GT(samples.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(samples.at("process_start_time_seconds"), 1.7e9);
}

TEST_F(Pictured, nodes_are_shown_with_the_ranks_that_live_there_and_for_how_long_they_are_silent) {
  sources.nodes = [] {
    return std::vector<ShellNode>{
        {"node1", "localhost", 4711, 2, "ok", {"a_policy"}, 0, {{"a_trainer", 1}, {"a_trainer", 2}}, 2.5, 81'000'000},
        {"node2", "gpu07", 0, 0, "is lost", {}, 3, {}}};
  };
  const RunPicture picture = taken();
  const nlohmann::json state = nlohmann::json::parse(state_json(picture));
  EXPECT_EQ(state["nodes"][0]["ranks"], "1 of a_trainer, 2 of a_trainer");
  EXPECT_EQ(state["nodes"][1]["ranks"], "");
  EXPECT_EQ(state["nodes"][0]["state"], "silent 2.5 s");
  EXPECT_EQ(state["nodes"][0]["resident"], 81'000'000);
  EXPECT_TRUE(state["nodes"][1]["resident"].is_null());
  EXPECT_TRUE(state["nodes"][1]["silent_s"].is_null());
  const auto samples = samples_in(prometheus_text(picture));
  EXPECT_EQ(samples.at(R"(r1_rank_info{process="node1",host="localhost",node="a_trainer",rank="2"})"), 1);
  EXPECT_EQ(samples.at(R"(r1_process_up{process="node2",host="gpu07"})"), 0);
  EXPECT_EQ(samples.at(R"(r1_process_silent_seconds{process="node1",host="localhost"})"), 2.5);
  EXPECT_FALSE(samples.contains(R"(r1_process_silent_seconds{process="node2",host="gpu07"})"));
  EXPECT_EQ(samples.at(R"(r1_process_resident_memory_bytes{process="node1",host="localhost"})"), 81e6);
  EXPECT_FALSE(samples.contains(R"(r1_process_resident_memory_bytes{process="node2",host="gpu07"})"));
}

TEST_F(Pictured, a_number_that_is_none_is_no_sample) {
  RunPicture picture;
  StagePicture& stage = picture.stages.emplace_back();
  stage.name = "a\"b\\c\nd";
  stage.status = StageStatus::running;
  stage.statistics["reward"] = NAN;
  stage.statistics["my part"] = 1;
  const std::string text = prometheus_text(picture);
  samples_in(text);
  EXPECT_EQ(text.find("r1_batch_reward"), std::string::npos);
  EXPECT_NE(text.find(R"(part="my part")"), std::string::npos);
}

TEST_F(Pictured, rates_are_of_the_last_seconds_and_absent_before_there_are_two_looks) {
  run.rl_batches("plain", 0, 1);
  waits.sent("plain", "a_policy -> a_judge", "trajectories", 64, 1, "draw 1");
  PictureTaker taker(run.graph, run.dir.path(), {}, sources);
  const RunPicture first = taker.take();
  ASSERT_EQ(first.channels.size(), 1u);
  EXPECT_FALSE(first.channels[0].per_s);
  EXPECT_TRUE(nlohmann::json::parse(state_json(first))["channels"][0]["per_s"].is_null());
}

TEST_F(Pictured, the_page_is_told_everything_as_json) {
  run.rl_batches("plain", 0, 3);
  const nlohmann::json graph = nlohmann::json::parse(graph_json(run.graph)), state = nlohmann::json::parse(state_json(taken()));
  EXPECT_EQ(graph["stages"].size(), run.graph.stages.size());
  EXPECT_EQ(graph["stages"][1]["edges"][0]["name"], "a_prompts -> a_policy");
  ASSERT_EQ(state["stages"].size(), run.graph.stages.size());
  EXPECT_EQ(state["stages"][1]["batches"], 3);
  EXPECT_EQ(state["stages"][1]["restarts"], 1);
  EXPECT_EQ(state["roles"][0]["says"], "says \"hello\"");
  EXPECT_TRUE(state["nodes"].is_null()) << "one process";
}

TEST_F(Pictured, the_page_loads_nothing_from_anywhere_else) {
  const std::string page = dashboard_page("<graph>", "0123");
  EXPECT_NE(page.find("&lt;graph&gt;"), std::string::npos);
  EXPECT_EQ(page.find("<graph>"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  for (size_t at = page.find("http://"); at != page.npos; at = page.find("http://", at + 1))
    EXPECT_EQ(page.compare(at, 26, "http://www.w3.org/2000/svg"), 0) << page.substr(at, 60);
  for (const char* outside : {"src=", "@import", "url(http", "//cdn"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_NE(page_policy("0123").find("default-src 'none'"), std::string::npos);
  EXPECT_LT(page.size(), 64u << 10);
}

TEST_F(Pictured, trajectories_are_listed_by_order_reward_and_outcome) {
  run.rl_batches("plain", 0, 5);
  run.store->flush();
  TrajectoryQuestion q;
  q.limit = 3;
  const std::string last = trajectory_list(*run.store, id("plain"), q, nullptr);
  EXPECT_NE(last.find("data-draw=\"9\""), std::string::npos) << last;
  EXPECT_EQ(last.find("data-draw=\"6\""), std::string::npos) << last;
  EXPECT_NE(last.find("data-next=\"7\""), std::string::npos) << last;
  EXPECT_NE(last.find("equal_rewards"), std::string::npos) << last;
  q.beyond = 7;
  EXPECT_NE(trajectory_list(*run.store, id("plain"), q, nullptr).find("data-draw=\"6\""), std::string::npos);
  q = {};
  q.outcome = "trained";
  q.order = TrajectoryQuestion::Order::best;
  const std::string best = trajectory_list(*run.store, id("plain"), q, nullptr);
  EXPECT_NE(best.find("data-draw=\"8\""), std::string::npos) << best;
  EXPECT_EQ(best.find("data-draw=\"9\""), std::string::npos) << "that one was dropped: " << best;
  EXPECT_EQ(best.find("data-next"), std::string::npos);
}

TEST_F(Pictured, a_draw_is_shown_with_shaded_tokens_versions_and_the_parts_of_its_reward) {
  run.rl_batches("plain", 0, 2);
  run.store->flush();
  const RunEnv env{run.dir.path(), run.graph_dir};
  const auto tokenizer = node_tokenizer(env, run.graph, *run.graph.node("a_trainer"));
  const std::string text = trajectory_group(*run.store, id("plain"), 2, tokenizer.get());
  for (const char* piece :
       {"trained in batch 1", "compute", "class=\"p3\"", "version 1", "accuracy 0.5", "language 0.25", "reward <b>0.5"})
    EXPECT_NE(text.find(piece), std::string::npos) << piece << " in " << text;
  EXPECT_NE(trajectory_group(*run.store, id("plain"), 99, nullptr).find("nothing yet"), std::string::npos);
}

}  // namespace
}  // namespace r1::dashboard
