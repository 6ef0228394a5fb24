#include "actors/replay.h"

#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "actors/changed_run.h"
#include "actors/training_attrs.h"
#include "actors/training_plan.h"
#include "base/error.h"
#include "runtime/store/arithmetic.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

// The trainer's state between two parts, on its way from one device to another.
class StateFile {
 public:
  StateFile() : file_(fs::temp_directory_path() / fmt::format("r1_replay_{}.state", ::getpid())) {}
  ~StateFile() {
    std::error_code gone;
    fs::remove(file_, gone);
  }
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;
  const fs::path& file() const { return file_; }

 private:
  const fs::path file_;
};

// The trainer's environment `env` where this part is computed as it was; none: nothing here computes so.
std::optional<RunEnv> env_for(const RunEnv& env, const ReplayArithmetic* arithmetic, const ArithmeticPart& part) {
  if (arithmetic == nullptr || part.fingerprint == arithmetic->now) return env;
  for (const char* name : {"cpu", "gpu:0"}) {
    try {
      Device& device = open_device(name);
      if (arithmetic->of(device) != part.fingerprint) continue;
      RunEnv there = env;
      there.device = &device;
      there.engines = device_engines(device);
      return there;
    } catch (const Error&) {  // there is none
    }
  }
  if (arithmetic->accept) return env;
  return std::nullopt;
}

struct StageReplay {
  const RunEnv env;
  const GraphView& graph;
  const RunStore& store;
  const NodePlan& trainer;
  const int64_t id;
  const std::vector<ChangeRow> changes = store.changes(id);

  TrainerConfig config_at(int64_t version) const {
    const std::string& stage = graph.stages[trainer.stage].name;
    return trainer_config_at(env, graph, trainer, remembered_batches(store, stage), changes, version);
  }
  std::unique_ptr<Learner> begin() const {
    return env.engines->learner(trainer.id, config_at(0), *trainer_start_weights(env, graph, trainer));
  }
  // Batches up to `end`; r.note names the first version that is not what was published.
  void train(Learner& engine, const ArithmeticPart& part, int64_t end, ReplayedStage& r) const {
    if (part.from > 0) engine.change(config_at(part.from));
    for (int64_t v = part.from; v < end; ++v) {
      if (changes_at(changes, v)) engine.change(config_at(v));
      engine.train(stored_batch(store, id, v));
      // Every version that was published has its hash in the store: the first that differs is named.
      const auto known = store.version_hash(id, v + 1);
      if (!known || v + 1 <= part.published || *known == engine.weights()->hash().hex()) continue;
      r.note = "version " + std::to_string(v + 1) + " is the first that differs";
      break;
    }
    r.recomputed = engine.masters_hash().hex();
    if (!r.note.empty()) return;
    if (r.recorded.empty()) {
      r.equal = true;
      r.note = "every published version is equal";
    } else {
      r.equal = r.recorded == r.recomputed;
      if (!r.equal) r.note = "the final weights differ";
    }
  }
};

}  // namespace

std::vector<ReplayedStage> replay_run(const RunEnv& env, const GraphView& graph, const RunStore& store,
                                      const std::function<void(const ReplayedStage&)>& on_stage,
                                      const ReplayArithmetic* arithmetic) {
  std::vector<ReplayedStage> results;
  for (const StageRow& row : store.stages()) {
    const StagePlan* stage = graph.stage(row.name);
    if (stage == nullptr) continue;
    const NodePlan* trainer = stage_trainer(graph, static_cast<int>(stage - graph.stages.data()));
    const int64_t batches = store.batch_count(row.id);
    if (trainer == nullptr || batches == 0) continue;
    const auto checkpoint = store.artifact(row.id, "checkpoint");
    std::vector<ArithmeticPart> parts = arithmetic_parts(store, row.name, arithmetic == nullptr ? "" : arithmetic->last);
    if (arithmetic == nullptr) parts.resize(1);
    std::erase_if(parts, [&](const ArithmeticPart& p) { return p.from > 0 && p.from >= batches; });
    const StateFile state;
    int64_t saved = -1;  // the version whose state is in `state`
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool last = i + 1 == parts.size();
      const int64_t end = last ? batches : parts[i + 1].from;
      ReplayedStage r;
      r.stage = row.name;
      r.batches = end - parts[i].from;
      if (last && checkpoint) r.recorded = checkpoint->second;
      try {
        const std::optional<RunEnv> there = env_for(env_of(env, *trainer), arithmetic, parts[i]);
        r.left_out = !there;
        if (there) {
          const StageReplay replay{*there, graph, store, *trainer, row.id};
          const auto engine = replay.begin();
          if (parts[i].from > 0)
            engine->load(saved == parts[i].from ? state.file() : env.run_dir / arithmetic_file(row.name, parts[i].from));
          replay.train(*engine, parts[i], end, r);
          if (!last && r.equal) {
            engine->save(state.file());
            saved = end;
          }
        }
      } catch (const Error& e) {
        r.equal = false;
        r.note = e.what();
      }
      if (last && r.equal) r.note = checkpoint ? "" : "the stage has not ended: every published version is equal";
      if (parts.size() > 1 || (arithmetic != nullptr && parts[i].fingerprint != arithmetic->now))
        r.note +=
            fmt::format("{}batches {} to {}, by {}", r.note.empty() ? "" : "; ", parts[i].from, end - 1, parts[i].fingerprint);
      on_stage(r);
      results.push_back(std::move(r));
    }
  }
  return results;
}

}  // namespace r1
