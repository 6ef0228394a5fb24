// What the live view shows, as plain data, and its drawing as lines of text. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace r1::terminal {

struct StageState {
  enum class Status { waiting, running, done, failed };
  std::string name, label;
  Status status = Status::waiting;
  double seconds = 0;           // so far
  double left_s = -1;           // estimate; negative: unknown
  int64_t step = 0, limit = 0;  // batches (windows of prompts for a stage that writes a dataset); limit 0: unknown
  std::string result;           // of a finished stage: "accuracy .381 > .875  ..."
  // Of a running stage.
  std::string curve_name;                               // "reward" or "loss"
  std::vector<double> curve;                            // per batch, oldest first
  std::vector<std::pair<std::string, double>> metrics;  // the latest, in order: accuracy, format, ...
  double trainer_tokens_s = 0, generator_tokens_s = 0;  // 0: not shown
  double age = -1;                                      // mean, versions; negative: not shown
  int64_t staleness = 0;                                // bound
  double dropped = -1;                                  // share of groups; negative: not shown
  std::string note;                                     // a role's own line, when there is nothing better
};

struct ScreenState {
  std::string title;             // "r1_full  seed 0, bf16"
  double seconds = 0;            // of this process
  double left_s = -1;            // of the whole run; negative: unknown
  bool left_is_minimum = false;  // stages that nothing is known about come on top
  std::vector<StageState> stages;
};

// Lines of at most `width` columns and at most `height` of them (at least 4): when there are more stages, those around the
// running ones. `color`: with colour sequences.
std::vector<std::string> draw_screen(const ScreenState& state, size_t width, size_t height, bool color);

// One plain line about a running stage, for pipes; at most `width` columns.
std::string progress_line(const StageState& stage, size_t width);

}  // namespace r1::terminal
