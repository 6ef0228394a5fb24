// What a check of the data finds before anything starts: each file read whole, whatever else the graph says.
#include "actors/data_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "actors/roles.h"
#include "base/files.h"
#include "tests/prompt_lines.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

class DataCheckTest : public testing::Test {
 protected:
  DataCheckTest() {
    dir_ = fs::temp_directory_path() / ("r1_data_check_" + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    fs::copy_file(source_dir() / "tests/e2e/graphs/nano.json", dir_ / "nano.json");
    options_.memory = dir_ / "memory";
  }
  ~DataCheckTest() override { fs::remove_all(dir_); }

  void data(const std::string& text, const std::string& name = "d.jsonl") { std::ofstream(dir_ / name) << text; }

  DataCheck check(const std::string& text) {
    std::ofstream(dir_ / "g.graph") << text;
    const GraphView graph = load_graph(dir_ / "g.graph", role_registry(dir_));
    return check_data(make_run_env(graph, dir_ / "run", dir_), graph, options_, SystemClock());
  }
  std::string refusal(const std::string& text) {
    try {
      check(text);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "accepted";
  }
  static std::string rl(const std::string& source, const std::string& rewards = "format", const std::string& prompter = "",
                        const std::string& generator = "max_tokens=32", const std::string& trainer = "") {
    return R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_s {
    p [role=prompter, source=")__" +
           source + "\", groups_per_batch=4" + prompter + "];\n    g [role=generator, samples=4, " + generator +
           "];\n    j [role=judge, rewards=\"" + rewards +
           R"__("];
    f [role=filter];
    t [role=trainer, objective=grpo, until="batches(3)")__" +
           trainer + R"__(];
    p -> g -> j -> f -> t; t -> g [carries=weights];
  }
  m -> t;
})__";
  }
  static std::string sft(const std::string& source, const std::string& trainer = "until=\"batches(1)\"") {
    return R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_s { p [role=prompter, source=")__" +
           source + "\"]; t [role=trainer, objective=sft, " + trainer + R"__(]; p -> t; }
  m -> t;
})__";
  }
  static bool says(const DataCheck& found, const std::string& words) {
    for (const DataWarning& w : found.warnings)
      if (w.str().find(words) != std::string::npos) return true;
    return false;
  }

  fs::path dir_;
  DataCheckOptions options_;
};

TEST_F(DataCheckTest, good_data_give_no_warning) {
  data(prompt_lines(65));
  const DataCheck found = check(rl("jsonl:d.jsonl?template=tiny"));
  EXPECT_EQ(found.records, 65);
  EXPECT_EQ(found.files, 1);
  for (const auto& w : found.warnings) ADD_FAILURE() << w.str();
}

TEST_F(DataCheckTest, rewards_of_one_value_for_all_completions_are_warned_of) {
  data(prompt_lines(65));
  for (const char* rewards : {"accuracy * 0", "length - length", "if(length >= 0, 1, format)", "0 * length + harm"}) {
    const DataCheck found = check(rl("jsonl:d.jsonl?template=tiny", rewards));
    EXPECT_TRUE(
        says(found, fmt::format("rewards=\"{}\" has one value for all completions of a prompt, whatever they say: no group "
                                "will teach 't' anything",
                                rewards)))
        << rewards;
    EXPECT_EQ(found.warnings.size(), 1u);
  }
  EXPECT_TRUE(check(rl("jsonl:d.jsonl?template=tiny", "accuracy - format")).warnings.empty());
}

