// A run over several processes of this machine: the weights of one process, whatever happens to the nodes; and no process is
// left behind.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/e2e/nodes_fixture.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kLonger = {"--set", "rl_trainer.until=batches(40)", "--set", "rl2_trainer.until=batches(16)"};

std::vector<std::string> stages_in(const fs::path& run) {
  std::vector<std::string> names;
  for (const auto& stage : nlohmann::json::parse(read_file(run / "summary.json"))["stages"]) names.push_back(stage["name"]);
  return names;
}

TEST_F(Nodes, three_processes_give_the_weights_of_one_whoever_of_them_is_killed_or_stopped) {
  const ProgramResult alone = run_program(arguments(top / "alone", kLonger));
  ASSERT_EQ(alone.code, 0) << alone.err;
  const auto expected = summary_hashes(top / "alone");
  ASSERT_EQ(expected.size(), 7u);

  Program calm(over_nodes(top / "calm", kLonger), cache());
  ASSERT_TRUE(calm.wait(kPatience_s)) << "does not end";
  const ProgramResult r = calm.result();
  ASSERT_EQ(r.code, 0) << r.err << read_file(top / "calm/r1.log");
  EXPECT_EQ(summary_hashes(top / "calm"), expected);
  EXPECT_EQ(stages_in(top / "calm"), stages_in(top / "alone")) << "in the order of the graph";
  EXPECT_EQ(ledger_complaints(top / "calm"), "");
  EXPECT_EQ(processes(top / "calm").size(), 3u) << read_file(top / "calm/r1.log");
  EXPECT_TRUE(all_gone(processes(top / "calm"), 10)) << "a node outlives its run";
  EXPECT_NE(r.err.find("node2"), std::string::npos) << "the table of nodes: " << r.err;

  Program disturbed(over_nodes(top / "disturbed", kLonger), cache());
  const int kills = disturb(disturbed, top / "disturbed", 5, {SIGKILL, SIGKILL, SIGSTOP, SIGKILL, SIGKILL});
  const ProgramResult d = disturbed.result();
  ASSERT_EQ(d.code, 0) << d.err << read_file(top / "disturbed/r1.log");
  EXPECT_GE(kills, 3);
  EXPECT_EQ(summary_hashes(top / "disturbed"), expected);
  EXPECT_EQ(ledger_complaints(top / "disturbed"), "");
  EXPECT_TRUE(all_gone(processes(top / "disturbed"), 10)) << "a node outlives its run";
}

// Every kind of stage that graphs/r1_full.graph has, which has kinds that nano.graph lacks.
TEST_F(Nodes, the_whole_recipe_in_short_has_over_processes_the_hashes_of_one) {
  std::vector<std::string> words = {(source_dir() / "graphs/r1_full.graph").string(), "-q"};
  for (const char* set : {"base_trainer.until=batches(60)",
                          "rl1_trainer.until=batches(3)",
                          "rl2_trainer.until=batches(3)",
                          "qwen_trainer.until=batches(100)",
                          "llama_trainer.until=batches(100)",
                          "qwen_rl_trainer.until=batches(2)",
                          "llama_rl_trainer.until=batches(2)",
                          "rs_prompts.count=64",
                          "teacher_prompts.count=64",
                          "sft_general.count=200",
                          "helpful_pairs.count=64",
                          "harmless_pairs.count=64",
                          "rs_filter.keep=language >= 0",
                          "teacher_filter.keep=language >= 0",
                          "node.problems=20",
                          "base_eval.problems_before=20",
                          "qwen_eval.problems_before=20",
                          "llama_eval.problems_before=20",
                          "edge.staleness=0",
                          "node.ranks=2",
                          "node.micro_batch_tokens=256"})
    words.insert(words.end(), {"--set", set});
  auto in = [&](const char* run, std::vector<std::string> more) {
    std::vector<std::string> all = words;
    more.insert(more.end(), {"--run", (top / run).string()});
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all, cache());
  };
  const ProgramResult alone = in("alone", {}), nodes = in("nodes", {"--hostfile", hosts.string()});
  ASSERT_EQ(alone.code, 0) << alone.err;
  ASSERT_EQ(nodes.code, 0) << nodes.err << read_file(top / "nodes/r1.log");
  EXPECT_EQ(summary_hashes(top / "alone").size(), 15u);
  EXPECT_EQ(summary_hashes(top / "nodes"), summary_hashes(top / "alone"));
  EXPECT_EQ(ledger_complaints(top / "nodes"), "");
}

