#include "tools/bench/work.h"

#include <algorithm>
#include <cmath>

namespace r1::bench {
namespace {

double count(const View& v) { return static_cast<double>(v.size()); }
double size_bytes(const View& v) { return v ? count(v) * static_cast<double>(dtype_size(v.dtype)) : 0; }
double row_bytes(const View& v) { return size_bytes(v) / static_cast<double>(std::max<int64_t>(1, v.shape[0])); }
double matmul(double m, const View& w) { return 2 * m * count(w); }

// Pairs (query, key) of causal attention in packed sequences.
template <class Op>
double causal_pairs(const Op& op) {
  const auto keys = download_as<int32_t>(op.offsets);
  const auto queries = op.query_offsets ? download_as<int32_t>(op.query_offsets) : keys;
  double pairs = 0;
  for (size_t s = 0; s + 1 < keys.size(); ++s) {
    const double n = keys[s + 1] - keys[s], skipped = n - (queries[s + 1] - queries[s]);
    pairs += (n * (n + 1) - skipped * (skipped + 1)) / 2;
  }
  return pairs;
}

// Reads once what is read, writes once what is written.
template <class Op>
double view_bytes(const Op& op) {
  double bytes = 0;
  for_each_view(op, [&](const View& v, ViewInfo info) { bytes += size_bytes(v) * (info.use == Use::inout ? 2 : 1); });
  return bytes;
}

template <class Op>
Work work_of(const Op& op) {
  return {0, view_bytes(op)};
}
Work work_of(const Embedding& op) { return {0, size_bytes(op.ids) + 2 * size_bytes(op.y)}; }
Work work_of(const EmbeddingBackward& op) { return {0, size_bytes(op.ids) + size_bytes(op.dy) + 8 * count(op.dy)}; }
Work work_of(const Linear& op) { return {matmul(static_cast<double>(op.x.shape[0]), op.w), view_bytes(op), op.w.dtype}; }
Work work_of(const LinearBackwardInput& op) {
  return {matmul(static_cast<double>(op.dy.shape[0]), op.w), view_bytes(op), op.w.dtype};
}
Work work_of(const LinearBackwardWeight& op) {
  return {matmul(static_cast<double>(op.dy.shape[0]), op.dw), view_bytes(op), op.x.dtype};
}
Work work_of(const Rope& op) {
  return {0, 2 * size_bytes(op.x) + size_bytes(op.positions) + static_cast<double>(op.x.shape[0]) * row_bytes(op.table)};
}
Work work_of(const GatherRows& op) { return {0, size_bytes(op.rows) + 2 * size_bytes(op.y)}; }
Work work_of(const GatherRowsBackward& op) { return {0, size_bytes(op.rows) + 3 * size_bytes(op.dy)}; }
Work work_of(const AttentionPacked& op) {
  const auto heads = static_cast<double>(op.q.shape[1]), depth = static_cast<double>(op.q.shape[2] + op.v.shape[2]);
  return {2 * causal_pairs(op) * heads * depth, view_bytes(op), op.q.dtype};
}
// Five products in place of two: scores again (d), dp (dv), dv (dv), dq (d), dk (d). Only four of them are new work.
Work work_of(const AttentionPackedBackward& op) {
  const auto heads = static_cast<double>(op.q.shape[1]), depth = static_cast<double>(op.q.shape[2] + op.v.shape[2]);
  return {4 * causal_pairs(op) * heads * depth, view_bytes(op), op.q.dtype};
}
Work work_of(const KvWrite& op) { return {0, 2 * (size_bytes(op.k) + size_bytes(op.v))}; }
Work work_of(const AttentionPaged& op) {
  double keys = 0;
  for (int32_t p : download_as<int32_t>(op.row_pos)) keys += p + 1;
  const auto depth = static_cast<double>(op.q.shape[2] + op.o.shape[2]);
  return {2 * keys * static_cast<double>(op.q.shape[1]) * depth,
          keys * static_cast<double>(op.k_pages.shape[1]) * depth * static_cast<double>(dtype_size(op.q.dtype)) +
              size_bytes(op.q) + size_bytes(op.o),
          op.q.dtype};
}
// Weights of all experts count as read: with many rows every expert has some.
Work work_of(const GroupedLinear& op) {
  return {matmul(static_cast<double>(op.y.shape[0]), op.w) / static_cast<double>(op.w.shape[0]), view_bytes(op), op.w.dtype};
}
Work work_of(const GroupedLinearBackwardInput& op) {
  return {matmul(static_cast<double>(op.dy.shape[0]), op.w) / static_cast<double>(op.w.shape[0]), view_bytes(op), op.w.dtype};
}
Work work_of(const GroupedLinearBackwardWeight& op) {
  return {matmul(static_cast<double>(op.dy.shape[0]), op.dw) / static_cast<double>(op.dw.shape[0]), view_bytes(op), op.x.dtype};
}
Work work_of(const LogProb& op) {
  return {0,
          size_bytes(op.logits) + size_bytes(op.targets) + size_bytes(op.logp) + size_bytes(op.lse) + size_bytes(op.entropy)};
}
Work work_of(const Gemm& op) {
  const int64_t depth = op.trans_a ? op.a.shape[0] : op.a.shape[1];
  return {matmul(static_cast<double>(depth), op.c), view_bytes(op)};
}

// Parameters whose bytes a decode step reads. Of E experts, B tokens with k each touch E (1 - (1 - k/E)^B) under even routing.
double read_parameters(const ModelConfig& c, int64_t sequences) {
  auto active = static_cast<double>(c.active_parameter_count());
  if (c.moe.experts == 0) return active;
  const double all = static_cast<double>(c.moe.experts), each = static_cast<double>(c.moe.per_token);
  const double touched = all * (1 - std::pow(1 - each / all, static_cast<double>(sequences)));
  double layers = 0;
  for (int64_t l = 0; l < c.layers; ++l) layers += c.is_moe_layer(l) ? 1 : 0;
  return active + layers * (touched - each) * 3 * static_cast<double>(c.hidden * c.moe.ffn);
}

double attention_flops(const ModelConfig& c, double pairs) {
  return 2 * pairs * static_cast<double>(c.layers * c.heads * (c.qk_head_dim() + c.v_head_dim()));
}

}  // namespace

Work op_work(const AnyOp& any) {
  return std::visit([](const auto& op) { return work_of(op); }, any);
}

double floor_ns(const Work& w, const Ceilings& c) {
  if (c.flops(w.type) == 0 || c.read_bytes == 0) return 0;
  return std::max(w.flops / c.flops(w.type), w.bytes / c.read_bytes) * 1e9;
}

const char* floor_kind(const Work& w, const Ceilings& c) {
  if (c.flops(w.type) == 0 || c.read_bytes == 0) return "";
  return w.flops / c.flops(w.type) >= w.bytes / c.read_bytes ? "matmul" : "memory";
}

double train_flops(const ModelConfig& c, int64_t sequences, int64_t length) {
  constexpr double kAdamFlops = 14;
  const auto n = static_cast<double>(sequences), t = static_cast<double>(length);
  return 6 * static_cast<double>(c.active_parameter_count()) * n * t + 3 * attention_flops(c, n * t * (t + 1) / 2) +
         kAdamFlops * static_cast<double>(c.parameter_count());
}

Work decode_work(const ModelConfig& c, DType type, int64_t sequences, int64_t context) {
  const auto n = static_cast<double>(sequences), positions = static_cast<double>(context);
  const auto item = static_cast<double>(dtype_size(type));
  const double cache = n * positions * static_cast<double>(c.layers * c.kv_heads * (c.qk_head_dim() + c.v_head_dim())) * item;
  return {2 * static_cast<double>(c.active_parameter_count()) * n + attention_flops(c, n * positions),
          read_parameters(c, sequences) * item + cache, type};
}

}  // namespace r1::bench
