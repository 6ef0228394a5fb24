// A ScoreSource of several workers, each with a thread of its own and one completion at a time; what waits, waits in order.
// A program that has failed for kGiveUp completions in a row and never once answered is asked no more: the rest fails at once.
// Thread rule: as ScoreSource; each worker is made, used and destroyed in its own thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "rewards/score_source.h"

namespace r1 {

class ScoreWorker {
 public:
  virtual ~ScoreWorker() = default;
  // Comes back within the worker's own limits, and within moments of `stop`. `last_try`: the program has failed a lot of late,
  // so what fails is not tried again.
  struct Outcome {
    ScoreResult result;
    bool answered = false;  // the program did its part, be it with an error
  };
  virtual Outcome ask(const ScoreItem& item, const std::atomic<bool>& stop, bool last_try) = 0;
};

constexpr int kGiveUp = 8;

// `title`: of the program, for messages. `make(n)`: worker n, from 1; what it throws is the error of the completion that wanted
// it, and it is made again for the next one.
std::unique_ptr<ScoreSource> make_worker_pool(
    const std::string& title, int workers,
    std::function<std::unique_ptr<ScoreWorker>(int number, const std::atomic<bool>& stop)> make);

// Sleeps, but for a stop.
void sleep_unless(const std::atomic<bool>& stop, double seconds);

}  // namespace r1
