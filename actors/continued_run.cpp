#include "actors/continued_run.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/hash.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

template <class Check>
void check_artifact(const RunEnv& env, const RunStore& store, const StageRow& stage, const char* name, Check check) {
  const auto artifact = store.artifact(stage.id, name);
  if (!artifact) return;
  const fs::path path = env.run_dir / artifact->first;
  try {
    if (!fs::exists(path)) throw bad_input("no such file or directory", {path.string()});
    check(path, artifact->second);
  } catch (const Error& e) {
    throw bad_input(fmt::format("the {} that stage '{}' of this run wrote cannot be used: {}", name, stage.name, e.message()),
                    e.where(), "put the file back as it was, or start over with --fresh");
  }
}

}  // namespace

void check_run_files(const RunEnv& env, const RunStore& store) {
  const auto model = [](const fs::path& dir, const std::string&) { check_model_dir(dir); };
  const auto dataset = [](const fs::path& file, const std::string& hash) {
    if (hash_string(read_file(file)).hex() != hash) throw bad_input("its hash differs from the recorded one", {file.string()});
  };
  for (const StageRow& stage : store.stages()) {
    check_artifact(env, store, stage, "checkpoint", model);
    check_artifact(env, store, stage, "reference", model);
    check_artifact(env, store, stage, "dataset", dataset);
  }
}

}  // namespace r1
