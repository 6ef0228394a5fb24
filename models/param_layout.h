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

  // deepseek_v3, in place of qkv. H heads, P no-position, R rotated, V value features of a head, C kv_rank.
  // qa_kva: [q_rank + C + R, hidden], or without query compression [H (P+R) + C + R, hidden]: query rows first.
  int qa_kva = -1;
  int q_a_norm = -1;   // [q_rank]
  int q_b = -1;        // [H (P+R), q_rank]
  int kv_a_norm = -1;  // [C]
  int kv_b = -1;       // [H (P+V), C]

  // Layers with experts: gate_up and down above are those of the shared experts (ffn: n_shared * moe ffn; -1 when there are
  // none).
  int router = -1;          // [experts, hidden]
  int expert_gate_up = -1;  // [experts * 2 ffn, hidden]: of each expert gate rows, then up rows
  int expert_down = -1;     // [experts * hidden, ffn]
  int selection_bias = -1;  // [experts] f32
};

// The multi-token prediction module beside its layer (docs/recipe.md section 11).
struct MtpParams {
  int embedding_norm = -1, hidden_norm = -1;  // enorm, hnorm: [hidden]
  int project = -1;                           // eh_proj: [hidden, 2 hidden], embedding columns first
  int final_norm = -1;                        // shared_head.norm: [hidden]
};

struct ParamLayout {
  std::vector<ParamSpec> specs;
  int embedding = -1;               // [vocab, hidden]
  std::vector<LayerParams> layers;  // with an MTP module its block is the last, index config.layers
  MtpParams mtp;
  int final_norm = -1;
  int head = -1;  // [vocab, hidden], or [1, hidden] for a scalar head; the embedding's index when tied
};

ParamLayout param_layout(const ModelConfig&);

}  // namespace r1
