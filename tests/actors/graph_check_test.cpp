// Bad graphs that only the roles can recognise, and the graphs we ship.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "actors/roles.h"
#include "base/files.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = source_dir();

TEST(GraphChecks, every_shipped_graph_passes) {
  int graphs = 0;
  for (const fs::path& dir : {kSource / "graphs", kSource / "tests/e2e/graphs"})
    for (const auto& entry : fs::directory_iterator(dir)) {
      // Those that want a model of one's own are checked beside one (tests/e2e/real_graphs_test.cpp).
      if (entry.path().extension() != ".graph" || read_file(entry.path()).find("path=\"model") != std::string::npos) continue;
      EXPECT_NO_THROW(load_graph(entry.path(), role_registry(dir))) << entry.path();
      ++graphs;
    }
  EXPECT_GE(graphs, 3);
}

TEST(GraphChecks, a_model_goes_through_a_thousand_stages_and_no_more) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto refusal = [&](int stages) -> std::string {
    std::string text = "digraph g {\n  m [kind=model, config=\"nano.json\", tokenizer=tiny];\n";
    for (int i = 0; i < stages; ++i)
      text += "subgraph cluster_s" + std::to_string(i) + " { p" + std::to_string(i) +
              " [role=prompter, source=\"tiny:pretrain\"]; t" + std::to_string(i) +
              " [role=trainer, objective=pretrain, until=\"batches(1)\"]; p" + std::to_string(i) + " -> t" + std::to_string(i) +
              "; }\n" + (i == 0 ? "m" : "t" + std::to_string(i - 1)) + " -> t" + std::to_string(i) + ";\n";
    try {
      load_graph_text(text + "}\n", "g", role_registry(dir));
      return "";
    } catch (const Error& e) {
      return e.message();
    }
  };
  EXPECT_EQ(refusal(1000), "");
  EXPECT_EQ(refusal(1001), "the model of 't1000' is trained by more than 1000 stages, one after the other");
}

// The combinations that docs/grpo.md names.
TEST(GraphChecks, the_published_variants_of_grpo_pass) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const std::vector<std::vector<std::string>> variants = {
      {"trainer.advantage=mean", "trainer.loss_mean=constant"},
      {"trainer.clip_high=0.28", "trainer.loss_mean=token", "judge.rewards=format + overlong(length, 24, 8)"},
      {"trainer.loss_mean=token", "trainer.mask_truncated=true"},
      {"trainer.ratio=sequence", "trainer.clip_low=3e-4", "trainer.clip_high=4e-4"},
      {"trainer.clip=cispo", "trainer.clip_low=1", "trainer.clip_high=4", "trainer.loss_mean=token"},
      {"trainer.decoupled=true", "trainer.behave_cap=2"},
      {"trainer.decoupled=true", "trainer.behave_cap=2", "trainer.behave_above=mask"},
      {"trainer.ratio=sequence", "trainer.decoupled=true", "trainer.behave_cap=2"}};
  for (const auto& settings : variants) {
    std::vector<Override> overrides;
    for (std::string s : settings) {
      if (s.starts_with("trainer")) s = "rl_" + s;
      overrides.push_back(parse_override(s));
    }
    EXPECT_NO_THROW(load_graph(dir / "nano.graph", role_registry(dir), overrides)) << settings[0];
  }
}

TEST(GraphChecks, mtp_is_for_pre_training_of_a_model_that_has_the_module) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto load = [&](const std::vector<std::string>& settings) -> std::string {
    std::vector<Override> overrides;
    for (const std::string& s : settings) overrides.push_back(parse_override(s));
    try {
      load_graph(dir / "nano.graph", role_registry(dir), overrides);
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.message();
    }
  };
  const std::string model = "nano_model.config=nano_deepseek.json";
  EXPECT_EQ(load({model, "base_trainer.mtp=true"}), "");
  EXPECT_NE(load({"base_trainer.mtp=true"}).find("has no multi-token prediction module"), std::string::npos);
  EXPECT_EQ(load({model, "sft_trainer.mtp=true"}), "sft_trainer.mtp has no effect with objective=sft");
  EXPECT_NE(load({model, "base_trainer.mtp=true", "base_trainer.mtp_weight=0"}).find("mtp_weight"), std::string::npos);
}

