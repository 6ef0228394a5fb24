#include "models/tape.h"

#include "base/error.h"

namespace r1 {

View Tape::take_buffer(Context& ctx, const View& like) {
  for (size_t i = free_.size(); i-- > 0;) {
    if (free_[i].dtype != like.dtype || free_[i].size() != like.size()) continue;
    View v = contiguous_view(*like.device, free_[i].data, like.dtype, like.shape.data(), like.rank);
    free_[i] = free_.back();
    free_.pop_back();
    return v;
  }
  return ctx.arena.alloc(like.dtype, like.shape.data(), like.rank);
}

std::pair<View, bool> Tape::contribute(Context& ctx, int32_t id) {
  Slot& s = slots_[static_cast<size_t>(id)];
  if (!s.gradient) {
    s.gradient = take_buffer(ctx, s.value);
    return {s.gradient, false};
  }
  if (s.shared_with >= 0) {
    Slot& other = slots_[static_cast<size_t>(s.shared_with)];
    if (!other.released) {
      // The other term's producer has still to read this buffer: write to a copy.
      const View copy = take_buffer(ctx, s.value);
      run(ctx, Copy{s.gradient, copy});
      s.gradient = copy;
    }
    other.shared_with = -1;
    s.shared_with = -1;
  }
  return {s.gradient, true};
}

void Tape::contribute_sum(Context& ctx, int32_t y, int32_t a, int32_t b) {
  R1_CHECK(a != b, "y = a + a is not recorded as a sum");
  Slot& from = slots_[static_cast<size_t>(y)];
  int32_t takers[2];
  int n = 0;
  for (int32_t term : {a, b}) {
    if (slots_[static_cast<size_t>(term)].gradient) {
      const View d = contribute(ctx, term).first;
      run(ctx, Add{d, from.gradient, d});
    } else {
      takers[n++] = term;
    }
  }
  if (n == 0) return;
  // A buffer that y itself shares cannot be passed on.
  View passed = from.gradient;
  if (from.shared_with >= 0 && !slots_[static_cast<size_t>(from.shared_with)].released) {
    passed = take_buffer(ctx, from.value);
    run(ctx, Copy{from.gradient, passed});
  } else {
    if (from.shared_with >= 0) slots_[static_cast<size_t>(from.shared_with)].shared_with = -1;
    from.shared_with = -1;
    from.gradient = View{};
  }
  for (int i = 0; i < n; ++i) {
    Slot& s = slots_[static_cast<size_t>(takers[i])];
    s.gradient = passed;
    s.shared_with = n == 2 ? takers[1 - i] : -1;
  }
}

void Tape::release(int32_t id) {
  Slot& s = slots_[static_cast<size_t>(id)];
  s.released = true;
  if (!s.gradient) return;
  if (s.shared_with >= 0) {
    Slot& other = slots_[static_cast<size_t>(s.shared_with)];
    if (!other.released) return;  // the other one returns the buffer
  }
  free_.push_back(s.gradient);
  s.gradient = View{};
}

void Tape::clear() {
  nodes_.clear();
  slots_.clear();
  free_.clear();
}

}  // namespace r1
