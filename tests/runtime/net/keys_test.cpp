// A run's keys: made once, read again, nobody else's.
#include "runtime/net/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct KeysTest : testing::Test {
  std::string refusal() {
    try {
      RunKeys keys(dir.path());
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "taken";
  }
  TemporaryDirectory dir;
  KeyRing ring;
};

TEST_F(KeysTest, are_made_once_and_read_again) {
  RunKeys first(dir.path());
  const CurveKeys node = first.new_node("gpu07.1", ring);
  EXPECT_EQ(ring.principal_of(node.public_key), "node:gpu07.1");
  RunKeys second(dir.path());
  EXPECT_EQ(second.head().secret_key, first.head().secret_key);
  KeyRing again;
  second.fill(again);
  EXPECT_EQ(again.principal_of(node.public_key), "node:gpu07.1");
  const CurveKeys read = read_curve_keys(dir.path() / "keys/read.public", dir.path() / "keys/read.secret");
  EXPECT_EQ(again.principal_of(read.public_key), "shell:read");
  EXPECT_EQ(again.principal_of(first.head().public_key), "");
  EXPECT_EQ(again.principal_of(new_curve_keys().public_key), "");
  again.shut_out(node.public_key);
  EXPECT_EQ(again.principal_of(node.public_key), "");
  TemporaryDirectory other;
  EXPECT_NE(RunKeys(other.path()).head().public_key, first.head().public_key);
}

TEST_F(KeysTest, are_the_owners_alone_whatever_the_mask_of_the_process) {
  const mode_t before = ::umask(0);
  RunKeys keys(dir.path());
  keys.new_node("a", ring);
  ::umask(before);
  const auto mode = [](const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  };
  EXPECT_EQ(mode(dir.path() / "keys"), 0700u);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(dir.path() / "keys")) {
    EXPECT_EQ(mode(entry.path()), 0600u) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 7);
}

TEST_F(KeysTest, the_secret_half_of_a_nodes_key_is_kept_nowhere) {
  RunKeys keys(dir.path());
  const CurveKeys node = keys.new_node("a", ring);
  for (const auto& entry : fs::directory_iterator(dir.path() / "keys"))
    EXPECT_EQ(read_file(entry.path()).find(node.secret_key), std::string::npos);
}

TEST_F(KeysTest, that_others_may_read_or_that_are_none_are_refused) {
  { RunKeys keys(dir.path()); }
  const fs::path secret = dir.path() / "keys/control.secret";
  fs::permissions(secret, fs::perms::group_read, fs::perm_options::add);
  EXPECT_NE(refusal().find("others may read keys (mode 0640)"), std::string::npos) << refusal();
  fs::permissions(secret, fs::perms::owner_read | fs::perms::owner_write);
  fs::permissions(dir.path() / "keys", fs::perms::owner_all | fs::perms::others_exec);
  EXPECT_NE(refusal().find("others may read keys"), std::string::npos);
  fs::permissions(dir.path() / "keys", fs::perms::owner_all);
  EXPECT_EQ(refusal(), "taken");
  for (const char* text :
       {"", "short", "0123456789012345678901234567890123456789x", "012345678901234567890123456789012345678 "}) {
    std::ofstream(secret, std::ios::trunc) << text;
    EXPECT_NE(refusal().find("not a key"), std::string::npos) << text;
  }
}

TEST_F(KeysTest, a_list_of_nodes_that_is_none_is_refused_with_its_line) {
  RunKeys(dir.path()).new_node("a", ring);
  const fs::path list = dir.path() / "keys/nodes";
  const std::string good = read_file(list);
  for (const char* line : {"node:b", "node:b 123", "shell:control 0123456789012345678901234567890123456789",
                           "node:../x 0123456789012345678901234567890123456789", "x"}) {
    std::ofstream(list, std::ios::trunc) << good << line << "\n";
    EXPECT_NE(refusal().find("nodes:2"), std::string::npos) << refusal();
  }
}

TEST(Principals, are_nodes_with_plain_names_and_two_kinds_of_shell) {
  for (const char* good : {"node:a", "node:gpu07.cluster-1_x", "shell:control", "shell:read"}) EXPECT_TRUE(is_principal(good));
  for (const char* bad : {"", "node:", "node:a b", "node:a/b", "node:\n", "shell:write", "head", "Node:a"})
    EXPECT_FALSE(is_principal(bad));
  EXPECT_FALSE(is_principal("node:" + std::string(65, 'a')));
}

}  // namespace
}  // namespace r1
