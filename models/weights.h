// A model's parameters as tensors: names, shapes, storage, hashes, files. Knows no arithmetic.
//
// Fused parameters (qkv, gate_up) are one tensor whose row ranges carry the published names, so that files keep Hugging Face's
// names while compute runs one matmul.
// Thread rule: a WeightSet is immutable once shared; build it in one thread, and finish (Device::finish) before it is shared.
// The functions here that return or fill a set have finished.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "kernels/device.h"
#include "models/model_config.h"

namespace r1 {

// router: the matrix that scores experts; under Muon it stays with AdamW, because its rows are one small vector per expert
// whose relative lengths carry meaning. selection_bias: f32 in every set, no gradient; its gradient slot holds the experts'
// load.
enum class ParamRole : uint8_t { embedding, head, norm, bias, matrix, router, selection_bias };

// A published tensor inside a parameter: rows [row_begin, row_begin + rows) of it.
struct ParamPart {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  int64_t row_begin = 0, rows = 0;
};
struct ParamSpec {
  std::string name;            // of the fused parameter; equal to parts[0].name when there is one part
  std::vector<int64_t> shape;  // [N, K] or [N]
  ParamRole role = ParamRole::matrix;
  double init_std = 0;           // normal(0, std); norms start at 1, biases at 0
  std::vector<ParamPart> parts;  // at least one, covering all rows in order
  int64_t experts = 0;           // > 0: the stacked matrices of this many routed experts
  bool mtp = false;              // of the multi-token prediction module
};
// The parameters of an architecture in a fixed order: execution order, then all selection biases. Tied heads have no entry of
// their own.
std::vector<ParamSpec> param_specs(const ModelConfig&);

// A stretch of a set whose values are of one type and are learned alike. What works on weights as arrays (copies, hashes,
// gradients, optimizers) goes over segments and knows no others.
struct WeightSegment {
  DType dtype = DType::f32;
  bool trainable = false;  // follows gradients; else it is moved by other means (selection biases by their load) or not at all
  View values;             // [n] of dtype, inside WeightSet::flat(); gaps between parameters are zero
};

// All parameters on a device, in one contiguous allocation (so that a version is one buffer to copy and to hash), in segments:
// first what is trained, in the set's dtype; then the selection biases, where the model has some, in f32 whatever the set's
// dtype (in a bf16 set each value takes two elements).
class WeightSet {
 public:
  WeightSet(Device&, const ModelConfig&, DType);  // uninitialised
  const ModelConfig& config() const { return config_; }
  // What ends a completion is no matter of shapes; before the set is shared.
  void add_end_tokens(const std::vector<int32_t>& ids) { r1::add_end_tokens(config_, ids); }
  // The tokenizer has ids below `n` (ModelConfig::token_ids); before the set is shared.
  void set_token_ids(int64_t n) { config_.token_ids = n < config_.vocab_size ? n : 0; }
  const std::vector<ParamSpec>& specs() const { return specs_; }
  const View& param(size_t i) const { return views_[i]; }  // in the order of specs()
  // Everything as raw elements of dtype(), [n]; parameters are 64-byte aligned inside (gaps are zero).
  const View& flat() const { return flat_.view(); }
  // The same number of segments, of values in each and of value offsets in every dtype, so that sets of different dtypes match
  // value by value.
  const std::vector<WeightSegment>& segments() const { return segments_; }
  // Which segment a parameter is in, and where its values begin there.
  struct Place {
    size_t segment = 0;
    int64_t begin = 0;
  };
  Place place(size_t param) const { return places_[param]; }
  DType dtype() const { return dtype_; }  // of what is trained
  Device& device() const { return *device_; }
  // Merkle hash over fixed 1 MiB chunks of (name, dtype, shape, bytes), per published name order of specs().
  // `not_finite`: when given, becomes the first value that is NaN or infinite, in words ("tensor 'x' holds nan at [3, 5]"), or
  // "": the bytes are read once for both.
  Hash128 hash(std::string* not_finite = nullptr) const;

 private:
  ModelConfig config_;
  std::vector<ParamSpec> specs_;
  Device* device_;
  DType dtype_;
  Tensor flat_;
  std::vector<WeightSegment> segments_;
  std::vector<Place> places_;
  std::vector<View> views_;
};

// to = from, value by value; sets of the same model, any dtypes. Issued on the context, not finished.
void copy_weights(Context&, const WeightSet& from, const WeightSet& to);

// Random initialisation (Philox by seed and parameter name): embedding N(0, .1), head N(0, .02), matrices N(0, 1/fan_in), o and
// down projections additionally divided by sqrt(2 * layers) (docs/recipe.md section 14), selection biases 0. `target` is f32.
void initialize(WeightSet& target, uint64_t seed);

// `from` as another model or dtype: parameters of the same name are copied (CHECK: same shape), those that `from` lacks are
// zero. So a language model becomes a reward model (config.scalar_head = true: its scalar head starts at zero).
WeightSet convert_weights(const WeightSet& from, const ModelConfig& config, DType dtype);

// A stored model (models/model_files.h): a Hugging Face directory with model.safetensors or shards, or a GGUF file. Read in
// pieces of a few MiB; whatever the types in the file, into the given one. Throws bad_input naming file and tensor: missing,
// unexpected, wrong shape, a value that is not a finite number (in that type).
std::shared_ptr<WeightSet> load_weights(Device&, const std::filesystem::path& model, DType);
// What r1-run does before the first actor starts: config, every tensor's presence and shape; of up to 1 GiB of weights every
// value too (load_weights checks those of larger models).
void check_model_dir(const std::filesystem::path& model);
// Writes atomically (into DIR.tmp, then rename). `weights`: f32 or bf16; `tokenizer_json`: "" for none; `texts`: further files,
// by name.
void save_model_dir(const std::filesystem::path& dir, const WeightSet& weights, const std::string& tokenizer_json,
                    const std::map<std::string, std::string>& texts = {});

}  // namespace r1
