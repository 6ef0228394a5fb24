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
      {"MlaKeys", "of_mla_keys"},
      {"MlaKeysBackward", "of_mla_keys"},
      {"MoeRoute", "of_moe_route"},
      {"MoeRouteBackward", "of_moe_route"},
      {"MoeBalanceLoss", "of_moe_balance_loss"},
      {"GroupedLinear", "of_grouped_linear"},
      {"GroupedLinearBackwardInput", "of_grouped_linear"},
      {"GroupedLinearBackwardWeight", "of_grouped_linear"},
      {"MoeCombine", "of_moe_combine"},
      {"MoeCombineBackward", "of_moe_combine"},
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
      {"MoeSort", "integers: selection has no gradient"},
      {"MoeLoad", "counts: no gradient"},
      {"MoeBiasUpdate", "no gradient: balances by sign, not by descent"},
      {"Sample", "draws a token: not differentiable"},
      {"Fill", "no gradient: sets memory"},
      {"Copy", "no gradient: moves and converts"},
      {"Axpby", "no gradient: optimizer arithmetic"},
      {"SumSquares", "no gradient: gradient norms"},
      {"ScaleByNorm", "no gradient: optimizer arithmetic"},
      {"Gemm", "no gradient: optimizer arithmetic"},
      {"AdamW", "no gradient: an optimizer"},
      {"HashSpans", "no gradient: bytes"},
      {"DeltaMeasure", "no gradient: bytes"},
      {"DeltaEncode", "no gradient: bytes"},
      {"DeltaApply", "no gradient: bytes"},
  };
  return reasons;
}

}  // namespace r1::test
