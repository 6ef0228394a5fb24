// Linear, GroupedLinear and their backwards in bf16 by wgmma: operands as TMA can take them, tiles, and lists of experts. The
// products themselves are CUTLASS's (products_wgmma.h).
//
// Whatever TMA cannot take - rows that are not aligned, gathered ones - is copied first; no other kind of product stands in for
// it. So which kind computes a row is a matter of the run, not of the row's neighbours or of where they lie.
#include "kernels/cuda/products_wgmma.h"

#include "kernels/cuda/products.h"

namespace r1::cuda {
namespace {

// to[row] = x[places.row(row)], eight elements a thread; rows of `to` have parts * 8.
__global__ void operand_kernel(Rows<const bf16> x, Places places, bf16* to, int64_t rows, int64_t n, int64_t parts,
                               bool vectors) {
  const int64_t at = global_index(), row = at / parts, c = at % parts * 8;
  if (row >= rows) return;
  store_eight(to + row * parts * 8 + c, load_eight(x.at(places.row(row)) + c, n - c, vectors), 8, true);
}
// [rows, n] as TMA takes it: as it lies, or a copy in the arena.
Rows<const bf16> operand(Context& ctx, const View& x, int64_t rows, int64_t n, const Places& places = {nullptr, 1}) {
  if (places.slots == nullptr && vectors(x)) return rows_of<const bf16>(x);
  const int64_t parts = (n + 7) / 8;
  bf16* const to = data<bf16>(ctx.arena.alloc(DType::bf16, {rows, parts * 8}));
  launch(ctx, "operand", operand_kernel, blocks_for(rows * parts), kBlock, 0, rows_of<const bf16>(x), places, to, rows, n,
         parts, vectors(x));
  return {to, parts * 8};
}
// The weights of all experts, one below the other.
Rows<const bf16> operand_of_experts(Context& ctx, const View& w) {
  const int64_t rows = w.shape[0] * w.shape[1];
  return operand(ctx, w.reshape({rows, w.shape[2]}), rows, w.shape[2]);
}

Target target_of(const View& y, const View& bias, bool add) {
  const bool f32 = y.dtype == DType::f32;
  const int64_t row = y.stride[y.rank - 2];
  const bool pairs = row % 2 == 0 && reinterpret_cast<uintptr_t>(y.data) % (2 * dtype_size(y.dtype)) == 0;
  return {row, data<const bf16>(bias), f32, add, pairs};
}

constexpr int64_t kFewRows = 64, kSomeRows = 512;

int64_t tiles(int64_t m, int64_t n, int64_t tile_m, int64_t tile_n) {
  return int64_t{blocks_for(m, tile_m)} * blocks_for(n, tile_n);
}
Tile tile_of_input_gradient(Context& ctx, int64_t m, int64_t n) {
  return tiles(m, n, 128, 256) >= multiprocessors_of(ctx) ? Tile::wide : Tile::square;
}
// Where rows are few, time is that of reading the weights: small tiles, so that all multiprocessors do, unless large ones are
// enough for that.
Tile tile_of(Context& ctx, int64_t m, int64_t n) {
  if (m <= kFewRows && tiles(m, n, 64, 64) < 2 * multiprocessors_of(ctx)) return Tile::few;
  if (m <= kSomeRows && tiles(m, n, 128, 128) < multiprocessors_of(ctx)) return Tile::some;
  return tile_of_input_gradient(ctx, m, n);
}

// How the products of a list lie: an expert's rows begin at `offsets` times a row, or its matrix `each` elements behind the one
// before.
struct Items {
  const bf16 *a, *b;
  char* to;
  int64_t a_row, b_row, a_each, b_each;
  int64_t to_row, to_each;  // bytes
  int64_t m, n, depth;      // 0: as many as the expert has rows
};
__global__ void list_kernel(Items items, const int32_t* offsets, ProductList list) {
  const int64_t e = global_index();
  if (e >= list.count) return;
  const int64_t first = offsets[e], rows = offsets[e + 1] - first;
  list.shapes[e * 3] = static_cast<int32_t>(items.m == 0 || rows == 0 ? rows : items.m);
  list.shapes[e * 3 + 1] = static_cast<int32_t>(items.n);
  list.shapes[e * 3 + 2] = static_cast<int32_t>(items.depth == 0 ? rows : items.depth);
  list.a[e] = items.a + first * (items.a_each == 0 ? items.a_row : 0) + e * items.a_each;
  list.b[e] = items.b + first * (items.b_each == 0 ? items.b_row : 0) + e * items.b_each;
  list.a_row[e] = items.a_row;
  list.b_row[e] = items.b_row;
  list.to[e] = items.to + first * items.to_row + e * items.to_each;
}
void run_list(Context& ctx, Scratch& scratch, Form form, const Items& items, const View& offsets, const Target& target) {
  const int64_t experts = offsets.shape[0] - 1;
  const auto pointers = [&] { return scratch.longs(experts); };
  const ProductList list{static_cast<int>(experts),
                         scratch.ints(3 * experts),
                         reinterpret_cast<const bf16**>(pointers()),
                         reinterpret_cast<const bf16**>(pointers()),
                         scratch.longs(experts),
                         scratch.longs(experts),
                         reinterpret_cast<void**>(pointers()),
                         target};
  launch(ctx, "product_list", list_kernel, blocks_for(experts), kBlock, 0, items, data<const int32_t>(offsets), list);
  run_products(ctx, form, list);
}

}  // namespace

void linear_wgmma(Context& ctx, const Linear& op) {
  const int64_t t = op.x.shape[0], k = op.x.shape[1], n = op.w.shape[0];
  if (t == 0) return;
  const Scratch scratch(ctx);
  run_product(ctx, Form::forward, tile_of(ctx, t, n),
              {operand(ctx, op.x, t, k), operand(ctx, op.w, n, k), op.y.data, t, n, k, target_of(op.y, op.bias, false)});
}

void linear_backward_input_wgmma(Context& ctx, const LinearBackwardInput& op) {
  const int64_t t = op.dy.shape[0], n = op.w.shape[0], k = op.w.shape[1];
  if (t == 0) return;
  const Scratch scratch(ctx);
  run_product(
      ctx, Form::backward_input, tile_of_input_gradient(ctx, t, k),
      {operand(ctx, op.dy, t, n), operand(ctx, op.w, n, k), op.dx.data, t, k, n, target_of(op.dx, View{}, op.accumulate)});
}

void linear_backward_weight_wgmma(Context& ctx, const LinearBackwardWeight& op) {
  const int64_t t = op.dy.shape[0], n = op.dw.shape[0], k = op.dw.shape[1];
  if (t == 0) return;
  const Scratch scratch(ctx);
  run_product(ctx, Form::backward_weight, Tile::square,
              {operand(ctx, op.dy, t, n), operand(ctx, op.x, t, k), op.dw.data, n, k, t, target_of(op.dw, View{}, true)});
}

void grouped_linear_wgmma(Context& ctx, const GroupedLinear& op) {
  const int64_t m = op.y.shape[0], n = op.w.shape[1], k = op.w.shape[2];
  if (m == 0) return;
  Scratch scratch(ctx);
  const Rows<const bf16> x = operand(ctx, op.x, m, k, places_of(op.slots, op.copies)), w = operand_of_experts(ctx, op.w);
  const int64_t y_row = n * static_cast<int64_t>(sizeof(bf16));
  run_list(ctx, scratch, Form::forward,
           {x.p, w.p, reinterpret_cast<char*>(op.y.data), x.row, w.row, 0, n * w.row, y_row, 0, 0, n, k}, op.offsets,
           target_of(op.y, View{}, false));
}

void grouped_linear_backward_input_wgmma(Context& ctx, const GroupedLinearBackwardInput& op) {
  const int64_t m = op.dy.shape[0], n = op.w.shape[1], k = op.w.shape[2];
  if (m == 0) return;
  Scratch scratch(ctx);
  const Rows<const bf16> dy = operand(ctx, op.dy, m, n), w = operand_of_experts(ctx, op.w);
  const int64_t dx_row = k * static_cast<int64_t>(sizeof(bf16));
  run_list(ctx, scratch, Form::backward_input,
           {dy.p, w.p, reinterpret_cast<char*>(op.dx.data), dy.row, w.row, 0, n * w.row, dx_row, 0, 0, k, n}, op.offsets,
           target_of(op.dx, View{}, false));
}

void grouped_linear_backward_weight_wgmma(Context& ctx, const GroupedLinearBackwardWeight& op) {
  const int64_t m = op.dy.shape[0], n = op.dw.shape[1], k = op.dw.shape[2];
  if (m == 0) return;
  Scratch scratch(ctx);
  const Rows<const bf16> dy = operand(ctx, op.dy, m, n), x = operand(ctx, op.x, m, k, places_of(op.slots, op.copies));
  const int64_t dw_each = n * k * static_cast<int64_t>(sizeof(float));
  run_list(ctx, scratch, Form::backward_weight,
           {dy.p, x.p, reinterpret_cast<char*>(op.dw.data), dy.row, x.row, 0, 0, 0, dw_each, n, k, 0}, op.offsets,
           target_of(op.dw, View{}, true));
}

}  // namespace r1::cuda
