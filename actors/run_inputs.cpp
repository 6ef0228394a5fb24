#include "actors/run_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/model_chat.h"
#include "actors/reward_programs.h"
#include "base/clock.h"
#include "base/fingerprint.h"
#include "base/log.h"
#include "models/model_files.h"
#include "tasks/source.h"
#include "tasks/spec.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kGone = -1;  // in place of a size: that the file is not there was accepted
constexpr const char* kKindsKey = "source_kinds";

struct Collector {
  const RunEnv& env;
  std::map<std::string, InputFile> found;

  void add(const std::string& name, const std::string& what) {
    if (!name.empty()) found.try_emplace(name, InputFile{name, what, resolve_path(env, name)});
  }
  void add_model(const std::string& name, const std::string& what) {
    const fs::path path = resolve_path(env, name);
    if (const auto gguf = gguf_of(path)) return add(*gguf == path ? name : (fs::path(name) / gguf->filename()).string(), what);
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(resolve_path(env, name), none)) {
      const std::string kind = entry.path().extension();
      if (kind == ".json" || kind == ".safetensors" || kind == ".jinja")
        add((fs::path(name) / entry.path().filename()).string(), what);
      if (entry.path().filename() == "additional_chat_templates")
        for (const auto& more : fs::directory_iterator(entry.path(), none))
          add((fs::path(name) / entry.path().filename() / more.path().filename()).string(), what);
    }
  }
  void add_model_node(const NodePlan& node) {
    const std::string what = fmt::format("the model '{}'", node.id);
    if (node.attrs.has("path")) add_model(node.attrs.text("path"), what);
    add(node.attrs.text("config"), what);
    if (const std::string t = node.attrs.text("tokenizer"); t != "tiny" && !t.empty()) {
      add(t, fmt::format("the tokenizer of model '{}'", node.id));
      for (const fs::path& file : chat_files_beside(resolve_path(env, t)))
        add((fs::path(t).parent_path() / file.filename()).string(), what);
    }
  }
  void add_programs(const NodePlan& node) {
    for (const ProgramCall& call : judge_programs(node))
      for (const fs::path& file : program_files(call, env.graph_dir))
        add(file.string(), fmt::format("a reward program of '{}'", node.id));
  }
  std::vector<InputFile> take() {
    std::vector<InputFile> files;
    for (auto& [name, file] : found) files.push_back(std::move(file));
    return files;
  }
  void add_source(const std::string& spec, const std::string& what) {
    static const std::string kPrefix = "jsonl:";
    const std::string name = parse_source_spec(spec).name;
    if (name.starts_with(kPrefix)) add(name.substr(kPrefix.size()), what);
  }
};

bool is_weights(const InputRow& row) {
  const fs::path kind = fs::path(row.file).extension();
  return kind == ".safetensors" || kind == ".gguf";
}

std::string difference(const InputRow& before, const FileFingerprint& now) {
  if (before.bytes != static_cast<int64_t>(now.bytes)) return fmt::format("{} bytes then, {} now", before.bytes, now.bytes);
  return fmt::format("the same size, other content: {} then, {} now", before.hash.substr(0, 8), now.hex().substr(0, 8));
}

InputRow row_of(const InputFile& file, const FileFingerprint& print) {
  const FileStamp stamp = file_stamp(file.path);
  return {file.name, file.what, static_cast<int64_t>(print.bytes), print.hex(),
          stamp.settled(wall_clock_s()) ? stamp.text() : ""};
}

}  // namespace

std::vector<InputFile> input_files(const RunEnv& env, const GraphView& graph) {
  Collector in{env, {}};
  for (const NodePlan& node : graph.nodes) {
    if (node.role == "model") {
      in.add_model_node(node);
    } else if (node.role == "dataset") {
      in.add(node.attrs.text("path"), fmt::format("the dataset '{}'", node.id));
    } else if (node.role == "prompter" || node.role == "evaluator") {
      for (const std::string& spec : split_sources(node.attrs.text("source")))
        in.add_source(spec, fmt::format("the data of '{}'", node.id));
    }
    if (node.role == "judge" || node.role == "evaluator") in.add_programs(node);
  }
  return in.take();
}

std::vector<InputFile> model_files(const RunEnv& env, const NodePlan& model, bool weights) {
  Collector in{env, {}};
  in.add_model_node(model);
  std::vector<InputFile> files = in.take();
  // A GGUF file is the tokenizer's too.
  if (!weights) std::erase_if(files, [](const InputFile& file) { return file.path.extension() == ".safetensors"; });
  return files;
}

