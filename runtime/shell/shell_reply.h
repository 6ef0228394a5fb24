// Where the answer to a question of r1-shell goes: whoever has it may be any thread, now or later, or nobody any more. Two
// ends: ShellReply of who answers, ShellAnswer of who asked. Not what answers look like (shell_command.h). Thread rule:
// thread-safe.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace r1 {

// {"error": ..., "hint": ..., "bad_input": ...}
std::string error_answer(std::exception_ptr error);

class ShellAnswer {
 public:
  // `wake`: called, on the thread of who answers, when there is something to take.
  explicit ShellAnswer(std::function<void()> wake = {}) : wake_(std::move(wake)) {}

  // What has come since: lines without their ends. The last one is the answer, the others are parts of it that came early.
  std::vector<std::string> take();
  bool done() const;  // nothing comes any more; what was not taken is still there
  void abandon();     // nobody waits for it any more
  // The answer, when it comes within `limit_s`; parts are dropped.
  std::optional<std::string> wait(double limit_s);

 private:
  friend class ShellReply;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  size_t bytes_ = 0;
  bool done_ = false, abandoned_ = false;
};

class ShellReply {
 public:
  explicit ShellReply(std::shared_ptr<ShellAnswer> to) : to_(std::move(to)) {}
  ~ShellReply();  // without an answer: says that there will be none
  ShellReply(const ShellReply&) = delete;
  ShellReply& operator=(const ShellReply&) = delete;

  // Something of the answer that comes early: one line of JSON. False: nobody takes it, so the work is not worth going on.
  bool part(const std::string& json);
  // The first answer counts.
  void answer(const std::string& json);
  void fail(std::exception_ptr error) { answer(error_answer(error)); }

 private:
  bool add(const std::string& json, bool last);
  const std::shared_ptr<ShellAnswer> to_;
};
using ShellReplyPtr = std::shared_ptr<ShellReply>;

}  // namespace r1
