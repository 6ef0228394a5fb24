// Ranks of trainers in other processes: the weights of ranks that are threads, whoever of them is killed, stopped or cut off.
#include <fmt/format.h>

#include "tests/e2e/nodes_fixture.h"
#include "tests/free_port.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

TEST_F(RankNodes, ranks_at_nodes_learn_what_threads_learn_whoever_of_them_is_killed_or_stopped) {
  ASSERT_EQ(run_program(arguments(top / "threads", ranked())).code, 0);
  const auto expected = summary_hashes(top / "threads");
  ASSERT_EQ(expected.size(), 7u);

  const ProgramResult check = run_program(over_nodes(top / "check", ranked({"--check"})), cache());
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_NE(check.out.find("rl_trainer: rank 0 head, 1 node1, 2 node2\n"), std::string::npos) << check.out;

  Program calm(over_nodes(top / "calm", ranked()), cache());
  ASSERT_TRUE(calm.wait(kPatience_s)) << "does not end";
  const ProgramResult c = calm.result();
  ASSERT_EQ(c.code, 0) << c.err << read_file(top / "calm/r1.log");
  EXPECT_NE(c.err.find("sft_trainer: rank 0 head, 1 node1\n"), std::string::npos) << c.err;
  EXPECT_EQ(lives_at_a_node(top / "calm"), 2) << read_file(top / "calm/r1.log");
  const std::string log = read_file(top / "calm/r1.log");
  EXPECT_TRUE(std::regex_search(
      log,
      std::regex("rank 1 of rl_trainer at node1/[0-9]+ listens on 127\\.0\\.0\\.1:[0-9]+ for rank 2 of rl_trainer at node2/")))
      << log;
  EXPECT_EQ(log.find("of sft_trainer at node1 listens"), std::string::npos) << "of two ranks the second dials the head";
  EXPECT_EQ(summary_hashes(top / "calm"), expected);
  EXPECT_NE(read_file(top / "calm/summary.json").find("; ranks sum in a ring"), std::string::npos) << "in the fingerprint";

  Program disturbed(over_nodes(top / "disturbed", ranked()), cache());
  const int kills = disturb(disturbed, top / "disturbed", 4, {SIGKILL, SIGKILL, SIGSTOP, SIGKILL});
  const ProgramResult d = disturbed.result();
  ASSERT_EQ(d.code, 0) << d.err << read_file(top / "disturbed/r1.log");
  EXPECT_GE(kills, 3);
  EXPECT_GE(lives_at_a_node(top / "disturbed"), 4) << "the stage began again";
  EXPECT_EQ(d.err.find("--change"), std::string::npos) << "a lost rank is no matter of the learning rate: " << d.err;
  EXPECT_EQ(summary_hashes(top / "disturbed"), expected);
  EXPECT_EQ(ledger_complaints(top / "disturbed"), "");
  EXPECT_TRUE(all_gone(processes(top / "disturbed"), 10)) << "a node outlives its run";
}

// Each on an address and on ports of its own, as with firewalls between.
TEST_F(RankNodes, ranks_listen_where_the_host_file_says_that_they_are_reached) {
  const int port = test::free_port();
  std::ofstream(hosts) << fmt::format(
      "localhost slots=1 address=127.0.0.2 ports={0}-{1}\nlocalhost slots=1 address=127.0.0.3 ports={0}-{1}\n", port,
      port + 5);  // of two ranks, and of the other node that fetches from it
  const std::vector<std::string> words =
      ranked({"--listen", fmt::format("127.0.0.1:{}-{}", port, port + 3), "--set", "rl_trainer.until=batches(2)"});
  const ProgramResult r = run_program(over_nodes(top / "run", words), cache());
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string log = read_file(top / "run/r1.log");
  EXPECT_NE(log.find(fmt::format("rank 0 of rl_trainer at the head listens on 127.0.0.1:{} for rank 1", port + 2)),
            std::string::npos)
      << log;
  for (const auto& [address, rank] : {std::pair{"127\\.0\\.0\\.2", 2}, {"127\\.0\\.0\\.3", 0}}) {
    std::smatch at;
    ASSERT_TRUE(
        std::regex_search(log, at, std::regex(fmt::format("listens on {}:([0-9]+) for rank {} of rl_trainer", address, rank))))
        << address << log;
    EXPECT_GE(std::stoi(at[1]), port);
    EXPECT_LE(std::stoi(at[1]), port + 4);
  }
  std::smatch door;
  ASSERT_TRUE(std::regex_search(log, door, std::regex("listens on 127\\.0\\.0\\.[23]:([0-9]+) for nodes that fetch from it")))
      << log;
  EXPECT_GE(std::stoi(door[1]), port);
  EXPECT_LE(std::stoi(door[1]), port + 4);
  const ProgramResult narrow =
      run_program(over_nodes(top / "narrow", {"--listen", fmt::format("127.0.0.1:{}-{}", port, port + 2), "--check"}), cache());
  EXPECT_EQ(narrow.code, 2);
  EXPECT_NE(narrow.err.find("leaves none for ranks"), std::string::npos) << narrow.err;
}

TEST_F(RankNodes, ranks_without_work_are_said_once) {
  const ProgramResult r = run_program(arguments(top / "run", {"--set", "base_trainer.ranks=8"}));
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string log = read_file(top / "run/r1.log");
  const std::regex said("base_trainer: a mini-batch has [0-9]+ micro-batch(es)?, so [0-9]+ of 8 ranks have no work");
  EXPECT_EQ(std::distance(std::sregex_iterator(log.begin(), log.end(), said), std::sregex_iterator()), 1) << log;
  EXPECT_EQ(log.find("sft_trainer: a mini-batch"), std::string::npos) << "one rank is never idle";
}

TEST_F(RankNodes, with_host_head_they_are_threads_and_a_host_that_is_not_there_is_bad_input) {
  std::vector<std::string> head = ranked({"--check", "--set", "rl_trainer.host=head"});
  const ProgramResult check = run_program(over_nodes(top / "check", head), cache());
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_EQ(check.out.find("rl_trainer: rank"), std::string::npos) << check.out;
  const ProgramResult none =
      run_program(over_nodes(top / "check", ranked({"--check", "--set", "rl_trainer.host=node9"})), cache());
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("no node of the host file fits 'rl_trainer'"), std::string::npos) << none.err;
}

}  // namespace
}  // namespace r1
