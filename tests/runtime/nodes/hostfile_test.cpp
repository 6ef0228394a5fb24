// Hostfiles: what is read, and a table of what is not.
#include "runtime/nodes/hostfile.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

TEST(Hostfile, every_line_is_a_node_with_what_it_says) {
  const auto hosts = parse_hostfile(
      "# two machines\n"
      "\n"
      "  localhost slots=4 # here\n"
      "\tlocalhost\r\n"
      "gpu07 gpus=2\ttags=big,fast device=cpu user=me port=2222\n"
      "you@10.0.0.7 address=192.168.7.8 ports=4000-4009\n"
      "[2001:db8::7] gpus=0 address=[2001:db8::8]\n"
      "localhost#again",
      "hosts");
  ASSERT_EQ(hosts.size(), 6u);
  EXPECT_EQ(hosts[0].name, "node1");
  EXPECT_EQ(hosts[0].host, "localhost");
  EXPECT_EQ(hosts[0].slots, 4);
  EXPECT_EQ(hosts[0].where.str(), "hosts:3:3");
  EXPECT_TRUE(hosts[0].is_local() && hosts[1].is_local() && hosts[5].is_local());
  EXPECT_FALSE(hosts[1].slots.has_value() || hosts[1].gpus.has_value());
  EXPECT_EQ(hosts[2].host, "gpu07");
  EXPECT_EQ(hosts[2].gpus, 2);
  EXPECT_EQ(hosts[2].tags, (std::vector<std::string>{"big", "fast"}));
  EXPECT_EQ(hosts[2].device, "cpu");
  EXPECT_EQ(hosts[2].user, "me");
  EXPECT_EQ(hosts[2].port, 2222);
  EXPECT_EQ(hosts[3].user, "you");
  EXPECT_EQ(hosts[3].host, "10.0.0.7");
  EXPECT_EQ(hosts[3].address, "192.168.7.8");
  EXPECT_EQ(hosts[3].ports.text(), "4000-4009");
  EXPECT_TRUE(hosts[2].address.empty() && hosts[2].ports.any());
  EXPECT_EQ(hosts[4].address, "2001:db8::8");
  EXPECT_EQ(hosts[4].host, "2001:db8::7");
  EXPECT_EQ(hosts[4].gpus, 0);
  EXPECT_EQ(hosts[5].name, "node6");
}

TEST(Hostfile, this_machine_with_a_user_or_a_port_is_reached_by_ssh) {
  const auto hosts = parse_hostfile("localhost port=2299\n127.0.0.1 user=me\n[::1]\n", "hosts");
  EXPECT_FALSE(hosts[0].is_local());
  EXPECT_FALSE(hosts[1].is_local());
  EXPECT_TRUE(hosts[2].is_local());
}

TEST(Hostfile, nodes_of_one_machine_share_its_cores) {
  const auto hosts = parse_hostfile("a\na slots=6\na\nb\nc slots=64\nc\n", "hosts");
  const auto threads = [&](size_t i, int cores) { return threads_of(hosts[i], hosts, cores); };
  EXPECT_EQ(threads(0, 16), 5);
  EXPECT_EQ(threads(1, 16), 6);
  EXPECT_EQ(threads(2, 16), 5);
  EXPECT_EQ(threads(3, 16), 16);
  EXPECT_EQ(threads(4, 16), 64);
  EXPECT_EQ(threads(5, 16), 1);
  EXPECT_EQ(threads(3, 0), 1);
  const auto here = parse_hostfile("localhost\n127.0.0.1\n[::1] slots=2\n", "hosts");
  EXPECT_EQ(threads_of(here[0], here, 8), 3) << "one machine by three names";
}

struct Bad {
  std::string text;
  std::string where;
  std::string what;
  std::string hint;
};

