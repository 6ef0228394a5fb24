// Failure is never success (P11): runs that learn nothing end with exit code 1 and say why, every time they are asked.
#include <nlohmann/json.hpp>

#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One stage of examples from a file beside it.
std::string examples_graph(const std::string& objective, const std::string& more = "") {
  return "digraph g {\n graph [precision=f32];\n m [kind=model, config=\"nano.json\", tokenizer=tiny];\n subgraph cluster_s {\n"
         "  p [role=prompter, source=\"jsonl:d.jsonl?template=none\"];\n  t [role=trainer, objective=" +
         objective + ", batch=4, until=\"batches(3)\"" + more + "];\n  p -> t;\n }\n m -> t;\n}\n";
}

std::string rl_graph(const std::string& rewards, const std::string& trainer) {
  return R"__(digraph g {
  graph [seed=5, precision=f32];
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_rl {
    prompts [role=prompter, source="tiny:reasoning", groups_per_batch=4];
    policy [role=generator, samples=4, max_tokens=16];
    judge [role=judge, rewards=")__" +
         rewards + R"__("];
    groups [role=filter];
    rl_trainer [role=trainer, objective=grpo, )__" +
         trainer + R"__(];
    prompts -> policy -> judge -> groups -> rl_trainer;
    rl_trainer -> policy [carries=weights, staleness=1];
  }
  subgraph cluster_later {
    later_docs [role=prompter, source="tiny:pretrain"];
    later_trainer [role=trainer, objective=pretrain, until="batches(2)"];
    later_docs -> later_trainer;
  }
  subgraph cluster_other {
    other_docs [role=prompter, source="tiny:pretrain"];
    other_trainer [role=trainer, objective=pretrain, until="batches(2)"];
    other_docs -> other_trainer;
  }
  m -> rl_trainer; rl_trainer -> later_trainer; m -> other_trainer;
}
)__";
}

struct Verdict : BadInputTest {
  ProgramResult run(const std::string& text, std::vector<std::string> more = {}) {
    write_text(top / "g.graph", text);
    more.insert(more.begin(), {(top / "g.graph").string(), "--run", (top / "run").string()});
    return run_program(more);
  }
  // The run fails with `line`, on the terminal, in the log, in summary.json and on top of the report; and again when asked
  // again.
  void expect_failure(const std::string& text, const std::string& stage, const std::string& line) {
    SCOPED_TRACE(line);
    fs::remove_all(top / "run");
    const ProgramResult first = run(text);
    EXPECT_EQ(first.code, 1) << first.out << first.err;
    EXPECT_NE(first.err.find("stage " + stage + " failed: " + line), std::string::npos) << first.err;
    EXPECT_NE(first.out.find("FAILED: " + line), std::string::npos) << first.out;
    EXPECT_EQ(first.err.find("continued by the same command"), std::string::npos) << first.err;
    expect_said(stage, line);
    const ProgramResult again = run(text, {"-q"});
    EXPECT_EQ(again.code, 1);
    EXPECT_NE(again.err.find("stage " + stage + " failed: " + line), std::string::npos) << again.err;
    expect_said(stage, line);
  }
  void expect_said(const std::string& stage, const std::string& line) const {
    EXPECT_NE(read_file(top / "run/r1.log").find(line), std::string::npos);
    const json summary = json::parse(read_file(top / "run/summary.json"));
    ASSERT_EQ(summary["failed"].size(), 1u);
    EXPECT_EQ(summary["failed"][0]["stage"], stage);
    EXPECT_EQ(summary["failed"][0]["reason"].get<std::string>().substr(0, line.size()), line);
    bool seen = false;
    for (const json& s : summary["stages"])
      if (s["name"] == stage) {
        EXPECT_EQ(s["status"], "failed");
        EXPECT_EQ(s["verdict"].get<std::string>().substr(0, line.size()), line);
        seen = true;
      }
    EXPECT_TRUE(seen);
    const std::string page = read_file(top / "run/report.html");
    const size_t box = page.find("<section class=\"failure\"");
    ASSERT_NE(box, std::string::npos);
    EXPECT_LT(box, page.find("class=\"lead\"")) << "the failure is not the first thing that is read";
    EXPECT_LT(page.find(line, box), page.find("class=\"lead\""));
    EXPECT_EQ(ledger_complaints(top / "run"), "");
  }
  StageStatus status(const std::string& stage) const {
    for (const StageRow& row : RunStore::open_read_only(top / "run")->stages())
      if (row.name == stage) return row.status;
    return StageStatus::waiting;
  }
};

TEST_F(Verdict, equal_rewards_everywhere_fail_the_stage_and_what_needs_it_while_others_finish) {
  const std::string text = rl_graph("0.5 + accuracy - accuracy", "until=\"batches(3)\"");
  expect_failure(text, "rl", "nothing was trained: 12 of 12 groups had equal rewards");
  EXPECT_EQ(status("rl"), StageStatus::failed);
  EXPECT_EQ(status("later"), StageStatus::waiting);
  EXPECT_EQ(status("other"), StageStatus::done);
}

