#include "kernels/ops.h"

#include "base/error.h"
#include "kernels/op_checks.h"
#include "kernels/op_views.h"

namespace r1 {

namespace {

// Ops over rows do nothing without rows; so no kernel meets an empty launch. The four below have work left even then.
template <class Op>
bool nothing_to_do(const Op& op) {
  if constexpr (std::same_as<Op, SumSquares>) return false;       // out = 0
  if constexpr (std::same_as<Op, Gemm>) return op.c.size() == 0;  // c = beta c when K = 0
  if constexpr (std::same_as<Op, MoeSort>) return false;          // offsets = 0
  if constexpr (std::same_as<Op, GatherRows>) return op.y.size() == 0;
  if constexpr (std::same_as<Op, GatherRowsBackward>) return op.dx.size() == 0 || (op.accumulate && op.dy.size() == 0);
  if constexpr (std::same_as<Op, AttentionPackedBackward>) return op.k.size() == 0;  // dk = 0 without queries
  bool first = true, empty = false;
  for_each_view(op, [&](const View& v, ViewInfo) {
    if (first) empty = v.size() == 0;
    first = false;
  });
  return empty;
}

template <class Op>
void run_op(Context& ctx, const Op& op, void (*kernel)(Context&, const Op&)) {
  check_op(ctx, op);
  R1_CHECK(kernel != nullptr, std::string(kOpName<Op>) + " is not implemented on device " + ctx.device->name());
  if (!nothing_to_do(op)) kernel(ctx, op);
}

}  // namespace

#define R1_DEFINE_RUN(Struct, field) \
  void run(Context& ctx, const Struct& op) { run_op(ctx, op, ctx.device->ops().field); }
R1_OPS(R1_DEFINE_RUN)
#undef R1_DEFINE_RUN

}  // namespace r1
