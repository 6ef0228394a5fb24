// Data as users have them, through r1-run: found by --check, dropped and counted, or an error with the file's name; never a
// crash.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"
#include "tests/prompt_lines.h"

namespace r1 {
namespace {

struct Data : BadInputTest {
  void SetUp() override {
    BadInputTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (top / "cache").c_str(), 1);
  }
  static std::string rl(const std::string& until, const std::string& prompter = "", const std::string& max_tokens = "8") {
    return R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_s {
    p [role=prompter, source="jsonl:d.jsonl?template=tiny", groups_per_batch=4)__" +
           prompter + R"__(];
    g [role=generator, samples=4, max_tokens=)__" +
           max_tokens + R"__(];
    j [role=judge, rewards="length"];
    f [role=filter];
    t [role=trainer, objective=grpo, until=")__" +
           until + R"__("];
    p -> g -> j -> f -> t; t -> g [carries=weights, staleness=1];
  }
  m -> t;
})__";
  }
};

TEST_F(Data, a_prompt_longer_than_the_model_is_dropped_and_counted) {
  write_text(top / "g.graph", rl("batches(6)"));
  write_text(top / "d.jsonl", prompt_lines(12, 5));
  const ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / "first").string(), "-q"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("1 of 12 prompts are longer than the 256 positions of 'm' (the first: d.jsonl:6)"), std::string::npos)
      << r.err;
  EXPECT_EQ(ledger_complaints(top / "first"), "");
  const auto store = RunStore::open_read_only(top / "first");
  const LedgerCounts ledger = store->ledger(store->stages().at(0).id);
  ASSERT_EQ(ledger.dropped.count("too_long"), 1u);
  EXPECT_EQ(ledger.dropped.at("too_long"), 2) << "24 draws are two epochs of 12 prompts";
  expect_refused(rl("batches(6)", ", too_long=error"), {"d.jsonl:6", "the model of stage 's' takes 256"},
                 {"--run", (top / "run").string()});
}

TEST_F(Data, contaminated_prompts_are_dropped_and_counted_and_contaminated_examples_are_left_out) {
  const std::string asked = R"({"prompt": "one two three one two three one two three one two", "answer": "1"})"
                            "\n";
  std::string graph = rl("batches(3)", ", decontaminate=drop");
  graph.replace(graph.find("p -> g"), 0,
                "e [role=evaluator, source=\"jsonl:test.jsonl\", max_tokens=4]; t -> e [carries=weights];\n");
  write_text(top / "g.graph", graph);
  write_text(top / "d.jsonl", prompt_lines(5) + asked);
  write_text(top / "test.jsonl", asked);
  ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / "rl").string(), "-q"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("1 of 6 prompts of d.jsonl hold what an evaluator asks"), std::string::npos) << r.err;
  EXPECT_EQ(ledger_complaints(top / "rl"), "");
  const auto store = RunStore::open_read_only(top / "rl");
  const LedgerCounts ledger = store->ledger(store->stages().at(0).id);
  ASSERT_EQ(ledger.dropped.count("contaminated"), 1u);
  EXPECT_EQ(ledger.dropped.at("contaminated"), 2) << "12 draws are two epochs of 6 prompts";
  const auto events = store->events(0, 100, "contaminated");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0][2].find("\"found\":1"), std::string::npos) << events[0][2];

  std::string lines;
  for (int i = 0; i < 7; ++i) lines += R"({"prompt": "compute )" + std::to_string(i) + R"( + 1", "completion": "1"})" + "\n";
  write_text(top / "d.jsonl",
             lines + R"({"prompt": "two", "completion": "one two three one two three one two three one two"})");
  for (const bool dataset : {false, true}) {
    const std::string from = dataset ? "" : "p [role=prompter, source=\"jsonl:d.jsonl\", decontaminate=drop]; p -> t;";
    const std::string data = dataset ? "d [kind=dataset, path=\"d.jsonl\", decontaminate=drop]; d -> t;" : "";
    write_text(top / "g.graph", R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_s {
    t [role=trainer, objective=sft, epochs=1, batch=4];
    e [role=evaluator, source="jsonl:test.jsonl", max_tokens=4]; t -> e [carries=weights];
    )__" + from + "\n  }\n  m -> t;\n  " +
                                    data + "\n}\n");
    const auto run = top / (dataset ? "dataset" : "sft");
    r = run_program({(top / "g.graph").string(), "--run", run.string(), "-q"});
    ASSERT_EQ(r.code, 0) << r.err;
    const auto sft = RunStore::open_read_only(run);
    EXPECT_EQ(sft->batch_count(sft->stages().at(0).id), 2) << "7 of 8 examples";
    EXPECT_EQ(sft->events(0, 100, "contaminated").size(), 1u) << "what was found before the run";
    const auto left_out = sft->events(sft->stages().at(0).id, 100, "contaminated");
    ASSERT_EQ(left_out.size(), 1u);
    EXPECT_NE(left_out[0][2].find("\"left_out\":1"), std::string::npos) << left_out[0][2];
  }
}