TEST_F(DataCheckTest, answers_that_a_reward_compares_with_and_no_prompt_has_are_warned_of) {
  data("{\"prompt\": \"compute 1 + 1\"}\n{\"prompt\": \"compute 1 + 2\"}\n");
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl?template=tiny", "if(finished, math, accuracy) + format")),
                   "no prompt of d.jsonl has an answer, with which 'math', 'accuracy' compares: it is 0 for all of them"));
  EXPECT_TRUE(check(rl("jsonl:d.jsonl?template=tiny")).warnings.empty());
  data(R"({"prompt": "Q", "reward_model": {"style": "rule", "ground_truth": "3"}}
)");
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl?template=tiny", "math")),
                   "it is 0 for all of them (it may be ?answer=reward_model.ground_truth)"));
  EXPECT_TRUE(check(rl("jsonl:d.jsonl?template=tiny&answer=reward_model.ground_truth", "math")).warnings.empty());
  // Some without are a mixture of tasks where one learns, and so many failures where one measures.
  data(prompt_lines(3) + "{\"prompt\": \"compute 1 + 2\"}\n");
  EXPECT_TRUE(check(rl("jsonl:d.jsonl?template=tiny", "math")).warnings.empty());
  std::string text = sft("tiny:cold_start");
  text.replace(text.find("p -> t;"), 7,
               "p -> t; e [role=evaluator, source=\"jsonl:d.jsonl?template=tiny\", rewards=\"math\", max_tokens=8]; "
               "t -> e [carries=weights];");
  for (int again = 0; again < 2; ++again)  // the second is remembered
    EXPECT_TRUE(says(check(text),
                     "1 of 4 prompts of d.jsonl have no answer, with which 'math' compares: it is not measured with them"));
}

TEST_F(DataCheckTest, a_part_of_the_question_that_no_model_is_shown_is_warned_of_with_what_joins_it) {
  data(R"({"instruction": "Add.", "input": "", "output": "3"}
{"instruction": "Add.", "input": "1 + 2", "output": "3"}
{"instruction": "Add.", "input": "2 + 2", "output": "4"}
)");
  const std::string alpaca = sft("jsonl:d.jsonl?prompt=instruction&completion=output&template=tiny");
  for (int again = 0; again < 2; ++again)  // the second is remembered
    EXPECT_TRUE(
        says(check(alpaca),
             "2 of 3 examples of d.jsonl have something in \"input\" that no model is shown (the first: d.jsonl:2): jq -c "
             "'if (.input // \"\") != \"\" then .instruction += \"\\n\\n\" + .input else . end | del(.input)' " +
                 (dir_ / "d.jsonl").string() + " > " + (dir_ / "d_joined.jsonl").string() + " puts it into what is asked"));
  data(R"({"instruction": "Add.", "input": "", "output": "3"}
{"instruction": "Add.", "output": "3"}
)");
  EXPECT_TRUE(check(alpaca).warnings.empty()) << "it is empty";
  data(R"({"question": "What?", "context": "A text.", "answer": "3"}
)");
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl?template=tiny")), "1 of 1 prompts of d.jsonl have something in \"context\""));
  EXPECT_FALSE(says(check(rl("jsonl:d.jsonl?template=tiny", "command('cat')")), "context")) << "a program is shown facts";
  data(R"({"system": "Be short.", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
)");
  EXPECT_TRUE(
      says(check(sft("jsonl:d.jsonl?template=tiny")),
           "1 of 1 examples of d.jsonl have something in \"system\" that no model is shown (the first: d.jsonl:1): jq -c "
           "'.messages = [(if (.system // \"\") != \"\" then {role: \"system\", content: .system} else empty end), "
           ".messages[]] | del(.system)' "));
  data(R"({"prompt": "What?", "history": "a text", "answer": "3"}
)");
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl?template=tiny")), "\"messages\" are a conversation with all of it"))
      << "of no known form";
}

TEST_F(DataCheckTest, what_steers_a_stage_and_no_held_out_prompt_of_a_file_gives_is_refused) {
  data("{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\", \"kind\": \"sum\"}\n", "kinds.jsonl");
  data("{\"prompt\": \"compute 1 + 1\"}\n{\"prompt\": \"compute 1 + 2\"}\n", "open.jsonl");
  data(prompt_lines(3), "answered.jsonl");
  const auto steered = [&](const std::string& source, const std::string& evaluator, const std::string& until) {
    std::string text = rl("tiny:reasoning");
    text.replace(text.find("p -> g -> j -> f -> t;"), 22,
                 "e [role=evaluator, source=\"" + source + "\", max_tokens=8, every=1" + evaluator +
                     "];\n    p -> g -> j -> f -> t; t -> e [carries=weights]; e -> t;");
    text.replace(text.find("batches(3)"), 10, until);
    return text;
  };
  const std::string open = "jsonl:open.jsonl?template=tiny", answered = "jsonl:answered.jsonl?template=tiny",
                    kinds = "jsonl:kinds.jsonl?template=tiny";
  EXPECT_NE(refusal(steered(open, "", "above(held_out/accuracy, 0.5) or batches(3)"))
                .find("until: 'held_out/accuracy' is never measured: no prompt of 'e' is of another domain than \"general\" "
                      "(general_accuracy)"),
            std::string::npos);
  EXPECT_NE(
      refusal(steered(open, "", "above(held_out/general_accuracy, 0.5) or batches(3)")).find("no prompt of 'e' has an answer"),
      std::string::npos);
  EXPECT_NE(refusal(steered(kinds, ", keep=best, metric=accuracy_summ", "batches(3)")).find("kinds are sum"),
            std::string::npos);
  EXPECT_NE(refusal(steered(open, "", "above(held_out/harmless, 0.5) or batches(3)")).find("no prompt of 'e' has harm=1"),
            std::string::npos);
  EXPECT_NE(refusal(steered(answered, ", keep=best, metric=\"open/length\"", "batches(3)")).find("there is no part 'open'"),
            std::string::npos);
  EXPECT_EQ(refusal(steered(answered, "", "above(held_out/accuracy, 0.5) or batches(3)")), "accepted");
  EXPECT_EQ(refusal(steered(answered, ", keep=best", "batches(3)")), "accepted");
}

