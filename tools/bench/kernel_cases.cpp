#include "tools/bench/kernel_cases.h"

#include <algorithm>

#include "kernels/delta_format.h"

namespace r1::bench {
namespace {

constexpr DType f32 = DType::f32, i32 = DType::i32;

std::vector<int32_t> offsets_of(const CaseSizes& s) {
  std::vector<int32_t> o;
  for (int64_t i = 0; i <= s.sequences; ++i) o.push_back(static_cast<int32_t>(i * s.length));
  return o;
}
std::vector<int32_t> positions_of(const CaseSizes& s) {
  std::vector<int32_t> p;
  for (int64_t t = 0; t < s.rows(); ++t) p.push_back(static_cast<int32_t>(t % s.length));
  return p;
}
std::vector<int32_t> range(int64_t n) {
  std::vector<int32_t> r;
  for (int64_t i = 0; i < n; ++i) r.push_back(static_cast<int32_t>(i));
  return r;
}
// cos and sin of some angles: any numbers of the unit circle do.
View rope_table(CaseBuffers& b, const CaseSizes& s, int64_t dim) { return b.uniform(f32, {s.length, dim}, -1, 1); }

// ---- layers

AnyOp embedding(CaseBuffers& b, const CaseSizes& s) {
  return Embedding{b.below(s.rows(), s.vocab), b.values(b.type, {s.vocab, s.hidden}), b.zeros(b.type, {s.rows(), s.hidden})};
}
AnyOp embedding_backward(CaseBuffers& b, const CaseSizes& s) {
  return EmbeddingBackward{b.below(s.rows(), s.vocab), b.values(b.type, {s.rows(), s.hidden}),
                           b.zeros(f32, {s.vocab, s.hidden})};
}
AnyOp linear(CaseBuffers& b, const CaseSizes& s) {
  return Linear{b.values(b.type, {s.rows(), s.hidden}), b.values(b.type, {2 * s.ffn, s.hidden}, 0.05), View{},
                b.zeros(b.type, {s.rows(), 2 * s.ffn})};
}
// Rows of a decode step.
template <int64_t kRows>
AnyOp linear_decode(CaseBuffers& b, const CaseSizes& s) {
  return Linear{b.values(b.type, {kRows, s.hidden}), b.values(b.type, {2 * s.ffn, s.hidden}, 0.05), View{},
                b.zeros(b.type, {kRows, 2 * s.ffn})};
}
AnyOp linear_backward_input(CaseBuffers& b, const CaseSizes& s) {
  return LinearBackwardInput{b.values(b.type, {s.rows(), 2 * s.ffn}), b.values(b.type, {2 * s.ffn, s.hidden}, 0.05),
                             b.zeros(b.type, {s.rows(), s.hidden})};
}
AnyOp linear_backward_weight(CaseBuffers& b, const CaseSizes& s) {
  return LinearBackwardWeight{b.values(b.type, {s.rows(), 2 * s.ffn}), b.values(b.type, {s.rows(), s.hidden}),
                              b.zeros(f32, {2 * s.ffn, s.hidden}), View{}};
}
AnyOp rms_norm(CaseBuffers& b, const CaseSizes& s) {
  return RmsNorm{b.values(b.type, {s.rows(), s.hidden}), b.values(b.type, {s.hidden}), b.zeros(b.type, {s.rows(), s.hidden}),
                 b.zeros(f32, {s.rows()})};
}
AnyOp rms_norm_backward(CaseBuffers& b, const CaseSizes& s) {
  return RmsNormBackward{b.values(b.type, {s.rows(), s.hidden}), b.values(b.type, {s.hidden}),
                         b.uniform(f32, {s.rows()}, 0.5, 2),     b.values(b.type, {s.rows(), s.hidden}),
                         b.zeros(b.type, {s.rows(), s.hidden}),  b.zeros(f32, {s.hidden})};
}
AnyOp rope(CaseBuffers& b, const CaseSizes& s) {
  return Rope{b.values(b.type, {s.rows(), s.heads, s.head_dim}), b.ints(positions_of(s)), rope_table(b, s, s.head_dim)};
}
AnyOp swiglu(CaseBuffers& b, const CaseSizes& s) {
  return SwiGlu{b.values(b.type, {s.rows(), 2 * s.ffn}), b.zeros(b.type, {s.rows(), s.ffn})};
}
AnyOp swiglu_backward(CaseBuffers& b, const CaseSizes& s) {
  return SwiGluBackward{b.values(b.type, {s.rows(), 2 * s.ffn}), b.values(b.type, {s.rows(), s.ffn}),
                        b.zeros(b.type, {s.rows(), 2 * s.ffn})};
}
AnyOp add(CaseBuffers& b, const CaseSizes& s) {
  return Add{b.values(b.type, {s.rows(), s.hidden}), b.values(b.type, {s.rows(), s.hidden}),
             b.zeros(b.type, {s.rows(), s.hidden})};
}
AnyOp gather_rows(CaseBuffers& b, const CaseSizes& s) {
  return GatherRows{b.values(b.type, {s.rows(), s.hidden}), b.below(s.rows() / 2, s.rows()),
                    b.zeros(b.type, {s.rows() / 2, s.hidden})};
}
AnyOp gather_rows_backward(CaseBuffers& b, const CaseSizes& s) {
  return GatherRowsBackward{b.ints(range(s.rows() / 2)), b.values(b.type, {s.rows() / 2, s.hidden}),
                            b.zeros(b.type, {s.rows(), s.hidden})};
}

// ---- attention

AttentionPacked packed(CaseBuffers& b, const CaseSizes& s) {
  AttentionPacked op;
  op.q = b.values(b.type, {s.rows(), s.heads, s.head_dim});
  op.k = b.values(b.type, {s.rows(), s.kv_heads, s.head_dim});
  op.v = b.values(b.type, {s.rows(), s.kv_heads, s.head_dim});
  op.o = b.zeros(b.type, {s.rows(), s.heads, s.head_dim});
  op.lse = b.zeros(f32, {s.rows(), s.heads});
  op.offsets = b.ints(offsets_of(s));
  op.scale = 0.125f;
  return op;
}
AnyOp attention_packed(CaseBuffers& b, const CaseSizes& s) { return packed(b, s); }
AnyOp attention_packed_backward(CaseBuffers& b, const CaseSizes& s) {
  const AttentionPacked forward = packed(b, s);
  Context ctx(b.device());
  run(ctx, forward);
  AttentionPackedBackward op;
  op.q = forward.q, op.k = forward.k, op.v = forward.v, op.o = forward.o, op.lse = forward.lse, op.offsets = forward.offsets;
  op.d_o = b.values(b.type, {s.rows(), s.heads, s.head_dim});
  op.dq = b.zeros(b.type, {s.rows(), s.heads, s.head_dim});
  op.dk = b.zeros(b.type, {s.rows(), s.kv_heads, s.head_dim});
  op.dv = b.zeros(b.type, {s.rows(), s.kv_heads, s.head_dim});
  op.scale = forward.scale;
  op.longest = s.length;
  return op;
}

// Sequence i has pages i * M .. of its own; its row stands at the last position.
struct Pages {
  View k, v, table, row_seq, row_pos;
};
Pages pages_of(CaseBuffers& b, const CaseSizes& s) {
  const int64_t each = (s.length + kKeyBlock - 1) / kKeyBlock, count = s.sequences * each;
  const View k = b.values(b.type, {count, s.kv_heads, s.head_dim, kKeyBlock});
  const View v = b.values(b.type, {count, s.kv_heads, kKeyBlock, s.head_dim});
  const View table = b.ints(range(count), {s.sequences, each}), row_seq = b.ints(range(s.sequences));
  return {k, v, table, row_seq,
          b.ints(std::vector<int32_t>(static_cast<size_t>(s.sequences), static_cast<int32_t>(s.length - 1)))};
}
AnyOp kv_write(CaseBuffers& b, const CaseSizes& s) {
  const Pages p = pages_of(b, s);
  return KvWrite{b.values(b.type, {s.sequences, s.kv_heads, s.head_dim}),
                 b.values(b.type, {s.sequences, s.kv_heads, s.head_dim}),
                 p.k,
                 p.v,
                 p.table,
                 p.row_seq,
                 p.row_pos};
}
AnyOp attention_paged(CaseBuffers& b, const CaseSizes& s) {
  const Pages p = pages_of(b, s);
  return AttentionPaged{b.values(b.type, {s.sequences, s.heads, s.head_dim}),
                        p.k,
                        p.v,
                        b.zeros(b.type, {s.sequences, s.heads, s.head_dim}),
                        p.table,
                        p.row_seq,
                        p.row_pos,
                        0.125f};
}
AnyOp mla_keys(CaseBuffers& b, const CaseSizes& s) {
  return MlaKeys{b.values(b.type, {s.rows(), s.heads, 2 * s.nope_dim}), b.values(b.type, {s.rows(), s.rope_dim}),
                 b.zeros(b.type, {s.rows(), s.heads, s.nope_dim + s.rope_dim})};
}
AnyOp mla_keys_backward(CaseBuffers& b, const CaseSizes& s) {
  return MlaKeysBackward{b.values(b.type, {s.rows(), s.heads, s.nope_dim + s.rope_dim}),
                         b.zeros(b.type, {s.rows(), s.heads, 2 * s.nope_dim}), b.zeros(b.type, {s.rows(), s.rope_dim})};
}

// ---- mixture of experts

// A token's experts: different ones, spread evenly; sorted by expert.
struct Routing {
  std::vector<int32_t> experts, slots, places, offsets;
};
Routing routing_of(CaseBuffers& b, const CaseSizes& s) {
  Routing r;
  for (int64_t t = 0; t < s.rows(); ++t) {
    const auto first = static_cast<int64_t>(b.rng().below(static_cast<uint64_t>(s.experts)));
    for (int64_t j = 0; j < s.per_token; ++j) r.experts.push_back(static_cast<int32_t>((first + j) % s.experts));
  }
  r.places.resize(r.experts.size());
  for (int64_t e = 0; e < s.experts; ++e) {
    r.offsets.push_back(static_cast<int32_t>(r.slots.size()));
    for (size_t a = 0; a < r.experts.size(); ++a)
      if (r.experts[a] == e) {
        r.places[a] = static_cast<int32_t>(r.slots.size());
        r.slots.push_back(static_cast<int32_t>(a));
      }
  }
  r.offsets.push_back(static_cast<int32_t>(r.slots.size()));
  return r;
}
int64_t places_count(const CaseSizes& s) { return s.rows() * s.per_token; }

AnyOp moe_route(CaseBuffers& b, const CaseSizes& s) {
  return MoeRoute{b.values(f32, {s.rows(), s.experts}),
                  b.values(f32, {s.experts}, 0.01),
                  b.zeros(f32, {s.rows(), s.experts}),
                  b.zeros(i32, {s.rows(), s.per_token}),
                  b.zeros(f32, {s.rows(), s.per_token}),
                  4,
                  2,
                  false,
                  true,
                  2.5f};
}
AnyOp moe_route_backward(CaseBuffers& b, const CaseSizes& s) {
  const Routing r = routing_of(b, s);
  return MoeRouteBackward{b.uniform(f32, {s.rows(), s.experts}, 0.1, 0.9),
                          b.ints(r.experts, {s.rows(), s.per_token}),
                          b.values(f32, {s.rows(), s.per_token}),
                          View{},
                          b.zeros(f32, {s.rows(), s.experts}),
                          false,
                          true,
                          2.5f};
}
AnyOp moe_balance_loss(CaseBuffers& b, const CaseSizes& s) {
  return MoeBalanceLoss{b.uniform(f32, {s.rows(), s.experts}, 0.1, 0.9),
                        b.ints(offsets_of(s)),
                        b.zeros(f32, {s.rows(), s.experts}),
                        b.zeros(f32, {1}),
                        static_cast<int>(s.per_token),
                        0.01f};
}
AnyOp moe_sort(CaseBuffers& b, const CaseSizes& s) {
  return MoeSort{b.ints(routing_of(b, s).experts, {s.rows(), s.per_token}), b.zeros(i32, {places_count(s)}),
                 b.zeros(i32, {s.rows(), s.per_token}), b.zeros(i32, {s.experts + 1})};
}
AnyOp moe_load(CaseBuffers& b, const CaseSizes& s) {
  return MoeLoad{b.ints(routing_of(b, s).offsets), b.zeros(f32, {s.experts})};
}
AnyOp moe_bias_update(CaseBuffers& b, const CaseSizes& s) {
  return MoeBiasUpdate{b.values(f32, {s.experts}), b.uniform(f32, {s.experts}, 0, 100), 0.001f};
}
AnyOp grouped_linear(CaseBuffers& b, const CaseSizes& s) {
  const Routing r = routing_of(b, s);
  return GroupedLinear{b.values(b.type, {s.rows(), s.hidden}),
                       b.values(b.type, {s.experts, 2 * s.expert_ffn, s.hidden}, 0.05),
                       b.ints(r.offsets),
                       b.ints(r.slots),
                       b.zeros(b.type, {places_count(s), 2 * s.expert_ffn}),
                       static_cast<int>(s.per_token)};
}
AnyOp grouped_linear_backward_input(CaseBuffers& b, const CaseSizes& s) {
  return GroupedLinearBackwardInput{b.values(b.type, {places_count(s), 2 * s.expert_ffn}),
                                    b.values(b.type, {s.experts, 2 * s.expert_ffn, s.hidden}, 0.05),
                                    b.ints(routing_of(b, s).offsets), b.zeros(b.type, {places_count(s), s.hidden})};
}
AnyOp grouped_linear_backward_weight(CaseBuffers& b, const CaseSizes& s) {
  const Routing r = routing_of(b, s);
  return GroupedLinearBackwardWeight{b.values(b.type, {places_count(s), 2 * s.expert_ffn}),
                                     b.values(b.type, {s.rows(), s.hidden}),
                                     b.ints(r.offsets),
                                     b.ints(r.slots),
                                     b.zeros(f32, {s.experts, 2 * s.expert_ffn, s.hidden}),
                                     static_cast<int>(s.per_token)};
}
AnyOp moe_combine(CaseBuffers& b, const CaseSizes& s) {
  return MoeCombine{b.values(b.type, {places_count(s), s.hidden}), b.ints(routing_of(b, s).places, {s.rows(), s.per_token}),
                    b.uniform(f32, {s.rows(), s.per_token}, 0, 1), b.zeros(b.type, {s.rows(), s.hidden})};
}
AnyOp moe_combine_backward(CaseBuffers& b, const CaseSizes& s) {
  return MoeCombineBackward{b.values(b.type, {s.rows(), s.hidden}),
                            b.values(b.type, {places_count(s), s.hidden}),
                            b.ints(routing_of(b, s).places, {s.rows(), s.per_token}),
                            b.uniform(f32, {s.rows(), s.per_token}, 0, 1),
                            b.zeros(b.type, {places_count(s), s.hidden}),
                            b.zeros(f32, {s.rows(), s.per_token})};
}

// ---- vocabulary and losses

AnyOp log_prob(CaseBuffers& b, const CaseSizes& s) {
  return LogProb{b.values(f32, {s.rows(), s.vocab}), b.below(s.rows(), s.vocab), b.zeros(f32, {s.rows()}),
                 b.zeros(f32, {s.rows()}), View{}};
}
AnyOp log_prob_backward(CaseBuffers& b, const CaseSizes& s) {
  const LogProb forward = std::get<LogProb>(log_prob(b, s));
  Context ctx(b.device());
  run(ctx, forward);
  return LogProbBackward{forward.logits, forward.targets, forward.lse, b.values(f32, {s.rows()}),
                         b.zeros(f32, {s.rows(), s.vocab})};
}
AnyOp sample(CaseBuffers& b, const CaseSizes& s) {
  Sample op;
  op.logits = b.values(f32, {s.sequences, s.vocab});
  op.keys = b.zeros(DType::i64, {s.sequences});
  op.positions = b.ints(range(s.sequences));
  op.temperature = b.uniform(f32, {s.sequences}, 0.5, 1);
  op.token = b.zeros(i32, {s.sequences});
  op.logp = b.zeros(f32, {s.sequences});
  return op;
}
AnyOp grpo_loss(CaseBuffers& b, const CaseSizes& s) {
  GrpoLoss op;
  const int64_t t = s.rows();
  op.logp = b.uniform(f32, {t}, -3, -0.1);
  op.behaviour = b.uniform(f32, {t}, -3, -0.1);
  op.reference = b.uniform(f32, {t}, -3, -0.1);
  op.advantage = b.values(f32, {t});
  op.weight = b.uniform(f32, {t}, 0.001, 0.002);
  op.dlogp = b.zeros(f32, {t});
  op.loss = b.zeros(f32, {1});
  op.stats = b.zeros(f32, {6});
  op.kl = 0.01f;
  return op;
}
AnyOp nll_loss(CaseBuffers& b, const CaseSizes& s) {
  return NllLoss{b.uniform(f32, {s.rows()}, -3, -0.1), b.uniform(f32, {s.rows()}, 0.001, 0.002), b.zeros(f32, {s.rows()}),
                 b.zeros(f32, {1})};
}
AnyOp pair_loss(CaseBuffers& b, const CaseSizes& s) {
  return PairLoss{
      b.values(f32, {2 * s.rows()}), b.zeros(f32, {2 * s.rows()}), b.zeros(f32, {1}), b.zeros(f32, {2}), 0.01f, 0.01f};
}

// ---- flat arrays

AnyOp fill(CaseBuffers& b, const CaseSizes& s) { return Fill{b.values(f32, {s.flat}), 0.5f}; }
AnyOp copy(CaseBuffers& b, const CaseSizes& s) { return Copy{b.values(f32, {s.flat}), b.zeros(b.type, {s.flat})}; }
AnyOp axpby(CaseBuffers& b, const CaseSizes& s) { return Axpby{b.values(f32, {s.flat}), b.values(f32, {s.flat}), 0.5f, 0.5f}; }
AnyOp sum_squares(CaseBuffers& b, const CaseSizes& s) { return SumSquares{b.values(f32, {s.flat}), b.zeros(f32, {1})}; }
AnyOp gemm(CaseBuffers& b, const CaseSizes& s) {
  return Gemm{b.values(f32, {s.hidden, s.hidden}), b.values(f32, {s.hidden, s.hidden}, 0.05),
              b.zeros(f32, {s.hidden, s.hidden})};
}
AnyOp adam_w(CaseBuffers& b, const CaseSizes& s) {
  AdamW op;
  op.master = b.values(f32, {s.flat});
  op.grad = b.values(f32, {s.flat});
  op.m = b.zeros(f32, {s.flat});
  op.v = b.uniform(f32, {s.flat}, 0.1, 1);
  op.weights = b.zeros(b.type, {s.flat});
  return op;
}

AnyOp scale_by_norm(CaseBuffers& b, const CaseSizes& s) {
  return ScaleByNorm{b.values(f32, {s.flat}), b.uniform(f32, {1}, 0.9, 1)};
}

// ---- weight versions: one value in five has moved a little

AnyOp hash_spans(CaseBuffers& b, const CaseSizes& s) {
  constexpr int64_t kSpan = int64_t{1} << 18;
  std::vector<int64_t> spans;
  for (int64_t at = 0; at < s.flat; at += kSpan) spans.insert(spans.end(), {at, std::min(s.flat, at + kSpan)});
  const auto n = static_cast<int64_t>(spans.size()) / 2;
  return HashSpans{b.longs(spans, {n, 2}), b.values(f32, {s.flat}), b.zeros(DType::i64, {n, 2}), b.zeros(DType::i64, {n})};
}
struct Versions {
  View previous, next, codes;
};
Versions versions(CaseBuffers& b, const CaseSizes& s) {
  const Versions v{b.values(b.type, {s.flat}), b.zeros(b.type, {s.flat}),
                   b.zeros(i32, {(s.flat + kDeltaChunk - 1) / kDeltaChunk, 2})};
  std::vector<std::byte> host(static_cast<size_t>(s.flat) * dtype_size(b.type));
  download(v.previous, host.data(), host.size());
  for (size_t at = 0; at < host.size(); at += dtype_size(b.type))
    if (b.rng().below(5) == 0) host[at] = static_cast<std::byte>(static_cast<unsigned>(host[at]) + 1 + b.rng().below(3));
  upload(v.next, host.data(), host.size());
  return v;
}
AnyOp delta_measure(CaseBuffers& b, const CaseSizes& s) {
  const Versions v = versions(b, s);
  return DeltaMeasure{v.next, v.previous, v.codes};
}
DeltaEncode encode(CaseBuffers& b, const CaseSizes& s) {
  const Versions v = versions(b, s);
  Context ctx(b.device());
  run(ctx, DeltaMeasure{v.next, v.previous, v.codes});
  int64_t bytes = 0;
  const std::vector<int32_t> codes = download_as<int32_t>(v.codes);
  for (size_t i = 1; i < codes.size(); i += 2) bytes += codes[i];
  return {v.next, v.previous, v.codes, b.zeros(i32, {(bytes + 3) / 4}), b.zeros(DType::i64, {v.codes.shape[0], 2})};
}
AnyOp delta_encode(CaseBuffers& b, const CaseSizes& s) { return encode(b, s); }
AnyOp delta_apply(CaseBuffers& b, const CaseSizes& s) {
  const DeltaEncode op = encode(b, s);
  Context ctx(b.device());
  run(ctx, op);
  return DeltaApply{op.codes, op.payload, op.previous, b.zeros(i32, {op.codes.shape[0]}), op.sums};
}

}  // namespace

CaseSizes verified_sizes() {
  return {.sequences = 3,
          .length = 37,
          .hidden = 72,
          .ffn = 300,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 24,
          .vocab = 1500,
          .experts = 8,
          .per_token = 2,
          .expert_ffn = 40,
          .nope_dim = 24,
          .rope_dim = 8,
          .flat = 40'003};
}
CaseSizes timed_sizes() {
  return {.sequences = 4,
          .length = 512,
          .hidden = 512,
          .ffn = 1536,
          .heads = 8,
          .kv_heads = 4,
          .head_dim = 64,
          .vocab = 8192,
          .experts = 16,
          .per_token = 4,
          .expert_ffn = 256,
          .nope_dim = 48,
          .rope_dim = 16,
          .flat = int64_t{1} << 24};
}

CaseSizes large_sizes() {
  CaseSizes s = timed_sizes();
  s.sequences = 16, s.hidden = 1024, s.ffn = 3072, s.heads = 16, s.kv_heads = 8, s.head_dim = 128;
  s.expert_ffn = 768;
  return s;
}

View CaseBuffers::place(DType dtype, std::initializer_list<int64_t> shape, const std::vector<float>& host) {
  Tensor t(device_, dtype, shape);
  if (dtype == DType::bf16) {
    std::vector<uint16_t> rounded(host.size());
    std::transform(host.begin(), host.end(), rounded.begin(), bf16_from_f32);
    upload(t.view(), rounded);
  } else {
    upload(t.view(), host);
  }
  tensors_.push_back(t);
  return t.view();
}

View CaseBuffers::values(DType dtype, std::initializer_list<int64_t> shape, double scale) {
  // Sums of uniform numbers: near enough to normal ones, and much faster.
  std::vector<float> host(
      static_cast<size_t>(contiguous_view(device_, nullptr, dtype, shape.begin(), static_cast<int>(shape.size())).size()));
  for (float& x : host) {
    const uint32_t bits = rng_.bits();
    const int sum = static_cast<int>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)) - 510;
    x = static_cast<float>(scale * sum / 148);  // a standard deviation of 148
  }
  return place(dtype, shape, host);
}

