#include "runtime/store/stage_times.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace r1 {

std::string StageTimes::json() const {
  return nlohmann::json{{"seconds", seconds},
                        {"compute_cpu_s", compute_cpu_s},
                        {"overlap_s", overlap_s},
                        {"idle_s", idle_s},
                        {"engine_s", engine_s}}
      .dump();
}

StageTimes StageTimes::of(const RunStore& store, const StageRow& row) {
  StageTimes times;
  if (row.times_json.empty()) return times;
  const auto json = stored_json(row.times_json, store.place("stages", fmt::format("id={}, column times", row.id)),
                                R"({"seconds!": "number", "compute_cpu_s!": "number", "overlap_s!": "number",
                                    "idle_s": "number", "engine_s!": {"*": "number"}})");
  times.seconds = json.at("seconds");
  times.compute_cpu_s = json.at("compute_cpu_s");
  times.overlap_s = json.at("overlap_s");
  times.idle_s = json.value("idle_s", 0.0);  // runs before it was measured have none
  times.engine_s = json.at("engine_s").get<std::map<std::string, double>>();
  return times;
}

void StageTimes::add(const StageTimes& more) {
  seconds += more.seconds;
  compute_cpu_s += more.compute_cpu_s;
  overlap_s += more.overlap_s;
  idle_s += more.idle_s;
  for (const auto& [engine, s] : more.engine_s) engine_s[engine] += s;
}

}  // namespace r1
