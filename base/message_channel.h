// Messages between two threads, of one process or of two: in order, each once, until the channel ends. For engines that work
// together without knowing what carries their words (ranks of a trainer, kernels/ring_ranks.h). Not a link: nothing here
// survives the end of the other side.
#pragma once

#include <deque>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/turns.h"

namespace r1 {

struct ChannelMessage {
  std::string text;
  // Raw, as they are for as long as `owner` lives; may be empty.
  std::shared_ptr<const void> owner;
  std::string_view bytes;
};
ChannelMessage channel_message(std::string text, std::string bytes = {});

// What receive() throws when nothing came in time.
class NothingSaid final : public Error {
 public:
  explicit NothingSaid(double patience_s);
};

// Thread rule: receive() by one thread at a time; send() by any.
class MessageChannel {
 public:
  static constexpr double kForEver = std::numeric_limits<double>::infinity();

  virtual ~MessageChannel() = default;
  // Never blocks and never fails; to an end that is gone: nothing happens.
  virtual void send(ChannelMessage message) = 0;
  // Waits for the next one. Throws what ended the channel, NothingSaid when nothing came for `patience_s`, and looks for a
  // stop (base/stop.h).
  virtual ChannelMessage receive(double patience_s = kForEver) = 0;
};

// What has come and was not received yet. Thread rule: thread-safe; take() by one thread at a time.
class MessageQueue {
 public:
  void put(ChannelMessage message);
  // Nothing more comes: behind what is here take() throws `why`. The first counts.
  void end(std::exception_ptr why);
  // The same, and what is here is dropped.
  void end_at_once(std::exception_ptr why);
  ChannelMessage take(double patience_s);

 private:
  std::mutex mutex_;
  Condition changed_;
  std::deque<ChannelMessage> messages_;
  std::exception_ptr end_;
};

// Two ends in one process. An end that is destroyed ends the channel.
struct ChannelEnds {
  std::unique_ptr<MessageChannel> one, other;
};
ChannelEnds channel_in_memory();

}  // namespace r1
