// The identity of a run (P12): which files it reads and did not write - data, weights, tokenizers, reward programs - and what
// they were when it began. Not a check of their content: --check and the roles do that. Thread rule: one thread; reads files
// and the run store.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "runtime/store/run_store.h"

namespace r1 {

struct InputFile {
  std::string name;  // as in the graph, relative to its directory
  std::string what;  // "the data of 'prompts'", "the model 'base'"
  std::filesystem::path path;
};
// Without doubles, by name. A reward command counts with program_files() of rewards/program_calls.h, a model with its GGUF
// file, or its directory's *.json, *.safetensors and *.jinja files.
std::vector<InputFile> input_files(const RunEnv&, const GraphView&);
// Those of one kind=model node; without `weights` what tells its shape, tokenizer and templates.
std::vector<InputFile> model_files(const RunEnv&, const NodePlan& model, bool weights);
std::vector<InputFile> reward_program_files(const RunEnv&, const NodePlan& judge);

// Fingerprints of all of them go into the store where they are not known yet; those that are known are compared. A file whose
// stamp (FileStamp) is the recorded one is not read again. Throws bad_input naming every file that changed or is gone; with
// `accept`, each change becomes an event `input_changed` and the run's new input.
// `show`: is told how far the reading of a large file is; may be empty.
void check_inputs(const RunEnv&, const GraphView&, RunStore&, bool accept,
                  const std::function<void(const std::string& line)>& show = {});

// For a replay, which reads nothing but start weights: those of kind=model nodes, by content. Throws bad_input.
void check_start_weights(const RunEnv&, const GraphView&, const RunStore&);

// What each source of the graph gives ("prompts", ...), kept with the run: a finished run is shown and replayed without its
// data.
std::map<std::string, std::string> source_kinds(const RunEnv&, const GraphView&);
void remember_source_kinds(const RunEnv&, const GraphView&, RunStore&);
std::map<std::string, std::string> remembered_source_kinds(const RunStore&);  // empty: an older run

}  // namespace r1
