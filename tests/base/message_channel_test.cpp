// Messages between two threads: in order, each once, and what happens at the end.
#include "base/message_channel.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/error.h"
#include "base/stop.h"

namespace r1 {
namespace {

std::exception_ptr because(const char* why) { return std::make_exception_ptr(failure(why)); }

std::string thrown_by(MessageQueue& queue, double patience_s = 5) {
  try {
    return "came: " + queue.take(patience_s).text;
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(MessageQueue, what_came_before_the_end_is_still_taken_and_then_the_first_reason_is_thrown_for_ever) {
  MessageQueue queue;
  queue.put(channel_message("one"));
  queue.put(channel_message("two", "bytes"));
  queue.end(because("the first"));
  queue.end(because("the second"));
  queue.put(channel_message("too late"));
  EXPECT_EQ(queue.take(5).text, "one");
  const ChannelMessage two = queue.take(5);
  EXPECT_EQ(two.text + std::string(two.bytes), "twobytes");
  EXPECT_EQ(thrown_by(queue), "the first");
  EXPECT_EQ(thrown_by(queue), "the first");
}

TEST(MessageQueue, that_is_ended_at_once_has_nothing_more) {
  MessageQueue queue;
  queue.put(channel_message("of one that is lost"));
  queue.end_at_once(because("it is lost"));
  EXPECT_EQ(thrown_by(queue), "it is lost");
}

TEST(MessageQueue, is_waited_for_no_longer_than_was_said_nor_beyond_a_stop) {
  MessageQueue queue;
  EXPECT_NE(thrown_by(queue, 0.01).find("nothing was said for 0.01 s"), std::string::npos);
  const std::atomic<bool> stop{true};
  const StopScope scope(&stop);
  EXPECT_THROW(queue.take(MessageChannel::kForEver), Stopped);
}

TEST(MessageChannel, in_memory_ends_with_either_end_behind_what_was_sent) {
  ChannelEnds ends = channel_in_memory();
  ends.one->send(channel_message("last words"));
  ends.one = nullptr;
  EXPECT_EQ(ends.other->receive(5).text, "last words");
  EXPECT_THROW(ends.other->receive(5), Error);
}

}  // namespace
}  // namespace r1
