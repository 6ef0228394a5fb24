// Which ops take part in a gradient check of gradient_test.cpp, and why the others do not.
#pragma once

#include <map>
#include <set>
#include <string>

namespace r1::test {

// Struct name -> the test of gradient_test.cpp that checks it.
inline const std::map<std::string, std::string>& gradient_checks() {
  static const std::map<std::string, std::string> checks = {
      {"Embedding", "of_embedding"},
      {"EmbeddingBackward", "of_embedding"},
      {"Linear", "of_linear"},
      {"LinearBackwardInput", "of_linear"},
      {"LinearBackwardWeight", "of_linear"},
      {"RmsNorm", "of_rms_norm"},
      {"RmsNormBackward", "of_rms_norm"},
      {"Rope", "of_rope"},
      {"SwiGlu", "of_swiglu"},
      {"SwiGluBackward", "of_swiglu"},
      {"GatherRows", "of_gather_rows"},
      {"GatherRowsBackward", "of_gather_rows"},
      {"AttentionPacked", "of_attention_with_grouped_heads_and_other_value_size"},
      {"AttentionPackedBackward", "of_attention_with_grouped_heads_and_other_value_size"},
      {"LogProb", "of_log_prob"},
      {"LogProbBackward", "of_log_prob"},
      {"GrpoLoss", "of_grpo_loss"},
      {"NllLoss", "of_nll_loss"},
      {"PairLoss", "of_pair_loss"},
  };
  return checks;
}

// Struct name -> reason.
inline const std::map<std::string, std::string>& without_gradient_check() {
  static const std::map<std::string, std::string> reasons = {
      {"Add", "its gradient is dy itself, for both inputs: no kernel to check"},
      {"KvWrite", "generation only: nothing is differentiated through the cache"},
      {"AttentionPaged", "generation only; its bits equal AttentionPacked's, which is checked"},
      {"Sample", "draws a token: not differentiable"},
      {"Fill", "no gradient: sets memory"},
      {"Copy", "no gradient: moves and converts"},
      {"Axpby", "no gradient: optimizer arithmetic"},
      {"SumSquares", "no gradient: gradient norms"},
      {"Gemm", "no gradient: optimizer arithmetic"},
      {"AdamW", "no gradient: an optimizer"},
  };
  return reasons;
}

}  // namespace r1::test