TEST_F(DataCheckTest, an_interval_that_the_stage_does_not_last_for_is_warned_of_at_its_place) {
  std::string text = rl("tiny:reasoning");
  text.replace(text.find("p -> g -> j -> f -> t;"), 22,
               "r [role=reference];\n    e [role=evaluator, source=\"tiny:reasoning_test\", max_tokens=8, every=4];\n"
               "    p -> g -> j -> f -> r -> t; t -> r [carries=weights, every=5]; t -> e [carries=weights]; e -> t;");
  const DataCheck found = check(text);
  EXPECT_TRUE(says(found, ":10:")) << "the evaluator's line";
  EXPECT_TRUE(says(found, "every=4, and 't' ends after 3 batches: 'e' measures nothing on the way"));
  EXPECT_TRUE(says(found, "every=5, and 't' ends after 3 batches: 'r' stays as it began"));
  std::string window = rl("tiny:reasoning");
  window.replace(window.find("batches(3)"), 10, "plateau(reward, 2, 0.01, 50) or batches(49)");
  EXPECT_TRUE(says(check(window), "plateau(reward, 2, 0.01, 50) needs 50 batches, and batches(49) ends 't' before"));
  text.replace(text.find("batches(3)"), 10, "batches(5)");
  EXPECT_TRUE(check(text).warnings.empty());
}

TEST_F(DataCheckTest, a_broken_line_is_found_whatever_ends_the_stage) {
  data("{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"x\",\"completion\":null}\n{\"prompt\":\"x\"}\n");
  for (const char* ends : {"until=\"batches(3)\"", "epochs=1", "until=\"tokens(100)\""}) {
    const std::string text = refusal(sft("jsonl:d.jsonl", ends));
    EXPECT_NE(text.find("d.jsonl:2:15"), std::string::npos) << text;
    EXPECT_NE(text.find("(1 more of its 3 records are bad)"), std::string::npos) << text;
  }
  EXPECT_NE(refusal(R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny]; d [kind=dataset, path="d.jsonl"];
  subgraph cluster_s { t [role=trainer, objective=sft, epochs=1]; }
  m -> t; d -> t;
})__")
                .find("d.jsonl:2:15"),
            std::string::npos);
}

TEST_F(DataCheckTest, an_evaluator_s_file_is_read_whole_too) {
  data(prompt_lines(300) + "{\"prompt\": \"\", \"answer\": 1}\n");
  std::string text = sft("tiny:cold_start");
  text.replace(text.find("p -> t;"), 7,
               "p -> t; e [role=evaluator, source=\"jsonl:d.jsonl\", problems=2]; t -> e [carries=weights];");
  EXPECT_NE(refusal(text).find("d.jsonl:301:2"), std::string::npos);
}

TEST_F(DataCheckTest, long_prompts_are_counted_or_refused) {
  data(prompt_lines(65, 40));
  const DataCheck found = check(rl("jsonl:d.jsonl?template=tiny"));
  EXPECT_TRUE(says(found, "g.graph:4:")) << "the place in the graph";
  EXPECT_TRUE(says(
      found, "1 of 65 prompts are longer than the 256 positions of 'm' (the first: d.jsonl:41): they are dropped as too_long"));
  const std::string text = refusal(rl("jsonl:d.jsonl?template=tiny", "format", ", too_long=error"));
  EXPECT_NE(text.find("d.jsonl:41"), std::string::npos) << text;
}

