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

std::string verdict_of(const Resolution& draw) {
  return draw.batch >= 0 ? fmt::format("trained in batch {}", draw.batch) : "dropped: " + draw.reason;
}

std::vector<Resolution> ended_draws(const RunStore& store, int64_t stage) {
  std::vector<Resolution> ended = store.resolutions(stage);
  std::erase_if(ended, [](const Resolution& r) { return r.reason == "stage_ended"; });
  return ended;
}

StoredSample drawn_sample(const RunStore& store, const StageRow& stage, const Tokenizer& tokenizer, const Resolution& draw,
                          const TrajectoryRow& row) {
  const Sequence sequence = decode_sequence(row.payload);
  const size_t begin = report::prompt_length(sequence);
  const std::span<const int32_t> tokens(sequence.tokens);
  StoredSample s;
  s.stage = stage.name;
  s.moment = "sampled";
  s.what = fmt::format("draw {}, sample {}", draw.draw, row.sample);
  s.prompt = tokenizer.decode(tokens.first(begin), false);
  s.response = tokenizer.decode(tokens.subspan(begin), false);
  s.tokens = static_cast<int64_t>(tokens.size() - begin);
  s.draw = draw.draw;
  s.sample = row.sample;
  s.versions = report::versions_of(sequence);
  s.reward = row.reward;
  s.scores = scores_in(store, stage.id, row);
  s.verdict = verdict_of(draw);
  return s;
}

void add_drawn(const RunStore& store, const StageRow& stage, const Tokenizer& tokenizer, int64_t count,
               std::vector<StoredSample>& out) {
  const std::vector<Resolution> ended = ended_draws(store, stage.id);
  const int64_t n = std::ssize(ended);
  for (int64_t i = 0; i < n; ++i) {
    if (i >= count && i < n - count) continue;
    const Resolution& draw = ended[static_cast<size_t>(i)];
    for (const TrajectoryRow& row : store.trajectories(stage.id, draw.draw))
      out.push_back(drawn_sample(store, stage, tokenizer, draw, row));
  }
}

// The draws among `ended` whose samples the choice may show, in the order in which it shows them.
std::vector<Resolution> chosen_draws(const RunStore& store, const StageRow& stage, const DrawnChoice& choice) {
  std::vector<Resolution> ended = ended_draws(store, stage.id);
  using Of = DrawnChoice::Of;
  if (choice.of == Of::draw) std::erase_if(ended, [&](const Resolution& r) { return r.draw != choice.draw; });
  if (choice.of == Of::reason)
    std::erase_if(ended, [&](const Resolution& r) { return verdict_of(r).find(choice.reason) == std::string::npos; });
  if (choice.of == Of::last) std::reverse(ended.begin(), ended.end());
  return ended;
}

// A run's store and what its graph says.
struct OpenedRun {
  explicit OpenedRun(const fs::path& run_dir) : store(RunStore::open_read_only(run_dir)) {
    env.run_dir = run_dir;
    env.graph_dir = store->meta("graph_dir").value_or(".");
    if (!fs::exists(run_dir / "graph.graph"))
      throw bad_input("the graph of this run is missing", {(run_dir / "graph.graph").string()}, "put the file back as it was");
    graph = load_graph(run_dir / "graph.graph", recorded_role_registry(env.graph_dir, remembered_source_kinds(*store)));
  }
  // Where it stands in the graph; throws bad_input for one that the run does not have.
  size_t need_stage(const std::string& stage) const {
    std::vector<std::string> names;
    for (const StagePlan& s : graph.stages) names.push_back(s.name);
    const auto found = std::find(names.begin(), names.end(), stage);
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
    const std::string near = nearest(stage, names);
    throw bad_input(
        fmt::format("this run has no stage '{}'", stage), {env.run_dir.string()},
        near.empty() ? fmt::format("its stages are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
  }
  std::unique_ptr<RunStore> store;
  RunEnv env;
  GraphView graph;
};

// Models write anything.
std::string printable(const std::string& text, const std::string& indent) {
  std::string out = indent;
  for (const char c : without_controls(text)) out += c == '\n' ? "\n" + indent : std::string(1, c);
  return out;
}

// ---- colours: of 256, all readable on dark and on light ground

constexpr const char* kPlain = "\033[0m";
constexpr const char* kOfShade[] = {"", "\033[38;5;172m", "\033[38;5;166m", "\033[1;38;5;160m", "\033[48;5;160;38;5;231m"};

// No colour goes on behind the end of a line.
std::string in_colour(const char* colour, const std::string& text) {
  if (*colour == 0) return text;
  std::string out;
  for (size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.size(), text.find('\n', at));
    if (end > at) out += colour + text.substr(at, end - at) + kPlain;
    if (end < text.size()) out += '\n';
  }
  return out;
}

std::string legend() {
  std::string text = "probability of a token: at least 0.9";
  for (size_t shade = 1; shade < std::size(kOfShade); ++shade)
    text += ", " + in_colour(kOfShade[shade], shade < std::size(report::kShades) ? fmt::format("{:g}", report::kShades[shade])
                                                                                 : std::string("or less"));
  return text + "\n\n";
}

// The response with its tokens coloured, and where the version changes a mark.
std::string coloured_tokens(const StoredSample& s, const std::string& indent) {
  constexpr const char* kDim = "\033[2m";
  std::string out = indent;
  int64_t version = s.versions.oldest == s.versions.newest ? s.versions.newest : -1;
  for (const report::ShownToken& token : s.said) {
    if (token.version >= 0 && token.version != version) out += in_colour(kDim, fmt::format("[v{}]", token.version));
    version = token.version >= 0 ? token.version : version;
    const char* const colour = kOfShade[report::shade_of(token.probability.value_or(1))];
    for (const char c : in_colour(colour, without_controls(token.text))) out += c == '\n' ? "\n" + indent : std::string(1, c);
  }
  return out;
}

std::string of_versions(const report::Versions& v) {
  if (v.newest < 0) return "";
  return v.oldest == v.newest ? fmt::format(" of version {}", v.newest)
                              : fmt::format(" of versions {} to {}", v.oldest, v.newest);
}

}  // namespace

