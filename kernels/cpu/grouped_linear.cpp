// Linear layers of many experts: rows sorted by expert, each expert's rows through the kernels of Linear, so that a row has the
// bits that Linear gives it. Sorting and counting of assignments stand here too.
#include <cstring>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/threads.h"

namespace r1::cpu {
namespace {

const int32_t* ints(const View& v) { return reinterpret_cast<const int32_t*>(v.data); }
float* floats(const View& v) { return reinterpret_cast<float*>(v.data); }

// Matrix e of a stack [E,N,K].
View expert(const View& stack, int64_t e) {
  View m = stack;
  m.rank = 2;
  m.shape = {stack.shape[1], stack.shape[2]};
  m.stride = {stack.shape[2], 1};
  m.data += e * stack.shape[1] * stack.shape[2] * static_cast<int64_t>(dtype_size(stack.dtype));
  return m;
}

// The rows of x in order of their places, in the arena; x itself when there are no slots.
View in_places(Context& context, const View& x, const View& slots, int copies) {
  if (!slots) return x;
  const View y = context.arena.alloc(x.dtype, {slots.shape[0], x.shape[1]});
  const int32_t* const slot = ints(slots);
  const auto element = static_cast<int64_t>(dtype_size(x.dtype));
  const int64_t bytes = x.shape[1] * element, ld = x.stride[0] * element;
  for_rows(context, y.shape[0], 64, 10 + 0.02 * static_cast<double>(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      std::memcpy(y.data + n * bytes, x.data + slot[n] / copies * ld, static_cast<size_t>(bytes));
  });
  return y;
}

// The ops of all experts that have places: make(e, begin, end) gives that of expert e.
template <class Op, class F>
std::vector<Op> per_expert(const View& offsets, F&& make) {
  std::vector<Op> ops;
  ops.reserve(static_cast<size_t>(offsets.shape[0] - 1));
  const int32_t* const at = ints(offsets);
  for (int64_t e = 0; e + 1 < offsets.shape[0]; ++e)
    if (at[e] < at[e + 1]) ops.push_back(make(e, at[e], at[e + 1]));
  return ops;
}

}  // namespace

void grouped_linear(Context& context, const GroupedLinear& op) {
  const auto mark = context.arena.mark();
  const View x = in_places(context, op.x, op.slots, op.copies);
  linear(context, per_expert<Linear>(op.offsets, [&](int64_t e, int64_t begin, int64_t end) {
           return Linear{x.slice(begin, end), expert(op.w, e), View{}, op.y.slice(begin, end)};
         }));
  context.arena.release(mark);
}

void grouped_linear_backward_input(Context& context, const GroupedLinearBackwardInput& op) {
  linear_backward_input(context, per_expert<LinearBackwardInput>(op.offsets, [&](int64_t e, int64_t begin, int64_t end) {
                          return LinearBackwardInput{op.dy.slice(begin, end), expert(op.w, e), op.dx.slice(begin, end)};
                        }));
}

void grouped_linear_backward_weight(Context& context, const GroupedLinearBackwardWeight& op) {
  const auto mark = context.arena.mark();
  const View x = in_places(context, op.x, op.slots, op.copies);
  linear_backward_weight(context, per_expert<LinearBackwardWeight>(op.offsets, [&](int64_t e, int64_t begin, int64_t end) {
                           return LinearBackwardWeight{op.dy.slice(begin, end), x.slice(begin, end), expert(op.dw, e), View{}};
                         }));
  context.arena.release(mark);
}

void moe_sort(Context&, const MoeSort& op) {
  const int64_t assignments = op.experts.size(), experts = op.offsets.shape[0] - 1;
  const int32_t* const chosen = ints(op.experts);
  int32_t* const slots = reinterpret_cast<int32_t*>(op.slots.data);
  int32_t* const places = reinterpret_cast<int32_t*>(op.places.data);
  int32_t* const offsets = reinterpret_cast<int32_t*>(op.offsets.data);
  int32_t* const next = scratch<int32_t>(ScratchSlot::a, experts);
  std::memset(offsets, 0, static_cast<size_t>(experts + 1) * sizeof(int32_t));
  for (int64_t a = 0; a < assignments; ++a) ++offsets[chosen[a] + 1];
  for (int64_t e = 0; e < experts; ++e) {
    next[e] = offsets[e];
    offsets[e + 1] += offsets[e];
  }
  for (int64_t a = 0; a < assignments; ++a) {
    const int32_t place = next[chosen[a]]++;
    places[a] = place;
    slots[place] = static_cast<int32_t>(a);
  }
}

void moe_load(Context&, const MoeLoad& op) {
  const int32_t* const offsets = ints(op.offsets);
  float* const load = floats(op.load);
  for (int64_t e = 0; e < op.load.shape[0]; ++e) load[e] += static_cast<float>(offsets[e + 1] - offsets[e]);
}

void moe_bias_update(Context&, const MoeBiasUpdate& op) {
  const int64_t experts = op.bias.shape[0];
  const float* const load = floats(op.load);
  float* const bias = floats(op.bias);
  double sum = 0;  // of whole numbers: exact
  for (int64_t e = 0; e < experts; ++e) sum += load[e];
  for (int64_t e = 0; e < experts; ++e) {
    const double mine = static_cast<double>(load[e]) * static_cast<double>(experts);
    bias[e] += op.rate * static_cast<float>((sum > mine) - (sum < mine));
  }
}

}  // namespace r1::cpu