TEST_F(DataCheckTest, an_example_longer_than_the_model_is_refused_with_its_line) {
  std::string words;
  for (int i = 0; i < 300; ++i) words += " one";
  data("{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\",\"completion\":\"" + words + "\"}\n");
  const std::string text = refusal(sft("jsonl:d.jsonl"));
  EXPECT_NE(text.find("d.jsonl:2"), std::string::npos) << text;
  EXPECT_NE(text.find("its model takes 256"), std::string::npos) << text;
}

TEST_F(DataCheckTest, max_tokens_beyond_the_positions_are_a_warning) {
  data(prompt_lines(64));
  const DataCheck found = check(rl("jsonl:d.jsonl?template=tiny", "format", "", "max_tokens=100000", ", loss_mean=constant"));
  EXPECT_TRUE(says(found, "behind 64 of 64 prompts max_tokens=100000 goes beyond the 256 positions"));
  EXPECT_TRUE(says(found, "loss_mean=constant divides by max_tokens"));
  EXPECT_TRUE(says(check(rl("tiny:reasoning", "format", "", "max_tokens=100000")), "goes beyond the 256 positions"));
}

TEST_F(DataCheckTest, facts_are_checked_where_an_expression_uses_them) {
  data("{\"prompt\":\"a\",\"answer\":1,\"level\":0}\n{\"prompt\":\"a\",\"answer\":1,\"level\":2}\n");
  const std::string text = refusal(rl("jsonl:d.jsonl", "format * level"));
  EXPECT_NE(text.find("d.jsonl:2"), std::string::npos) << text;
  EXPECT_NE(text.find("'level' is '2' here"), std::string::npos) << text;
  EXPECT_EQ(refusal(rl("jsonl:d.jsonl", "format")), "accepted") << "nobody uses it";
  EXPECT_EQ(refusal(rl("jsonl:d.jsonl", "format * level_2")), "accepted");
  EXPECT_NE(refusal(rl("jsonl:d.jsonl", "format * levle_2")).find("did you mean"), std::string::npos);
  data("{\"prompt\":\"a\",\"answer\":1,\"level\":0}\n{\"prompt\":\"a\",\"answer\":1}\n");
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl", "format * level")), "1 of 2 prompts of d.jsonl lack the fact behind 'level'"));
}

TEST_F(DataCheckTest, a_template_whose_tags_the_tokenizer_lacks_is_refused) {
  data(prompt_lines(3));
  EXPECT_NE(refusal(rl("jsonl:d.jsonl?template=qwen2.5")).find("<|im_start|>, which the tokenizer of 'm' has no token for"),
            std::string::npos);
}

TEST_F(DataCheckTest, a_second_check_of_the_same_content_remembers_the_first) {
  data(prompt_lines(65, 40));
  const auto first = check(rl("jsonl:d.jsonl?template=tiny"));
  ASSERT_EQ(std::distance(fs::directory_iterator(options_.memory), {}), 1);
  const fs::path entry = fs::directory_iterator(options_.memory)->path();
  std::string text = read_file(entry);
  text.replace(text.find("\"records\":65"), 12, "\"records\":99");
  write_file_atomically(entry, text);
  EXPECT_EQ(check(rl("jsonl:d.jsonl?template=tiny")).records, 99) << "read from memory";
  EXPECT_EQ(check(rl("jsonl:d.jsonl?template=tiny", "format", "", "max_tokens=33")).records, 65) << "another question";
  data(prompt_lines(66, 40));
  EXPECT_EQ(check(rl("jsonl:d.jsonl?template=tiny")).records, 66) << "another content";
  for (const auto& file : fs::directory_iterator(options_.memory)) std::ofstream(file.path()) << "{damaged";
  EXPECT_EQ(check(rl("jsonl:d.jsonl?template=tiny")).records, 66);
  for (int i = 0; i < 300; ++i) std::ofstream(options_.memory / (std::to_string(i) + ".json")) << "{}";
  data(prompt_lines(67));
  check(rl("jsonl:d.jsonl?template=tiny"));
  EXPECT_LE(static_cast<size_t>(std::distance(fs::directory_iterator(options_.memory), {})), kMostRemembered);
}