std::vector<StoredSample> stored_samples(const fs::path& run_dir, const std::string& stage, int64_t count) {
  const OpenedRun run(run_dir);
  if (!stage.empty()) run.need_stage(stage);
  std::vector<StoredSample> out;
  for (size_t i = 0; i < run.graph.stages.size(); ++i)
    for (const StageRow& row : run.store->stages()) {
      if (row.name != run.graph.stages[i].name || (!stage.empty() && row.name != stage)) continue;
      add_held_out(*run.store, row, count, out);
      if (run.store->ledger(row.id).draws == 0) continue;
      if (const auto tokenizer = stage_tokenizer(run.env, run.graph, static_cast<int>(i)))
        add_drawn(*run.store, row, *tokenizer, count, out);
    }
  return out;
}

std::vector<StoredSample> drawn_samples(const fs::path& run_dir, const std::string& stage, const DrawnChoice& choice) {
  const OpenedRun run(run_dir);
  const size_t index = run.need_stage(stage);
  std::vector<StoredSample> out;
  const std::vector<StageRow> rows = run.store->stages();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const StageRow& r) { return r.name == stage; });
  const auto tokenizer = stage_tokenizer(run.env, run.graph, static_cast<int>(index));
  if (row == rows.end() || !tokenizer) return out;
  const bool by_reward = choice.of == DrawnChoice::Of::best || choice.of == DrawnChoice::Of::worst;
  if (by_reward) {
    const std::vector<Resolution> ended = ended_draws(*run.store, row->id);
    for (const auto& [draw, sample] : run.store->samples_by_reward(row->id, choice.of == DrawnChoice::Of::best, choice.count)) {
      const auto found =
          std::lower_bound(ended.begin(), ended.end(), draw, [](const Resolution& r, int64_t d) { return r.draw < d; });
      if (found == ended.end() || found->draw != draw) continue;
      for (const TrajectoryRow& t : run.store->trajectories(row->id, draw))
        if (t.sample == sample) out.push_back(drawn_sample(*run.store, *row, *tokenizer, *found, t));
    }
    return out;
  }
  for (const Resolution& draw : chosen_draws(*run.store, *row, choice)) {
    std::vector<TrajectoryRow> samples = run.store->trajectories(row->id, draw.draw);
    if (choice.of == DrawnChoice::Of::last) std::reverse(samples.begin(), samples.end());
    for (const TrajectoryRow& t : samples) {
      if (std::ssize(out) >= choice.count) return out;
      out.push_back(drawn_sample(*run.store, *row, *tokenizer, draw, t));
    }
  }
  return out;
}

void add_tokens(const fs::path& run_dir, std::vector<StoredSample>& samples) {
  const OpenedRun run(run_dir);
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;
  for (StoredSample& s : samples) {
    if (s.draw < 0) continue;
    auto& tokenizer = tokenizers[s.stage];
    for (size_t i = 0; i < run.graph.stages.size() && !tokenizer; ++i)
      if (run.graph.stages[i].name == s.stage) tokenizer = stage_tokenizer(run.env, run.graph, static_cast<int>(i));
    if (!tokenizer) continue;
    for (const StageRow& stage : run.store->stages())
      if (stage.name == s.stage)
        for (const TrajectoryRow& row : run.store->trajectories(stage.id, s.draw))
          if (row.sample == s.sample) s.said = report::shown_tokens(decode_sequence(row.payload), *tokenizer);
  }
}

std::string samples_text(const std::vector<StoredSample>& samples, bool coloured) {
  constexpr const char *kBold = "\033[1m", *kDim = "\033[2m";
  const auto shown = [&](const char* colour, const std::string& text) { return coloured ? in_colour(colour, text) : text; };
  std::string out = coloured ? legend() : "", heading;
  for (const StoredSample& s : samples) {
    const std::string here = fmt::format("{}, {}", s.stage, s.moment == "sampled" ? s.moment : "held out, " + s.moment);
    if (here != heading) out += fmt::format("{}==== {}\n", heading.empty() ? "" : "\n", here);
    heading = here;
    out += fmt::format("\n-- {}{}{}", s.what, s.verdict.empty() ? "" : ": ", printable(s.verdict, ""));
    if (s.reward) out += "; " + shown(kBold, fmt::format("reward {:.4g}", *s.reward));
    for (const auto& [name, value] : s.scores.items())
      if (value.is_number()) out += fmt::format("; {} {:.4g}", name, value.get<double>());
    out += fmt::format("; {} tokens{}\n{}\n{}\n", s.tokens, of_versions(s.versions), shown(kDim, printable(s.prompt, "   ")),
                       coloured && !s.said.empty() ? coloured_tokens(s, " > ") : printable(s.response, " > "));
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
    if (s.versions.newest >= 0) line["versions"] = {s.versions.oldest, s.versions.newest};
    out += line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  return out;
}

}  // namespace r1::terminal
