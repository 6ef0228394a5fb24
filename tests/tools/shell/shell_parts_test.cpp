// Where r1-shell attaches, and what its tab key offers.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "tools/shell/attach.h"
#include "tools/shell/completion.h"

namespace r1 {
namespace {

TEST(ShellPlaces, of_ssh_have_a_host_and_a_run_and_what_else_is_said) {
  const SshPlace plain = parse_ssh_place("ssh://gpu07/runs/r1_full");
  EXPECT_EQ(plain.host, "gpu07");
  EXPECT_EQ(plain.run, "runs/r1_full");
  EXPECT_EQ(plain.user + std::to_string(plain.port), "0");
  const SshPlace all = parse_ssh_place("ssh://me@[fe80::1]:2222//data/a run");
  EXPECT_EQ(all.user, "me");
  EXPECT_EQ(all.host, "fe80::1");
  EXPECT_EQ(all.port, 2222);
  EXPECT_EQ(all.run, "/data/a run");
}

TEST(ShellPlaces, of_ssh_that_are_none_are_refused) {
  for (const char* where :
       {"ssh://", "ssh://gpu07", "ssh://gpu07/", "ssh:///run", "ssh://-oProxyCommand=x/run", "ssh://-l@h/run", "ssh://a b/run",
        "ssh://h:0/run", "ssh://h:99999/run", "ssh://h:x/run", "ssh://$(id)/run", "ssh://[fe80::1/run", "ssh://h/a\nb"})
    EXPECT_THROW(parse_ssh_place(where), Error) << where;
}

TEST(ShellPlaces, a_key_is_for_an_address_and_an_address_needs_one) {
  EXPECT_THROW(attach("127.0.0.1:4000", ""), Error);
  EXPECT_THROW(attach("ssh://h/run", "a.key"), Error);
  EXPECT_THROW(attach("/nowhere/run", "a.key"), Error);
  EXPECT_THROW(attach("127.0.0.1:4000", "/nowhere/a.key"), Error);
}

std::vector<std::string> offered(const std::string& line) {
  return shell_completions(line, [](const std::string& command) -> std::string {
    if (command == "help") return R"({"rows":[{"command":"set ACTOR.ATTR VALUE"},{"command":"ps"}]})";
    if (command == "ps") return R"({"rows":[{"actor":"rl1_policy"}]})";
    if (command == "nodes") return R"({"rows":[{"node":"node1","roles":"policy, judge"},{"node":"node2","roles":"judge"}]})";
    if (command == "stages") return R"({"rows":[{"stage":"rl1"}]})";
    if (command == "live") return R"({"rows":[{"attribute":"rl1_trainer.lr"}]})";
    if (command == "metrics rl1") return R"({"rows":[{"metric":"reward"}]})";
    return R"({"error":"no"})";
  });
}
bool offers(const std::string& line, const std::string& word) {
  const auto words = offered(line);
  return std::count(words.begin(), words.end(), word) > 0;
}

TEST(ShellCompletion, offers_what_the_run_has_at_that_place) {
  EXPECT_TRUE(offers("", "ps"));
  EXPECT_TRUE(offers("se", "set"));
  EXPECT_TRUE(offers("", "quit"));
  EXPECT_TRUE(offers("help s", "set"));
  EXPECT_TRUE(offers("kill ", "rl1_policy"));
  EXPECT_TRUE(offers("drain ", "node2"));
  EXPECT_TRUE(offers("undrain ", "node2"));
  EXPECT_EQ(offered("scale "), (std::vector<std::string>{"judge", "policy"}));
  EXPECT_TRUE(offers("set rl", "rl1_trainer.lr"));
  EXPECT_TRUE(offers("metrics ", "rl1"));
  EXPECT_TRUE(offers("metrics rl1 re", "reward"));
  EXPECT_TRUE(offers("traj rl1 ", "worst"));
  EXPECT_TRUE(offered("ps ").empty());
  EXPECT_TRUE(offered("metrics none ").empty()) << "an answer that is an error offers nothing";
}

}  // namespace
}  // namespace r1
