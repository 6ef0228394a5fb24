// Bad input (P10): one clear line and exit code 2, before the first actor starts.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

using BadInput = BadInputTest;

TEST_F(BadInput, a_good_graph_is_accepted_so_that_the_refusals_below_mean_something) {
  std::ofstream(top / "g.graph") << minimal();
  EXPECT_EQ(run_program({(top / "g.graph").string(), "--check"}).code, 0);
}
TEST_F(BadInput, a_place_at_a_node_in_a_run_without_nodes) {
  const std::string graph = read_file(source_dir() / "tests/e2e/graphs/cards.graph");
  for (const char* place : {"policy.host=gpu3", "reference.tags=big,fast", "judge.replicas=2", "node.host=node1"}) {
    const std::string set = place, asks = set.substr(set.find('.') + 1);
    expect_refused(graph, {"--set " + set, "asks for " + asks + ", and this run has no nodes", "--hostfile FILE or --slurm"},
                   {"--check", "--set", set});
    expect_refused(graph, {"and this run has no nodes"}, {"--set", set});
  }
  expect_refused(
      graph,
      {"--set policy.host=gpu3: 'policy' asks for host=gpu3, 'policy' asks for tags=big, 'judge' asks for replicas=2, and "
       "this run has no nodes",
       "or --set node.host= --set node.replicas=0 --set node.tags= to do without"},
      {"--check", "--set", "policy.host=gpu3", "--set", "policy.tags=big", "--set", "judge.replicas=2"});
  write_text(top / "g.graph", graph);
  for (const char* none : {"policy.host=head", "node.host=head", "policy.host=", "judge.replicas=0"})
    EXPECT_EQ(run_program({(top / "g.graph").string(), "--check", "--set", none}).code, 0) << none;
  write_text(top / "hosts", "localhost slots=2\n");
  expect_refused(graph, {"'policy' asks for tags=',', which names none"},
                 {"--check", "--set", "policy.tags=,", "--hostfile", (top / "hosts").string()});
}
TEST_F(BadInput, a_device_that_there_is_not_stands_at_its_place) {
  expect_refused("digraph g {\n graph [device=cuda];\n" + minimal().substr(minimal().find('\n') + 1),
                 {"g.graph:2:16", "unknown device 'cuda'"});
  expect_refused(minimal(), {"--set graph.device=", "unknown device ''"}, {"--set", "graph.device="});
}
TEST_F(BadInput, syntax) {
  expect_refused("digraph g {\n  a [role=prompter\n}\n", {"g.graph:2:5", "never closed"});
  expect_refused("digraph g {", {"g.graph:1"});
  expect_refused(minimal(", lr=3e-4"), {"g.graph:5", "quote"});
  expect_refused("graph g { a -- b; }", {"g.graph:1", "digraph"});
}
TEST_F(BadInput, unknown_role) {
  expect_refused("digraph g { subgraph cluster_a { t [role=traner]; } }", {"g.graph:1", "traner", "trainer"});
}
TEST_F(BadInput, unknown_attribute) { expect_refused(minimal(", bacth=4"), {"g.graph:5", "bacth", "batch"}); }
TEST_F(BadInput, value_of_a_wrong_type) { expect_refused(minimal(", batch=many"), {"g.graph:5", "batch", "many"}); }
TEST_F(BadInput, value_out_of_range) { expect_refused(minimal(", batch=0"), {"g.graph:5", "batch"}); }
TEST_F(BadInput, ill_typed_edge) {
  expect_refused(minimal("",
                         "subgraph cluster_b { e [role=evaluator, source=\"tiny:reasoning_test\"]; q [role=prompter, "
                         "source=\"tiny:reasoning\"]; q -> e; }\n"),
                 {"g.graph:", "prompt", "evaluator"});
}
TEST_F(BadInput, undeclared_node) { expect_refused(minimal("", "t -> nowhere;\n"), {"g.graph:9:6", "nowhere"}); }
TEST_F(BadInput, node_declared_twice) {
  expect_refused(minimal("", "m [kind=model, config=\"nano.json\", tokenizer=tiny];\n"), {"g.graph:9:1", "declared twice"});
}
TEST_F(BadInput, cycle_between_stages) {
  expect_refused(R"__(digraph g {
  subgraph cluster_a { pa [role=prompter, source="tiny:pretrain"]; a [role=trainer, objective=sft, until="batches(1)"]; pa -> a; }
  subgraph cluster_b { pb [role=prompter, source="tiny:pretrain"]; b [role=trainer, objective=sft, until="batches(1)"]; pb -> b; }
  a -> b; b -> a;
})__",
                 {"g.graph:", "cycle"});
}
TEST_F(BadInput, missing_model) {
  std::string text = minimal();
  text.replace(text.find("nano.json"), 9, "none.json");
  expect_refused(text, {"g.graph:2", "none.json"});
}
TEST_F(BadInput, config_that_is_not_json) {
  std::ofstream(top / "nano.json") << "hello";
  expect_refused(minimal(), {"nano.json"});
}
TEST_F(BadInput, missing_dataset) {
  expect_refused(minimal("", "d [kind=dataset, path=\"none.jsonl\"];\n d -> t;\n"), {"none.jsonl"});
}
TEST_F(BadInput, dataset_with_a_bad_line) {
  std::ofstream(top / "d.jsonl") << "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"\n";
  std::string text = minimal(", epochs=1", "d [kind=dataset, path=\"d.jsonl\"];\n d -> t;\n");
  text.insert(text.find("tiny:pretrain") + 14, ", count=4");
  expect_refused(text, {"d.jsonl:2"});
}
TEST_F(BadInput, records_of_another_kind_than_the_graph_needs_come_with_the_options_that_help) {
  const auto refused = [&](const std::string& record, const std::string& trainer, const std::vector<std::string>& words) {
    write_text(top / "d.jsonl", record + "\n");
    std::string text = minimal();
    text.replace(text.find("tiny:pretrain"), 13, "jsonl:d.jsonl");
    text.replace(text.find("pretrain"), 8, trainer);
    expect_refused(text, words);
  };
  const std::string response = R"({"prompt":"a","response":"b"})", pair = R"({"prompt":"a","chosen":"b","rejected":"c"})";
  refused(response, "sft", {"a prompter gives prompts", "?completion=response makes examples of"});
  refused(pair, "sft", {"objective=sft needs examples", "?completion=chosen&as=examples makes examples of"});
  refused(R"({"prompt":"a","completion":"b"})", "reward_model", {"needs pairs", "d.jsonl:1 makes no pairs: no \"chosen\""});
  write_text(top / "d.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n");
  expect_refused(minimal("", R"(subgraph cluster_b { e [role=evaluator, source="jsonl:d.jsonl"]; } t -> e;)"),
                 {"an evaluator needs prompts or pairs", "?as=prompts makes prompts of"});
}
TEST_F(BadInput, example_longer_than_the_model) {
  std::ofstream out(top / "d.jsonl");
  out << "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\",\"completion\":\"";
  for (int i = 0; i < 300; ++i) out << " one";
  out << "\"}\n";
  out.close();
  for (const bool whole_set : {true, false}) {
    std::string text = minimal(whole_set ? ", epochs=1" : "");
    text.replace(text.find("tiny:pretrain"), 13, "jsonl:" + (top / "d.jsonl").string());
    text.replace(text.find("batches(2)"), 10, "batches(1)");
    std::ofstream(top / "g.graph") << text;
    const ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / (whole_set ? "a" : "b")).string(), "-q"});
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_NE(r.err.find("its model takes 256"), std::string::npos) << r.err;
  }
}
TEST_F(BadInput, a_name_that_no_file_can_have) {
  const std::string name(300, 'x');
  for (const char* was : {"config=\"nano.json\"", "tokenizer=tiny"}) {
    std::string text = minimal();
    const std::string attribute(was, std::strchr(was, '='));
    text.replace(text.find(was), std::strlen(was), fmt::format("{}=\"{}\"", attribute, name));
    expect_refused(text, {"g.graph:2:", name + ": no such file"});
  }
  expect_refused(graph_on(fmt::format("path=\"{}\"", name)), {name});
  expect_refused(minimal("", fmt::format("d [kind=dataset, path=\"{}\"];\n d -> t;\n", name)), {name});
  std::string text = minimal();
  text.replace(text.find("tiny:pretrain"), 13, "jsonl:" + name);
  expect_refused(text, {name});
  write_text(top / "g.graph", minimal());
  expect_refusal(run_program({(top / "g.graph").string(), "--run", (top / name).string()}), {name, "File name too long"});
}
TEST_F(BadInput, a_value_of_several_lines_is_shown_on_one) {
  std::string text = minimal();
  text.replace(text.find("tiny:pretrain"), 13, "tiny:pre\ntrain");
  expect_refused(text, {"g.graph:4", "unknown source 'tiny:pre\\ntrain'"});
  expect_refused(minimal(", on=\"c\npu\""), {"unknown device 'c\\npu'"});
}
TEST_F(BadInput, bad_tokenizer) {
  std::string text = minimal();
  text.replace(text.find("tokenizer=tiny"), 14, "tokenizer=\"nano.json\"");
  expect_refused(text, {"nano.json"});
}
TEST_F(BadInput, vocabulary_smaller_than_the_tokenizer) {
  std::string config = read_file(top / "nano.json");
  config.replace(config.find("400"), 3, "100");
  std::ofstream(top / "nano.json") << config;
  expect_refused(minimal(), {"400", "100"});
}
TEST_F(BadInput, run_directory_that_cannot_be_made) {
  std::ofstream(top / "file") << "x";
  expect_refused(minimal(), {"file"}, {"--run", (top / "file").string()});
  expect_refused(minimal(), {"file/below"}, {"--run", (top / "file/below").string()});
}
TEST_F(BadInput, run_directory_that_holds_other_things) {
  fs::create_directories(top / "other");
  std::ofstream(top / "other/thesis.tex") << "x";
  expect_refused(minimal(), {"other", "not empty"}, {"--run", (top / "other").string()});
}
TEST_F(BadInput, busy_run_directory) {
  const auto lock_dir = top / "busy";
  fs::create_directories(lock_dir);
  const auto lock = DirectoryLock::try_lock(lock_dir);
  ASSERT_TRUE(lock.has_value());
  expect_refused(minimal(), {"busy", "another r1-run"}, {"--run", lock_dir.string()});
}
TEST_F(BadInput, overrides) {
  expect_refused(minimal(), {"tt", "t"}, {"--set", "tt.lr=1"});
  expect_refused(minimal(), {"learning"}, {"--set", "t.learning=1"});
  expect_refused(minimal(), {"--set"}, {"--set", "nonsense"});
}
TEST_F(BadInput, override_of_an_unknown_node_or_attribute_suggests_one) {
  expect_refused(minimal("", "d [kind=dataset, path=\"d.jsonl\"];\n d -> t;\n"), {"--set", "cluster", "no node"},
                 {"--set", "cluster.lr=1"});
  expect_refused(minimal(), {"--set", "batches", "batch"}, {"--set", "t.batches=1"});
  expect_refused(minimal(), {"--set", "grph", "graph"}, {"--set", "grph.seed=1"});
  expect_refused(minimal(), {"--set", "t.batch", "many"}, {"--set", "t.batch=many"});
}
TEST_F(BadInput, command_line) {
  const auto refused = [](std::vector<std::string> arguments) {
    const ProgramResult r = run_program(arguments);
    return r.code == 2 && !r.err.empty();
  };
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused({"--no-such-flag"}));
  EXPECT_TRUE(refused({"nowhere.graph"}));
  EXPECT_TRUE(refused({"--replay", "nowhere"}));
}

}  // namespace
}  // namespace r1