TEST_F(DataCheckTest, when_time_is_short_a_sample_is_tokenised_and_every_line_parsed) {
  data(prompt_lines(1000));
  options_.tokenise_s = 0;
  EXPECT_TRUE(says(check(rl("jsonl:d.jsonl?template=tiny")), "of the 1000 prompts of d.jsonl were tokenised"));
  data(prompt_lines(1000) + "{\"prompt\": 1}\n");
  EXPECT_NE(refusal(rl("jsonl:d.jsonl?template=tiny")).find("d.jsonl:1001:2"), std::string::npos);
}

// rl() with an evaluator of `questions`.
std::string evaluated(std::string graph, const std::string& questions) {
  return graph.replace(graph.find("t -> g"), 0,
                       "e [role=evaluator, source=\"" + questions + "\", problems=2]; t -> e [carries=weights]; ");
}

TEST_F(DataCheckTest, each_part_of_a_mixture_is_read_whole) {
  data(prompt_lines(65));
  data(prompt_lines(10) + "{\"prompt\": \"\", \"answer\": 1}\n", "e.jsonl");
  EXPECT_NE(refusal(rl("jsonl:d.jsonl?weight=3, jsonl:e.jsonl?weight=1")).find("e.jsonl:11:2"), std::string::npos);
  data(prompt_lines(10), "e.jsonl");
  const DataCheck found = check(rl("jsonl:d.jsonl?weight=3, jsonl:e.jsonl?weight=1"));
  EXPECT_EQ(found.files, 2);
  EXPECT_EQ(found.records, 75);
  EXPECT_NE(refusal(rl("jsonl:d.jsonl?template=tiny&weight=3, jsonl:e.jsonl?template=none&weight=1"))
                .find("different chat templates"),
            std::string::npos);
  const std::string text = refusal(rl("jsonl:d.jsonl?weight=3, jsonl:e.jsonl"));
  EXPECT_NE(text.find("g.graph:4:"), std::string::npos) << text;
  EXPECT_NE(text.find("'jsonl:" + (dir_ / "e.jsonl").string() + "' has none"), std::string::npos) << text;
  data("{\"prompt\":\"a\",\"completion\":\"b\"}\n", "e.jsonl");
  EXPECT_NE(refusal(rl("jsonl:d.jsonl, jsonl:e.jsonl")).find("e.jsonl' examples"), std::string::npos);
}

TEST_F(DataCheckTest, records_that_an_evaluator_asks_are_counted_with_the_first_line) {
  data(prompt_lines(5) + R"({"prompt": "one two three one two three one two three one two", "answer": "1"})" + "\n");
  data(R"({"prompt": "say: one two three one two three one two three one two now", "answer": "1"})"
       "\n",
       "test.jsonl");
  const std::string words =
      "1 of 6 prompts of d.jsonl hold what an evaluator asks, ten words in a row or all of it (the first: d.jsonl:6)";
  DataCheck found = check(evaluated(rl("jsonl:d.jsonl"), "jsonl:test.jsonl"));
  EXPECT_TRUE(says(found, words + ": decontaminate=drop leaves them out"));
  ASSERT_EQ(found.contaminated.size(), 1u);
  EXPECT_EQ(found.contaminated[0].found, 1);
  EXPECT_FALSE(found.contaminated[0].dropped);
  EXPECT_TRUE(says(check(evaluated(rl("jsonl:d.jsonl", "format", ", decontaminate=drop"), "jsonl:test.jsonl")),
                   words + ": they are left out as contaminated"));
  EXPECT_FALSE(
      says(check(evaluated(rl("jsonl:d.jsonl", "format", ", decontaminate=off"), "jsonl:test.jsonl")), "evaluator asks"));
  EXPECT_FALSE(says(check(rl("jsonl:d.jsonl")), "evaluator asks")) << "nothing is evaluated";
  // What is remembered depends on what is asked.
  data(prompt_lines(1), "test.jsonl");
  EXPECT_TRUE(
      says(check(evaluated(rl("jsonl:d.jsonl"), "jsonl:test.jsonl")), "5 of 6 prompts of d.jsonl hold what an evaluator asks"));
  data(R"({"prompt": "two", "answer": "1"})"
       "\n",
       "test.jsonl");
  EXPECT_FALSE(says(check(evaluated(rl("jsonl:d.jsonl"), "jsonl:test.jsonl")), "evaluator asks"));
}

