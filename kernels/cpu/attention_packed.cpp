#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_packed.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <vector>

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/attention_tiles-inl.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/packed_sequence.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

// Query rows of one task. Each task widens and transposes its keys again, which costs 1/256 of what it does with them.
inline constexpr int64_t kQueryChunk = 256;

struct PackedTask {
  int64_t first, query;  // rows of the sequence's position 0: of k and v, of q and o (where it may have no query)
  int64_t begin, end;    // positions of the chunk
  int64_t key_head;
};

template <class E>
void attend_chunk(const AttentionPacked& op, const PackedTask& task) {
  const Rows<const E> q(op.q), k(op.k), v(op.v);
  const Rows<E> o(op.o);
  float* const lse = op.lse ? data_as<float>(op.lse) : nullptr;
  const int64_t Hq = q.heads, group = q.heads / k.heads;
  const int64_t D = op.q.shape[2], Dv = op.v.shape[2], Dp = (D + 15) / 16 * 16, Dvp = (Dv + 15) / 16 * 16;
  const int64_t keys = task.end, blocks = (keys + 15) / 16;
  constexpr int R = kQueryRows;

  float* const k_blocks = scratch<float>(ScratchSlot::a, blocks * 16 * (D + Dp + Dvp) + R * (Dp + Dvp));
  float* const k_rows = k_blocks + blocks * 16 * D;
  float* const v_rows = k_rows + blocks * 16 * Dp;
  float* const q_rows = v_rows + blocks * 16 * Dvp;
  float* const acc = q_rows + R * Dp;
  widen_rows(k(task.first, task.key_head), k.stride0, keys, D, k_rows, Dp);
  std::memset(k_rows + keys * Dp, 0, static_cast<size_t>((blocks * 16 - keys) * Dp) * sizeof(float));
  transpose_blocks(k_rows, Dp, blocks, D, k_blocks);
  widen_rows(v(task.first, task.key_head), v.stride0, keys, Dv, v_rows, Dvp);

  for (int64_t h = task.key_head * group; h < (task.key_head + 1) * group; ++h) {
    // Row tiles end at multiples of R within the sequence, so all rows of a tile end in the same block of keys.
    for (int64_t position = task.begin, rows = 0; position < task.end; position += rows) {
      rows = std::min<int64_t>(R - position % R, task.end - position);
      const int64_t t = task.query + position, last_block = position / 16;
      widen_rows(q(t, h), q.stride0, rows, D, q_rows, Dp);
      for (int64_t r = rows; r < R; ++r) std::memcpy(q_rows + r * Dp, q_rows, static_cast<size_t>(Dp) * sizeof(float));
      int live[R], all[R];
      for (int64_t r = 0; r < R; ++r) {
        live[r] = static_cast<int>(position + std::min(r, rows - 1) - last_block * 16 + 1);
        all[r] = 16;
      }
      Softmax<R> state;
      state.start(acc, Dvp);
      for (int64_t b = 0; b <= last_block; ++b) {
        const float* const kb = k_blocks + b * 16 * D;
        const float* const vb = v_rows + b * 16 * Dvp;
        attend_block<R, R, false>(q_rows, Dp, D, &kb, &vb, Dvp, Dvp, b < last_block ? all : live, op.scale, state, acc, Dvp);
      }
      for (int64_t r = 0; r < rows; ++r) {
        const float l = finish_row(state, static_cast<int>(r), acc + r * Dvp, Dv, o(t + r, h));
        if (lse) lse[(t + r) * Hq + h] = l;
      }
    }
  }
}

