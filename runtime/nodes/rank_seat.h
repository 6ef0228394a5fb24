// The place at a node where one rank of a trainer lives, as the head has it: opens it there and is the channel to it. When the
// node is lost, or is to leave, the channel ends, and so does what its user is doing: a rank is not begun anew in the middle.
//
// Thread rule: constructor, destructor and receive() by one thread at a time, the rest by any. Never called on the links'
// thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/message_channel.h"
#include "base/turns.h"
#include "runtime/nodes/members.h"

namespace r1 {

class RankSeat final : private PoolEar {
 public:
  struct Options {
    Members* members = nullptr;  // outlives it
    int node = -1;               // of the graph
    int64_t rank = 1;
    std::string name;       // "rank 1 of rl_trainer"
    std::string preferred;  // the node where it lives if that is there, as in tables; else the one with the fewest roles
    OpenRole open;
  };
  // Waits for a node that may have it; looks for a stop. Throws a final failure when none will come.
  explicit RankSeat(Options options);
  ~RankSeat() override;
  RankSeat(const RankSeat&) = delete;
  RankSeat& operator=(const RankSeat&) = delete;

  void send(ChannelMessage message);
  // What moves there - a unit of the rank's work was done, or what its node fetches came on - is a unit of the work of who
  // waits here (base/stop.h), and counts as a word for `patience_s`.
  ChannelMessage receive(double patience_s);
  void give_up();                                // receive() throws from now on
  const std::string& at() const { return at_; }  // "node2/4711"
  Incarnation incarnation() const { return incarnation_; }

 private:
  void joined(const Member& member) override;
  void left(const Member& member, const std::string& why) override;
  void received(const Member& member, LinkPacket packet) override;
  void leaves(const Member& member) override;
  void scaled(int64_t) override {}  // each rank is one
  void deserted(const std::string& why) override;
  void sit_down();
  void hear(LinkPacket packet);
  void gone(const Member& member, const std::string& why);

  const Options options_;
  MessageQueue came_;
  std::mutex mutex_;
  Condition changed_;
  std::map<PeerId, Member> there_;  // members that may have it
  std::string deserted_;            // why none will come
  PeerId peer_ = 0;                 // 0: it lives nowhere yet
  Incarnation incarnation_ = 0;     // 0: it is being opened
  std::vector<LinkPacket> early_;   // came meanwhile
  std::string at_;
  std::atomic<int64_t> cpu_ns_{0};  // inside ops, of its process
  std::atomic<bool> moved_{false};  // came_ has a message without text that says so
};

}  // namespace r1
