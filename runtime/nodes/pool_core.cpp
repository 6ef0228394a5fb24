#include "runtime/nodes/pool_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace r1 {

using Kind = PoolCommand::Kind;

PoolCore::PoolCore(PoolOptions options) : options_(std::move(options)), newest_(options_.needed.size()) {
  R1_CHECK(options_.window > 0, fmt::format("a window of {}", options_.window));
}

// ---- workers ----------------------------------------------------------------------------------------------------------

PoolCore::Worker* PoolCore::find(WorkerId worker, Incarnation incarnation) {
  return current(worker, incarnation) ? &workers_.at(worker) : nullptr;
}

bool PoolCore::current(WorkerId worker, Incarnation incarnation) const {
  const auto at = workers_.find(worker);
  return at != workers_.end() && (at->second.incarnation == incarnation || options_.broken.fencing);
}

bool PoolCore::ready(const Worker& worker) const {
  if (!worker.started || worker.draining) return false;
  for (size_t s = 0; s < worker.states.size(); ++s)
    if (options_.needed[s] && worker.states[s].taken == 0) return false;
  return true;
}

void PoolCore::joined(WorkerId worker, Incarnation incarnation) {
  if (ended_) return;
  if (const auto at = workers_.find(worker); at != workers_.end()) ++counts_.lost, forget(at);
  Worker& w = workers_[worker];
  w.incarnation = incarnation;
  w.states.resize(newest_.size());
  move();
}

void PoolCore::forget(std::map<WorkerId, Worker>::iterator at) {
  counts_.reissued += static_cast<int64_t>(at->second.questions.size());
  waiting_.insert(at->second.questions.begin(), at->second.questions.end());
  again_.insert(at->second.questions.begin(), at->second.questions.end());
  workers_.erase(at);
}

void PoolCore::lost(WorkerId worker) {
  const auto at = workers_.find(worker);
  if (at == workers_.end()) return;
  ++counts_.lost;
  forget(at);
  move();
}

void PoolCore::drain(WorkerId worker) {
  const auto at = workers_.find(worker);
  if (at == workers_.end()) return;
  at->second.draining = true;
  move();
}

void PoolCore::started(WorkerId worker, Incarnation incarnation) {
  Worker* const w = find(worker, incarnation);
  if (w == nullptr) return;
  w->started = true;
  move();
}

void PoolCore::begun(WorkerId worker, Incarnation incarnation, int64_t so_far) {
  Worker* const w = find(worker, incarnation);
  if (w == nullptr || so_far <= w->begun) return;
  if (so_far > w->given)
    return commands_.push_back({.kind = Kind::accuse,
                                .worker = worker,
                                .incarnation = incarnation,
                                .why = fmt::format("{} questions begun and {} given", so_far, w->given)});
  w->begun = so_far;
  move();
}

void PoolCore::has_state(WorkerId worker, Incarnation incarnation, int state, int64_t so_far) {
  Worker* const w = find(worker, incarnation);
  if (w == nullptr || so_far <= w->states[static_cast<size_t>(state)].taken) return;
  Worker::State& s = w->states[static_cast<size_t>(state)];
  if (so_far > s.sent)
    return commands_.push_back({.kind = Kind::accuse,
                                .worker = worker,
                                .incarnation = incarnation,
                                .why = fmt::format("{} states taken in and {} sent", so_far, s.sent)});
  s.taken = so_far;
  move();
}

void PoolCore::again(WorkerId worker, Incarnation incarnation, int state) {
  Worker* const w = find(worker, incarnation);
  if (w == nullptr) return;
  w->states[static_cast<size_t>(state)].sent_serial = 0;
  w->states[static_cast<size_t>(state)].sent_key = -1;
  move();
}

bool PoolCore::answered(WorkerId worker, Incarnation incarnation, int64_t key, int64_t number) {
  Worker* const w = find(worker, incarnation);
  if (w == nullptr) {
    ++counts_.refused;
    return false;
  }
  std::string why;
  if (number != w->answers + 1)
    why = fmt::format("answer {} came after answer {}", number, w->answers);
  else if (w->questions.count(key) == 0)
    why = fmt::format("it answers {}, which it was not asked", key);
  if (!why.empty() && !options_.broken.dedupe) {
    ++counts_.refused;
    commands_.push_back({.kind = Kind::accuse, .worker = worker, .incarnation = incarnation, .why = why});
    return false;
  }
  ++w->answers;
  w->questions.erase(key);
  answers_[key] = {key, worker, incarnation};
  move();
  return true;
}

