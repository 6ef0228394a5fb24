// Attention over packed sequences and over KV pages. Hq/Hk: query and key heads, D/Dv: head sizes of keys and values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

namespace {

// A position's vector: its first feature and the stride between features.
struct Vector {
  const double* first;
  int64_t stride;
};

// o = softmax over positions p = 0..last of scale * q.key(p), times value(p); returns the log-sum-exp. Packed and paged share
// this, so they share its bits.
template <class Key, class Value>
double attend(const double* q, int64_t d_n, int64_t dv_n, int64_t last, double scale, Key key, Value value, double* o) {
  std::vector<double> score(last + 1);
  for (int64_t p = 0; p <= last; ++p) {
    const Vector k = key(p);
    double dot = 0;
    for (int64_t d = 0; d < d_n; ++d) dot += q[d] * k.first[d * k.stride];
    score[p] = scale * dot;
  }
  const double top = *std::max_element(score.begin(), score.end());
  double sum = 0;
  for (double s : score) sum += std::exp(s - top);
  for (int64_t j = 0; j < dv_n; ++j) o[j] = 0;
  for (int64_t p = 0; p <= last; ++p) {
    const Vector v = value(p);
    for (int64_t j = 0; j < dv_n; ++j) o[j] += std::exp(score[p] - top) / sum * v.first[j * v.stride];
  }
  return top + std::log(sum);
}

// offsets as [S+1] integers, checked against the number of rows.
std::vector<int64_t> load_offsets(const View& offsets, int64_t rows) {
  auto o = load_ints(offsets);
  R1_CHECK(o.front() == 0 && o.back() == rows, fmt::format("offsets run from {} to {} of {} rows", o.front(), o.back(), rows));
  for (size_t s = 1; s < o.size(); ++s) R1_CHECK(o[s - 1] <= o[s], "offsets must not decrease");
  return o;
}

// The sequences of a packed op: where their keys are, where their queries, and the position of the first of these.
struct PackedSequence {
  int64_t first, length, query, skipped;
};
template <class Op>
std::vector<PackedSequence> packed_sequences(const Op& op) {
  const auto keys = load_offsets(op.offsets, op.k.shape[0]);
  const auto queries = op.query_offsets ? load_offsets(op.query_offsets, op.q.shape[0]) : keys;
  std::vector<PackedSequence> out;
  for (size_t s = 0; s + 1 < keys.size(); ++s) {
    out.push_back({keys[s], keys[s + 1] - keys[s], queries[s], keys[s + 1] - keys[s] - (queries[s + 1] - queries[s])});
    R1_CHECK(out.back().skipped >= 0, "a sequence has more queries than keys");
  }
  return out;
}

// The page of each row, checked.
std::vector<int64_t> pages_of(const std::vector<int64_t>& table, int64_t seq, int64_t last, int64_t seqs, int64_t width,
                              int64_t pages) {
  R1_CHECK(0 <= seq && seq < seqs, fmt::format("sequence {} of {}", seq, seqs));
  R1_CHECK(0 <= last && last / kKeyBlock < width, fmt::format("position {} with {} pages a sequence", last, width));
  std::vector<int64_t> found(last / kKeyBlock + 1);
  for (size_t i = 0; i < found.size(); ++i) {
    found[i] = table[seq * width + static_cast<int64_t>(i)];
  }
  R1_CHECK(0 <= found.back() && found.back() < pages, fmt::format("page {} of {}", found.back(), pages));
  return found;
}

}  // namespace

void attention_packed(Context&, const AttentionPacked& op) {
  const int64_t q_n = op.q.shape[0], hq_n = op.q.shape[1], d_n = op.q.shape[2], hk_n = op.k.shape[1], dv_n = op.v.shape[2];
  const auto q = load(op.q), k = load(op.k), v = load(op.v);
  std::vector<double> o(q_n * hq_n * dv_n), lse(q_n * hq_n);
  for (const PackedSequence& s : packed_sequences(op))
    for (int64_t at = s.skipped; at < s.length; ++at)
      for (int64_t hq = 0; hq < hq_n; ++hq) {
        const int64_t hk = hq / (hq_n / hk_n), t = s.query + at - s.skipped;
        lse[t * hq_n + hq] = attend(
            &q[(t * hq_n + hq) * d_n], d_n, dv_n, at, op.scale,
            [&](int64_t p) {
              return Vector{&k[((s.first + p) * hk_n + hk) * d_n], 1};
            },
            [&](int64_t p) {
              return Vector{&v[((s.first + p) * hk_n + hk) * dv_n], 1};
            },
            &o[(t * hq_n + hq) * dv_n]);
      }
  store(op.o, o);
  if (op.lse) store(op.lse, lse);
}

