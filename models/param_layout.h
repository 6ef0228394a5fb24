// Where each parameter of an architecture stands in the list of param_specs(): the index of every role in every layer.
// Not the tensors themselves (models/weights.h) and no arithmetic.
// Thread rule: values.
#pragma once

#include <vector>

#include "models/model_config.h"
#include "models/weights.h"

namespace r1 {

// Indices into ParamLayout::specs; -1: this architecture has no such parameter.
struct LayerParams {
  int input_norm = -1;  // [hidden]
  int qkv = -1;         // [(heads + 2 kv_heads) * head_dim, hidden]: q rows, k rows, v rows
  int qkv_bias = -1;
  int q_norm = -1;  // [head_dim], qwen3
  int k_norm = -1;
  int o = -1;  // [hidden, heads * head_dim]
  int o_bias = -1;
  int post_norm = -1;  // [hidden]
  int gate_up = -1;    // [2 ffn, hidden]: gate rows, up rows
  int gate_up_bias = -1;
  int down = -1;  // [hidden, ffn]
  int down_bias = -1;
};

struct ParamLayout {
  std::vector<ParamSpec> specs;
  int embedding = -1;  // [vocab, hidden]
  std::vector<LayerParams> layers;
  int final_norm = -1;
  int head = -1;  // [vocab, hidden], or [1, hidden] for a scalar head; the embedding's index when tied
};

ParamLayout param_layout(const ModelConfig&);

}  // namespace r1
