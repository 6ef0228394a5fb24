// Sinks that write down what they are told, and terms of two ends that suit each other.
#pragma once

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "runtime/net/link_protocol.h"

namespace r1::test {

struct Heard final : LinkSink {
  std::vector<std::string> all;  // "up 1 node:a", "3 payload 7", "lost 1 why", "not joined why", "refused why"
  std::vector<LinkPacket> packets;
  std::map<PeerId, int> state;  // 1: up, 2: lost
  PeerId last = 0;
  PeerHello hello;

  void peer_up(PeerId peer, const PeerHello& h) override {
    EXPECT_EQ(state[peer], 0) << "up twice";
    state[peer] = 1;
    last = peer;
    hello = h;
    all.push_back(fmt::format("up {} {}", peer, h.principal));
  }
  void received(PeerId peer, LinkPacket packet) override {
    EXPECT_EQ(state[peer], 1) << "a packet of a peer that is not there";
    all.push_back(fmt::format("{} {} {}", peer, packet_kind_name(packet.kind), packet.number));
    packets.push_back(std::move(packet));
  }
  void peer_lost(PeerId peer, const std::string& why) override {
    EXPECT_EQ(state[peer], 1) << "lost without having been there, or twice";
    state[peer] = 2;
    all.push_back(fmt::format("lost {} {}", peer, why));
  }
  void not_joined(const std::string& why, bool refused) override {
    all.push_back(fmt::format("{} {}", refused ? "refused" : "not joined", why));
  }
  // The last line; "" when there is none.
  std::string line() const { return all.empty() ? std::string() : all.back(); }
};

inline LinkTerms terms(const std::string& host = "here", const std::string& nonce = "n1") {
  LinkTerms t;
  t.self.build = "r1 test";
  t.self.host = host;
  t.self.pid = 42;
  t.self.cores = 2;
  t.self.memory_bytes = int64_t{1} << 30;
  t.self.devices = {"cpu"};
  t.self.fingerprint = "avx512";
  t.self.nonce = nonce;
  t.self.extra = std::string("\x00\x01", 2);
  return t;
}

inline LinkPacket packet(uint64_t number, size_t bytes = 0, PacketKind kind = PacketKind::payload) {
  LinkPacket p;
  p.kind = kind;
  p.number = number;
  p.body = "body";
  if (bytes > 0) p.frames.emplace_back(std::string(bytes, static_cast<char>('a' + number % 26)));
  return p;
}

}  // namespace r1::test
