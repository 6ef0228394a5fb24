#include "tools/dashboard/gate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"
#include "tests/tools/dashboard/client.h"
#include "tools/dashboard/dashboard.h"

namespace r1::dashboard {
namespace {

constexpr const char* kToken = "0123456789abcdef0123456789abcdef01234567";

// A server whose site is its gate.
struct Gated : testing::Test {
  HttpServer server{"127.0.0.1", 0};
  Gate gate{kToken, true, server.port()};
  Gate beyond{kToken, false, server.port()};
  bool on_loopback = true;

  void SetUp() override {
    HttpSite site;
    site.answer = [this](const HttpRequest& request, const HttpPeer& peer) {
      return HttpAnswer{(on_loopback ? gate : beyond).allows(request, peer) ? 200 : 403};
    };
    server.start(std::move(site));
  }
  void TearDown() override { server.stop(); }
  int status(const std::string& target, const std::string& headers = "", const std::string& host = "localhost") {
    const std::string text = get(server.port(), target, headers, host);
    return text.size() > 12 ? std::atoi(text.c_str() + 9) : 0;
  }
  std::string cookie() const { return "Cookie: a=b; r1_dashboard_" + std::to_string(server.port()) + "="; }
};

TEST_F(Gated, on_loopback_the_runs_user_needs_no_token) {
  for (const char* host : {"localhost", "LocalHost:8080", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:80"})
    EXPECT_EQ(status("/", "", host), 200) << host;
}

TEST_F(Gated, a_name_that_was_bent_to_loopback_is_refused) {
  for (const char* host : {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
                           "[::2]", "[::1].evil.example", "[::1", "0.0.0.0"})
    EXPECT_EQ(status("/", "", host), 403) << host;
}

TEST_F(Gated, pages_of_other_sites_may_lead_here_and_load_nothing) {
  for (const char* site : {"cross-site", "same-site"}) {
    const std::string header = std::string("Sec-Fetch-Site: ") + site + "\r\n";
    EXPECT_EQ(status("/", header), 200);
    for (const char* path : {"/events", "/metrics", "/part/group"}) {
      EXPECT_EQ(status(path, header), 403) << path;
      EXPECT_EQ(status(path + std::string("?token=") + kToken, header), 403) << path;
    }
  }
  EXPECT_EQ(status("/events", "Sec-Fetch-Site: same-origin\r\n"), 200);
}

TEST_F(Gated, elsewhere_nobody_gets_in_without_the_token) {
  on_loopback = false;
  EXPECT_EQ(status("/"), 403);
  std::string near = kToken;
  near.back() = '8';
  for (const std::string& wrong : {near, std::string(kToken) + "0", std::string(kToken, 39), std::string("")}) {
    EXPECT_EQ(status("/?token=" + wrong), 403) << wrong;
    EXPECT_EQ(status("/", cookie() + wrong + "\r\n"), 403) << wrong;
    EXPECT_EQ(status("/", "Authorization: Bearer " + wrong + "\r\n"), 403) << wrong;
  }
  EXPECT_EQ(status(std::string("/?token=") + kToken, "", "evil.example"), 200) << "who has it may call the host what he likes";
  EXPECT_EQ(status("/metrics", cookie() + kToken + "\r\n"), 200);
  EXPECT_EQ(status("/metrics", std::string("Authorization: Bearer ") + kToken + "\r\n"), 200);
  EXPECT_EQ(status("/", std::string("Authorization: Basic ") + kToken + "\r\n"), 403);
}

TEST_F(Gated, another_user_of_the_machine_is_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  const int port = server.port();
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(99);
    Client client(port);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const std::string text = client.all();
    ::_exit(text.size() > 12 ? std::atoi(text.c_str() + 9) - 200 : 98);
  }
  int end = 0;
  ASSERT_EQ(::waitpid(child, &end, 0), child);
  EXPECT_EQ(WEXITSTATUS(end) + 200, 403);
  EXPECT_EQ(status("/"), 200);
}

TEST(DashboardToken, is_made_once_and_for_the_owner_alone) {
  const TemporaryDirectory dir;
  const std::string token = dashboard_token(dir.path());
  EXPECT_EQ(token.size(), 40u);
  EXPECT_EQ(dashboard_token(dir.path()), token);
  const auto file = dir.path() / "keys/dashboard";
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ::chmod(file.c_str(), 0640);
  EXPECT_THROW(dashboard_token(dir.path()), Error) << "others could have read it";
  ::chmod(file.c_str(), 0600);
  write_file_atomically(file, "x\n");
  ::chmod(file.c_str(), 0600);
  EXPECT_THROW(dashboard_token(dir.path()), Error);
}

TEST(DashboardAddress, a_port_is_of_loopback_and_nonsense_is_refused) {
  EXPECT_EQ(parse_address("8080").host, "127.0.0.1");
  EXPECT_EQ(parse_address("8080").port, 8080);
  EXPECT_EQ(parse_address("0.0.0.0:0").host, "0.0.0.0");
  EXPECT_EQ(parse_address("[::1]:80").host, "::1");
  for (const char* bad : {"", "x", "70000", "-1", ":80", "a b:80", "::1:80", "host:", "8080x", "[::1]", "http://a:80"})
    EXPECT_THROW(parse_address(bad), Error) << bad;
}

TEST(DashboardAddress, of_all_addresses_two_are_said_that_a_browser_can_open) {
  const TemporaryDirectory dir;
  const std::string url = Dashboard({"0.0.0.0", 0}, dir.path()).url();
  char name[256] = {};
  ASSERT_EQ(::gethostname(name, sizeof name - 1), 0);
  EXPECT_EQ(url.rfind(std::string("http://") + name + ":", 0), 0u) << url;
  EXPECT_NE(url.find("here: http://127.0.0.1:"), std::string::npos) << url;
  EXPECT_NE(url.find("?token="), std::string::npos) << url;
  EXPECT_EQ(url.find("0.0.0.0"), std::string::npos) << url;
  const std::string local = Dashboard({"127.0.0.1", 0}, dir.path()).url();
  EXPECT_EQ(local.rfind("http://127.0.0.1:", 0), 0u);
  EXPECT_EQ(local.find("here"), std::string::npos) << local;
}

}  // namespace
}  // namespace r1::dashboard