View CaseBuffers::uniform(DType dtype, std::initializer_list<int64_t> shape, double low, double high) {
  std::vector<float> host(
      static_cast<size_t>(contiguous_view(device_, nullptr, dtype, shape.begin(), static_cast<int>(shape.size())).size()));
  for (float& x : host) x = static_cast<float>(low + (high - low) * rng_.uniform());
  return place(dtype, shape, host);
}

View CaseBuffers::zeros(DType dtype, std::initializer_list<int64_t> shape) {
  tensors_.emplace_back(device_, dtype, shape);
  const View v = tensors_.back().view();
  Context ctx(device_);
  run(ctx, Fill{v, 0});
  return v;
}

View CaseBuffers::ints(const std::vector<int32_t>& host) { return ints(host, {static_cast<int64_t>(host.size())}); }

View CaseBuffers::ints(const std::vector<int32_t>& host, std::initializer_list<int64_t> shape) {
  tensors_.emplace_back(device_, i32, shape);
  upload(tensors_.back().view(), host);
  return tensors_.back().view();
}

View CaseBuffers::longs(const std::vector<int64_t>& host, std::initializer_list<int64_t> shape) {
  tensors_.emplace_back(device_, DType::i64, shape);
  upload(tensors_.back().view(), host);
  return tensors_.back().view();
}

View CaseBuffers::below(int64_t count, int64_t limit) {
  std::vector<int32_t> host(static_cast<size_t>(count));
  for (int32_t& x : host) x = static_cast<int32_t>(rng_.below(static_cast<uint64_t>(limit)));
  return ints(host);
}

const std::vector<KernelCase>& kernel_cases() {
  static const std::vector<KernelCase> cases = [] {
    std::vector<KernelCase> list;
#define R1_ADD_CASE(Struct, field) list.push_back({#Struct, field});
    R1_OPS(R1_ADD_CASE)
#undef R1_ADD_CASE
    list.push_back({"Linear 1 row", linear_decode<1>});
    list.push_back({"Linear 16 rows", linear_decode<16>});
    list.push_back({"Linear 64 rows", linear_decode<64>});
    return list;
  }();
  return cases;
}

}  // namespace r1::bench
