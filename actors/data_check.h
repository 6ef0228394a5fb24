// Every source that a graph reads, read whole before the first actor starts (P10): docs/data.md says what is looked at. What
// cannot be used is bad input with file, line and column; what will be dropped or cut is a warning with its count.
//
// A survey is remembered by the content of the file and all that it depends on, so that the next check of the same data takes
// no longer than hashing it.
// Thread rule: one thread at a time; it uses threads of its own while it runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "base/clock.h"
#include "base/error.h"

namespace r1 {

struct DataCheckOptions {
  std::filesystem::path memory;                        // directory of remembered surveys; empty: none
  double tokenise_s = 30;                              // after so many seconds only a sample is tokenised
  std::function<bool(const std::string& stage)> done;  // stages that will read nothing any more; empty: none
  std::function<void(const std::string& line)> show;   // progress of work that takes a while; empty: none
};

// Records to learn from that hold what an evaluator asks (docs/data.md).
struct ContaminatedSource {
  std::string node, source;
  int64_t found = 0, records = 0;
  bool dropped = false;  // left out of the run
};

struct DataWarning {
  Where where;  // of the attribute or the record
  std::string text;
  std::string str() const { return where.str() + ": " + text; }
};

struct DataCheck {
  std::vector<DataWarning> warnings;
  std::vector<ContaminatedSource> contaminated;
  int64_t files = 0, records = 0;  // read now or remembered
};

// Throws bad_input.
DataCheck check_data(const RunEnv&, const GraphView&, const DataCheckOptions&, const Clock&);

// $XDG_CACHE_HOME/r1/surveys, ~/.cache/r1/surveys, or empty where there is neither. At most kMostRemembered small files.
std::filesystem::path survey_memory();
constexpr size_t kMostRemembered = 256;

}  // namespace r1
