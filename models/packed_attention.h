// Attention of a packed pass whose sequences may share rows (PackedAttention::seen): what the blocks of attention have in
// common.
//
// Everything else of a model computes a shared row once; attention gets every sequence whole, in memory that ends with the
// call, so that no device needs a kernel that knows of sharing. Thread rule: as the Context.
#pragma once

#include "models/tape.h"

namespace r1 {

// `op` over the rows of the pass; its offsets are those of `packed`.
void packed_attention(Context&, const PackedAttention& packed, AttentionPacked op);
// The same; a shared row gets the sum of what its sequences give it, in their order, rounded once. What of it was read by
// several is given by the first (its output) and by all (its keys and values).
void packed_attention_backward(Context&, const PackedAttention& packed, AttentionPackedBackward op);

// Rows of the pass, [T, D] or [T, H, D], as attention sees them, in the arena; and the way back for gradients, `d` being
// overwritten.
View as_seen(Context&, const PackedAttention& packed, const View& x);
void sum_seen(Context&, const PackedAttention& packed, const View& d_seen, const View& d);

}  // namespace r1
