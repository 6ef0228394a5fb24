// The one definition of each architecture (Llama 3, Qwen2/2.5, Qwen3, DeepSeek-V3), used by training, scoring and generation
// alike: what differs is the Pass (tape or none, packed or paged attention). Holds no weights and no state: they come with the
// Pass.
//
// Use, generation:  x = trunk(pass, ids, positions); h = final_rows(pass, x, last_rows); logits(pass, h.view) -> Sample.
// Use, training:    the same with a tape, then loss on the logits, head backward, run_backward(pass).
// Thread rule: immutable after construction; any thread, one Pass per thread.
#pragma once

#include "models/blocks.h"
#include "models/model_config.h"
#include "models/param_layout.h"

namespace r1 {

class Model {
 public:
  // Builds the rope table on the device.
  Model(Device&, const ModelConfig&);

  const ModelConfig& config() const { return config_; }
  const ParamLayout& params() const { return params_; }

  // The residual stream after the last layer.  ids, positions: [T] i32; positions < max_positions; result [T, D].
  Value trunk(Pass&, const View& ids, const View& positions) const;
  // Final norm of the rows that need logits.  x: trunk's result; rows: [N] i32, absent: all rows in order; result [N, D].
  Value final_rows(Pass&, const Value& x, const View& rows) const;
  // What the multi-token prediction module (ModelConfig::has_mtp) makes of every row: row i sees h_i and the token after it,
  // and its logits() predict the token after that one. The module's block is layer config().layers of the attention context
  // (paged: that layer's pages must be there, and the rows before in it).
  //   rows = norm(block(P [norm(embedding(next)) | norm(h)]))
  // h: final_rows of all rows, [T, D]; next_ids: [T] i32; positions: as for trunk; result [T, D].
  // Source: V3 2.2. The order (embedding first) and h behind the final norm are those under which vLLM and Hugging Face run the
  // published weights; the report does not say.
  Value mtp_rows(Pass&, const Value& h, const View& next_ids, const View& positions) const;
  // Head on final rows, f32 always: [N, V]; V = 1 with a scalar head, config().sampled_ids() else. Not on the tape: see
  // training/objective.h for its backward.
  View logits(Pass&, const View& final_rows) const;
  // Width of logits.
  int64_t head_rows() const { return config_.scalar_head ? 1 : config_.sampled_ids(); }

 private:
  // x += attention(norm(x)); x += feed-forward(norm(x)). The unit of Pass::recompute.
  Value layer(Pass&, const Value& x, const View& positions, int64_t index) const;
  // The same in the shards of the pass, side by side; they meet where experts need the rows of all.
  void layer_in_shards(Pass&, const View& x, const View& positions, int64_t index) const;
  Value mixer(Pass&, const Value& normed, const View& positions, int64_t index) const;
  // x + attention(norm(x)).
  Value attend(Pass&, const Value& x, const View& positions, int64_t index) const;
  Value dense_feed_forward(Pass&, const Value& normed, const LayerParams&) const;
  // The experts' output added to `shared`, if that has a view.
  Value routed_feed_forward(Pass&, const Value& normed, const Value& shared, const LayerParams&) const;

  ModelConfig config_;
  ParamLayout params_;
  Tensor rope_table_;  // [max_positions, rotary_dim] f32
};

// cos and sin of position * frequency, scaled for llama3 or YaRN (docs/recipe.md section 9); computed in f64, stored [P,
// rotary_dim] f32.
std::vector<float> rope_table(const ModelConfig&);

}  // namespace r1
