#include "runtime/shell/shell_reply.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace r1 {
namespace {

constexpr size_t kPartBytes = 64 * 1024;  // that wait for a reader who is slow
constexpr const char* kNoAnswer = R"({"error":"it ended before it answered","hint":"'ps' shows what is there"})";

}  // namespace

std::string error_answer(std::exception_ptr error) {
  using Json = nlohmann::ordered_json;
  Json answer;
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    answer = {{"error", e.message()}, {"hint", e.hint()}, {"bad_input", e.code() == ExitCode::bad_input}};
  } catch (const std::exception& e) {
    answer = {{"error", e.what()}, {"hint", ""}};
  }
  return answer.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> ShellAnswer::take() {
  const std::lock_guard lock(mutex_);
  bytes_ = 0;
  return std::exchange(lines_, {});
}

bool ShellAnswer::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void ShellAnswer::abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
}

std::optional<std::string> ShellAnswer::wait(double limit_s) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::duration<double>(limit_s), [this] { return done_; })) return std::nullopt;
  return lines_.empty() ? std::nullopt : std::optional(lines_.back());
}

ShellReply::~ShellReply() { add(kNoAnswer, true); }

bool ShellReply::part(const std::string& json) { return add(json, false); }

void ShellReply::answer(const std::string& json) { add(json, true); }

bool ShellReply::add(const std::string& json, bool last) {
  {
    const std::lock_guard lock(to_->mutex_);
    if (to_->done_ || to_->abandoned_) return false;
    if (!last && to_->bytes_ + json.size() > kPartBytes) return false;
    to_->lines_.push_back(json);
    to_->bytes_ += json.size();
    to_->done_ = last;
  }
  to_->changed_.notify_all();
  if (to_->wake_) to_->wake_();
  return true;
}

}  // namespace r1
