#include "tools/terminal/stored_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "actors/codec.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "actors/stored_rows.h"
#include "base/error.h"
#include "tools/terminal/text.h"

namespace r1::terminal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

std::string verdict_of(const ResponseRow& row) {
  std::string text = row.correct ? (*row.correct ? "right" : "wrong") : "";
  const auto add = [&](const std::string& more) { text += (text.empty() ? "" : ", ") + more; };
  if (!row.finished) add("cut off");
  if (!row.error.empty()) add("no reward: " + row.error);
  return text;
}

void add_held_out(const RunStore& store, const StageRow& stage, int64_t count, std::vector<StoredSample>& out) {
  for (const EvaluationRow& evaluation : store.evaluations(stage.id)) {
    std::map<std::string, std::pair<int64_t, int64_t>> shown;  // by source: prompts, the last one
    for (const ResponseRow& row : store.responses(evaluation.evaluation)) {
      auto& [prompts, last] = shown.try_emplace(row.source, 0, -1).first->second;
      if (row.prompt != last) ++prompts;
      last = row.prompt;
      if (prompts > count) continue;
      StoredSample& s = out.emplace_back();
      s.stage = stage.name;
      s.moment = evaluation.moment == "during" ? fmt::format("version {}", evaluation.version) : evaluation.moment;
      s.what = fmt::format("{} {}{}", row.source, row.prompt, row.sample < 0 ? ", greedy" : "");
      s.prompt = row.text;
      s.response = row.response;
      s.tokens = row.tokens;
      s.reward = row.reward;
      s.scores = response_scores_in(store, evaluation, row);
      s.verdict = verdict_of(row);
    }
  }
}

// The tokenizer of the stage's model: the graph's, or that of a checkpoint where the graph's files are gone.
std::shared_ptr<const Tokenizer> stage_tokenizer(const RunEnv& env, const GraphView& graph, int stage) {
  const NodePlan* node = stage_node(graph, stage, "generator");
  if (node == nullptr) node = stage_trainer(graph, stage);
  if (node == nullptr) return nullptr;
  try {
    return node_tokenizer(env, graph, *node);
  } catch (const Error&) {
    return std::make_shared<const Tokenizer>(
        Tokenizer::from_file(checkpoint_dir(env, graph.stages[static_cast<size_t>(stage)].name) / "tokenizer.json"));
  }
}

void add_drawn(const RunStore& store, const StageRow& stage, const Tokenizer& tokenizer, int64_t count,
               std::vector<StoredSample>& out) {
  std::vector<Resolution> ended = store.resolutions(stage.id);
  std::erase_if(ended, [](const Resolution& r) { return r.reason == "stage_ended"; });
  const int64_t n = std::ssize(ended);
  for (int64_t i = 0; i < n; ++i) {
    if (i >= count && i < n - count) continue;
    const Resolution& draw = ended[static_cast<size_t>(i)];
    for (const TrajectoryRow& row : store.trajectories(stage.id, draw.draw)) {
      const Sequence sequence = decode_sequence(row.payload);
      const auto begin = std::find(sequence.trainable.begin(), sequence.trainable.end(), 1) - sequence.trainable.begin();
      const std::span<const int32_t> tokens(sequence.tokens);
      StoredSample& s = out.emplace_back();
      s.stage = stage.name;
      s.moment = "sampled";
      s.what = fmt::format("draw {}, sample {}", draw.draw, row.sample);
      s.prompt = tokenizer.decode(tokens.first(static_cast<size_t>(begin)), false);
      s.response = tokenizer.decode(tokens.subspan(static_cast<size_t>(begin)), false);
      s.tokens = static_cast<int64_t>(tokens.size()) - begin;
      s.reward = row.reward;
      s.scores = scores_in(store, stage.id, row);
      s.verdict = draw.batch >= 0 ? fmt::format("trained in batch {}", draw.batch) : "dropped: " + draw.reason;
    }
  }
}

// Models write anything.
std::string printable(const std::string& text, const std::string& indent) {
  std::string out = indent;
  for (const char c : without_controls(text)) out += c == '\n' ? "\n" + indent : std::string(1, c);
  return out;
}

}  // namespace

std::vector<StoredSample> stored_samples(const fs::path& run_dir, const std::string& stage, int64_t count) {
  const auto store = RunStore::open_read_only(run_dir);
  const fs::path graph_dir = store->meta("graph_dir").value_or(".");
  if (!fs::exists(run_dir / "graph.graph"))
    throw bad_input("the graph of this run is missing", {(run_dir / "graph.graph").string()}, "put the file back as it was");
  const GraphView graph =
      load_graph(run_dir / "graph.graph", recorded_role_registry(graph_dir, remembered_source_kinds(*store)));
  std::vector<std::string> names;
  for (const StagePlan& s : graph.stages) names.push_back(s.name);
  if (!stage.empty() && std::find(names.begin(), names.end(), stage) == names.end()) {
    const std::string near = nearest(stage, names);
    throw bad_input(
        fmt::format("this run has no stage '{}'", stage), {run_dir.string()},
        near.empty() ? fmt::format("its stages are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
  }
  RunEnv env;
  env.run_dir = run_dir;
  env.graph_dir = graph_dir;
  std::vector<StoredSample> out;
  for (size_t i = 0; i < graph.stages.size(); ++i)
    for (const StageRow& row : store->stages()) {
      if (row.name != graph.stages[i].name || (!stage.empty() && row.name != stage)) continue;
      add_held_out(*store, row, count, out);
      if (store->ledger(row.id).draws == 0) continue;
      if (const auto tokenizer = stage_tokenizer(env, graph, static_cast<int>(i)))
        add_drawn(*store, row, *tokenizer, count, out);
    }
  return out;
}

std::string samples_text(const std::vector<StoredSample>& samples) {
  std::string out, heading;
  for (const StoredSample& s : samples) {
    const std::string here = fmt::format("{}, {}", s.stage, s.moment == "sampled" ? s.moment : "held out, " + s.moment);
    if (here != heading) out += fmt::format("{}==== {}\n", out.empty() ? "" : "\n", here);
    heading = here;
    out += fmt::format("\n-- {}{}{}", s.what, s.verdict.empty() ? "" : ": ", printable(s.verdict, ""));
    if (s.reward) out += fmt::format("; reward {:.4g}", *s.reward);
    for (const auto& [name, value] : s.scores.items())
      if (value.is_number()) out += fmt::format("; {} {:.4g}", name, value.get<double>());
    out += fmt::format("; {} tokens\n{}\n{}\n", s.tokens, printable(s.prompt, "   "), printable(s.response, " > "));
  }
  return out;
}

std::string samples_jsonl(const std::vector<StoredSample>& samples) {
  std::string out;
  for (const StoredSample& s : samples) {
    ordered_json line = {
        {"stage", s.stage}, {"moment", s.moment}, {"what", s.what}, {"prompt", s.prompt}, {"response", s.response}};
    line["reward"] = s.reward ? ordered_json(*s.reward) : ordered_json(nullptr);
    line["scores"] = s.scores;
    line["verdict"] = s.verdict;
    line["tokens"] = s.tokens;
    out += line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  return out;
}

}  // namespace r1::terminal