// ---- the two neighbours -----------------------------------------------------------------------------------------------

void PoolCore::asked(int64_t key) {
  ++asked_;
  waiting_.insert(key);
  if (options_.ordered) order_.push_back(key);
  move();
}

void PoolCore::set_state(int state, int64_t key) {
  Newest& newest = newest_[static_cast<size_t>(state)];
  newest.key = key;
  ++newest.serial;
  move();
}

void PoolCore::room(int64_t answers) {
  room_ = answers;
  move();
}

void PoolCore::end() {
  ended_ = true;
  waiting_.clear();
  answers_.clear();
  for (auto& [id, w] : workers_) commands_.push_back({.kind = Kind::close, .worker = id, .incarnation = w.incarnation});
  workers_.clear();
}

std::vector<int64_t> PoolCore::unread() const {
  std::vector<int64_t> keys;
  for (const auto& [key, answer] : answers_) keys.push_back(key);
  return keys;
}

std::vector<PoolCommand> PoolCore::take() { return std::exchange(commands_, {}); }

// ---- what follows from an event ---------------------------------------------------------------------------------------

void PoolCore::move() {
  if (ended_) return;
  pass_on();
  send_states();
  give();
  release();
  // One that is drained finishes what it has begun. What it has not may wait for weights that come only when others have
  // worked, and they may be where this one was: it goes to whoever works on.
  bool reissued = false;
  for (auto at = workers_.begin(); at != workers_.end();) {
    const auto here = at++;
    const Worker& w = here->second;
    if (!w.draining || w.answers < w.begun || w.passed_on != w.answers) continue;
    commands_.push_back({.kind = Kind::close, .worker = here->first, .incarnation = w.incarnation});
    reissued |= !w.questions.empty();
    forget(here);
  }
  if (reissued) give();
}

void PoolCore::pass_on() {
  for (; room_ > 0 && !answers_.empty(); --room_) {
    const auto next = options_.ordered ? answers_.find(order_.front()) : answers_.begin();
    if (next == answers_.end()) return;
    const Answer answer = next->second;
    answers_.erase(next);
    if (options_.ordered) order_.pop_front();
    commands_.push_back({.kind = Kind::pass_on, .key = answer.key});
    if (Worker* const w = find(answer.worker, answer.incarnation))
      commands_.push_back(
          {.kind = Kind::credit, .worker = answer.worker, .incarnation = answer.incarnation, .number = ++w->passed_on});
  }
}

void PoolCore::send_states() {
  for (auto& [id, w] : workers_) {
    for (size_t s = 0; s < w.states.size(); ++s) {
      Worker::State& state = w.states[s];
      // One that is drained still needs what its last questions wait for.
      if (!w.started || (w.draining && w.questions.empty()) || state.sent != state.taken ||
          state.sent_serial == newest_[s].serial)
        continue;
      commands_.push_back({.kind = Kind::state,
                           .worker = id,
                           .incarnation = w.incarnation,
                           .key = newest_[s].key,
                           .number = ++state.sent,
                           .base = state.sent_key,
                           .state = static_cast<int>(s)});
      state.sent_key = newest_[s].key;
      state.sent_serial = newest_[s].serial;
    }
  }
}

void PoolCore::give() {
  while (!waiting_.empty()) {
    const int64_t key = *waiting_.begin();
    const bool again = again_.count(key) != 0;
    auto best = workers_.end();
    for (auto at = workers_.begin(); at != workers_.end(); ++at) {
      const Worker& w = at->second;
      if (!ready(w) || (!again && w.given - w.begun >= options_.window)) continue;
      if (best == workers_.end() || w.questions.size() < best->second.questions.size()) best = at;
    }
    if (best == workers_.end()) return;
    waiting_.erase(waiting_.begin());
    again_.erase(key);
    Worker& w = best->second;
    w.questions.insert(key);
    commands_.push_back(
        {.kind = Kind::give, .worker = best->first, .incarnation = w.incarnation, .key = key, .number = ++w.given});
  }
}

// Whoever asks has room for as many as are begun, somewhere. What was begun and lost is not taken back.
void PoolCore::release() {
  auto unbegun = static_cast<int64_t>(waiting_.size());
  for (const auto& [id, w] : workers_) unbegun += w.given - w.begun;
  const int64_t due = asked_ - unbegun - released_;
  if (due <= 0) return;
  released_ += due;
  commands_.push_back({.kind = Kind::release, .number = due});
}

}  // namespace r1