std::vector<Bad> bad_hostfiles() {
  const std::string long_word(300, 'a');
  std::string tags = "a tags=t0";
  for (int i = 1; i <= 16; ++i) tags += ",t" + std::to_string(i);
  std::string many;
  for (int i = 0; i < 1025; ++i) many += "a\n";
  return {
      {"", "h", "without hosts", "a line a node"},
      {"\n  # nothing\n\n", "h", "without hosts", "a line a node"},
      {"a\nb slot=4\n", "h:2:3", "unknown key 'slot'", "did you mean 'slots'?"},
      {"a threads=4", "h:1:3", "unknown key 'threads'", "known are slots, gpus"},
      {"a max_slots=4", "h:1:3", "'max_slots' has no meaning here", "one line a node"},
      {"a slots = 4", "h:1:3", "'slots' has no value", "without blanks"},
      {"a slots= 4", "h:1:3", "'slots' has no value", "without blanks"},
      {"a =4", "h:1:3", "a value without a key", "no blanks"},
      {"a slots", "h:1:3", "'slots' has no value", "slots=..."},
      {"a b", "h:1:3", "unknown key 'b'", "known are"},
      {"a slots=0", "h:1:9", "slots='0' is not a number from 1 to 65536", "slots=4"},
      {"a slots=-1", "h:1:9", "not a number", "slots=4"},
      {"a slots=4x", "h:1:9", "not a number", "slots=4"},
      {"a slots=+4", "h:1:9", "not a number", "slots=4"},
      {"a slots=1e3", "h:1:9", "not a number", "slots=4"},
      {"a slots=99999999999999999999", "h:1:9", "not a number", "slots=4"},
      {"a slots=4 slots=4", "h:1:11", "'slots' is given twice", "once a line"},
      {"a gpus=-1", "h:1:8", "gpus='-1' is not a number from 0 to 1024", "gpus=4"},
      {"a gpus=1025", "h:1:8", "not a number", "gpus=4"},
      {"a port=0", "h:1:8", "port='0' is not a number from 1 to 65535", "port=4"},
      {"a port=65536", "h:1:8", "not a number", "port="},
      {"a address=10.0.0.7:4000", "h:1:11", "'10.0.0.7:4000' has a colon", "ports=4000-4009"},
      {"a address=2001:db8::7", "h:1:11", "without brackets", "[2001:db8::7]"},
      {"a address=me@b", "h:1:11", "'me@b' is no host", "a name or an address"},
      {"a address=-b", "h:1:11", "is no host", "a name or an address"},
      {"a ports=4000", "h:1:9", "'4000' is no range of at least two ports from 1 to 65535", "ports=4000-4009"},
      {"a ports=4000-4000", "h:1:9", "is no range of at least two ports", "ports=4000-4009"},
      {"a ports=4001-4000", "h:1:9", "is no range", "ports=4000-4009"},
      {"a ports=0-9", "h:1:9", "is no range", "ports=4000-4009"},
      {"a ports=4000-65536", "h:1:9", "is no range", "ports=4000-4009"},
      {"a ports=-4000", "h:1:9", "is no range", "ports=4000-4009"},
      {"a ports=4000-", "h:1:9", "is no range", "ports=4000-4009"},
      {"a ports=4000-4009-", "h:1:9", "is no range", "ports=4000-4009"},
      {"a tags=", "h:1:3", "'tags' has no value", "tags=..."},
      {"a tags=x,,y", "h:1:10", "'' is no tag", "parted by commas"},
      {"a tags=x,", "h:1:10", "'' is no tag", "parted by commas"},
      {"a tags=x,y,x", "h:1:12", "tag 'x' is given twice", "once is enough"},
      {"a tags=x/y", "h:1:8", "'x/y' is no tag", "letters"},
      {tags, "h:1:", "more than 16 tags", "fewer"},
      {"a user=", "h:1:3", "'user' has no value", "user=..."},
      {"a user=-oX", "h:1:8", "'-oX' is no user", "letters"},
      {"me@a user=you", "h:1:11", "a user is given twice", "either"},
      {"me@a\nyou@a", "h:2:1", "host a has user 'you' here and 'me' in line 1", "one user a host"},
      {"me@a\na", "h:2:1", "host a has user '' here and 'me' in line 1", "one user a host"},
      {"@a", "h:1:1", "'' is no user", "letters"},
      {"me@", "h:1:4", "'' is no host", "a name or an address"},
      {"me@you@a", "h:1:4", "'you@a' is no host", "a name or an address"},
      {"-oProxyCommand", "h:1:1", "'-oProxyCommand' is no host", "a name or an address"},
      {"a;id", "h:1:1", "'a;id' is no host", "a name or an address"},
      {"$(id)", "h:1:1", "is no host", "a name or an address"},
      {"h\xc3\xa4", "h:1:1", "is no host", "a name or an address"},
      {"\xef\xbb\xbf"
       "a",
       "h:1:1", "is no host", "a name or an address"},
      {long_word, "h:1:1", "is no host", "a name or an address"},
      {"slots=4", "h:1:1", "'slots=4' stands where a host belongs", "begins with its host"},
      {"a:2222", "h:1:1", "'a:2222' has a colon", "port=2222"},
      {"2001:db8::7", "h:1:1", "without brackets", "[2001:db8::7]"},
      {"[2001:db8::7", "h:1:1", "is no IPv6 address in brackets", "[2001:db8::7]"},
      {"[2001:db8::7]:22", "h:1:1", "is no IPv6 address in brackets", "[2001:db8::7]"},
      {"[10.0.0.7]", "h:1:1", "is no IPv6 address in brackets", "[2001:db8::7]"},
      {"[fe80::1%eth0]", "h:1:1", "is no IPv6 address in brackets", "[2001:db8::7]"},
      {"[]", "h:1:1", "is no IPv6 address in brackets", "[2001:db8::7]"},
      {"gpu[01-04]", "h:1:1", "is no one host", "one line a node"},
      {"a,b slots=2", "h:1:1", "is no one host", "one line a node"},
      {"a device=cpu u", "h:1:14", "unknown key 'u'", "known are"},
      {"a device=foo", "h:1:10", "'foo' is no device of a node", "device=gpu:N"},
      {"a device=gpu:0-3", "h:1:10", "is no device", "device=gpu:N"},
      {"a device=gpu:x", "h:1:10", "is no device", "device=gpu:N"},
      {"a device=/dev/x", "h:1:10", "is no device", "device=cpu"},
      {"a\nb\x01", "h:2:2", "a byte that is no text", "is it a hostfile?"},
      {std::string("a\0b", 3), "h:1:2", "a byte that is no text", "is it a hostfile?"},
      {"a # comment \x1b[0m", "h:1:13", "a byte that is no text", "is it a hostfile?"},
      {"a " + std::string(5000, ' '), "h:1", "a line of more than 4096 bytes", "one host a line"},
      {many, "h:1025:1", "more than 1024 nodes", "fewer"},
      {std::string((1 << 20) + 1, '\n'), "h", "more than 1048576 bytes", "is it a hostfile?"},
  };
}

