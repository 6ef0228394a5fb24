// What a person sees while a run goes on: on a terminal all stages as a list, redrawn in place; in a pipe a line when a stage
// starts, every few seconds, and when it ends. Thread rule: one thread (the conductor's).
#pragma once

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "runtime/conductor/conductor.h"
#include "runtime/store/run_store.h"
#include "tools/terminal/run_watch.h"

namespace r1::terminal {

class LiveView final : public ProgressSink {
 public:
  // `show`: false prints messages and failures only. `title`: "r1_full  seed 0, bf16". Redraws in place when standard output is
  // a terminal that can (TERM is not dumb); NO_COLOR is respected.
  LiveView(const GraphView& graph, const RunStore& store, bool show, std::string title);

  void stage_started(const std::string& stage, bool continued) override;
  void stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) override;
  void stage_done(const std::string& stage, const std::string& summary_json, const StageVerdict& verdict) override;
  void message(const std::string& text) override;
  void close();  // leaves the last screen standing; waits until all is taken that was to be said

 private:
  // A stream that the program's reader may stop taking.
  struct Outlet {
    std::FILE* file;
    std::string waiting;  // was to be written, and no more was taken
    bool gone = false;    // nobody reads it any more: what is written goes nowhere
    void put(const std::string& text);
    void close();  // waits until all is taken
  };

  void put(const std::string& text);  // to standard output

  bool stuck();  // the reader of standard output takes nothing more
  void erase();
  void draw();
  void plain(const std::string& text);
  void verdict_line(const std::string& stage, const StageVerdict& verdict);
  std::string elapsed() const;

  const GraphView& graph_;
  RunWatch watch_;
  SystemClock clock_;
  bool show_, terminal_, color_;
  std::string title_;
  Outlet out_{stdout, {}}, err_{stderr, {}};
  size_t drawn_ = 0;  // lines on the terminal that the next drawing replaces
  double begin_s_, last_s_ = 0;
  size_t done_ = 0;
};

}  // namespace r1::terminal