TEST_F(Nodes, what_four_processes_need_leaves_the_head_about_once_and_they_have_it_from_each_other) {
  // nano.graph with a model of 2.5 million parameters: files and weights of megabytes.
  std::string config = read_file(source_dir() / "tests/e2e/graphs/nano.json"),
              graph = read_file(source_dir() / "tests/e2e/graphs/nano.graph");
  const auto replace = [](std::string& text, const std::string& from, const std::string& to) {
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
  };
  replace(config, "\"hidden_size\": 32", "\"hidden_size\": 256");
  replace(config, "\"intermediate_size\": 64", "\"intermediate_size\": 512");
  replace(config, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4");
  replace(config, "\"head_dim\": 16", "\"head_dim\": 128");
  std::ofstream(top / "big.json") << config;
  replace(graph, "\"nano.json\"", '"' + (top / "big.json").string() + '"');
  std::ofstream(top / "big.graph") << graph;
  std::ofstream(hosts) << "localhost slots=1\nlocalhost slots=1\nlocalhost slots=1\nlocalhost slots=1\n";
  const auto words = [&](const std::string& run, const std::vector<std::string>& more) {
    std::vector<std::string> a = {
        (top / "big.graph").string(),  "--run", (top / run).string(),           "-q",    "--set",
        "rl_trainer.until=batches(2)", "--set", "rl2_trainer.until=batches(2)", "--set", "base_trainer.until=batches(3)"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  };
  const ProgramResult alone = run_program(words("alone", {}));
  ASSERT_EQ(alone.code, 0) << alone.err;
  const ProgramResult r = run_program(words("run", {"--hostfile", hosts.string()}), cache());
  ASSERT_EQ(r.code, 0) << r.err << read_file(top / "run/r1.log");
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "alone"));
  // What the nodes say of weights that they fetched: all of it, and how much from the head.
  std::ifstream log(top / "run/r1.log");
  const std::regex here("'version [0-9]+, whole' is here: (.*)"), part("([0-9]+) bytes from (the head|node[0-9]/[0-9]+)");
  int64_t all = 0, from_head = 0;
  std::set<std::string> parents;
  std::smatch m;
  for (std::string line; std::getline(log, line);) {
    if (!std::regex_search(line, m, here)) continue;
    const std::string parts = m[1];
    for (std::sregex_iterator at(parts.begin(), parts.end(), part), end; at != end; ++at) {
      all += std::stol((*at)[1]);
      (*at)[2] == "the head" ? void(from_head += std::stol((*at)[1])) : void(parents.insert((*at)[2]));
    }
  }
  EXPECT_GT(all, 50'000'000) << read_file(top / "run/r1.log");
  EXPECT_LT(from_head, all / 2) << read_file(top / "run/r1.log");
  EXPECT_GE(parents.size(), 1u);
  EXPECT_TRUE(all_gone(processes(top / "run"), 10)) << "a node outlives its run";
}

TEST_F(Nodes, with_staleness_the_replay_of_a_run_whose_nodes_were_killed_and_stopped_is_equal) {
  std::vector<std::string> more = kLonger;
  more.insert(more.end(), {"--set", "edge.staleness=2"});
  Program program(over_nodes(top / "run", more), cache());
  const int kills = disturb(program, top / "run", 5, {SIGKILL, SIGSTOP, SIGKILL});
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err << read_file(top / "run/r1.log");
  EXPECT_GE(kills, 2);
  EXPECT_EQ(ledger_complaints(top / "run"), "");
  const ProgramResult replay = run_program({"--replay", (top / "run").string()});
  EXPECT_EQ(replay.code, 0) << replay.out;
}

TEST_F(Nodes, no_node_outlives_a_head_that_is_killed_and_the_run_goes_on_to_the_same_weights) {
  ASSERT_EQ(run_program(arguments(top / "alone", {})).code, 0);
  // Where the work is done is no part of what is computed.
  const std::vector<std::string> placed = {"--set", "policy.replicas=2", "--set", "judge.host=node3"};
  {
    Program head(over_nodes(top / "run", placed), cache());
    for (int i = 0; i < 4000 && processes(top / "run").size() < 3; ++i) head.wait(0.02);
    const std::vector<pid_t> nodes = processes(top / "run");
    ASSERT_EQ(nodes.size(), 3u) << read_file(top / "run/r1.log");
    head.send(SIGKILL);
    head.result();
    EXPECT_TRUE(all_gone(nodes, 20));
  }
  const ProgramResult r = run_program(over_nodes(top / "run", placed), cache());
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "alone"));
  EXPECT_NE(r.err.find("policy: 2 of node1, node2, node3\n"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("\njudge: node3\n"), std::string::npos) << r.err;
  // What the roles recorded came over, and each was done where the graph says: judge at one node (of each of the two heads).
  const auto store = RunStore::open_read_only(top / "run");
  for (const StageRow& stage : store->stages()) {
    if (stage.name != "rl") continue;
    double sampled = 0;
    for (const MetricRow& m : store->metrics(stage.id, "tokens_generated")) sampled += m.value;
    EXPECT_GT(sampled, 0);
    std::set<std::string> judges;
    for (const auto& row : store->events(stage.id, 1000, "worker_joined"))
      if (std::find(row.begin(), row.end(), "judge") != row.end()) judges.insert(row.back());
    EXPECT_GE(judges.size(), 1u);
    EXPECT_LE(judges.size(), 2u) << *judges.begin();
  }
}

TEST_F(Nodes, a_host_file_that_is_none_and_a_node_that_does_not_come_are_bad_input_before_anything_runs) {
  std::ofstream(top / "bad") << "localhost\nlocalhost slot=2\n";
  const ProgramResult bad = run_program(arguments(top / "run", {"--hostfile", (top / "bad").string()}));
  EXPECT_EQ(bad.code, 2);
  EXPECT_NE(bad.err.find("bad:2:11: "), std::string::npos) << bad.err;
  EXPECT_NE(bad.err.find("did you mean 'slots'?"), std::string::npos) << bad.err;
  std::ofstream(top / "far") << "nowhere.invalid\n";
  const ProgramResult far = run_program(arguments(top / "run", {"--hostfile", (top / "far").string()}));
  EXPECT_EQ(far.code, 2);
  EXPECT_NE(far.err.find("--listen"), std::string::npos) << far.err;
  std::ofstream(top / "device") << "localhost device=gpu:99\n";
  const ProgramResult device = run_program(arguments(top / "run", {"--hostfile", (top / "device").string()}), cache());
  EXPECT_EQ(device.code, 2);
  EXPECT_NE(device.err.find("node1 on localhost is not there"), std::string::npos) << device.err;
}

}  // namespace
}  // namespace r1