TEST_F(DataCheckTest, decontamination_that_has_nothing_to_do_or_leaves_nothing_is_refused) {
  data(prompt_lines(5));
  EXPECT_NE(refusal(rl("jsonl:d.jsonl", "format", ", decontaminate=drop")).find("nothing to keep apart from"),
            std::string::npos);
  const std::string text = refusal(evaluated(rl("jsonl:d.jsonl", "format", ", decontaminate=drop"), "jsonl:d.jsonl"));
  EXPECT_NE(text.find("all 5 prompts of d.jsonl hold what an evaluator asks"), std::string::npos) << text;
}

TEST_F(DataCheckTest, what_is_left_out_as_contaminated_gives_no_batch_that_until_asks_for) {
  data(prompt_lines(1), "test.jsonl");
  std::string lines;
  for (int i = 0; i < 32; ++i)
    lines += R"({"prompt": "say it", "completion": "it"})"
             "\n";
  data(lines + R"({"prompt": "compute 1 1 1", "completion": "2"})");
  const auto graph = [](const char* decontaminate) {
    std::string text = sft("jsonl:d.jsonl", "until=\"batches(2)\"");
    text.replace(text.find("]; t [role=trainer"), 1, std::string(", decontaminate=") + decontaminate + "]");
    text.replace(text.find("p -> t;"), 7,
                 "p -> t; e [role=evaluator, source=\"jsonl:test.jsonl\", max_tokens=8]; t -> e [carries=weights];");
    return text;
  };
  check(graph("report"));
  const std::string text = refusal(graph("drop"));
  EXPECT_NE(text.find("until asks for 2 batches, but 'p' gives 32 examples, 1 left out as contaminated: 1 batch of 32"),
            std::string::npos)
      << text;
}

TEST_F(DataCheckTest, what_is_made_is_compared_with_nothing_and_says_so) {
  data(prompt_lines(1), "test.jsonl");
  const std::string text = refusal(evaluated(rl("tiny:reasoning", "format", ", decontaminate=drop"), "jsonl:test.jsonl"));
  EXPECT_NE(text.find("'tiny:reasoning' is made, not read from a file: no record of it is compared"), std::string::npos)
      << text;
}

TEST_F(DataCheckTest, what_an_evaluator_holds_out_of_a_file_nobody_learns) {
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += R"({"prompt": "compute )" + std::to_string(i) + R"( + 1", "answer": "1"})" + "\n";
  data(lines);
  const auto graph = [&](const std::string& learned, const std::string& asked) {
    return evaluated(rl("jsonl:d.jsonl" + learned), "jsonl:d.jsonl" + asked);
  };
  const DataCheck found = check(graph("?split=train&held_out=0.2", "?split=test&held_out=0.2"));
  EXPECT_EQ(found.records, 40) << "each record is in one part";
  EXPECT_FALSE(says(found, "evaluator asks"));
  EXPECT_EQ(refusal(graph("?split=train&held_out=0.3", "?split=test&held_out=0.2")), "accepted");
  for (const char* learned : {"", "?split=train&held_out=0.1", "?split=train&held_out=0.2&split_seed=1"}) {
    const std::string text = refusal(graph(learned, "?split=test&held_out=0.2"));
    EXPECT_NE(text.find("'p' reads records of d.jsonl that 'e' holds out of it"), std::string::npos) << text;
    EXPECT_NE(text.find("split=train&held_out=0.2"), std::string::npos) << text;
  }
  EXPECT_FALSE(says(check(graph("?split=train&held_out=0.2", "?split=train&held_out=0.2")), "evaluator asks"))
      << "who asks the train part means to";
  EXPECT_NE(refusal(evaluated(rl("tiny:reasoning"), "jsonl:d.jsonl?weight=2")).find("an evaluator asks all of its sources"),
            std::string::npos);
}

TEST_F(DataCheckTest, stages_that_are_done_read_nothing_any_more) {
  data("{\"prompt\":\"a\",\"completion\":\"b\"}\nbroken\n");
  options_.done = [](const std::string& stage) { return stage == "s"; };
  EXPECT_EQ(refusal(sft("jsonl:d.jsonl")), "accepted");
}

}  // namespace
}  // namespace r1
