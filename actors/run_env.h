// What roles share of a run besides messages: where files are, the seed, the device, and where a node's model comes from.
// Thread rule: RunEnv is immutable after make_run_env(); its functions may be called from any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/read_once.h"
#include "kernels/device.h"
#include "models/tokenizer/tokenizer.h"
#include "models/engines.h"
#include "models/weights.h"
#include "runtime/graph/graph.h"
#include "tasks/source.h"

namespace r1 {

// The stamps of the data files that a run has opened, so that a role which is started again meets the same file.
class DataStamps {
 public:
  // Throws failure, naming the file, when it was opened before under another stamp.
  void check(const Source& source);

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> known_;
};

// Where an actor computes that is not on the run's device.
struct ActorDevice {
  Device* device = nullptr;
  std::shared_ptr<const EngineFactory> engines;
};

struct RunEnv {
  std::filesystem::path run_dir;
  std::filesystem::path graph_dir;  // relative paths in the graph start here
  std::filesystem::path root;       // of absolute paths in the graph, at a node of another process (actors/node_roles.h); "": /
  uint64_t seed = 0;
  DType precision = DType::f32;                  // of weights and activations
  Device* device = nullptr;                      // the graph's; in an actor's own environment (env_of) the actor's
  std::shared_ptr<const EngineFactory> engines;  // of everything that computes
  // By node, and all devices that actors compute on (actors/devices.h). Empty: all on `device`.
  std::map<std::string, ActorDevice> elsewhere;
  std::vector<const Device*> computes_on;
  std::shared_ptr<DataStamps> stamps = std::make_shared<DataStamps>();
  std::shared_ptr<ReadOnce> once = std::make_shared<ReadOnce>();
};
// `device`: instead of the graph's; "": the graph's, or of a range or "auto" the first.
RunEnv make_run_env(const GraphView&, const std::filesystem::path& run_dir, const std::filesystem::path& graph_dir,
                    std::shared_ptr<ReadOnce> once = std::make_shared<ReadOnce>(), const std::string& device = "");
// The same run as the actor of `node` sees it.
RunEnv env_of(const RunEnv&, const NodePlan& node);

// "auto" is bf16 where `device` has fast bf16 dot products and the graph does not say otherwise.
DType resolve_precision(const std::string& attribute, const Device& device);

// ---- questions about a graph (no files touched) ---------------------------------------------------------------------------
const NodePlan* stage_trainer(const GraphView&, int stage);  // the trainer or distiller of a stage; null if none
const NodePlan* stage_node(const GraphView&, int stage, const std::string& role);  // the first of that role; null if none
// The node whose model this node starts from: a kind=model artifact, or the trainer of an earlier stage. A node without a model
// edge of its own starts from what its stage's trainer starts from. Throws bad_input at the node when there is none.
const NodePlan& model_origin(const GraphView&, const NodePlan&);
// The kind=model artifact at the end of that chain: it names the tokenizer.
const NodePlan& model_root(const GraphView&, const NodePlan&);
Where attr_place(const NodePlan&, const std::string& attr);  // of its value; of the node when it was not given
int64_t stage_staleness(const GraphView&, int stage);        // of the trainer -> generator edge; 0 without one
std::vector<std::string> reward_model_names(const GraphView&, const NodePlan& judge);  // the as=NAME of its models' edges
int64_t stage_window(const GraphView&, int stage);             // groups a batch: the prompter's groups_per_batch
int64_t max_draws_of(const NodePlan& filter, int64_t window);  // fill=resample: draws that one batch may take
// Whether batches are windows of consecutive draws, so that committed draws are the first batches x window ones.
bool draws_in_windows(const GraphView&, int stage);

// ---- files ----------------------------------------------------------------------------------------------------------------
std::filesystem::path resolve_path(const RunEnv&, const std::string& path);
std::filesystem::path checkpoint_dir(const RunEnv&, const std::string& stage);
std::filesystem::path dataset_file(const RunEnv&, const std::string& stage);

// open_source of `spec` (located) in this run: a file that has changed since the run first opened it is a failure.
std::unique_ptr<Source> open_data(const RunEnv&, const std::string& spec, uint64_t seed, const SourceUse& use = {});

// The tokenizer of a node's model; parsed once (RunEnv::once). Throws bad_input.
std::shared_ptr<const Tokenizer> node_tokenizer(const RunEnv&, const GraphView&, const NodePlan&);
ModelConfig origin_config(const RunEnv&, const NodePlan& origin);                 // reads config.json only
ModelConfig start_config(const RunEnv&, const GraphView&, const NodePlan& node);  // of the model that `node` starts from
// The weights that `node` starts from, in `dtype`; their configuration has the end tokens of its stage
// (actors/end_tokens.h) and the number of ids that are sampled.
std::shared_ptr<WeightSet> load_start_weights(const RunEnv&, const GraphView&, const NodePlan& node, DType dtype);
// The weights of an earlier stage's trainer or of an artifact.
std::shared_ptr<WeightSet> load_origin_weights(const RunEnv&, const NodePlan& origin, const GraphView&, DType dtype);
}  // namespace r1