TEST(GraphChecks, only_a_model_with_the_module_drafts) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto load = [&](const std::vector<std::string>& settings) {
    std::vector<Override> overrides;
    for (const std::string& s : settings) overrides.push_back(parse_override(s));
    load_graph(dir / "nano.graph", role_registry(dir), overrides);
  };
  EXPECT_NO_THROW(load({"nano_model.config=nano_deepseek.json", "policy.draft=true", "rs_policy.draft=true"}));
  try {
    load({"policy.draft=true"});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_EQ(e.message(), "model 'nano_model' has no multi-token prediction module");
    EXPECT_NE(e.hint().find("num_nextn_predict_layers"), std::string::npos);
  }
}

// The place of a bad combination is the attribute's own, in the graph file.
TEST(GraphChecks, a_bad_combination_of_attributes_is_placed_at_the_attribute) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  std::string text = read_file(dir / "nano.graph");
  const std::string from = "objective=grpo, lr=\"1e-3\", mini_batches=2";
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, from.size(), "objective=grpo, ratio=sequence,\n      loss_mean=token");
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(text.find("loss_mean=token")), '\n');
  try {
    load_graph_text(text, "my.graph", role_registry(dir));
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.where().file, "my.graph");
    EXPECT_EQ(e.where().line, line);
    EXPECT_EQ(e.where().column, 17);
    EXPECT_EQ(e.hint(), "loss_mean=sequence");
  }
}

// Engines take it for granted: a generator and a reference give tokens, pairs are scored, a reference takes what is sampled.
TEST(GraphChecks, a_model_that_cannot_do_what_its_role_asks_is_refused) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const std::string nano = read_file(dir / "nano.graph");
  using Changes = std::vector<std::pair<std::string, std::string>>;
  const auto changed = [](std::string text, const Changes& changes) {
    for (const auto& [from, to] : changes) {
      const size_t at = text.find(from);
      EXPECT_NE(at, std::string::npos) << from;
      text.replace(at, from.size(), to);
    }
    return text;
  };
  const auto load = [&](const Changes& changes) -> std::string {
    const std::string text = changed(nano, changes);
    try {
      load_graph_text(text, "my.graph", role_registry(dir));
      return "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().file, "my.graph");
      return e.message();
    }
  };
  // `text` is expected inside the answer.
  const auto expect = [](const std::string& answer, const std::string& text) {
    EXPECT_NE(answer.find(text), std::string::npos) << answer;
  };
  const std::string renewed = "rl_trainer -> reference [carries=weights, every=4];",
                    last = "rm_trainer -> rl2_judge [as=harmless_rm];";
  const auto reference_of = [&](const std::string& node) -> Changes {
    return {{renewed, ""}, {last, last + " " + node + " -> reference;"}};
  };
  expect(load({{"rl_trainer -> rs_policy;", ""}, {last, last + " rm_trainer -> rs_policy;"}}),
         "'rm_trainer' is a reward model: it gives scores, and generator 'rs_policy' needs tokens");
  expect(load({{"sft_trainer -> rl2_trainer;", "rm_trainer -> rl2_trainer;"}}), "trainer 'rl2_trainer' needs tokens");
  expect(load(reference_of("rm_trainer")), "reference 'reference' needs tokens");
  EXPECT_EQ(load(reference_of("base_trainer")), "accepted");

  const fs::path file = fs::temp_directory_path() / ("r1_other_" + std::to_string(::getpid()) + ".json");
  const std::string drawn = "nano_model -> base_trainer;";
  std::string tokenizer = "tiny";
  const auto follows = [&](const std::string& from, const std::string& to, bool renews = false) {
    write_file_atomically(file, changed(read_file(dir / "nano.json"), {{from, to}}));
    Changes changes = reference_of("other");
    changes.push_back(
        {drawn, "other [kind=model, config=\"" + file.string() + "\", tokenizer=\"" + tokenizer + "\"];\n" + drawn});
    if (renews) changes.erase(changes.begin());
    return load(changes);
  };
  expect(follows("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 128"),
         "'reference' is a model of 128 positions, its policy has 256");
  expect(follows("\"vocab_size\": 400", "\"vocab_size\": 399"), "the tokenizer of 'other' has 400 ids, the model only 399");
  EXPECT_EQ(follows("\"vocab_size\": 400", "\"vocab_size\": 407"), "accepted") << "padded to another width";
  nlohmann::json smaller = nlohmann::json::parse(tiny_tokenizer_json());
  smaller["model"]["vocab"].erase(smaller["added_tokens"].back()["content"].get<std::string>());
  smaller["added_tokens"].erase(smaller["added_tokens"].size() - 1);
  write_file_atomically(file.string() + ".tokenizer", smaller.dump());
  tokenizer = file.string() + ".tokenizer";
  expect(follows("\"vocab_size\": 400", "\"vocab_size\": 399"), "'reference' is a model of 399 token ids, its policy has 400");
  fs::remove(tokenizer);
  tokenizer = "tiny";
  EXPECT_EQ(follows("\"hidden_size\": 32", "\"hidden_size\": 64"), "accepted");
  expect(follows("\"hidden_size\": 32", "\"hidden_size\": 64", true), "cannot become the policy");
  fs::remove(file);
}

