#include "tools/simulate/costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "actors/codec.h"
#include "base/error.h"
#include "base/json.h"
#include "runtime/store/run_store.h"
#include "runtime/store/stage_times.h"
#include "tools/report/shown_tokens.h"
#include "tools/simulate/stage_simulation.h"

namespace r1::simulate {

namespace {

struct Field {
  const char* section;  // "": at the top
  const char* name;
  double* value;
  double min, max;
};

std::vector<Field> fields_of(Costs& c) {
  constexpr double kLongest_s = 1e6;
  return {{"generate", "step_s", &c.generate.step_s, 0, kLongest_s},
          {"generate", "token_s", &c.generate.token_s, 0, kLongest_s},
          {"generate", "prefill_token_s", &c.generate.prefill_token_s, 0, kLongest_s},
          {"judge", "completion_s", &c.judge.completion_s, 0, kLongest_s},
          {"reference", "token_s", &c.reference.token_s, 0, kLongest_s},
          {"train", "batch_s", &c.train.batch_s, 0, kLongest_s},
          {"train", "token_s", &c.train.token_s, 0, kLongest_s},
          {"evaluate", "problem_s", &c.evaluate.problem_s, 0, kLongest_s},
          {"between", "batch_s", &c.between.batch_s, 0, kLongest_s},
          {"tokens", "prompt", &c.tokens.prompt, 0, 1e9},
          {"tokens", "mean", &c.tokens.mean, 1, 1e9},
          {"tokens", "deviation", &c.tokens.deviation, 0, 1e9},
          {"tokens", "example", &c.tokens.example, 0, 1e9},
          {"", "kept", &c.kept, 0, 1},
          {"bytes", "token", &c.bytes.token, 0, 1e6},
          {"bytes", "weights", &c.bytes.weights, 0, 1e15},
          {"link", "bytes_per_s", &c.link.bytes_per_s, 1, 1e15},
          {"link", "latency_s", &c.link.latency_s, 0, kLongest_s}};
}

}  // namespace

Costs read_costs(const std::filesystem::path& file) {
  constexpr const char* kHint = "docs/scaling.md has the names and an example";
  const nlohmann::json json = read_json_file(file, {.hint = kHint, .max_bytes = 1 << 20});
  Costs costs;
  const std::vector<Field> fields = fields_of(costs);
  const auto read = [&](const std::string& section, const std::string& name, const nlohmann::json& value) {
    const std::string full = section.empty() ? name : section + "." + name;
    std::vector<std::string> known;
    for (const Field& f : fields) {
      known.push_back(*f.section == 0 ? f.name : std::string(f.section) + "." + f.name);
      if (section != f.section || name != f.name) continue;
      if (!value.is_number() || !(value.get<double>() >= f.min && value.get<double>() <= f.max))
        throw bad_input(fmt::format("{} is {}, and a number from {} to {} is expected", full, shown_json(value), f.min, f.max),
                        {file.string()}, kHint);
      *f.value = value.get<double>();
      return;
    }
    const std::string near = nearest(full, known);
    throw bad_input(fmt::format("there is no cost '{}'", full), {file.string()},
                    near.empty() ? kHint : fmt::format("did you mean {}?", near));
  };
  if (!json.is_object()) throw bad_input("costs are an object", {file.string()}, kHint);
  for (const auto& [section, value] : json.items()) {
    if (!value.is_object()) {
      read("", section, value);
      continue;
    }
    for (const auto& [name, number] : value.items()) read(section, name, number);
  }
  return costs;
}

Costs measured_costs(const std::filesystem::path& run_dir, const std::string& stage, const StageShape& shape) {
  constexpr int64_t kDrawsRead = 512;
  const auto store = RunStore::open_read_only(run_dir);
  const auto none = [&](const std::string& what) {
    return bad_input(fmt::format("the costs of stage {} are not known from this run: {}", stage, what), {run_dir.string()},
                     "give a file of costs, or a run whose stage of that name has trained");
  };
  for (const StageRow& row : store->stages()) {
    if (row.name != stage) continue;
    const StageTimes times = StageTimes::of(*store, row);
    const auto engine_s = [&](const char* engine) {
      const auto found = times.engine_s.find(engine);
      return found == times.engine_s.end() ? 0.0 : found->second;
    };
    Costs c;
    const int64_t batches_made = store->batch_count(row.id);
    if (batches_made > 0) c.between.batch_s = times.idle_s / static_cast<double>(batches_made);
    if (const double problems = shape.problems.all(batches_made); problems > 0)
      c.evaluate.problem_s = engine_s("evaluator") / problems;
    if (shape.sort == StageSort::learns_from_examples) {
      double tokens = 0;
      const auto batches = store->batch_stats(row.id);
      for (const auto& [version, stats] : batches) tokens += parse_json(stats, {run_dir.string()}).value("tokens", 0.0);
      if (tokens == 0) throw none("it has learned from no batch");
      c.tokens.example = tokens / static_cast<double>(std::ssize(batches) * shape.examples);
      c.train.token_s = engine_s("trainer") / tokens;
      return c;
    }
    if (shape.sort == StageSort::evaluates) {
      double problems = 0, tokens = 0;
      for (const EvaluationRow& e : store->evaluations(row.id)) {
        const nlohmann::json metrics = parse_json(e.metrics_json, {run_dir.string()});
        problems += metrics.value("problems", 0.0);
        tokens += metrics.value("problems", 0.0) * metrics.value("length", 0.0);
      }
      if (tokens == 0) throw none("it has measured no completion");
      c.tokens.mean = std::max(1.0, tokens / problems);
      c.generate.token_s = engine_s("evaluator") / (tokens * static_cast<double>(shape.samples + (shape.greedy ? 1 : 0)));
      return c;
    }
    const LedgerCounts ledger = store->ledger(row.id);
    const bool learns = shape.sort == StageSort::learns_from_samples;
    if (learns && ledger.trained == 0) throw none("no group was trained on");
    double n = 0, sum = 0, squares = 0, prompts = 0, groups = 0;
    std::vector<Resolution> draws = store->resolutions(row.id);
    std::erase_if(draws, [](const Resolution& r) { return r.reason == "stage_ended"; });
    // Evenly over the stage: lengths change while a policy learns.
    const size_t stride = std::max<size_t>(1, draws.size() / kDrawsRead);
    for (size_t i = 0; i < draws.size(); i += stride) {
      const auto rows = store->trajectories(row.id, draws[i].draw);
      groups += rows.empty() ? 0 : 1;
      for (const TrajectoryRow& t : rows) {
        const Sequence s = decode_sequence(t.payload);
        const auto prompt = static_cast<double>(report::prompt_length(s)),
                   length = static_cast<double>(s.tokens.size()) - prompt;
        ++n, sum += length, squares += length * length, prompts += prompt;
      }
    }
    if (n == 0) throw none("it has no trajectories");
    c.tokens.prompt = prompts / n;
    c.tokens.mean = std::max(1.0, sum / n);
    c.tokens.deviation = std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)));
    // By the tokens that the simulation will count.
    const double sampled = static_cast<double>(draws.size()) * n / groups,
                 learned = static_cast<double>(ledger.trained) * n / groups;
    c.generate.token_s = engine_s("generator") / (sampled * c.tokens.mean);
    c.judge.completion_s = engine_s("judge") / sampled;
    if (learns) {
      c.reference.token_s = engine_s("reference") / (learned * (c.tokens.mean + c.tokens.prompt));
      c.train.token_s = engine_s("trainer") / (learned * (c.tokens.mean + c.tokens.prompt));
    }
    c.kept = static_cast<double>(ledger.trained) / static_cast<double>(draws.size());
    return c;
  }
  throw none("it has no such stage");
}

}  // namespace r1::simulate