// As attend_chunk, by tiles; its bits are those of attention_paged.cpp's tile_attend_heads.
template <class Tiles>
void tile_attend_chunk(const AttentionPacked& op, const PackedTask& task) {
  const Rows<const uint16_t> q(op.q), k(op.k), v(op.v);
  const Rows<uint16_t> o(op.o);
  float* const lse = op.lse ? data_as<float>(op.lse) : nullptr;
  const int64_t Hq = q.heads, group = q.heads / k.heads;
  const int64_t D = op.q.shape[2], Dv = op.v.shape[2], steps = tile_steps(D), value_tiles = (Dv + 15) / 16;
  const int64_t keys = task.end, blocks = (keys + kTileKeys - 1) / kTileKeys;

  const int64_t key_bytes = 2 * steps * kTileBytes, value_bytes = value_tiles * kTileBytes;  // of a block
  auto* const k_tiles =
      reinterpret_cast<std::byte*>(scratch<float>(ScratchSlot::a, blocks * (key_bytes + value_bytes) / 4 + steps * kTileFloats +
                                                                      value_tiles * kTileFloats + 3 * kTileFloats));
  std::byte* const v_tiles = k_tiles + blocks * key_bytes;
  std::byte* const q_tiles = v_tiles + blocks * value_bytes;
  auto* const acc = reinterpret_cast<float*>(q_tiles + steps * kTileBytes);
  float* const s = acc + value_tiles * kTileFloats;
  auto* const pairs = reinterpret_cast<uint32_t*>(s + 2 * kTileFloats);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t t = task.first + b * kTileKeys, left = keys - b * kTileKeys;
    for (int64_t i = 0; i < 2; ++i)
      pack_rows(k(t + i * 16, task.key_head), k.stride0, std::max<int64_t>(left - i * 16, 0), D,
                k_tiles + b * key_bytes + i * steps * kTileBytes);
    pack_turned(v(t, task.key_head), v.stride0, std::min(left, kTileKeys), Dv, kTileBytes, v_tiles + b * value_bytes);
  }

  Tiles tiles;
  for (int64_t h = task.key_head * group; h < (task.key_head + 1) * group; ++h) {
    // Up to sixteen rows before a multiple of sixteen end in the same block of keys.
    for (int64_t position = task.begin, rows = 0; position < task.end; position += rows) {
      rows = std::min<int64_t>(16 - position % 16, task.end - position);
      const int64_t t = task.query + position, last_block = position / kTileKeys;
      pack_transposed(q(t, h), q.stride0, rows, D, q_tiles);
      std::memset(acc, 0, static_cast<size_t>(value_bytes));
      RowsInLanes state;
      state.start();
      for (int64_t b = 0; b <= last_block; ++b) {
        tile_products<1>(tiles, k_tiles + b * key_bytes, q_tiles, steps, s);
        const F16 correction = state.add_block(s, position - b * kTileKeys + 1, op.scale, pairs);
        if (!all_one(correction))
          for (int64_t i = 0; i < value_tiles * kTileFloats; i += 16) store16(acc + i, load16(acc + i) * correction);
        add_tile_products(tiles, acc, kTileFloats, kTileStepBytes, v_tiles + b * value_bytes,
                          reinterpret_cast<const std::byte*>(pairs), value_tiles);
      }
      store_turned(acc, kTileFloats, set16(1.0f) / state.sum, o(t, h), o.stride0, rows, Dv);
      if (!lse) continue;
      alignas(64) float max[16], sum[16];
      store16(max, state.max);
      store16(sum, state.sum);
      for (int64_t r = 0; r < rows; ++r) lse[(t + r) * Hq + h] = max[r] + std::log(sum[r]);
    }
  }
}

void attend_by_tiles(const AttentionPacked& op, const PackedTask& task) {
  const NoDenormals mode;
  isa() == Isa::amx ? tile_attend_chunk<HardwareTiles>(op, task) : tile_attend_chunk<SoftwareTiles>(op, task);
}

void attention_packed(Context& context, const AttentionPacked& op) {
  std::vector<PackedTask> tasks;
  double pairs = 0;
  for (int64_t i = 0; i + 1 < op.offsets.shape[0]; ++i) {
    const PackedSequence s = packed_sequence(op, i);
    pairs += s.pairs();
    for (int64_t h = 0; h < op.k.shape[1]; ++h)
      for (int64_t at = s.skipped, end = 0; at < s.length; at = end) {
        end = std::min((at / kQueryChunk + 1) * kQueryChunk, s.length);
        tasks.push_back({s.first, s.query, at, end, h});
      }
  }
  if (tasks.empty()) return;
  const double ns =
      pairs * static_cast<double>(op.q.shape[1]) * (0.015 * static_cast<double>(op.q.shape[2] + op.v.shape[2]) + 0.5);
  for_tiles(context, static_cast<int64_t>(tasks.size()), static_cast<int64_t>(ns / static_cast<double>(tasks.size())),
            [&](int64_t i) HWY_ATTR {
              if (attends_by_tiles(op.q.dtype)) return attend_by_tiles(op, tasks[i]);
              op.q.dtype == DType::f32 ? attend_chunk<float>(op, tasks[i]) : attend_chunk<uint16_t>(op, tasks[i]);
            });
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(attention_packed);
void attention_packed(Context& context, const AttentionPacked& op) { HWY_DYNAMIC_DISPATCH(attention_packed)(context, op); }
}  // namespace r1::cpu
#endif