struct BadCase {
  const char* setting;  // applied to nano.graph
  const char* message;  // expected inside the error
};

TEST(GraphChecks, cispo_has_no_ratio_per_sequence_and_gspo_no_constant_mean) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  for (const char* other : {"rl_trainer.clip=cispo", "rl_trainer.loss_mean=constant"})
    EXPECT_THROW(load_graph(dir / "nano.graph", role_registry(dir),
                            {parse_override("rl_trainer.ratio=sequence"), parse_override(other)}),
                 Error)
        << other;
}

TEST(GraphChecks, dynamic_sampling_has_no_end_of_its_prompts) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  try {
    load_graph(dir / "resample.graph", role_registry(dir), {parse_override("prompts.count=16")});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("'prompts' ends after count=16"), std::string::npos) << e.what();
  }
}

TEST(GraphChecks, a_graph_with_dynamic_sampling_is_told_the_settings_that_do_without) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  try {
    load_graph(dir / "resample.graph", role_registry(dir), {parse_override("groups.fill=shrink")});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(e.hint().find("--set groups.fill=resample --set groups.max_draws=4 draws 4 a batch"), std::string::npos)
        << e.what();
  }
  EXPECT_NO_THROW(load_graph(dir / "resample.graph", role_registry(dir),
                             {parse_override("groups.fill=resample"), parse_override("groups.max_draws=4")}));
}

// What a node gives is taken by somebody, or the graph is refused: nothing works for nothing.
TEST(GraphChecks, a_node_whose_work_nobody_takes_is_refused) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto refusal = [&](const std::string& nodes, const std::string& edges) -> std::string {
    const std::string text = "digraph g {\n  m [kind=model, config=\"nano.json\", tokenizer=tiny];\n  subgraph cluster_a {\n" +
                             nodes + edges +
                             "  }\n  subgraph cluster_b { e [role=evaluator, source=\"tiny:reasoning_test\"]; }\n  m -> e;\n" +
                             (nodes.find("r [") == std::string::npos ? "" : "  m -> r;\n") +
                             (nodes.find("g [") == std::string::npos ? "" : "  m -> g;\n") + "}\n";
    try {
      load_graph_text(text, "g", role_registry(dir));
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.message();
    }
  };
  const std::string p = "p [role=prompter, source=\"tiny:reasoning\"];\n", g = "g [role=generator];\n",
                    j = "j [role=judge, rewards=format];\n", f = "f [role=filter];\n", r = "r [role=reference];\n";
  EXPECT_NE(refusal(p, "").find("nobody takes what 'p' gives"), std::string::npos);
  EXPECT_NE(refusal(p + g, "p -> g;\n").find("nobody takes what 'g' gives"), std::string::npos);
  EXPECT_NE(refusal(p + g + j + f + r, "p -> g -> j -> f -> r;\n").find("nobody takes what 'r' gives"), std::string::npos);
  EXPECT_NE(refusal("p [role=prompter, source=\"tiny:pretrain\"];\n", "").find("nobody takes what 'p' gives"),
            std::string::npos);
}

