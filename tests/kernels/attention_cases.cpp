// Cases of AttentionPacked, its backward, KvWrite and AttentionPaged.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

struct HeadShape {
  int64_t hq, hk, d, dv;
};
const HeadShape kHeads[] = {{4, 4, 24, 24}, {4, 2, 32, 32}, {4, 1, 64, 64}, {2, 2, 16, 16}, {2, 1, 24, 16}, {3, 3, 20, 33}};
// Each another kernel where the head size is a part of it (kernels/cuda/attention_mma.h); the last is none of them.
const HeadShape kLargeHeads[] = {{2, 1, 128, 128}, {1, 1, 192, 128}, {2, 1, 200, 40}};
const std::vector<std::vector<int64_t>> kLengths = {
    {}, {1}, {2, 1, 3}, {15, 16, 17}, {33, 0, 7, 1}, {64}, {100, 31, 32}, {300}, {600}, {5, 1, 8, 3, 0, 9, 4, 7, 6},
};

// Of AttentionPacked and AttentionPaged. Tensor cores and tiles take weights in bf16 alone: 2^-9 of each is lost on its way
// into the product with the values, which are about 1.
Tolerance with_rounded_weights(int64_t longest) {
  return {.reduction = longest, .noise = 32, .roundings = 1.5, .magnitude = 1, .data = DType::bf16};
}
Tolerance tolerance(DType f, int64_t longest) {
  if (f == DType::bf16 && cpu::uses_tiles(cpu::isa())) return with_rounded_weights(longest);
  return {.reduction = longest, .noise = 32, .data = f};
}
std::optional<Tolerance> tolerance_on_cards(DType f, int64_t longest) {
  if (f == DType::f32) return std::nullopt;
  return with_rounded_weights(longest);
}

// How q, k, v (and their gradients) lie in memory.
enum class Place {
  dense,
  odd,    // each with an odd start and odd row stride
  half,   // heads begin at multiples of 16 bytes in the first row, and of 8 in the second
  fused,  // columns of one [T, Hq D + Hk D + Hk Dv] matrix, as one projection gives them
  mla,    // k and v are column ranges of heads of D + Dv features: the heads are strided
};
const char* place_name(Place p) {
  return p == Place::dense   ? ""
         : p == Place::odd   ? " strided"
         : p == Place::half  ? " half aligned"
         : p == Place::fused ? " fused qkv"
                             : " columns of heads";
}

struct Qkv {
  View q, k, v;
};
// `output`: to be written, else random.
Qkv make_qkv(Buffers& b, DType f, HeadShape h, int64_t t, Place place, bool output) {
  const auto make = [&](const Shape& shape, Layout l = {}) { return output ? b.out(f, shape, l) : b.in(f, shape, l); };
  Qkv x;
  const int64_t q_n = h.hq * h.d, k_n = h.hk * h.d, v_n = h.hk * h.dv;
  switch (place) {
    case Place::dense:
      return {make({t, h.hq, h.d}), make({t, h.hk, h.d}), make({t, h.hk, h.dv})};
    case Place::odd:
      x.q = make({t, q_n}, {.offset = 1, .gap = 3}).heads(h.hq);
      x.k = make({t, k_n}, {.offset = 1, .gap = 5}).heads(h.hk);
      x.v = make({t, v_n}, {.offset = 1, .gap = 7}).heads(h.hk);
      return x;
    case Place::half:
      x.q = make({t, q_n}, {.gap = 4}).heads(h.hq);
      x.k = make({t, k_n}, {.gap = 4}).heads(h.hk);
      x.v = make({t, v_n}, {.gap = 4}).heads(h.hk);
      return x;
    case Place::fused: {
      const View all = make({t, q_n + k_n + v_n});
      return {all.columns(0, q_n).heads(h.hq), all.columns(q_n, q_n + k_n).heads(h.hk),
              all.columns(q_n + k_n, q_n + k_n + v_n).heads(h.hk)};
    }
    case Place::mla: {
      const View kv = make({t, h.hk, h.d + h.dv});
      x.q = make({t, h.hq, h.d});
      x.k = kv.columns(0, h.d);
      x.v = kv.columns(h.d, h.d + h.dv);
      return x;
    }
  }
  return x;
}

