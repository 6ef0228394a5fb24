#include "runtime/conductor/stage_times.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace r1 {

std::string StageTimes::json() const {
  return nlohmann::json{{"seconds", seconds},
                        {"compute_cpu_s", compute_cpu_s},
                        {"overlap_s", overlap_s},
                        {"idle_s", idle_s},
                        {"engine_s", engine_s}}
      .dump();
}

StageTimes StageTimes::from_json(const std::string& text) {
  StageTimes times;
  if (text.empty()) return times;
  try {
    const auto json = nlohmann::json::parse(text);
    times.seconds = json.at("seconds");
    times.compute_cpu_s = json.at("compute_cpu_s");
    times.overlap_s = json.at("overlap_s");
    times.idle_s = json.value("idle_s", 0.0);  // runs before it was measured have none
    times.engine_s = json.at("engine_s").get<std::map<std::string, double>>();
  } catch (const nlohmann::json::exception& e) {
    throw failure(std::string("the run store's stage times are damaged: ") + e.what());
  }
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