class BadSettings : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadSettings, are_refused_before_anything_starts) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  try {
    load_graph(dir / "nano.graph", role_registry(dir), {parse_override(GetParam().setting)});
    FAIL() << "accepted: " << GetParam().setting;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
    EXPECT_NE(std::string(e.what()).find(GetParam().message), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "one line: " << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadSettings,
    ::testing::Values(
        BadCase{"corpus.source=tiny:pretrian", "did you mean"}, BadCase{"corpus.source=jsonl:none.jsonl", "none.jsonl"},
        BadCase{"judge.rewards=format + acuracy", "acuracy"}, BadCase{"judge.rewards=format + (1", "judge"},
        BadCase{"rl2_judge.rewards=harmless", "harmless"}, BadCase{"rl_trainer.until=batches(x)", "batches"},
        BadCase{"rl_trainer.until=plateau(rewrd, 20, 0.1)", "rewrd"}, BadCase{"policy.top_p=0.9", "allow_truncated"},
        BadCase{"policy.top_k=5", "allow_truncated"}, BadCase{"policy.temperature=0", "greedy"},
        BadCase{"policy.samples=1", "one is not enough"},
        BadCase{"corpus.count=100", "until asks for 12 batches, but 'corpus' gives 100 examples: 7 batches of 16"},
        BadCase{"prompts.count=23", "until asks for 6 batches, but 'prompts' draws 23 prompts: 5 batches of 4"},
        BadCase{"docs.count=0", "endless"}, BadCase{"rs_prompts.count=0", "count"}, BadCase{"rl2_trainer.kl=0.1", "reference"},
        BadCase{"rl_trainer.epochs=2", "epochs"}, BadCase{"nano_model.config=missing.json", "missing.json"},
        BadCase{"nano_model.config=nano.graph", "nano.graph"}, BadCase{"nano_model.tokenizer=nano.json", "nano.json"},
        BadCase{"nano_model.path=.", "both"}, BadCase{"base_eval.source=tiny:pretrain", "prompts or pairs"},
        BadCase{"rs_filter.keep=format *", "rs_filter"},
        BadCase{"groups.keep=accuracy", "keep has no effect on a filter that forms batches"},
        BadCase{"groups.max_per_prompt=1", "max_per_prompt has no effect on a filter that forms batches"},
        BadCase{"policy.sampels=3", "samples"}, BadCase{"polcy.samples=3", "policy"}, BadCase{"rl_trainer.lr=fast", "lr"},
        BadCase{"student.epochs=0", "epochs"}, BadCase{"judge.rewards=overlong(lenght, 24, 8)", "length"},
        BadCase{"judge.rewards=overlong(length, 24)", "last two arguments of overlong"},
        BadCase{"judge.rewards=overlong(length, 24, 30)", "last 30 of 24"},
        BadCase{"judge.rewards=overlong(length, 24, format)", "numbers of tokens"},
        BadCase{"judge.rewards=format + overlong(length, 64, 32)", "stops at max_tokens=24"},
        BadCase{"rl_trainer.advantage=rank", "std or mean"}, BadCase{"rl_trainer.clip=cipso", "cispo"},
        BadCase{"rl_trainer.behave_cap=2", "decoupled"}, BadCase{"rl_trainer.behave_above=mask", "decoupled"},
        BadCase{"rl_trainer.inner_epochs=0", "inner_epochs"}, BadCase{"rl_trainer.mean_over=some", "mean_over"},
        BadCase{"rl2_trainer.behave_cap=0", "no importance weight"},
        BadCase{"rl2_trainer.ratio=sequence", "loss_mean=token does not"},
        BadCase{"rl2_trainer.until=above(kl, 1)", "this stage has no metric 'kl'"},
        BadCase{"rl_trainer.until=above(pair_accuracy, 1)", "this stage has no metric 'pair_accuracy'"},
        BadCase{"rl_trainer.until=above(thik_length, 1)", "did you mean 'think_length'? it has reward"},
        BadCase{"rl_trainer.until=above(harmless_rm, 1)", "this stage has no metric 'harmless_rm'"},
        BadCase{"base_trainer.until=above(reward, 1)", "this stage has no metric 'reward'"},
        BadCase{"rl_trainer.until=epochs(1)", "epochs has no meaning"},
        BadCase{"base_trainer.until=epochs(1)", "only epochs=N on 'base_trainer'"},
        BadCase{"rl_trainer.until=above(harmless, 1)", "no prompt of this stage has harm=1"},
        BadCase{"base_eval.source=tiny:harmless_pairs_test", "'base_trainer' is no reward model and scores no pairs"},
        BadCase{"rm_eval.source=tiny:reasoning_test", "'rm_trainer' is a reward model and answers no prompts"},
        BadCase{"judge.max_reward_errors=1.5", "max_reward_errors"},
        BadCase{"sft_trainer.kl=0.1", "sft_trainer.kl has no effect with objective=sft"},
        BadCase{"student.loss_mean=token", "student.loss_mean has no effect with objective=sft"},
        BadCase{"rl_trainer.batch=8", "it is for objective=pretrain, sft or reward_model"},
        BadCase{"base_trainer.score_l2=0.1", "it is for objective=reward_model"},
        BadCase{"rl_trainer -> reference.staleness=1", "staleness"}));

// What is accepted and can do nothing is the worst of bad input: the run goes on, and is not the one that was meant.
INSTANTIATE_TEST_SUITE_P(
    WithoutEffect, BadSettings,
    ::testing::Values(
        BadCase{"judge.rewards=1", "rewards=\"1\" is the same for all completions of a prompt: 'rl_trainer' learns from"},
        BadCase{"judge.rewards=if(kind_find, 2, harm)", "would learn nothing"},
        BadCase{"base_eval.rewards=1", "it would say nothing of a model"},
        BadCase{"judge.reward_workers=3", "reward_workers has no effect without a program"},
        BadCase{"judge.reward_retries=0", "reward_retries has no effect without a program"},
        BadCase{"base_eval.reward_timeout_s=5", "reward_timeout_s has no effect without a program"},
        BadCase{"base_eval.reward_start_s=5", "reward_start_s has no effect without a program"},
        BadCase{"judge.on=reference", "judge.on has no effect where no reward model computes"},
        BadCase{"groups.max_draws=9", "groups.max_draws has no effect with fill=shrink"},
        BadCase{"rs_filter.max_draws=9", "rs_filter.max_draws has no effect with fill=shrink"},
        BadCase{"rs_filter.order=arrival", "rs_filter.order has no effect in front of a dataset"},
        BadCase{"rs_filter.keep=1 / 0", "gives inf"},
        BadCase{"rs_policy.on_flip=keep", "on_flip has no effect on a generator that gets no new weights"},
        BadCase{"corpus.groups_per_batch=7",
                "'base_trainer' says how many a batch has: batch=7 there, or --set base_trainer.batch=7"},
        BadCase{"corpus.groups_per_batch=16", "remove it: 'base_trainer' says batch=16 already"},
        BadCase{"pairs.groups_per_batch=50", "batch=24 there"},
        BadCase{"rl_trainer.until=plateau(loss, 20, 0.01)",
                "a policy's loss stays about 0, as the advantages of a group cancel"},
        BadCase{"pairs.groups_per_batch=7", "groups_per_batch has no effect on a prompter of pairs"},
        BadCase{"rl_trainer.muon_lr=0.5", "rl_trainer.muon_lr has no effect with optimizer=adamw"},
        BadCase{"sft_trainer.muon_momentum=0.5", "it is for optimizer=muon"},
        BadCase{"student.muon_weight_decay=3", "student.muon_weight_decay has no effect with optimizer=adamw"},
        BadCase{"rl_trainer.lr_end=0.5", "remove it: it is for schedule=cosine or linear"},
        BadCase{"rl_trainer.balance_loss=0.5", "balance_loss has no effect on model 'nano_model', which has no experts"},
        BadCase{"base_trainer.bias_update_rate=0.5", "which has no experts"},
        BadCase{"base_trainer.mtp_weight=0.7", "mtp_weight has no effect with mtp=false"},
        BadCase{"rl_trainer.mini_batches=17", "cannot make 17 mini-batches of a batch of 16"},
        BadCase{"rm_trainer.mini_batches=9", "cannot make 9 mini-batches of a batch of 8"},
        BadCase{"rl_trainer.host=gpu3", "rl_trainer.host has no effect with ranks=1"},
        BadCase{"student.tags=big", "student.tags has no effect with ranks=1"},
        BadCase{"nano_model -> base_trainer.capacity=3", "capacity"}, BadCase{"rl_trainer -> policy.capacity=3", "capacity"}));

INSTANTIATE_TEST_SUITE_P(
    ThatCannotComeTrue, BadSettings,
    ::testing::Values(
        BadCase{"rl_trainer.until=above(reward, 1e30)", "above(reward, 1e30) never comes true: 'reward'"},
        BadCase{"rl_trainer.until=batches(9) or above(accuracy, 1)", "'accuracy' lies between 0 and 1 (a VALUE below 1)"},
        BadCase{"rl_trainer.until=below(language, 0) or batches(9)", "never comes true"},
        BadCase{"rl_trainer.until=above(length, 24) or batches(9)", "'length' lies between 0 and 24"},
        BadCase{"rl_trainer.until=above(kept, 4) or batches(9)", "'kept' lies between 0 and 4"},
        BadCase{"rl_trainer.until=below(think_length, 0)", "'think_length' lies between 0 and"},
        BadCase{"rl_trainer.until=above(clip_fraction, 1)", "never comes true"},
        BadCase{"base_trainer.until=below(loss, -1)", "'loss' is never below 0"},
        BadCase{"rm_trainer.until=above(pair_accuracy, 1)", "never comes true"},
        BadCase{"base_trainer.until=tokens(1e300)", "tokens(1e300) never comes true: no stage has so many tokens"},
        BadCase{"sft_trainer.until=epochs(3)", "epochs(3) never comes true: epochs=2 ends the stage before"},
        BadCase{"rl_trainer.until=plateau(reward, 2, -1)", "plateau(reward, 2, -1) waits for a fall of more than 1"},
        BadCase{"rl_trainer.until=plateau(accuracy, 2, 5)", "is true whatever is learned: 'accuracy' lies between 0 and 1"},
        BadCase{"base_trainer.until=plateau(loss, 20, 0.01)", "is true while 'loss' falls"}));

TEST(GraphChecks, conditions_that_may_come_true_pass_whatever_is_likely) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  for (const char* until :
       {"above(accuracy, 0.999999)", "below(accuracy, 1e-9) and batches(5)", "above(format, -1)", "below(entropy, 1000)",
        "plateau(reward, 20, 0)", "plateau(reward, 20, 0.01) or batches(40)", "plateau(accuracy, 2, 1)", "above(loss, 1e9)",
        "above(reward, 100)", "above(think_length, 1e6)", "above(length, 23.5)", "below(loss, -1)", "above(kept, 3)",
        "tokens(1e12)", "plateau(length, 5, 3)"})
    EXPECT_NO_THROW(
        load_graph(dir / "nano.graph", role_registry(dir), {parse_override(std::string("rl_trainer.until=") + until)}))
        << until;
  EXPECT_NO_THROW(load_graph(dir / "nano.graph", role_registry(dir), {parse_override("sft_trainer.until=epochs(1.5)")}));
}