std::vector<int64_t> offsets_of(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> offsets = {0};
  for (int64_t n : lengths) offsets.push_back(offsets.back() + n);
  return offsets;
}

std::string lengths_name(const std::vector<int64_t>& lengths) {
  std::string s;
  for (int64_t n : lengths) s += (s.empty() ? "" : "+") + std::to_string(n);
  return s.empty() ? "no sequence" : s;
}

// queries: of each sequence the number of its last rows that ask; none: all rows do.
void add_packed(std::vector<OpCase>& cases, DType f, HeadShape h, std::vector<int64_t> lengths, Place place, bool keep_lse,
                std::vector<int64_t> queries = {}) {
  const auto offsets = offsets_of(lengths), query_offsets = offsets_of(queries);
  const int64_t t = offsets.back(), s_n = static_cast<int64_t>(offsets.size()), n = queries.empty() ? t : query_offsets.back();
  const float scale = 1 / std::sqrt(static_cast<float>(h.d));
  const auto name =
      fmt::format("{} Hq={} Hk={} D={} Dv={} T={}{}{}", dtype_name(f), h.hq, h.hk, h.d, h.dv, lengths_name(lengths),
                  place_name(place), queries.empty() ? "" : " queries of " + lengths_name(queries));
  const auto make = [=](Buffers& b, bool output) {
    Qkv x = make_qkv(b, f, h, t, place, output);
    x.q = x.q.slice(0, n);
    return x;
  };
  const auto of_queries = [=](Buffers& b) { return queries.empty() ? View{} : b.ints({s_n}, query_offsets); };
  const int64_t longest = lengths.empty() ? 1 : *std::max_element(lengths.begin(), lengths.end());
  cases.push_back({"AttentionPacked " + name, tolerance(f, longest),
                   [=](Buffers& b) -> AnyOp {
                     AttentionPacked op;
                     const Qkv x = make(b, false);
                     op.q = x.q, op.k = x.k, op.v = x.v;
                     op.o = b.out(f, {n, h.hq, h.dv}, place == Place::odd ? Layout{.offset = 1, .gap = 9} : Layout{});
                     if (keep_lse) op.lse = b.out(DType::f32, {n, h.hq});
                     op.offsets = b.ints({s_n}, offsets);
                     op.scale = scale;
                     op.query_offsets = of_queries(b);
                     return op;
                   },
                   tolerance_on_cards(f, longest)});
  cases.push_back({"AttentionPackedBackward " + name,
                   // P and dS may be rounded to the data type on the way into a product; dP - delta cancels (wholly for T = 1).
                   {.reduction = longest * (h.hq / h.hk),
                    .noise = 64,
                    .roundings = f == DType::bf16 ? 2.0 : 1.0,
                    .magnitude = 1,
                    .data = f},
                   [=](Buffers& b) -> AnyOp {
                     AttentionPackedBackward op;
                     const Qkv x = make(b, false);
                     op.q = x.q, op.k = x.k, op.v = x.v;
                     // o and lse as the reference forward gives them.
                     Device& reference = open_device("reference");
                     Context ctx(reference);
                     Buffers r(reference, 0);
                     const auto twin = [&](const View& v) {
                       return r.values(v.dtype, Shape(v.shape.begin(), v.shape.begin() + v.rank), read_values(v));
                     };
                     AttentionPacked forward{twin(op.q),
                                             twin(op.k),
                                             twin(op.v),
                                             r.out(f, {n, h.hq, h.dv}),
                                             r.out(DType::f32, {n, h.hq}),
                                             r.ints({s_n}, offsets),
                                             scale,
                                             of_queries(r)};
                     run(ctx, forward);
                     op.o = b.values(f, {n, h.hq, h.dv}, read_values(forward.o));
                     op.lse = b.values(DType::f32, {n, h.hq}, read_values(forward.lse));
                     op.d_o = b.in(f, {n, h.hq, h.dv}, place == Place::odd ? Layout{.offset = 1, .gap = 9} : Layout{});
                     const Qkv d = make(b, true);
                     op.dq = d.q, op.dk = d.k, op.dv = d.v;
                     op.offsets = b.ints({s_n}, offsets);
                     op.scale = scale;
                     op.longest = keep_lse ? longest : 0;
                     op.query_offsets = of_queries(b);
                     return op;
                   }});
}

