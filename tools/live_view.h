// What a person sees while a run goes on: one line a stage when it ends, and the state of the running ones - redrawn in place
// on a terminal, as plain lines every few seconds in a pipe. Thread rule: one thread (the conductor's).
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "runtime/conductor/conductor.h"
#include "runtime/store/run_store.h"

namespace r1 {

class LiveView final : public ProgressSink {
 public:
  // `show`: false prints messages and failures only. `terminal`: redraws in place.
  LiveView(const GraphView& graph, const RunStore& store, bool show, bool terminal);

  void stage_started(const std::string& stage, bool continued) override;
  void stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) override;
  void stage_done(const std::string& stage, const std::string& summary_json) override;
  void message(const std::string& text) override;
  void close();  // removes what is redrawn

 private:
  std::string label(const std::string& stage) const;
  void erase();
  void draw();
  std::string elapsed() const;

  const GraphView& graph_;
  SystemClock clock_;
  bool show_, terminal_;
  int drawn_ = 0;  // lines on the terminal that the next drawing replaces
  double begin_s_, last_print_s_ = 0;
  size_t done_ = 0;
  std::map<std::string, std::pair<double, std::vector<std::pair<std::string, std::string>>>> running_;
};

// One line about a finished stage: "rl1  accuracy 0.40 > 0.88  format 0.95 > 0.99 ...".
std::string stage_line(const std::string& summary_json);

}  // namespace r1