TEST(GraphChecks, a_schedule_that_ends_with_the_stage_needs_to_know_when_that_is) {
  const auto refusal = [](std::vector<std::string> settings) -> std::string {
    const fs::path dir = kSource / "tests/e2e/graphs";
    std::vector<Override> overrides;
    for (const std::string& s : settings) overrides.push_back(parse_override(s));
    try {
      load_graph(dir / "nano.graph", role_registry(dir), overrides);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "accepted";
  };
  const std::string endless = refusal({"rl_trainer.schedule=cosine", "rl_trainer.until=tokens(1000)"});
  EXPECT_NE(endless.find("`until` does not say after how many batches at most"), std::string::npos) << endless;
  EXPECT_EQ(refusal({"rl_trainer.schedule=cosine", "rl_trainer.until=tokens(1000) or batches(50)"}), "accepted");
  EXPECT_EQ(refusal({"sft_trainer.schedule=linear"}), "accepted") << "epochs say it";
}

TEST(GraphChecks, a_model_that_is_measured_once_has_no_problems_before) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto load = [&](const std::string& more) {
    return load_graph_text(
        "digraph g { m [kind=model, config=\"nano.json\", tokenizer=tiny]; subgraph cluster_e { e "
        "[role=evaluator, source=\"tiny:reasoning_test\"" +
            more + "]; } m -> e; }",
        "g", role_registry(dir));
  };
  EXPECT_NO_THROW(load(""));
  try {
    load(", problems_before=3");
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("problems_before has no effect without a trainer"), std::string::npos) << e.message();
  }
}