TEST_F(Verdict, batches_that_teach_nothing_one_after_the_other_end_the_stage) {
  const std::string text = rl_graph("0.5 + accuracy - accuracy", "until=\"batches(1000)\", idle_batches=4");
  expect_failure(text, "rl", "nothing was trained: 16 of 16 groups had equal rewards");
}

TEST_F(Verdict, a_solved_task_is_no_failure) {
  const ProgramResult r = run(rl_graph("0.5 + accuracy - accuracy", "until=\"above(reward, 0.4, 2) or batches(9)\""));
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("8 of 8 groups had equal rewards; above(reward, 0.4, 2) was reached"), std::string::npos) << r.out;
  EXPECT_EQ(status("later"), StageStatus::done);
}

TEST_F(Verdict, a_plateau_of_nothing_is_a_failure) {
  expect_failure(rl_graph("0.5 + accuracy", "until=\"plateau(reward, 1, 0.1)\""), "rl",
                 "nothing was trained: 8 of 8 groups had equal rewards");
}

TEST_F(Verdict, too_few_groups_are_a_failure_that_the_graph_may_allow) {
  const ProgramResult all = run(rl_graph("length", "until=\"batches(3)\", min_trained=0"));
  ASSERT_EQ(all.code, 0) << all.err;
  const auto store = RunStore::open_read_only(top / "run");
  ASSERT_LT(store->ledger(1).trained, 12) << "the test is vacuous: every group was trained";
  ASSERT_GT(store->ledger(1).trained, 0);
  expect_failure(rl_graph("length", "until=\"batches(3)\", min_trained=1"), "rl", "trained on ");
}

TEST_F(Verdict, an_evaluator_all_of_whose_prompts_are_too_long_has_measured_nothing) {
  std::string prompt = "compute";
  for (int i = 0; i < 400; ++i) prompt += " 1";
  write_text(top / "d.jsonl", "{\"prompt\": \"" + prompt + "\", \"answer\": \"1\"}\n");
  expect_failure(R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_e { e [role=evaluator, source="jsonl:d.jsonl?template=none", max_tokens=8]; }
  m -> e;
}
)__",
                 "e", "nothing was measured");
}

TEST_F(Verdict, an_evaluator_whose_prompts_have_no_answer_to_compare_with_has_not_measured_that) {
  write_text(top / "d.jsonl", "{\"prompt\": \"compute 1 + 1\"}\n");
  const auto graph = [](const std::string& rewards) {
    return "digraph g {\n m [kind=model, config=\"nano.json\", tokenizer=tiny];\n subgraph cluster_e { e [role=evaluator, "
           "source=\"jsonl:d.jsonl?template=tiny\", max_tokens=4, rewards=\"" +
           rewards + "\"]; }\n m -> e;\n}\n";
  };
  expect_failure(graph("2 * math"), "e", "nothing that e.rewards asks was measured: 2 * math");
  ASSERT_EQ(run(graph("math + format"), {"-q", "--fresh"}).code, 0) << "format was measured";
  std::string two = graph("math");
  two.insert(two.find(" }\n m -> e;"),
             " f [role=evaluator, source=\"tiny:reasoning_test\", problems=2, max_tokens=4, rewards=accuracy];");
  two.insert(two.find("m -> e;"), "m -> f; ");
  expect_failure(two, "e", "nothing that e.rewards asks was measured: math");
}

