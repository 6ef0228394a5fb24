#include "base/turns.h"

#include <utility>

namespace r1 {
namespace {
thread_local Turns* turns_of_thread = nullptr;
}  // namespace

Turns* current_turns() { return turns_of_thread; }

TurnsScope::TurnsScope(Turns* turns) : before_(std::exchange(turns_of_thread, turns)) {}
TurnsScope::~TurnsScope() { turns_of_thread = before_; }

WaitingThread::WaitingThread(std::function<void()> body) : turns_(current_turns()) {
  if (turns_ != nullptr)
    number_ = turns_->begin(std::move(body));
  else
    real_ = std::thread(std::move(body));
}

WaitingThread::~WaitingThread() { turns_ != nullptr ? turns_->join(number_) : real_.join(); }

}  // namespace r1