TEST_F(Data, a_mixture_goes_on_where_it_was_and_is_replayed) {
  std::string graph = rl("batches(4)");
  const std::string one = "jsonl:d.jsonl?template=tiny";
  graph.replace(graph.find(one), one.size(),
                "jsonl:d.jsonl?template=tiny&weight=3, jsonl:more.jsonl.gz?template=tiny&weight=1");
  graph.replace(graph.find("staleness=1"), 11, "staleness=0");
  write_text(top / "g.graph", graph);
  write_text(top / "d.jsonl", prompt_lines(10));
  std::string more;
  for (int i = 0; i < 5; ++i) more += R"({"prompt": "say )" + std::to_string(i) + R"(", "answer": "1"})" + "\n";
  write_text(top / "more.jsonl.gz", more);  // known by its first bytes: this one is plain
  const auto run = [&](const char* name, const std::vector<std::string>& environment = {}) {
    return run_program({(top / "g.graph").string(), "--run", (top / name).string(), "-q"}, environment).code;
  };
  ASSERT_EQ(run("whole"), 0);
  EXPECT_EQ(run("broken", {"R1_FAULT=kill:after_commit:2"}), 128 + 9);
  ASSERT_EQ(run("broken"), 0);
  EXPECT_EQ(summary_hashes(top / "whole"), summary_hashes(top / "broken"));
  EXPECT_EQ(ledger_complaints(top / "broken"), "");
  EXPECT_EQ(run_program({"--replay", (top / "broken").string()}).code, 0);
}

TEST_F(Data, a_bad_line_of_a_later_stage_is_found_before_the_first_runs) {
  write_text(top / "d.jsonl",
             "{\"prompt\": \"compute 1 + 2\", \"completion\": \"3\"}\n{\"prompt\":\"x\",\"completion\":null}\n");
  expect_refused(R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_a { p [role=prompter, source="tiny:cold_start", count=40]; t [role=trainer, objective=sft, epochs=1, batch=8]; p -> t; }
  subgraph cluster_b { q [role=prompter, source="jsonl:d.jsonl?template=tiny"]; u [role=trainer, objective=sft, until="batches(50)", batch=1]; q -> u; }
  m -> t; t -> u;
})__",
                 {"d.jsonl:2:15", "\"completion\": expected a string, not null"});
}

TEST_F(Data, an_empty_prompt_is_bad_input) {
  write_text(top / "d.jsonl", prompt_lines(3) + "{\"prompt\": \"\", \"answer\": \"1\"}\n");
  expect_refused(rl("batches(3)"), {"d.jsonl:4:2", "the prompt is empty"});
}

TEST_F(Data, an_empty_completion_is_bad_input) {
  write_text(top / "d.jsonl", "{\"prompt\": \"compute 1 + 2\", \"completion\": \"\"}\n");
  std::string text = minimal(", epochs=1", "d [kind=dataset, path=\"d.jsonl\"];\n d -> t;\n");
  text.insert(text.find("tiny:pretrain") + 14, ", count=4");
  expect_refused(text, {"d.jsonl:1:29", "is empty"});
}