TEST_F(Verdict, an_evaluator_none_of_whose_responses_has_a_reward_has_measured_nothing) {
  const std::string evaluator =
      "e [role=evaluator, source=\"tiny:reasoning_test\", problems=4, max_tokens=4, rewards=\"1 / (length - length)\"];";
  const std::string alone = "digraph g {\n m [kind=model, config=\"nano.json\", tokenizer=tiny];\n subgraph cluster_e { " +
                            evaluator + " }\n m -> e;\n}\n";
  std::string beside = minimal();
  beside.replace(beside.find("p -> t;"), 7, "p -> t; " + evaluator + " t -> e [carries=weights];");
  for (const std::string& text : {alone, beside}) {
    fs::remove_all(top / "run");
    const ProgramResult r = run(text, {"-q"});
    EXPECT_EQ(r.code, 1) << r.out << r.err;
    EXPECT_NE(r.err.find("no response has a reward: nothing was measured"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("the reward expression '1 / (length - length)' gives inf"), std::string::npos) << r.err;
  }
}

TEST_F(Verdict, a_run_whose_report_cannot_be_written_says_so_and_is_no_success) {
  write_text(top / "g.graph", minimal());
  const std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", (top / "run").string(), "-q"};
  ASSERT_EQ(run_program(arguments, {"R1_FAULT=kill:after_commit:1"}).code, 128 + 9);
  fs::create_directories(top / "run/report.html/in the way");
  const ProgramResult r = run_program(arguments);
  EXPECT_EQ(r.code, 1) << r.out << r.err;
  EXPECT_NE(r.err.find("the run is done, but its report is not: "), std::string::npos) << r.err;
  EXPECT_EQ(r.out.find("report.html"), std::string::npos) << r.out;
  fs::remove_all(top / "run/report.html");
  EXPECT_EQ(run_program({"--report", (top / "run").string()}).code, 0);
  EXPECT_EQ(run_program(arguments).code, 0) << "what was learned is there";
}

TEST_F(Verdict, a_filter_that_keeps_nothing_fails_its_own_stage) {
  expect_failure(R"__(digraph g {
  graph [precision=f32];
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_r {
    p [role=prompter, source="tiny:reasoning", count=8, groups_per_batch=4];
    g1 [role=generator, samples=2, max_tokens=8];
    j [role=judge, rewards="accuracy"];
    f [role=filter, keep="length - length"];
    p -> g1 -> j -> f;
  }
  subgraph cluster_b { u [role=trainer, objective=sft, epochs=1, batch=8]; }
  m -> g1; m -> u; f -> u;
}
)__",
                 "r", "kept nothing of 8 prompts: 8 of 8 prompts had no completion to keep");
  EXPECT_EQ(status("b"), StageStatus::waiting);
}

TEST_F(Verdict, examples_without_a_token_to_learn_fail_the_stage) {
  const auto lines = [](const std::string& line) {
    std::string all;
    for (int i = 0; i < 12; ++i) all += line + "\n";
    return all;
  };
  // Empty completions and texts are bad input; a text of one token is a record, but has nothing to predict.
  write_text(top / "d.jsonl", lines(R"({"text": "<bos>"})"));
  expect_failure(examples_graph("pretrain"), "s", "nothing was trained: 12 of 12 examples had no token to learn");
  // A reward model that is shown answers only sees no difference between two thoughts.
  const std::string pair =
      R"({"prompt": "compute 1 + 2", "chosen": "<think> a </think><answer> 3 </answer>", "rejected": "<think> b </think><answer> 3 </answer>"})";
  write_text(top / "d.jsonl", lines(pair));
  expect_failure(examples_graph("reward_model", ", sees=answer"), "s",
                 "nothing was trained: 12 of 12 pairs had two equal sides");
}

TEST_F(Verdict, a_stage_that_moved_no_weight_is_a_failure) {
  // Gradients so small beside eps that no f32 weight changes by them.
  const std::string text = minimal(", eps=1, clip_norm=\"1e-30\", lr=\"1e-12\"");
  expect_failure(text, "a", "trained on 64 examples; and not one weight is another than when the stage began");
  ASSERT_EQ(run(minimal(), {"-q", "--fresh"}).code, 0);
}

TEST_F(Verdict, a_stage_whose_learning_rates_move_no_weight_is_no_success_without_a_word) {
  const char* words = "add up to 2e-12: no weight moved by more than about that";
  const ProgramResult r = run(minimal(", lr=\"1e-12\""));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE((r.out + r.err).find(words), std::string::npos) << r.out << r.err;
  EXPECT_NE(read_file(top / "run/report.html").find(words), std::string::npos);
  const ProgramResult learns = run(minimal(", lr=\"1e-7\""), {"--fresh"});
  EXPECT_EQ((learns.out + learns.err).find("no weight moved"), std::string::npos) << learns.out;
}

TEST_F(Verdict, samples_of_a_run_that_kept_none_are_a_failure) {
  ASSERT_EQ(run(minimal(), {"-q"}).code, 0);
  for (const char* more : {"-q", "--json"}) {
    const ProgramResult r = run_program({"--samples", (top / "run").string(), more});
    EXPECT_EQ(r.code, 1) << r.out;
    EXPECT_EQ(r.out, "");
    EXPECT_NE(r.err.find("nothing was kept of what models said"), std::string::npos) << r.err;
  }
}

TEST_F(Verdict, a_number_that_is_not_finite_is_met_twice_and_the_message_says_what_to_type) {
  const ProgramResult r = run(rl_graph("length", "lr=\"1e30\", until=\"batches(6)\""), {"-q"});
  EXPECT_EQ(r.code, 1) << r.out << r.err;
  EXPECT_NE(r.err.find("failed twice in the same way"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("g.graph --set rl_trainer.lr=1e+29 --change"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find("can be continued"), std::string::npos) << r.err;
  EXPECT_EQ(json::parse(read_file(top / "run/summary.json"))["failed"][0]["stage"], "rl");
  EXPECT_NE(read_file(top / "run/report.html").find("This run failed"), std::string::npos);
}

}  // namespace
}  // namespace r1
