#include "base/message_channel.h"

#include <fmt/format.h>

#include <utility>

namespace r1 {
namespace {

class MemoryEnd final : public MessageChannel {
 public:
  MemoryEnd(std::shared_ptr<MessageQueue> in, std::shared_ptr<MessageQueue> out) : in_(std::move(in)), out_(std::move(out)) {}
  ~MemoryEnd() override { out_->end(std::make_exception_ptr(failure("the other end of a channel is gone"))); }
  void send(ChannelMessage message) override { out_->put(std::move(message)); }
  ChannelMessage receive(double patience_s) override { return in_->take(patience_s); }

 private:
  std::shared_ptr<MessageQueue> in_, out_;
};

}  // namespace

NothingSaid::NothingSaid(double patience_s) : Error(ExitCode::failed, fmt::format("nothing was said for {:g} s", patience_s)) {}

ChannelMessage channel_message(std::string text, std::string bytes) {
  if (bytes.empty()) return {std::move(text), nullptr, {}};
  auto owned = std::make_shared<const std::string>(std::move(bytes));
  const std::string_view view = *owned;
  return {std::move(text), std::move(owned), view};
}

void MessageQueue::put(ChannelMessage message) {
  {
    const std::lock_guard lock(mutex_);
    if (end_) return;
    messages_.push_back(std::move(message));
  }
  changed_.notify_all();
}

void MessageQueue::end(std::exception_ptr why) {
  {
    const std::lock_guard lock(mutex_);
    if (!end_) end_ = std::move(why);
  }
  changed_.notify_all();
}

void MessageQueue::end_at_once(std::exception_ptr why) {
  {
    const std::lock_guard lock(mutex_);
    messages_.clear();
  }
  end(std::move(why));
}

ChannelMessage MessageQueue::take(double patience_s) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_or_stop(lock, patience_s, [this] { return end_ || !messages_.empty(); })) throw NothingSaid(patience_s);
  if (messages_.empty()) std::rethrow_exception(end_);
  ChannelMessage message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

ChannelEnds channel_in_memory() {
  const auto a = std::make_shared<MessageQueue>(), b = std::make_shared<MessageQueue>();
  return {std::make_unique<MemoryEnd>(a, b), std::make_unique<MemoryEnd>(b, a)};
}

}  // namespace r1