TEST_F(Data, an_answer_beside_a_completion_is_no_matter_in_a_dataset) {
  write_text(top / "d.jsonl", "{\"prompt\": \"compute 1 + 2\", \"completion\": \"3\", \"answer\": \"3\"}\n");
  write_text(top / "g.graph", R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny]; d [kind=dataset, path="d.jsonl"];
  subgraph cluster_s { t [role=trainer, objective=sft, epochs=1, batch=2]; }
  m -> t; d -> t;
})__");
  const ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"});
  EXPECT_EQ(r.code, 0) << r.err;
  write_text(top / "d.jsonl", "{\"prompt\": \"compute 1 + 2\", \"answer\": \"3\"}\n");
  expect_refusal(run_program({(top / "g.graph").string(), "--check"}),
                 {"d.jsonl:1", "no \"completion\"", "?completion=answer"});
}

TEST_F(Data, max_tokens_beyond_the_positions_are_warned_of) {
  write_text(top / "d.jsonl", prompt_lines(8));
  write_text(top / "g.graph", rl("batches(1)", "", "100000"));
  const ProgramResult r = run_program({(top / "g.graph").string(), "--check"});
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.err.find("warning: "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("max_tokens=100000 goes beyond the 256 positions"), std::string::npos) << r.err;
}

TEST_F(Data, what_is_warned_of_at_the_start_stands_in_the_log_of_the_run_too) {
  write_text(top / "d.jsonl", prompt_lines(8));
  write_text(top / "g.graph", rl("batches(1)", "", "100000"));
  const ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"});
  const std::string words = "max_tokens=100000 goes beyond the 256 positions", log = read_file(top / "run" / "r1.log");
  EXPECT_NE(r.err.find(words), std::string::npos) << r.err;
  EXPECT_NE(log.find("warning: "), std::string::npos) << log;
  EXPECT_NE(log.find(words), std::string::npos) << log;
}

TEST_F(Data, messages_gsm8k_and_compressed_forms_are_accepted) {
  write_text(top / "g.graph", rl("batches(1)"));
  for (const char* line : {R"({"prompt": [{"role": "user", "content": "compute 1 + 1"}], "answer": "2"})",
                           R"({"messages": [{"role": "user", "content": "compute 1 + 1"}], "answer": "2"})",
                           R"({"question": "Q?", "answer": "... #### 72"})"}) {
    write_text(top / "d.jsonl", line);
    const ProgramResult r = run_program({(top / "g.graph").string(), "--check"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.err, "");
  }
}

TEST_F(Data, numbers_out_of_range_and_half_surrogates_are_named) {
  write_text(top / "d.jsonl", prompt_lines(2) + "{\"prompt\":\"compute 1 + 1\",\"answer\":1e400}\n");
  expect_refused(rl("batches(1)"), {"d.jsonl:3:36", "out of range"});
  write_text(top / "d.jsonl", prompt_lines(2) + "{\"prompt\":\"a \\ud800 b\",\"answer\":\"1\"}\n");
  expect_refused(rl("batches(1)"), {"d.jsonl:3", "surrogate"});
}

TEST_F(Data, a_file_that_is_rewritten_during_a_run_is_an_error_with_its_name) {
  write_text(top / "g.graph", rl("batches(1000000)"));
  std::string text;
  for (int i = 0; i < 200; ++i) text += prompt_lines(64);
  write_text(top / "d.jsonl", text);
  Program program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"});
  const auto batches = [&] {
    try {
      const auto store = RunStore::open_read_only(top / "run");
      return store->stages().empty() ? 0 : store->batch_count(store->stages()[0].id);
    } catch (const Error&) {
      return int64_t{0};
    }
  };
  while (!program.wait(0.05) && batches() < 3) continue;
  write_text(top / "d.jsonl", prompt_lines(1));
  ASSERT_TRUE(program.wait(60));
  const ProgramResult r = program.result();
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("d.jsonl: the file has been changed while it is in use"), std::string::npos) << r.err;
  ASSERT_GE(batches(), 3) << "the run was not alive";
  expect_refusal(run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"}),
                 {"d.jsonl", "the data of 'p'", fmt::format("{} bytes then", text.size()), "--accept-inputs"}, 2);
}

}  // namespace
}  // namespace r1