// Sequences in pages taken in random order; what no row has written is NaN, unused entries of the page table are -1.
struct Paging {
  int64_t pages, width;
  std::vector<int64_t> table;
};
Paging random_paging(Rng& rng, const std::vector<int64_t>& lengths) {
  Paging p{3, 1, {}};
  for (int64_t n : lengths)
    p.pages += (n + kKeyBlock - 1) / kKeyBlock, p.width = std::max(p.width, (n + kKeyBlock - 1) / kKeyBlock + 1);
  std::vector<int64_t> free(static_cast<size_t>(p.pages));
  std::iota(free.begin(), free.end(), 0);
  rng.shuffle(free);
  p.table.assign(lengths.size() * static_cast<size_t>(p.width), -1);
  for (size_t s = 0; s < lengths.size(); ++s)
    for (int64_t i = 0; i * kKeyBlock < lengths[s]; ++i) {
      p.table[s * static_cast<size_t>(p.width) + static_cast<size_t>(i)] = free.back();
      free.pop_back();
    }
  return p;
}

void add_paged(std::vector<OpCase>& cases, DType f, HeadShape h, std::vector<int64_t> lengths, Place place) {
  const auto name = fmt::format("{} Hq={} Hk={} D={} Dv={} T={}{}", dtype_name(f), h.hq, h.hk, h.d, h.dv, lengths_name(lengths),
                                place_name(place));
  const auto s_n = static_cast<int64_t>(lengths.size());
  const int64_t longest = lengths.empty() ? 1 : *std::max_element(lengths.begin(), lengths.end());
  // Rows of all sequences in random order: every position of each when `all`, else the last three.
  const auto rows = [=](Rng& rng, bool all) {
    std::vector<std::pair<int64_t, int64_t>> r;
    for (int64_t s = 0; s < s_n; ++s)
      for (int64_t p = all ? 0 : std::max<int64_t>(0, lengths[s] - 3); p < lengths[s]; ++p) r.emplace_back(s, p);
    rng.shuffle(r);
    return r;
  };
  const auto split = [](const std::vector<std::pair<int64_t, int64_t>>& r, bool second) {
    std::vector<int64_t> x;
    for (const auto& e : r) x.push_back(second ? e.second : e.first);
    return x;
  };
  cases.push_back({"KvWrite " + name, {.data = f}, [=](Buffers& b) -> AnyOp {
                     const Paging p = random_paging(b.rng(), lengths);
                     const auto r = rows(b.rng(), longest < 40);
                     const auto n = static_cast<int64_t>(r.size());
                     const Qkv x = make_qkv(b, f, h, n, place, false);
                     return KvWrite{x.k,
                                    x.v,
                                    b.inout(f, {p.pages, h.hk, h.d, kKeyBlock}),
                                    b.inout(f, {p.pages, h.hk, kKeyBlock, h.dv}),
                                    b.ints({s_n, p.width}, p.table),
                                    b.ints({n}, split(r, false)),
                                    b.ints({n}, split(r, true))};
                   }});
  cases.push_back({"AttentionPaged " + name, tolerance(f, longest),
                   [=](Buffers& b) -> AnyOp {
                     const Paging p = random_paging(b.rng(), lengths);
                     const auto r = rows(b.rng(), longest < 40);
                     const auto n = static_cast<int64_t>(r.size());
                     const double nan = std::numeric_limits<double>::quiet_NaN();
                     std::vector<double> k(static_cast<size_t>(p.pages * h.hk * h.d * kKeyBlock), nan);
                     std::vector<double> v(static_cast<size_t>(p.pages * h.hk * kKeyBlock * h.dv), nan);
                     for (int64_t s = 0; s < s_n; ++s)
                       for (int64_t i = 0; i < lengths[s]; ++i) {
                         const int64_t page = p.table[s * p.width + i / kKeyBlock], slot = i % kKeyBlock;
                         for (int64_t g = 0; g < h.hk; ++g) {
                           for (int64_t d = 0; d < h.d; ++d)
                             k[((page * h.hk + g) * h.d + d) * kKeyBlock + slot] = b.rng().normal();
                           for (int64_t d = 0; d < h.dv; ++d)
                             v[((page * h.hk + g) * kKeyBlock + slot) * h.dv + d] = b.rng().normal();
                         }
                       }
                     AttentionPaged op;
                     op.q = make_qkv(b, f, h, n, place, false).q;
                     op.k_pages = b.values(f, {p.pages, h.hk, h.d, kKeyBlock}, k);
                     op.v_pages = b.values(f, {p.pages, h.hk, kKeyBlock, h.dv}, v);
                     op.o = b.out(f, {n, h.hq, h.dv}, place == Place::odd ? Layout{.offset = 1, .gap = 9} : Layout{});
                     op.page_table = b.ints({s_n, p.width}, p.table);
                     op.row_seq = b.ints({n}, split(r, false));
                     op.row_pos = b.ints({n}, split(r, true));
                     op.scale = 1 / std::sqrt(static_cast<float>(h.d));
                     return op;
                   },
                   tolerance_on_cards(f, longest)});
}

}  // namespace

