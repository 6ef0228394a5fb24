// Attention of a packed pass whose sequences may share rows (PackedAttention::seen): what the blocks of attention have in
// common.
//
// Everything of a shared row is computed once, its query's attention too: it is its first sequence's own. Keys and values lie
// anew for every sequence, in memory that ends with the call. Thread rule: as the Context.
#pragma once

#include "models/tape.h"

namespace r1 {

// `op` over the rows of the pass; its offsets are those of `packed`.
void packed_attention(Context&, const PackedAttention& packed, AttentionPacked op);
// The same; keys and values of a shared row get the sum of what its sequences give them, in their order, rounded once.
void packed_attention_backward(Context&, const PackedAttention& packed, AttentionPackedBackward op);

// Rows of the pass, [T, D] or [T, H, D] of f, as keys are seen, [A, ...], in the arena: x itself where nothing is shared.
View as_seen(Context&, const PackedAttention& packed, const View& x);
// Room for gradients of such rows, uninitialised; where nothing is shared `d`, the gradients of the pass's rows. And what makes
// the latter of them: `d` is overwritten by sums in f32.
View like_seen(Context&, const PackedAttention& packed, const View& d);
void sum_seen(Context&, const PackedAttention& packed, const View& d_seen, const View& d);

}  // namespace r1
