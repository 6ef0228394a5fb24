// How nodes come to a run and leave it: by ssh, by srun, by hand with an invitation; drained, or with their head. The weights
// are always those of one process.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/shell/shell_client.h"
#include "tests/e2e/nodes_fixture.h"
#include "tests/own_sshd.h"
#include "tests/stopped_process.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct LaunchNodes : Nodes {
  const fs::path node = R1_NODE;

  // A program of that name, before all others on the PATH.
  void script(const std::string& name, const std::string& text) const {
    fs::create_directories(top / "bin");
    std::ofstream(top / "bin" / name) << "#!/bin/sh\n" << text;
    ::chmod((top / "bin" / name).c_str(), 0700);
  }
  std::vector<std::string> environment(std::vector<std::string> more = {}) const {
    more.push_back("XDG_CACHE_HOME=" + (top / "cache").string());
    more.push_back(fmt::format("PATH={}:/usr/bin:/bin", (top / "bin").string()));
    return more;
  }
  void expect_the_weights_of_one_process(const fs::path& run) {
    ASSERT_EQ(run_program(arguments(top / "alone", {})).code, 0);
    EXPECT_EQ(summary_hashes(run), summary_hashes(top / "alone"));
    EXPECT_EQ(ledger_complaints(run), "");
  }
  // Until a line of the run's log has it, as often.
  static bool logged(const fs::path& run, const std::string& text, int times = 1) {
    for (int i = 0; i < kPatience_s * 50; ++i) {
      const std::string log = fs::exists(run / "r1.log") ? read_file(run / "r1.log") : "";
      int found = 0;
      for (size_t at = 0; (at = log.find(text, at)) != log.npos; ++at) ++found;
      if (found >= times) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  std::vector<std::string> joining(int port, const fs::path& run) const {
    return {"--join", fmt::format("127.0.0.1:{}", port), "--key", (run / "keys/join1.join").string(), "--threads", "1"};
  }
  // Of a run whose nodes all die, and which `script` starts none of as long as a file `over` is there.
  void expect_an_end_when_no_node_comes(std::vector<std::string> words, const std::vector<std::string>& environment,
                                        const std::string& reason) {
    words.insert(words.end(), {"--listen", fmt::format("0.0.0.0:{}", test::free_port())});
    const ProgramResult unsaid = run_program(words, environment);
    EXPECT_EQ(unsaid.code, 2);
    EXPECT_NE(unsaid.err.find("--address HOST, by which they reach this machine"), std::string::npos) << unsaid.err;
    words.insert(words.end(), {"--address", "127.0.0.1"});
    Program program(words, environment);
    ASSERT_TRUE(logged(top / "run", "stage rl starts"));
    std::ofstream(top / "over") << "";
    for (const pid_t pid : processes(top / "run")) ::kill(pid, SIGKILL);
    ASSERT_TRUE(program.wait(kPatience_s));
    const ProgramResult r = program.result();
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_NE(r.err.find("no node is left that may do its work, and none will come: node1 on gpu01: "), std::string::npos)
        << r.err;
    EXPECT_NE(r.err.find(reason), std::string::npos) << r.err;
    const std::string log = read_file(top / "run/r1.log");
    for (const char* waited : {"stands still", "starts again from the run store"})
      EXPECT_EQ(log.find(waited), std::string::npos) << log;
    fs::remove(top / "over");
    EXPECT_EQ(run_program(words, environment).code, 0);
    expect_the_weights_of_one_process(top / "run");
  }
  // What the run answers; "" while nobody listens.
  std::string asked(const std::string& line) const {
    try {
      return ShellClient(top / "run").ask(line, 60);
    } catch (const Error&) {
      return "";
    }
  }
  // Whether its answer has `text`, in the end.
  bool answers(const std::string& line, const std::string& text) const {
    for (int i = 0; i < 1000; ++i) {
      if (asked(line).find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static int64_t rl_stage(const fs::path& run) {
    for (const StageRow& row : RunStore::open_read_only(run)->stages())
      if (row.name == "rl") return row.id;
    return -1;
  }
  // What a node leaves on disk beside its cache.
  int trees() const {
    int count = 0;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(top / "cache/r1/trees", none)) count += entry.exists();
    return count;
  }
};

TEST_F(LaunchNodes, over_a_real_sshd_a_node_of_another_host_joins_and_ends_with_the_run) {
  fs::create_directories(top / "sshd");
  const test::OwnSshd sshd(top / "sshd", fmt::format("SetEnv PATH={}:/usr/bin:/bin XDG_CACHE_HOME={}\n",
                                                     node.parent_path().string(), (top / "cache").string()));
  if (!sshd.missing().empty()) GTEST_SKIP() << sshd.missing();
  std::string words;
  const std::vector<std::string> ssh = sshd.ssh();
  for (size_t i = 1; i < ssh.size(); ++i) words += " '" + ssh[i] + "'";
  script("ssh", "PATH=/usr/bin:/bin exec /usr/bin/ssh" + words + " \"$@\"\n");
  std::ofstream(hosts) << fmt::format("127.0.0.1 port={} user={} slots=1\nlocalhost slots=1\n", sshd.port, sshd.user());
  Program program(over_nodes(top / "run", {"--listen", fmt::format("127.0.0.1:{}", test::free_port())}), environment());
  ASSERT_TRUE(program.wait(kPatience_s));
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("node1  127.0.0.1"), std::string::npos) << r.err;
  EXPECT_EQ(processes(top / "run").size(), 2u);
  EXPECT_TRUE(all_gone(processes(top / "run"), 10));
  EXPECT_NE(read_file(top / "run/r1.log").find("Welcome to this host"), std::string::npos);
  expect_the_weights_of_one_process(top / "run");
}

TEST_F(LaunchNodes, in_a_slurm_job_each_machine_has_a_node_that_srun_starts) {
  script("srun",
         "echo \"$@\" >> " + (top / "sruns").string() + "\nwhile [ \"${1#--}\" != \"$1\" ]; do shift; done\nexec \"$@\"\n");
  Program program(arguments(top / "run", {"--slurm", "--listen", fmt::format("127.0.0.1:{}", test::free_port())}),
                  environment({"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=gpu[01-02]", "SLURM_CPUS_PER_TASK=1"}));
  ASSERT_TRUE(program.wait(kPatience_s));
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string sruns = read_file(top / "sruns");
  EXPECT_NE(sruns.find("--nodelist=gpu01 " + node.string() + " --stdin"), std::string::npos) << sruns;
  EXPECT_NE(sruns.find("--nodelist=gpu02"), std::string::npos) << sruns;
  EXPECT_NE(r.err.find("node2  gpu02"), std::string::npos) << r.err;
  EXPECT_TRUE(all_gone(processes(top / "run"), 10));
  expect_the_weights_of_one_process(top / "run");
}

TEST_F(LaunchNodes, a_machine_that_is_not_there_ends_the_run_before_it_begins_unless_it_may_be_missing) {
  script("srun",
         "case \"$*\" in *gpu02*) echo 'no such machine' >&2; exit 1;; esac\n"
         "while [ \"${1#--}\" != \"$1\" ]; do shift; done\nexec \"$@\"\n");
  const auto slurm = environment({"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=gpu[01-02]", "SLURM_CPUS_PER_TASK=1"});
  const ProgramResult refused =
      run_program(arguments(top / "run", {"--slurm", "--listen", fmt::format("127.0.0.1:{}", test::free_port())}), slurm);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("node2 on gpu02 is not there"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("no such machine"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("--allow-missing"), std::string::npos) << refused.err;
  EXPECT_TRUE(all_gone(processes(top / "run"), 10));
  const ProgramResult r = run_program(
      arguments(top / "run", {"--slurm", "--listen", fmt::format("127.0.0.1:{}", test::free_port()), "--allow-missing"}),
      slurm);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(run_program(arguments(top / "x", {"--slurm", "--listen", fmt::format("127.0.0.1:{}", test::free_port())}),
                        {"SLURM_JOB_ID="})
                .code,
            2);
}

TEST_F(LaunchNodes, nodes_elsewhere_are_told_the_address_of_the_head_that_the_command_names) {
  script("ssh", fmt::format("head -n1 > {}/told; exit 1\n", top.string()));
  std::ofstream(hosts) << "gpu07\n";
  const int port = test::free_port();
  run_program(over_nodes(top / "run", {"--listen", fmt::format("127.0.0.1:{}", port), "--address", "203.0.113.1"}),
              environment({}));
  EXPECT_EQ(nlohmann::json::parse(read_file(top / "told"))["head"], fmt::format("203.0.113.1:{}", port));
}

TEST_F(LaunchNodes, a_run_whose_slurm_job_is_over_ends_at_once_and_says_so) {
  script("srun", fmt::format("echo >> {0}/sruns\n[ -e {0}/over ] && {{ echo 'srun: error: Slurm job 7 has expired' >&2; "
                             "echo 'srun: Check SLURM_JOB_ID environment variable. Expired or invalid job 7' >&2; exit 1; }}\n"
                             "while [ \"${{1#--}}\" != \"$1\" ]; do shift; done\nexec \"$@\"\n",
                             top.string()));
  expect_an_end_when_no_node_comes(arguments(top / "run", {"--slurm"}),
                                   environment({"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=gpu[01-02]", "SLURM_CPUS_PER_TASK=1"}),
                                   "Expired or invalid job 7");
  EXPECT_EQ(fs::file_size(top / "sruns"), 6u) << "two, one more for each, and the two of the next process";
}

TEST_F(LaunchNodes, a_run_whose_hosts_all_refuse_ends_when_they_are_given_up) {
  script("ssh",
         fmt::format("[ -e {}/over ] && {{ echo 'ssh: connect to host gpu port 22: Connection refused' >&2; exit 255; }}\n"
                     "for last; do :; done\nPATH={}:$PATH exec sh -c \"$last\"\n",
                     top.string(), node.parent_path().string()));
  std::ofstream(hosts) << "gpu01 slots=1\ngpu02 slots=1\n";
  expect_an_end_when_no_node_comes(over_nodes(top / "run"), environment(), "Connection refused");
}

TEST_F(LaunchNodes, a_machine_without_the_program_is_told_what_it_lacks) {
  script("ssh", "echo 'sh: 1: exec: r1-node: not found' >&2; exit 127\n");
  std::ofstream(hosts) << "gpu01 slots=1\n";
  const ProgramResult r =
      run_program(over_nodes(top / "run", {"--listen", fmt::format("127.0.0.1:{}", test::free_port())}), environment());
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("r1-node: not found (r1-node has to be on the PATH of the login shell there)"), std::string::npos)
      << r.err;
}

TEST_F(LaunchNodes, one_that_joins_by_hand_leaves_when_it_is_told_to_and_the_run_goes_on) {
  std::ofstream(hosts) << "localhost slots=1\n";
  const int port = test::free_port();
  std::vector<std::string> more = {"--listen", fmt::format("127.0.0.1:{}", port), "--invite", "2"};
  more.insert(more.end(), {"--set", "rl_trainer.until=batches(30)"});
  Program head(over_nodes(top / "run", more), environment());
  ASSERT_TRUE(logged(top / "run", "node1"));
  Program joined(joining(port, top / "run"), environment(), 0, node.string());
  ASSERT_TRUE(logged(top / "run", "node join1 on")) << joined.result().err;
  ASSERT_TRUE(logged(top / "run", "joins: process", 2));
  joined.send(SIGTERM);
  ASSERT_TRUE(joined.wait(kPatience_s));
  EXPECT_EQ(joined.result().code, 0);
  EXPECT_TRUE(logged(top / "run", "has left"));
  ASSERT_TRUE(head.wait(kPatience_s));
  const ProgramResult r = head.result();
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(fs::exists(top / "run/keys/join1.join") || fs::exists(top / "run/keys/join2.join"))
      << "an invitation outlives its run";
  EXPECT_EQ(trees(), 0);
  ASSERT_EQ(run_program(arguments(top / "alone", {"--set", "rl_trainer.until=batches(30)"})).code, 0);
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "alone"));
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

TEST_F(LaunchNodes, one_that_joined_by_hand_outlives_its_head_and_comes_back_to_the_next) {
  std::ofstream(hosts) << "localhost slots=1\n";
  const int port = test::free_port();
  const std::vector<std::string> more = {"--listen", fmt::format("127.0.0.1:{}", port), "--invite", "1"};
  std::optional<Program> head(std::in_place, over_nodes(top / "run", more), environment());
  ASSERT_TRUE(logged(top / "run", "node1"));
  Program joined(joining(port, top / "run"), environment(), 0, node.string());
  ASSERT_TRUE(logged(top / "run", "node join1 on"));
  head->send(SIGKILL);
  head->result();
  EXPECT_FALSE(joined.wait(0));
  head.emplace(over_nodes(top / "run", more), environment());
  EXPECT_TRUE(logged(top / "run", "node join1 on", 2));
  ASSERT_TRUE(head->wait(kPatience_s));
  ASSERT_EQ(head->result().code, 0) << head->result().err;
  ASSERT_TRUE(joined.wait(kPatience_s)) << "it outlives the run";
  EXPECT_EQ(joined.result().code, 0) << joined.result().err;
  expect_the_weights_of_one_process(top / "run");
}

TEST_F(LaunchNodes, one_that_joined_by_hand_and_was_drained_is_sent_away_by_the_next_head_too) {
  std::ofstream(hosts) << "localhost slots=1\n";
  const int port = test::free_port();
  const std::vector<std::string> more = {"--listen", fmt::format("127.0.0.1:{}", port), "--invite", "1",
                                         "--set",    "rl_trainer.until=batches(30)"};
  std::optional<Program> head(std::in_place, over_nodes(top / "run", more), environment());
  ASSERT_TRUE(logged(top / "run", "node1"));
  Program joined(joining(port, top / "run"), environment(), 0, node.string());
  ASSERT_TRUE(logged(top / "run", "node join1 on"));
  ASSERT_TRUE(logged(top / "run", "joins: process", 2));
  const auto works = [&] {
    const std::string nodes = asked("nodes");
    return nodes.find("join1") != nodes.npos && nodes.find("policy", nodes.find("join1")) != nodes.npos;
  };
  for (int i = 0; i < 1000 && !works(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  test::stop_process(joined.pid());  // it hears of nothing
  const std::string answer = asked("drain join1");
  EXPECT_NE(answer.find("join1 gets nothing new"), std::string::npos) << answer;
  head->send(SIGKILL);
  head->result();
  head.emplace(over_nodes(top / "run", more), environment());
  ASSERT_TRUE(logged(top / "run", "joins: process", 3));
  const auto paused = [&] { return asked("pause").find("paused") != std::string::npos; };  // it does not end meanwhile
  for (int i = 0; i < 1000 && !paused(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  joined.send(SIGCONT);
  ASSERT_TRUE(joined.wait(60)) << "it is let in";
  EXPECT_EQ(joined.result().code, 0) << joined.result().err;
  asked("resume");
  EXPECT_NE(read_file(top / "run/r1.log").find("node join1 was drained"), std::string::npos) << joined.result().err;
  ASSERT_TRUE(head->wait(kPatience_s));
  ASSERT_EQ(head->result().code, 0) << head->result().err;
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

// It is the only one that samples, so that versions stand still until it is back.
TEST_F(LaunchNodes, one_that_joined_by_hand_keeps_its_weights_when_its_head_dies_and_is_not_sent_them_again) {
  std::ofstream(hosts) << "localhost slots=1\n";
  const int port = test::free_port();
  const std::vector<std::string> more = {"--listen", fmt::format("127.0.0.1:{}", port), "--invite", "1"};
  std::optional<Program> head(std::in_place, over_nodes(top / "run", more), environment());
  ASSERT_TRUE(logged(top / "run", "node1"));
  // Most of the time goes into sampling, so that the run is paused there.
  Program joined(joining(port, top / "run"), environment({"R1_FAULT=slow:policy:100"}), 0, node.string());
  ASSERT_TRUE(logged(top / "run", "node join1 on"));
  ASSERT_TRUE(logged(top / "run", "joins: process", 2));
  ASSERT_TRUE(answers("drain node1", "leaves")) << "join1 is there and can do all";
  // The version at the node, when everything stands: that of the last batch, unless one is committed and not learned from yet.
  const auto held = [&] {
    const nlohmann::json inspected = nlohmann::json::parse(asked("inspect policy"), nullptr, false);
    for (const auto& row : inspected.value("rows", nlohmann::json::array()))
      if (row["what"] == "workers" && row["value"].size() == 1 && row["value"][0]["role"].is_object())
        return row["value"][0]["role"].value("version", int64_t{-1});
    return int64_t{-1};
  };
  const auto batches = [&] { return RunStore::open_read_only(top / "run")->batch_count(rl_stage(top / "run")); };
  bool stands = false;
  for (int i = 0; i < 100 && !stands; ++i) {
    ASSERT_TRUE(answers("pause", "paused"));
    for (int j = 0; j < 25 && !stands; ++j) {  // what a node says of itself comes twice a second
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      stands = held() > 0 && held() == batches();
    }
    if (!stands) answers("resume", "goes on");
  }
  ASSERT_TRUE(stands) << asked("inspect policy");
  head->send(SIGKILL);
  head->result();
  head.emplace(over_nodes(top / "run", more), environment());
  ASSERT_TRUE(head->wait(kPatience_s));
  ASSERT_EQ(head->result().code, 0) << head->result().err;
  EXPECT_TRUE(logged(top / "run", "node join1 on", 2));
  ASSERT_TRUE(joined.wait(kPatience_s));
  EXPECT_EQ(joined.result().code, 0) << joined.result().err;
  const auto store = RunStore::open_read_only(top / "run");
  const auto holds = store->events(rl_stage(top / "run"), 10, "worker_holds");
  ASSERT_EQ(holds.size(), 1u);
  EXPECT_NE(holds[0][2].find("version "), std::string::npos) << holds[0][2];
  EXPECT_TRUE(store->events(rl_stage(top / "run"), 10, "sent_whole").empty()) << "it could not use them";
  expect_the_weights_of_one_process(top / "run");
}

// Its files, and the modules beside them, come by content.
TEST_F(LaunchNodes, a_reward_program_is_run_where_its_judge_is) {
  fs::create_directories(top / "graph");
  fs::copy_file(source_dir() / "tests/e2e/graphs/nano.json", top / "graph/nano.json");
  std::ofstream(top / "graph/reward.py") << "from r1_reward import reward, serve\nimport helper\n\n"
                                            "@reward\ndef f(response):\n    return helper.score(response)\n\nserve(f)\n";
  std::ofstream(top / "graph/helper.py") << "import os\nopen('" << (top / "directories").string()
                                         << "', 'a').write(os.getcwd() + '\\n')\n\n"
                                            "def score(text):\n    return len(text) % 7 / 7\n";
  std::ofstream(top / "graph/g.graph") << R"__(digraph g {
  graph [seed=5, precision=f32];
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_rl {
    prompts [role=prompter, source="tiny:reasoning", groups_per_batch=4];
    policy  [role=generator, samples=4, max_tokens=16];
    judge   [role=judge, rewards="command('python3 reward.py')"];
    groups  [role=filter];
    t       [role=trainer, objective=grpo, lr="1e-3", until="batches(3)"];
    prompts -> policy -> judge -> groups -> t;
    t -> policy [carries=weights, staleness=0];
  }
  m -> t;
})__";
  const auto words = [&](const char* run, std::vector<std::string> more) {
    more.insert(more.begin(), {(top / "graph/g.graph").string(), "--run", (top / run).string(), "-q"});
    return more;
  };
  const ProgramResult r = run_program(words("run", {"--hostfile", hosts.string()}), environment());
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(read_file(top / "directories").find("/trees/"), std::string::npos) << read_file(top / "directories");
  ASSERT_EQ(run_program(words("alone", {})).code, 0);
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "alone"));
}

TEST_F(LaunchNodes, an_invitation_that_is_none_and_options_without_nodes_are_bad_input) {
  std::ofstream(top / "key") << "join1 not a key\n";
  ::chmod((top / "key").c_str(), 0600);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"--join", "127.0.0.1:9", "--key", (top / "key").string()},
                                             {"--join", "127.0.0.1:9", "--key", (top / "nowhere").string()},
                                             {"--join", "127.0.0.1:9"},
                                             {}}) {
    Program program(words, environment(), 0, node.string());
    EXPECT_EQ(program.result().code, 2) << program.result().err;
  }
  for (const char* option : {"--listen", "--invite", "--allow-missing"}) {
    std::vector<std::string> words = {option};
    if (std::string(option) == "--listen") words.push_back("127.0.0.1:0");
    if (std::string(option) == "--invite") words.push_back("1");
    const ProgramResult r = run_program(arguments(top / "run", words));
    EXPECT_EQ(r.code, 2) << option;
    EXPECT_NE(r.err.find("--hostfile FILE or --slurm"), std::string::npos) << r.err;
  }
}

}  // namespace
}  // namespace r1