void add_attention_cases(std::vector<OpCase>& cases) {
  for (DType f : kFloatTypes) {
    int i = 0;
    const Place places[] = {Place::dense, Place::odd, Place::fused, Place::mla};
    // Sizes that cuDNN takes (kernels/cuda/attention_backward_cudnn.cu), in rows that it does not.
    add_packed(cases, f, {4, 2, 32, 32}, {15, 16, 17}, Place::half, true);
    for (const HeadShape& h : kHeads)
      for (const auto& lengths : kLengths) {
        // Every head shape with every list of lengths, but 300 only once a type, and 600 once: more than two chunks of keys,
        // where a device has such (kernels/cuda/attention_mma.h). Layouts take turns.
        if (lengths == std::vector<int64_t>{300} && h.d != 32) continue;
        if (lengths == std::vector<int64_t>{600} && (h.d != 16 || f == DType::f32)) continue;
        const Place place = places[i++ % 4];
        add_packed(cases, f, h, lengths, place, i % 5 != 0);
        add_paged(cases, f, h, lengths, place == Place::mla ? Place::dense : place);
      }
    // The last rows alone, as of sequences that share a prompt: from the beginning of a tile, within one, none, all.
    struct Asked {
      std::vector<int64_t> lengths, queries;
    };
    const Asked asked[] = {{{33, 0, 7, 1, 64}, {5, 0, 7, 0, 32}},
                           {{100, 31, 32, 150}, {1, 30, 0, 70}},
                           {{17, 9}, {17, 0}},
                           {{48, 90}, {0, 0}},
                           {{40, 40, 200}, {7, 24, 9}},
                           {{130, 5}, {70, 5}}};
    for (const HeadShape& h : {kHeads[1], kHeads[4], kHeads[5], kLargeHeads[0]})
      for (const Asked& a : asked) {
        const Place place = places[i++ % 4];
        add_packed(cases, f, h, a.lengths, place, i % 5 != 0, a.queries);
      }
    for (const HeadShape& h : kLargeHeads)
      for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{2, 70}, {131}}) {
        const Place place = places[i++ % 4];
        add_packed(cases, f, h, lengths, place, true);
        add_paged(cases, f, h, lengths, place == Place::mla ? Place::dense : place);
      }
  }
}

}  // namespace r1::test