TEST(Hostfile, whatever_is_wrong_is_one_error_with_its_place_and_a_hint) {
  for (const Bad& bad : bad_hostfiles()) {
    const std::string shown = bad.text.substr(0, 60);
    try {
      parse_hostfile(bad.text, "h");
      ADD_FAILURE() << "taken: " << shown;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << shown;
      EXPECT_TRUE(e.where().str() == bad.where || (bad.where.ends_with(':') && e.where().str().starts_with(bad.where)))
          << shown << ": " << e.where().str();
      EXPECT_NE(e.message().find(bad.what), std::string::npos) << shown << ": " << e.message();
      EXPECT_NE(e.hint().find(bad.hint), std::string::npos) << shown << ": " << e.hint();
      EXPECT_LT(e.message().size(), 300u) << shown;
      if (std::getenv("R1_SHOW_MESSAGES") != nullptr) std::printf("%s\n", e.what());
    }
  }
}

TEST(Hostfile, that_is_not_there_or_no_file_is_refused) {
  TemporaryDirectory dir;
  for (const auto& path : {dir.path() / "none", dir.path()}) {
    try {
      read_hostfile(path);
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().file, path.string());
    }
  }
  std::ofstream(dir.path() / "hosts") << "a\n";
  EXPECT_EQ(read_hostfile(dir.path() / "hosts").size(), 1u);
}

}  // namespace
}  // namespace r1
