// The vocabulary head in chunks of rows, forward and backward together, so that logits never exist all at once. Shared by the
// losses of training/. Thread rule: as the Context.
#pragma once

#include <algorithm>

#include "models/model.h"

namespace r1 {

// Rows whose logits number at most `logit_elements`, but at least 16.
inline int64_t head_chunk_rows(const Model& model, int64_t logit_elements) {
  return std::max<int64_t>(16, logit_elements / model.head_rows());
}

// Runs f(begin, end) over fixed chunks of rows; what a chunk allocates dies with it.
template <class F>
void for_head_chunks(Context& ctx, int64_t chunk, int64_t rows, F&& f) {
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const Arena::Mark mark = ctx.arena.mark();
    f(begin, std::min(rows, begin + chunk));
    ctx.arena.release(mark);
  }
}

// Gradients through the head: dlogits [n, V] f32 -> dh rows (written) and the head's weight (added).
inline void head_backward(Pass& p, const Model& model, const View& h, const View& dlogits, const View& dh) {
  const int head = model.params().head;
  const int64_t rows = model.head_rows();
  run(p.ctx, LinearBackwardInput{dlogits, p.weight(head).slice(0, rows), dh});
  run(p.ctx, LinearBackwardWeight{dlogits, h, p.grads->param(head).slice(0, rows), View{}});
}

}  // namespace r1