std::vector<InputFile> reward_program_files(const RunEnv& env, const NodePlan& judge) {
  Collector in{env, {}};
  in.add_programs(judge);
  return in.take();
}

void check_inputs(const RunEnv& env, const GraphView& graph, RunStore& store, bool accept,
                  const std::function<void(const std::string& line)>& show) {
  std::map<std::string, InputRow> known;
  for (InputRow& row : store.inputs()) known.emplace(row.file, std::move(row));
  std::vector<InputRow> rows;
  std::vector<std::string> changed, events;
  for (const InputFile& file : input_files(env, graph)) {
    const auto before = known.extract(file.name);
    const bool known_before = !before.empty();
    if (known_before && !before.mapped().stamp.empty() && fs::exists(file.path) &&
        file_stamp(file.path).text() == before.mapped().stamp) {
      env.once->keep(file.path, file_stamp(file.path), before.mapped().hash);
      continue;
    }
    const FileStamp stamp = file_stamp(file.path);
    const FileFingerprint now = env.once->fingerprint(file.path, shown_progress(file.path, show));
    env.once->keep(file.path, stamp, now.hex());
    if (known_before && (before.mapped().bytes != static_cast<int64_t>(now.bytes) || before.mapped().hash != now.hex())) {
      changed.push_back(fmt::format("{}: {} ({})", file.name, file.what, difference(before.mapped(), now)));
      events.push_back(json{
          {"file", file.name},
          {"before", before.mapped().hash},
          {"after", now.hex()},
          {"bytes_before", before.mapped().bytes},
          {"bytes_after",
           now.bytes}}.dump());
    }
    rows.push_back(row_of(file, now));
  }
  // Files of a model directory that are not there any more; the graph's own attributes are those of before (or it was refused).
  for (const auto& [name, row] : known)
    if (row.bytes >= 0 && !fs::exists(resolve_path(env, name))) {
      changed.push_back(fmt::format("{}: {} (gone)", name, row.what));
      events.push_back(json{{"file", name}, {"before", row.hash}, {"bytes_before", row.bytes}}.dump());
      rows.push_back({name, row.what, kGone, "", ""});
    }
  if (!changed.empty() && !accept)
    throw bad_input(fmt::format("what this run reads changed since it began:\n  {}", fmt::join(changed, "\n  ")), {},
                    "put it back as it was, start over with --fresh, or go on with it as it is now: --accept-inputs");
  if (rows.empty()) return;
  for (const std::string& line : changed) log_warn("accepted: " + line);
  for (const std::string& event : events) store.add_event(0, "r1-run", "input_changed", event);
  store.set_inputs(rows);
}

void check_start_weights(const RunEnv& env, const GraphView& graph, const RunStore& store) {
  std::map<std::string, InputRow> known;
  for (InputRow& row : store.inputs()) known.emplace(row.file, std::move(row));
  for (const auto& [name, row] : known) {
    if (!is_weights(row)) continue;
    const fs::path path = resolve_path(env, name);
    if (!fs::exists(path))
      throw bad_input(fmt::format("{} is gone: a replay starts from its weights", row.what), {path.string()},
                      "put it back as it was");
    if (file_stamp(path).text() == row.stamp) continue;
    if (const FileFingerprint now = fingerprint_file(path); now.hex() != row.hash)
      throw bad_input(fmt::format("{} changed since the run began: {}", row.what, difference(row, now)), {path.string()},
                      "put it back as it was: a replay starts from its weights");
  }
  for (const NodePlan& node : graph.nodes)
    if (node.role == "model" && node.attrs.has("path"))
      if (const fs::path path = resolve_path(env, node.attrs.text("path")); !fs::exists(path))
        throw bad_input(fmt::format("the model '{}' is gone: a replay starts from its weights", node.id), {path.string()},
                        "put it back as it was");
}

std::map<std::string, std::string> source_kinds(const RunEnv& env, const GraphView& graph) {
  std::map<std::string, std::string> kinds;
  for (const NodePlan& node : graph.nodes)
    if (node.role == "prompter") {
      const std::string source = node.attrs.text("source");
      kinds[source] = record_kind_name(source_kind(located_source(source, env.graph_dir)));
    }
  return kinds;
}

void remember_source_kinds(const RunEnv& env, const GraphView& graph, RunStore& store) {
  store.set_meta(kKindsKey, json(source_kinds(env, graph)).dump());
}

std::map<std::string, std::string> remembered_source_kinds(const RunStore& store) {
  const auto text = store.meta(kKindsKey);
  if (!text) return {};
  return stored_json(*text, store.place("meta", fmt::format("key='{}'", kKindsKey)), R"({"*": "text"})");
}

}  // namespace r1
