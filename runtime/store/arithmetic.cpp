#include "runtime/store/arithmetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/stored.h"

namespace r1 {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kAll = 1'000'000;

std::vector<json> changes(const RunStore& store) {
  std::vector<json> found;
  for (const std::vector<std::string>& event : store.events(0, kAll, "fingerprint"))
    found.push_back(stored_json(event.at(2), store.place("events", "kind='fingerprint'"),
                                R"({"trained": {"before!": "text", "now!": "text"}, "done": ["text"],
                                    "begun": {"*": ["integer"]}})"));
  return found;
}

}  // namespace

std::string arithmetic_file(const std::string& stage, int64_t version) {
  return fmt::format("snapshots/{}-{}.begin", stage, version);
}

void note_arithmetic(RunStore& store, const fs::path& run_dir, const ArithmeticChange& change) {
  json event = {{"before", change.before}, {"now", change.now}};
  if (change.trained_before != change.trained_now) {
    event["trained"] = {{"before", change.trained_before}, {"now", change.trained_now}};
    event["done"] = json::array();
    event["begun"] = json::object();
    for (const StageRow& stage : store.stages()) {
      const int64_t batches = store.batch_count(stage.id);
      if (stage.ended()) event["done"].push_back(stage.name);
      if (stage.ended() || batches == 0) continue;
      const std::vector<SnapshotRow> snapshots = store.snapshots(stage.id);
      const int64_t from = snapshots.empty() ? 0 : snapshots.back().version;
      event["begun"][stage.name] = {from, batches};
      if (from == 0) continue;
      const fs::path kept = run_dir / arithmetic_file(stage.name, from), snapshot = run_dir / snapshots.back().file;
      std::error_code error;
      fs::remove(kept, error);
      fs::create_hard_link(snapshot, kept, error);
      if (error) fs::copy_file(snapshot, kept, error);
      if (error)
        throw failure("the state that the stage goes on from cannot be kept for a replay: " + error.message(), {kept.string()},
                      "make room on the disk");
    }
  }
  store.add_event(0, "r1-run", "fingerprint", event.dump());
}

std::vector<ArithmeticPart> arithmetic_parts(const RunStore& store, const std::string& stage, const std::string& last) {
  std::vector<ArithmeticPart> parts;
  for (const json& change : changes(store)) {
    if (!change.contains("trained")) continue;
    if (parts.empty()) parts.push_back({0, 0, change["trained"]["before"]});
    const json done = change.value("done", json::array()), begun = change.value("begun", json::object());
    if (std::find(done.begin(), done.end(), stage) != done.end()) return parts;
    const std::string now = change["trained"]["now"];
    if (!begun.contains(stage)) {
      parts = {{0, 0, now}};
      continue;
    }
    const int64_t from = begun[stage].at(0), published = begun[stage].at(1);
    std::erase_if(parts, [&](const ArithmeticPart& p) { return p.from >= from; });
    parts.push_back({from, published, now});
  }
  if (parts.empty()) parts.push_back({0, 0, last});
  return parts;
}

std::set<std::string> arithmetic_files(const RunStore& store) {
  std::set<std::string> files;
  for (const json& change : changes(store)) {
    const json begun = change.value("begun", json::object());
    for (const auto& [stage, versions] : begun.items()) files.insert(arithmetic_file(stage, versions.at(0)));
  }
  return files;
}

}  // namespace r1
