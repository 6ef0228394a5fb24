// A node for tests that kill it: dials HOST:PORT with the keys of its first line of stdin (head's public, own public, own
// secret, parted by blanks), says "up" and what happens to its link on stdout, and sends every payload back.
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "base/memory.h"
#include "runtime/net/zmq_links.h"
#include "tests/runtime/net/link_fixture.h"

namespace {

using namespace r1;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

struct Echo final : LinkSink {
  std::mutex mutex;
  Links* links = nullptr;
  void peer_up(PeerId, const PeerHello&) override { say("up"); }
  void received(PeerId peer, LinkPacket packet) override {
    std::lock_guard lock(mutex);
    links->send(peer, std::move(packet));
  }
  void peer_lost(PeerId, const std::string& why) override { say("lost " + why); }
  void not_joined(const std::string& why, bool refused) override { say((refused ? "refused " : "not joined ") + why); }
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) return 2;
    ZmqNodeOptions options;
    options.head = parse_link_address(argv[1]);
    std::cin >> options.head_key >> options.keys.public_key >> options.keys.secret_key;
    Echo echo;
    std::unique_ptr<Links> links;
    {
      std::lock_guard lock(echo.mutex);
      LinkTerms terms = test::terms("a process", argv[2]);
      terms.resident_bytes = resident_bytes;
      links = zmq_dial(options, std::move(terms), echo);
      echo.links = links.get();
    }
    std::string rest;
    while (std::getline(std::cin, rest)) {
    }
    links.reset();
    return 0;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
