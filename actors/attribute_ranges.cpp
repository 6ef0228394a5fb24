#include "actors/attribute_ranges.h"

#include <algorithm>

namespace r1 {

namespace {

struct Range {
  const char* name;
  double min, max;
};
constexpr Range kRanges[] = {
    {"seed", 0, 9007199254740991},
    {"parallel_stages", 1, 1024},
    {"max_restarts", 0, 1000},
    {"stall_s", 0.1, 1000000},
    {"job_stall_s", 0.1, 1000000},
    {"capacity", 1, 65536},
    {"staleness", 0, 1024},
    {"every", 0, 1000000000},
    {"groups_per_batch", 1, 1048576},
    {"count", 0, 1000000000000},
    {"samples", 1, 65536},
    {"temperature", 0, 100},
    {"max_tokens", 1, 16777216},
    {"top_k", 0, 4194304},
    {"max_running", 1, 65536},
    {"max_draws", 0, 1000000000},
    {"max_per_prompt", 1, 65536},
    {"epochs", 0, 1000000},
    {"batch", 1, 1048576},
    {"lr", 1e-12, 1e+30},
    {"muon_lr", 1e-12, 1e+30},
    {"beta1", 0, 0.9999},
    {"beta2", 0, 0.999999},
    {"eps", 1e-30, 1},
    {"weight_decay", 0, 100},
    {"muon_momentum", 0, 0.9999},
    {"muon_weight_decay", 0, 100},
    {"clip_norm", 0, 1000000000},
    {"lr_end", 0, 1},
    {"warmup", 0, 1000000000},
    {"mini_batches", 1, 65536},
    {"inner_epochs", 1, 1024},
    {"micro_batch_tokens", 16, 16777216},
    {"bias_update_rate", 0, 1},
    {"balance_loss", 0, 1000},
    {"mtp_weight", 0, 1000},
    {"score_l2", 0, 1000},
    {"kl", 0, 1000},
    {"clip_low", 0, 1000},
    {"clip_high", 0, 1000},
    {"behave_cap", 0, 1000000},
    {"snapshot_s", 0, 1000000},
    {"reward_workers", 0, 1024},
    {"reward_timeout_s", 0.01, 1000000},
    {"reward_start_s", 0, 1000000},
    {"reward_retries", 0, 100},
    {"idle_batches", 0, 1000000000},
    {"problems", 1, 1000000},
    {"problems_before", 0, 1000000},
    {"keep_samples", 0, 10000},
};

void give(std::vector<AttrSpec>& specs) {
  for (AttrSpec& spec : specs) {
    if (spec.type != AttrType::integer && spec.type != AttrType::number) continue;
    const auto* range =
        std::find_if(std::begin(kRanges), std::end(kRanges), [&](const Range& r) { return spec.name == r.name; });
    if (range == std::end(kRanges)) continue;
    spec.min = range->min;
    spec.max = range->max;
  }
}

}  // namespace

void give_ranges(RoleRegistry& registry) {
  for (auto* list : {&registry.roles, &registry.artifacts})
    for (RoleSpec& role : *list) {
      give(role.attrs);
      give(role.edge_attrs);
    }
  give(registry.stage_attrs);
  give(registry.graph_attrs);
}

}  // namespace r1