TEST(GraphChecks, a_model_with_a_name_that_the_rewards_do_not_use_is_refused) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  std::string text = read_file(dir / "nano.graph");
  const std::string used = "if(harm, sigmoid(harmless_rm), format)";
  text.replace(text.find(used), used.size(), "format");
  try {
    load_graph_text(text, "g", role_registry(dir));
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "'rl2_judge' is given the model 'harmless_rm', which its rewards do not use");
  }
  EXPECT_NO_THROW(load_graph(dir / "nano.graph", role_registry(dir), {parse_override("rl2_judge.rewards=format")}))
      << "--set removes no edge";
}

TEST(GraphChecks, a_reference_is_told_when_it_takes_the_weights_that_it_is_given) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  std::string text = read_file(dir / "nano.graph");
  text.replace(text.find(", every=4"), 9, "");
  try {
    load_graph_text(text, "g", role_registry(dir));
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "'reference' would never take the weights that it is given");
  }
  text.replace(text.find("[carries=weights];\n  }\n  sft_trainer -> rl_trainer;"), 18, "[carries=weights, every=0];");
  EXPECT_NO_THROW(load_graph_text(text, "g", role_registry(dir))) << "who says 0 means never";
}

// As deep as a reward expression may be, and no deeper: the parser goes down the stack with it.
TEST(GraphChecks, conditions_and_rewards_that_are_nested_or_long_without_end_are_refused) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  const auto load = [&](const std::string& attr, const std::string& text) -> std::string {
    Override o = parse_override(attr + "=x");
    o.value = text;
    try {
      load_graph(dir / "nano.graph", role_registry(dir), {o});
      return "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.message();
    }
  };
  const auto nested = [](int n, const std::string& inside) { return std::string(n, '(') + inside + std::string(n, ')'); };
  EXPECT_EQ(load("rl_trainer.until", nested(200, "batches(3)")), "accepted");
  EXPECT_NE(load("rl_trainer.until", nested(201, "batches(3)")).find("nested too deeply"), std::string::npos);
  EXPECT_NE(load("rl_trainer.until", nested(300000, "batches(3)")).find("nested too deeply"), std::string::npos);
  EXPECT_NE(load("judge.rewards", nested(300000, "format")).find("nested too deeply"), std::string::npos);
  std::string sum = "format";
  for (int i = 0; i < 300000; ++i) sum += "+format";
  EXPECT_NE(load("judge.rewards", sum).find("more than 2000 numbers, names and operators"), std::string::npos);
}

TEST(GraphChecks, rewards_of_a_command_line_without_a_program_take_what_was_said_of_the_program_along) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  std::string text = read_file(dir / "nano.graph");
  const std::string was = "rewards=\"format + 0.1 * language + 0.01 * think_length\"";
  const size_t at = text.find(was);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, was.size(), "rewards=\"command('cat')\", reward_workers=2");
  const auto load = [&](const std::vector<Override>& sets) { load_graph_text(text, "g", role_registry(dir), sets); };
  EXPECT_NO_THROW(load({}));
  EXPECT_NO_THROW(load({{"judge", "rewards", "format"}}));
  text.replace(text.find("command('cat')"), 14, "format");
  EXPECT_THROW(load({}), Error) << "the file says both";
}

}  // namespace
}  // namespace r1
