// Whoever has no key: garbage, huge announcements, gigabytes before a greeting, connections that say nothing. Nothing of it
// costs the head more than a bounded amount of memory, and a node that has a key is served meanwhile.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/net/waiting_sink.h"

namespace r1 {
namespace {

using test::Listening;
using test::packet;
using test::terms;
using test::WaitingSink;

size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  size_t pages = 0, resident = 0;
  in >> pages >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

class Raw {
 public:
  explicit Raw(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = fd_ >= 0 && ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  Raw(Raw&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  Raw(const Raw&) = delete;
  ~Raw() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool connected() const { return connected_; }
  // False: nobody takes it any more, or not within a second.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      pollfd p{fd_, POLLOUT, 0};
      if (::poll(&p, 1, 1000) <= 0) return false;
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Within a minute the other end closes it.
  bool is_closed_by_the_other() const {
    char buffer[4096];
    for (;;) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, 60'000) <= 0) return false;
      if (::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT) <= 0) return true;
    }
  }
  std::string receive(size_t most) const {
    std::string bytes(most, '\0');
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, 10'000) <= 0) return {};
    const ssize_t n = ::recv(fd_, bytes.data(), most, 0);
    bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return bytes;
  }

 private:
  int fd_;
  bool connected_ = false;
};

// ZMTP 3.1, as a client.
std::string greeting(const std::string& mechanism) {
  std::string g("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01", 12);
  g += mechanism + std::string(20 - mechanism.size(), '\0');
  return g + std::string(32, '\0');
}

std::string announced(uint8_t flags, uint64_t bytes) {
  std::string s(1, static_cast<char>(flags));
  for (int i = 7; i >= 0; --i) s += static_cast<char>(bytes >> (8 * i));
  return s;
}

struct AttackTest : testing::Test {
  void SetUp() override {
    node = zmq_dial(here.node(here.let_in("node:a")), terms("there", "na"), at_node);
    to_node = here.at_head.wait_lines(1).last;
    to_head = at_node.wait_lines(1).last;
    ASSERT_NE(to_head, 0u);
    serve();
    before = resident_bytes();
  }
  // The node that was let in is talked to, and another one joins.
  void serve() {
    ++served;
    node->send(to_head, packet(served, 200'000));
    ASSERT_EQ(here.at_head.wait_packets(served).packets.size(), served);
    WaitingSink at_new;
    auto fresh = zmq_dial(here.node(here.let_in("node:fresh")), terms("fresh", std::to_string(served)), at_new);
    EXPECT_TRUE(at_new.wait_lines(1).line().starts_with("up ")) << at_new.wait_lines(1).line();
  }
  void expect_bounded(const std::string& what) {
    const size_t now = resident_bytes();
    EXPECT_LT(now, before + (size_t{96} << 20)) << what << ": " << (before >> 20) << " MiB before";
  }
  int port(int lane) const { return here.head->address().port + lane; }

  // How long a machine may be too busy to beat is not what these tests are about.
  static LinkConfig patient() {
    LinkConfig link;
    link.lease_ns = int64_t{300} * 1'000'000'000;
    return link;
  }
  Listening here{patient(), 500'000'000};
  WaitingSink at_node;
  std::unique_ptr<Links> node;
  PeerId to_node = 0, to_head = 0;
  size_t served = 0, before = 0;
};

TEST_F(AttackTest, garbage_changes_nothing) {
  std::string noise(4096, '\0');
  for (int i = 0; i < 300; ++i) {
    for (size_t k = 0; k < noise.size(); ++k)
      noise[k] = static_cast<char>(i % 3 == 0 ? 0xff : (k * 2654435761u + static_cast<size_t>(i) * 40503u) >> 7);
    const Raw raw(port(i % 2));
    if (i % 4 == 0) raw.send(greeting(i % 8 == 0 ? "CURVE" : "NULL"));
    raw.send(noise);
  }
  serve();
  expect_bounded("garbage");
}

TEST_F(AttackTest, what_is_announced_before_a_greeting_is_not_allocated) {
  std::vector<Raw> held;
  for (int i = 0; i < 40; ++i) {
    held.emplace_back(port(i % 2));
    ASSERT_TRUE(held.back().connected());
    held.back().send(greeting("CURVE"));
    held.back().receive(64);
    held.back().send(announced(i % 4 < 2 ? 0x06 : 0x02, uint64_t{3'000'000'000'000} >> (i / 2)));
    held.back().send(std::string(1000, 'x'));
  }
  serve();
  expect_bounded("announcements");
  for (const Raw& raw : held) EXPECT_TRUE(raw.is_closed_by_the_other());
}

TEST_F(AttackTest, a_gigabyte_before_a_greeting_is_cut_short) {
  for (const int lane : {0, 1}) {
    const Raw raw(port(lane));
    raw.send(greeting("CURVE"));
    raw.receive(64);
    raw.send(announced(0x06, 1'000'000'000));
    const std::string mebibyte(1 << 20, 'x');
    int sent = 0;
    while (sent < 1000 && raw.send(mebibyte)) ++sent;
    EXPECT_LT(sent, 100);
  }
  serve();
  expect_bounded("a gigabyte");
}

TEST_F(AttackTest, connections_that_say_nothing_are_closed_and_others_are_served_meanwhile) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit before_it = files;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 8192);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  // Both ends of them are this process's.
  const size_t count = std::min<size_t>(1500, (files.rlim_cur - 200) / 2);
  {
    std::vector<Raw> idle;
    for (size_t i = 0; i < count; ++i) {
      idle.emplace_back(port(static_cast<int>(i % 2)));
      if (i % 3 == 0) idle.back().send(greeting("CURVE").substr(0, 1 + i % 64));  // slowly, and no further
    }
    serve();
    expect_bounded(std::to_string(count) + " connections");
    for (const Raw& raw : idle) ASSERT_TRUE(raw.is_closed_by_the_other());
  }
  serve();
  ::setrlimit(RLIMIT_NOFILE, &before_it);
}

TEST_F(AttackTest, a_peer_without_encryption_hears_nothing_of_the_run) {
  const Raw raw(port(0));
  raw.send(greeting("NULL"));
  std::string heard;
  for (std::string more = raw.receive(4096); !more.empty(); more = raw.receive(4096)) heard += more;
  EXPECT_LE(heard.size(), 64u);  // its own greeting at most
  serve();
}

TEST_F(AttackTest, strangers_that_keep_coming_are_each_refused) {
  for (int i = 0; i < 30; ++i) {
    WaitingSink at_stranger;
    auto stranger = zmq_dial(here.node(new_curve_keys()), terms("nobody", std::to_string(i)), at_stranger);
    EXPECT_TRUE(at_stranger.wait_lines(1).line().starts_with("refused "));
  }
  serve();
  expect_bounded("strangers");
  EXPECT_EQ(here.at_head.wait([](const auto&) { return true; }).all.front(), fmt::format("up {} node:a", to_node));
}

}  // namespace
}  // namespace r1
