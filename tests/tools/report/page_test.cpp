// report.html from a made-up run store: what it says, that it is well-formed and self-contained, and what it does when things
// are missing.
#include "tools/report/page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "base/error.h"
#include "base/files.h"
#include "tests/tools/report/markup.h"
#include "tests/tools/report/run_fixture.h"
#include "tools/report/sections.h"

namespace r1::report {
namespace {

bool has(const std::string& page, const std::string& text) { return page.find(text) != std::string::npos; }

TEST(ReportPage, of_a_finished_run_is_well_formed_and_needs_nothing_from_outside) {
  RunFixture run;
  run.run_all();
  std::string page = run.page();
  EXPECT_EQ(markup_complaint(page), "");
  page = std::regex_replace(page, std::regex(" xmlns(:xlink)?=\"[^\"]*\""), "");
  for (const char* outside : {"http:", "https:", "@import", "url(http", "<link", "<img", "<iframe", " src="})
    EXPECT_FALSE(has(page, outside)) << outside;
  EXPECT_EQ(page.find("<script"), page.rfind("<script")) << "only the tooltips";
  EXPECT_TRUE(has(page, "prefers-color-scheme:dark"));
}

TEST(ReportPage, tells_every_stage_with_its_numbers) {
  RunFixture run;
  run.run_all();
  const std::string page = run.page();
  for (const char* stage : {"base", "plain", "spoken", "taught"})
    EXPECT_TRUE(has(page, std::string("id=\"stage-") + stage + "\"")) << stage;
  EXPECT_TRUE(has(page, "<i>12.3 →</i> <b>45.6</b>"));
  EXPECT_TRUE(has(page, "<i>12.3 →</i> <b>78.9</b>"));
  EXPECT_TRUE(has(page, "30 batches"));
  EXPECT_TRUE(has(page, "through 4 stages (1 pre-training, 2 RL, 1 distillation)"));
  EXPECT_TRUE(has(page, "from 12.3 % to 40.0 % by reinforcement learning")) << page.substr(page.find("lead"), 600);
  for (const char* title :
       {"Reward", "Length", "Entropy of the policy", "KL to the reference", "Age when trained", "Loss", "Learning rate"})
    EXPECT_TRUE(has(page, std::string("<b>") + title + "</b>")) << title;
  EXPECT_TRUE(has(page, "trained 5</span>"));
  EXPECT_TRUE(has(page, "equal_rewards 5</span>"));
  EXPECT_TRUE(has(page, "<b>170</b> compared tokens"));  // 2 stages of 5 batches of 17
  EXPECT_TRUE(has(page, "10 = 5 trained + 5 equal_rewards"));
  EXPECT_TRUE(has(page, "2 of at most 2"));
  EXPECT_TRUE(has(page, "25.0 %"));  // overlap: 3 s of 12 s; busy: 6 s of 24 s
  EXPECT_TRUE(has(page, "no work 10.0 %<br>else 65.0 %"));
  EXPECT_TRUE(has(page, "trainer <i>75.0 %</i>"));
  EXPECT_TRUE(has(page, "<td class=\"fixed\">5</td></tr>")) << "versions";
}

TEST(ReportPage, what_was_measured_on_the_way_has_its_units) {
  RunFixture run;
  run.run_all();
  run.measure("base", "during", 0.1);
  const std::string page = run.page();
  EXPECT_TRUE(has(page, "<b>Held out</b> <span>shares, measured at versions on the way</span>"));
  EXPECT_TRUE(has(page, "<b>Held out: length</b> <span>tokens a completion, mean</span>"));
  EXPECT_TRUE(has(page, "<dd>how long completions are (tokens a completion, mean)</dd>"));
}

TEST(ReportPage, hostile_text_stays_text) {
  RunFixture run;
  run.run_all();
  const std::string page = run.page();
  EXPECT_FALSE(has(page, "<script>alert"));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(&#39;label&#39;)&lt;/script&gt;"));
  EXPECT_TRUE(has(page, "&lt;made-up&gt;"));
}

TEST(ReportPage, shows_completions_early_and_late_with_the_probability_of_their_tokens) {
  RunFixture run;
  run.run_all();
  const std::string page = run.page();
  EXPECT_TRUE(has(page, "<b>early</b>: draw 0, trained in batch 0"));
  EXPECT_TRUE(has(page, "<b>late</b>: draw 9, dropped: equal_rewards"));
  EXPECT_TRUE(has(page, "&lt;think&gt;"));
  EXPECT_TRUE(has(page, "<span class=\"p0\" title=\"100 %, version 0\">"));
  EXPECT_TRUE(has(page, "<span class=\"p2\" title=\"49.7 %, version 0\">"));  // exp(-0.7)
}

TEST(ReportPage, shows_completions_though_many_draws_were_never_sampled) {
  RunFixture run;
  run.rl_batches("plain", 0, 3);
  for (int64_t draw = 6; draw < 100; ++draw) run.store->add_draw(run.store->ensure_stage("plain"), draw, draw);
  run.complete("plain");
  const std::string page = run.page();
  EXPECT_TRUE(has(page, "94 stage_ended"));
  EXPECT_TRUE(has(page, "<b>late</b>: draw 5,"));
}

TEST(ReportPage, compares_what_the_paper_compares) {
  RunFixture run;
  run.run_all();
  const RunData data = read_run(run.graph, *run.store);
  const auto taught = distillation_pairs(data);
  ASSERT_EQ(taught.size(), 2u);
  EXPECT_EQ(taught[0].first->plan->name, "taught");
  EXPECT_EQ(taught[0].second->plan->name, "plain");
  const auto spoken = language_pairs(data);
  ASSERT_EQ(spoken.size(), 1u);
  EXPECT_EQ(spoken[0].first->plan->name, "plain");
  EXPECT_EQ(spoken[0].second->plan->name, "spoken");
  const std::string page = run.page();
  EXPECT_TRUE(has(page, "Learning from a teacher against RL alone"));
  EXPECT_TRUE(has(page, "With and without the language reward"));
}

TEST(ReportPage, of_an_unfinished_run_says_so_and_shows_what_there_is) {
  RunFixture run;
  run.measure("base", "before", 0.0);
  run.examples("base", 30);
  run.complete("base");
  run.rl_batches("plain", 0, 1);
  const std::string page = run.page();
  EXPECT_EQ(markup_complaint(page), "");
  EXPECT_TRUE(has(page, "Not finished yet: 1 of 4 stages are complete"));
  EXPECT_TRUE(has(page, "id=\"stage-plain\""));
  EXPECT_FALSE(has(page, "id=\"stage-spoken\""));
  EXPECT_TRUE(has(page, ">waiting<"));
  EXPECT_TRUE(has(page, ">running<"));
}

TEST(ReportPage, marks_the_stage_that_a_run_failed_in) {
  RunFixture run;
  run.measure("base", "before", 0.0);
  run.examples("base", 30);
  run.complete("base");
  run.rl_batches("plain", 0, 1);
  note_failures(*run.store, {{"plain", "it broke"}});
  const std::string page = run.page();
  EXPECT_TRUE(has(page, ">failed<"));
  EXPECT_FALSE(has(page, "<span class=\"state\">running</span>"));
}

TEST(ReportPage, of_a_run_that_has_not_begun_is_a_page_and_says_that_nothing_was_trained) {
  RunFixture run;
  EXPECT_EQ(markup_complaint(run.page()), "");
  EXPECT_TRUE(has(run.page(), ", nothing was trained."));
  EXPECT_FALSE(has(run.page(), "this run trained"));
  run.store->ensure_stage("base");
  EXPECT_EQ(markup_complaint(run.page()), "");
}

TEST(ReportPage, draws_the_stages_without_dot_and_every_actor_with_it) {
  RunFixture run;
  run.run_all();
  const std::string without = run.page();
  EXPECT_TRUE(has(without, "class=\"stages-picture\""));
  EXPECT_FALSE(has(without, "class=\"actors-picture\""));
  EXPECT_TRUE(has(without, "Graphviz was not at hand"));
  EXPECT_TRUE(has(run.page("false"), "Graphviz was not at hand"));  // a program that fails
  if (std::system("command -v dot >/dev/null") != 0) GTEST_SKIP() << "graphviz is not installed";
  const std::string with = run.page("dot");
  EXPECT_TRUE(has(with, "class=\"actors-picture\""));
  EXPECT_TRUE(has(with, "a_trainer"));
  EXPECT_EQ(markup_complaint(with), "");
}

TEST(ReportPage, shows_the_load_of_experts_where_the_model_has_some) {
  RunFixture run;
  EXPECT_FALSE(has(run.page(), "Expert load"));
  run.moe = true;
  run.run_all();
  const std::string page = run.page();
  EXPECT_TRUE(has(page, "Expert load, MoE layer 0"));
  EXPECT_TRUE(has(page, "Expert load, MoE layer 1"));
  EXPECT_TRUE(has(page, "Busiest expert"));
  EXPECT_TRUE(has(page, "Spread of the selection bias"));
  EXPECT_TRUE(has(page, "class=\"heat h5\""));  // 0.7 of an equal share of 1/4
  EXPECT_EQ(markup_complaint(page), "");
}

TEST(ReportPage, damaged_statistics_are_named_and_not_left_out) {
  RunFixture run;
  run.run_all();
  const int64_t id = run.store->ensure_stage("plain");
  for (const char* stats : {"not json", R"({"reward":null,"expert_load":[1,2]})", R"({"accuracy":"x"})"}) {
    run.store->set_batch_stats(id, 0, stats);
    try {
      run.page();
      ADD_FAILURE() << stats;
    } catch (const Error& e) {
      EXPECT_NE(e.message().find("table batch_stats"), std::string::npos) << e.what();
      EXPECT_NE(e.message().find("version=0"), std::string::npos) << e.what();
    }
  }
  run.store->set_batch_stats(id, 0, R"({"kept":1,"reward":null})");
  EXPECT_EQ(markup_complaint(run.page()), "");
}

TEST(ReportPage, a_batch_that_did_not_measure_something_leaves_a_gap_in_its_curve) {
  RunFixture run;
  run.run_all();
  run.store->set_batch_stats(run.store->ensure_stage("plain"), 1, R"({"reward":0.5,"kept":0,"dropped":2})");
  const RunData data = read_run(run.graph, *run.store);
  int looked_at = 0;
  for (const StageData& stage : data.stages) {
    if (stage.plan->name != "plain") continue;
    const Curve *entropy = stage.curve("entropy"), *reward = stage.curve("reward");
    ASSERT_TRUE(entropy != nullptr && reward != nullptr);
    EXPECT_EQ(entropy->x, reward->x);
    EXPECT_EQ(entropy->y.at(0), 0.5);
    EXPECT_TRUE(std::isnan(entropy->y.at(1)));
    EXPECT_EQ(reward->y.at(1), 0.5);
    ++looked_at;
  }
  EXPECT_EQ(looked_at, 1);
  const std::string page = run.page();
  for (const char* written : {"nan,", "nan ", "nan\"", "nan<"}) EXPECT_EQ(page.find(written), std::string::npos) << written;
}

TEST(WriteReport, makes_the_report_of_a_directory_again_even_when_the_graphs_files_are_gone) {
  RunFixture run;
  run.run_all();
  run.store->set_meta("graph_dir", "/nowhere/at/all");
  write_report(run.dir.path());
  const std::string page = read_file(run.dir.path() / "report.html");
  EXPECT_TRUE(has(page, "id=\"stage-taught\""));
  EXPECT_EQ(markup_complaint(page), "");
}

TEST(WriteReport, without_a_run_is_a_clear_error) {
  const TemporaryDirectory dir;
  try {
    write_report(dir.path());
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
  }
}

}  // namespace
}  // namespace r1::report
