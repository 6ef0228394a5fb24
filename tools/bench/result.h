// What a benchmark hands to its printer: cases with a floor, a time, where the time went and whether the result was right.
// Thread rule: values.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tools/bench/ceilings.h"
#include "tools/bench/profiling_device.h"

namespace r1::bench {

struct Verification {
  bool ok = true;
  std::string how;  // what was compared, and the difference when not ok
};

struct CaseResult {
  std::string name;   // "train llama"
  std::string floor;  // "matmul" or "memory": what the floor time is made of
  double floor_ns = 0, measured_ns = 0;
  double goal = 0;   // fraction asked for; 0: none
  std::string note;  // what a table shows where there is no goal
  Ceilings ceilings;
  Verification verification;
  std::vector<std::pair<std::string, double>> numbers;  // "tokens_per_s", ...
  std::vector<OpTime> breakdown;
  double breakdown_wall_ns = 0;  // wall time of the run that the breakdown comes from
  int threads = 1;

  double fraction() const { return measured_ns > 0 ? floor_ns / measured_ns : 0; }
};

struct Report {
  std::string what;  // "kernels", "train", "generate"
  std::string machine, fingerprint;
  std::vector<CaseResult> cases;
  std::string why_missing;  // why a ceiling was not measured; "": all were
  bool ok() const;
};

nlohmann::json report_json(const Report&);
// At most 100 columns.
std::string report_table(const Report&);

}  // namespace r1::bench
