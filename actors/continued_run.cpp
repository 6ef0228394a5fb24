#include "actors/continued_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/fingerprint.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// `check` throws what is wrong with a file that the stage wrote.
template <class Check>
void of_stage(const StageRow& stage, const char* name, Check check) {
  try {
    check();
  } catch (const Error& e) {
    throw bad_input(fmt::format("the {} that stage '{}' of this run wrote cannot be used: {}", name, stage.name, e.message()),
                    e.where(), "put the file back as it was, or start over with --fresh");
  }
}

template <class Check>
void check_artifact(const RunEnv& env, const RunStore& store, const StageRow& stage, const char* name, Check check) {
  const auto artifact = store.artifact(stage.id, name);
  if (!artifact) return;
  const fs::path path = env.run_dir / artifact->first;
  of_stage(stage, name, [&] {
    if (!fs::exists(path)) throw bad_input("no such file or directory", {path.string()});
    check(path, artifact->second);
  });
}

// The stages whose results a stage that is not done reads, and those that are not done themselves.
std::set<std::string> stages_in_use(const GraphView& graph, const RunStore& store) {
  std::set<std::string> done, used;
  for (const StageRow& row : store.stages())
    if (row.status == StageStatus::done) done.insert(row.name);
  for (const StagePlan& stage : graph.stages) {
    if (done.count(stage.name) != 0) continue;
    used.insert(stage.name);
    for (const int n : stage.nodes)
      for (const int e : graph.nodes[n].in_edges)
        if (const int from = graph.nodes[graph.edges[e].from].stage; from >= 0) used.insert(graph.stages[from].name);
  }
  return used;
}

void compare(const RunEnv& env, const ArtifactFile& recorded) {
  const fs::path file = env.run_dir / recorded.file;
  if (!fs::exists(file)) throw bad_input("no such file", {file.string()});
  env.once->keep(file, file_stamp(file), recorded.hash);
  const FileFingerprint now = fingerprint_file(file);
  if (static_cast<int64_t>(now.bytes) != recorded.bytes)
    throw bad_input(fmt::format("it has {} bytes and was written with {}", now.bytes, recorded.bytes), {file.string()});
  if (now.hex() != recorded.hash)
    throw bad_input("its bytes are not those that were written: its hash differs from the recorded one", {file.string()});
}

void compare_dataset(const RunEnv& env, const fs::path& file, const std::string& hash) {
  env.once->keep(file, file_stamp(file), hash);
  if (fingerprint_file(file).hex() != hash) throw bad_input("its hash differs from the recorded one", {file.string()});
}

}  // namespace

std::vector<ArtifactFile> fingerprint_directory(const RunEnv& env, const std::string& dir) {
  std::vector<ArtifactFile> files;
  for (const auto& entry : fs::directory_iterator(env.run_dir / dir)) {
    if (!entry.is_regular_file()) continue;
    const FileStamp stamp = file_stamp(entry.path());
    const FileFingerprint print = fingerprint_file(entry.path());
    env.once->keep(entry.path(), stamp, print.hex());
    files.push_back({dir + "/" + entry.path().filename().string(), static_cast<int64_t>(print.bytes), print.hex()});
  }
  std::sort(files.begin(), files.end(), [](const ArtifactFile& a, const ArtifactFile& b) { return a.file < b.file; });
  return files;
}

void check_run_files(const RunEnv& env, const GraphView& graph, const RunStore& store) {
  const std::set<std::string> used = stages_in_use(graph, store);
  const auto dataset = [&](const fs::path& file, const std::string& hash) { compare_dataset(env, file, hash); };
  for (const StageRow& stage : store.stages()) {
    const auto model = [&](const char* name) {
      return [&, name](const fs::path& dir, const std::string&) {
        if (used.count(stage.name) != 0)
          for (const ArtifactFile& file : store.artifact_files(stage.id, name)) compare(env, file);
        check_model_dir(dir);
      };
    };
    check_artifact(env, store, stage, "checkpoint", model("checkpoint"));
    if (used.count(stage.name) != 0) check_artifact(env, store, stage, "reference", model("reference"));
    check_artifact(env, store, stage, "dataset", dataset);
  }
}

void check_kept_files(const RunEnv& env, const RunStore& store, fs::file_time_type since) {
  const auto is_to_check = [&](const fs::path& file) { return fs::exists(file) && fs::last_write_time(file) >= since; };
  for (const StageRow& stage : store.stages()) {
    for (const char* name : {"checkpoint", "reference"})
      for (const ArtifactFile& file : store.artifact_files(stage.id, name))
        if (is_to_check(env.run_dir / file.file)) of_stage(stage, name, [&] { compare(env, file); });
    if (const auto dataset = store.artifact(stage.id, "dataset"))
      if (const fs::path file = env.run_dir / dataset->first; is_to_check(file))
        of_stage(stage, "dataset", [&] { compare_dataset(env, file, dataset->second); });
  }
}

}  // namespace r1