// Dao et al. 2022, algorithm 4, without tiles: p = exp(scale q.k - lse), ds = p (d_o.v - d_o.o).
void attention_packed_backward(Context&, const AttentionPackedBackward& op) {
  const int64_t hq_n = op.q.shape[1], d_n = op.q.shape[2], hk_n = op.k.shape[1], dv_n = op.v.shape[2];
  const auto q = load(op.q), k = load(op.k), v = load(op.v), o = load(op.o), d_o = load(op.d_o), lse = load(op.lse);
  std::vector<double> dq(q.size()), dk(k.size()), dv(v.size());
  for (const PackedSequence& s : packed_sequences(op)) {
    R1_CHECK(op.longest == 0 || s.length <= op.longest, "a sequence is longer than the longest");
    for (int64_t at = s.skipped; at < s.length; ++at)
      for (int64_t hq = 0; hq < hq_n; ++hq) {
        const int64_t hk = hq / (hq_n / hk_n), row = (s.query + at - s.skipped) * hq_n + hq;
        const int64_t row_q = row * d_n, row_o = row * dv_n;
        double delta = 0;
        for (int64_t j = 0; j < dv_n; ++j) delta += d_o[row_o + j] * o[row_o + j];
        for (int64_t u = s.first; u <= s.first + at; ++u) {
          const int64_t row_k = (u * hk_n + hk) * d_n, row_v = (u * hk_n + hk) * dv_n;
          double score = 0, dp = 0;
          for (int64_t d = 0; d < d_n; ++d) score += q[row_q + d] * k[row_k + d];
          for (int64_t j = 0; j < dv_n; ++j) dp += d_o[row_o + j] * v[row_v + j];
          const double p = std::exp(op.scale * score - lse[row]);
          const double ds = p * (dp - delta) * op.scale;
          for (int64_t j = 0; j < dv_n; ++j) dv[row_v + j] += p * d_o[row_o + j];
          for (int64_t d = 0; d < d_n; ++d) {
            dq[row_q + d] += ds * k[row_k + d];
            dk[row_k + d] += ds * q[row_q + d];
          }
        }
      }
  }
  store(op.dq, dq);
  store(op.dk, dk);
  store(op.dv, dv);
}

void kv_write(Context&, const KvWrite& op) {
  const int64_t r_n = op.k.shape[0], hk_n = op.k.shape[1], d_n = op.k.shape[2], dv_n = op.v.shape[2];
  const auto k = load(op.k), v = load(op.v);
  const auto table = load_ints(op.page_table), seq = load_ints(op.row_seq), pos = load_ints(op.row_pos);
  auto k_pages = load(op.k_pages), v_pages = load(op.v_pages);
  for (int64_t r = 0; r < r_n; ++r) {
    const int64_t page =
        pages_of(table, seq[r], pos[r], op.page_table.shape[0], op.page_table.shape[1], op.k_pages.shape[0]).back();
    const int64_t slot = pos[r] % kKeyBlock;
    for (int64_t h = 0; h < hk_n; ++h) {
      for (int64_t d = 0; d < d_n; ++d) k_pages[((page * hk_n + h) * d_n + d) * kKeyBlock + slot] = k[(r * hk_n + h) * d_n + d];
      for (int64_t j = 0; j < dv_n; ++j)
        v_pages[((page * hk_n + h) * kKeyBlock + slot) * dv_n + j] = v[(r * hk_n + h) * dv_n + j];
    }
  }
  store(op.k_pages, k_pages);
  store(op.v_pages, v_pages);
}

void attention_paged(Context&, const AttentionPaged& op) {
  const int64_t r_n = op.q.shape[0], hq_n = op.q.shape[1], d_n = op.q.shape[2];
  const int64_t hk_n = op.k_pages.shape[1], dv_n = op.v_pages.shape[3];
  const auto q = load(op.q), k_pages = load(op.k_pages), v_pages = load(op.v_pages);
  const auto table = load_ints(op.page_table), seq = load_ints(op.row_seq), pos = load_ints(op.row_pos);
  std::vector<double> o(r_n * hq_n * dv_n);
  for (int64_t r = 0; r < r_n; ++r) {
    const auto pages = pages_of(table, seq[r], pos[r], op.page_table.shape[0], op.page_table.shape[1], op.k_pages.shape[0]);
    for (int64_t page : pages) R1_CHECK(0 <= page && page < op.k_pages.shape[0], std::to_string(page));
    for (int64_t hq = 0; hq < hq_n; ++hq) {
      const int64_t hk = hq / (hq_n / hk_n);
      attend(
          &q[(r * hq_n + hq) * d_n], d_n, dv_n, pos[r], op.scale,
          [&](int64_t p) {
            return Vector{&k_pages[(pages[p / kKeyBlock] * hk_n + hk) * d_n * kKeyBlock + p % kKeyBlock], kKeyBlock};
          },
          [&](int64_t p) {
            return Vector{&v_pages[((pages[p / kKeyBlock] * hk_n + hk) * kKeyBlock + p % kKeyBlock) * dv_n], 1};
          },
          &o[(r * hq_n + hq) * dv_n]);
    }
  }
  store(op.o, o);
}

}  // namespace r1::reference
