// Linear layers on a fixed grid of tiles. Every output row has the same bits whatever the number of rows, their strides and
// threads.
//
// f32 rows go through our own kernel, one chain of multiply-adds an element: oneDNN 2.6.3 gives other bits for other strides
// (and, on AVX2, for other numbers of rows). bf16 rows go through our own kernel too where the CPU has AVX2 but no AMX
// (kernels/cpu/bf16_matmul.h). With AMX they go through oneDNN, which keeps its bits only while a sum over k is one block: so k
// is cut into slices, summed in f32; rows come in multiples of 16, the rest padded with zeros; outputs under 32 columns go the
// f32 way. Products for weight gradients are oneDNN's, in parts of 256 tokens; where all else is our own they are too, with the
// same bits. With R1_ISA=amx all bf16 products are our own on tiles (kernels/cpu/amx_matmul.h), and no bits depend on a grid.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cpu/amx_matmul.h"
#include "kernels/cpu/bf16_matmul.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/threads.h"

namespace r1::cpu {
namespace {

// Rows of a tile: beyond 256 the repacking of weights in oneDNN is below 5 percent. Columns: 512 x K of bf16 weights stay in a
// 2 MiB L2.
constexpr int64_t kRowTile = 256, kTallRowTile = 1024;
constexpr int64_t kColumnTile = 512;
// Of our own kernels, whose bits do not depend on the grid: up to so many columns; fewer when there are few rows and few
// products, so that every thread has kFewTiles tiles of a decode step. A tile is made of whole panels, or of the rows of a call
// where weights are the rows.
constexpr int64_t kOwnColumnTile = 480, kPanelColumns = 48, kCallColumns = 16, kNarrowRows = 64, kFewTiles = 2;
constexpr int64_t kWideColumnTile = 1024;  // where weights are the rows: the rows are packed once a tile
constexpr int64_t kMinColumns = 32;
constexpr int64_t kRowUnit = 16;  // rows of an AMX tile
// Tiles of dw: rows, and tokens summed by one call.
constexpr int64_t kWeightRowTile = 256;
constexpr int64_t kTokenTile = 256;
constexpr int64_t kTokenUnit = 32;

struct Matrix {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, cols = 0, ld = 0;
  std::byte* at(int64_t row, int64_t col) const { return data + (row * ld + col) * static_cast<int64_t>(dtype_size(dtype)); }
};

Matrix matrix(const View& v) {
  // A single row may carry any stride; oneDNN wants one of at least 1 even of no columns.
  return {v.data, v.dtype, v.shape[0], v.shape[1], std::max<int64_t>({v.shape[0] == 1 ? 1 : v.stride[0], v.shape[1], 1})};
}

void copy_matrix(const Matrix& from, const Matrix& to, int64_t rows) {
  const size_t bytes = static_cast<size_t>(from.cols) * dtype_size(from.dtype);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to.at(r, 0), from.at(r, 0), bytes);
}

// A view of scratch memory of this thread, its rows from `used` on set to zero.
Matrix padded(std::byte* memory, DType t, int64_t rows, int64_t cols, int64_t used) {
  Matrix m{memory, t, rows, cols, cols};
  std::memset(m.at(used, 0), 0, static_cast<size_t>((rows - used) * cols) * dtype_size(t));
  return m;
}

// `m` as type t: itself, or a converted copy in the arena.
Matrix as_type(Context& context, const Matrix& m, DType t) {
  if (m.dtype == t) return m;
  Matrix to{context.arena.alloc(t, {m.rows, m.cols}).data, t, m.rows, m.cols, m.cols};
  for_rows(context, m.rows, 64, 0.2 * static_cast<double>(m.cols), [&](int64_t begin, int64_t end) {
    convert_rows(m.at(begin, 0), m.dtype, m.ld, to.at(begin, 0), t, to.ld, end - begin, m.cols);
  });
  return to;
}

double ns_per_madd(DType t) {
  if (t == DType::f32 || isa() == Isa::avx2) return 0.012;
  return isa() <= Isa::avx512_bf16 ? 0.0045 : isa() == Isa::amx ? 0.001 : 0.003;
}
constexpr double kNsPerByte = 0.05;  // from memory, one core

// Whether oneDNN computes products of this type.
bool by_onednn(DType t) { return t == DType::bf16 && !own_bf16(isa()); }

// All tiles of some jobs on one grid: f(job, tile of the job).
template <class Job, class F>
void run_jobs(Context& context, std::span<Job> jobs, F&& f) {
  int64_t tiles = 0;
  double ns = 0;
  for (Job& job : jobs) {
    job.first_tile = tiles;
    tiles += job.tiles();
    ns += job.ns();
  }
  if (tiles > 0) ns /= static_cast<double>(tiles);
  for_tiles(context, tiles, static_cast<int64_t>(ns), [&](int64_t tile) {
    const auto next =
        std::upper_bound(jobs.begin(), jobs.end(), tile, [](int64_t n, const Job& job) { return n < job.first_tile; });
    f(*std::prev(next), tile - std::prev(next)->first_tile);
  });
}

// Weights are read as they lie (bf16_matmul.h, c_transposed) for some numbers of rows, if enough of their lanes are full:
// bringing weights into register order costs as much as 8 rows (of more than 48 rows, in two panels, as much as 4), a lane that
// is empty as much as one.
constexpr int64_t kMaxTransposedRows = 64, kLanes = 16;
bool rather_transposed(int64_t rows) {
  if (!has_weights_as_rows(isa())) return false;
  if (uses_tiles(isa())) return rows <= kMaxTransposedRows;
  return rows <= kMaxTransposedRows && (kLanes - rows % kLanes) % kLanes <= (rows <= 48 ? 7 : 4);
}

// A product of rows and weights: c[M,N] (+)= a[M,K] b + bias;  b: [K,N], or [N,K] if trans_b. a, b, bias have one type, c it or
// f32.
struct Product {
  Matrix a, b;
  bool trans_b;
  const std::byte* bias;  // [N] or null
  Matrix c;
  bool accumulate;
  int64_t fewest = 1;  // column tiles of our own kernels, if there are so many columns
  int64_t first_tile = 0;

  // Every tile of rows brings the weights into order again, which tiles of AMX would wait for.
  int64_t row_tile() const { return a.dtype == DType::bf16 && uses_tiles(isa()) ? kTallRowTile : kRowTile; }
  int64_t row_tiles() const { return (c.rows + row_tile() - 1) / row_tile(); }
  // Whether a tile of so many rows is computed with weights as the rows.
  bool transposed(int64_t tile_rows) const {
    return a.dtype == DType::bf16 && trans_b && !accumulate && rather_transposed(tile_rows);
  }
  int64_t unit() const { return transposed(c.rows) ? kCallColumns : kPanelColumns; }
  int64_t units() const { return (c.cols + unit() - 1) / unit(); }
  int64_t column_tiles() const {
    // The last tile is up to kMinColumns - 1 wider than the others, so that none is narrower than that (if c is not).
    if (by_onednn(a.dtype)) return std::max<int64_t>(c.cols - kMinColumns, 0) / kColumnTile + 1;
    const int64_t widest = transposed(c.rows) ? kWideColumnTile : kOwnColumnTile;
    return std::max((c.cols + widest - 1) / widest, std::min(fewest, units()));
  }
  int64_t tiles() const { return row_tiles() * column_tiles(); }
  // The first column of column tile i.
  int64_t column(int64_t i) const {
    if (i == column_tiles()) return c.cols;
    return by_onednn(a.dtype) ? i * kColumnTile : units() * i / column_tiles() * unit();
  }
  double ns() const {
    const auto weights = static_cast<double>(b.rows * b.cols);
    return weights *
           std::max(ns_per_madd(a.dtype) * static_cast<double>(c.rows), kNsPerByte * static_cast<double>(dtype_size(b.dtype)));
  }
};

void f32_tile(const Product& x, int64_t m0, int64_t m, int64_t n0, int64_t n) {
  const auto f32 = [](const std::byte* p) { return reinterpret_cast<const float*>(p); };
  f32_matmul({.a = f32(x.a.at(m0, 0)),
              .lda = x.a.ld,
              .b = f32(x.trans_b ? x.b.at(n0, 0) : x.b.at(0, n0)),
              .ldb = x.b.ld,
              .trans_b = x.trans_b,
              .bias = x.bias ? f32(x.bias) + n0 : nullptr,
              .c = reinterpret_cast<float*>(x.c.at(m0, n0)),
              .ldc = x.c.ld,
              .m = m,
              .n = n,
              .k = x.a.cols,
              .accumulate = x.accumulate});
}

// The rows of one bf16 tile, whose number is a multiple of kRowUnit: c: their output, with leading dimension c.ld.
void bf16_rows(const Product& x, const Matrix& a, int64_t n0, const Matrix& c) {
  const int64_t K = a.cols, slices = (K + bf16_depth_slice() - 1) / bf16_depth_slice();
  const int64_t step = (K / slices + 31) / 32 * 32;
  const std::byte* const bias = x.bias ? x.bias + n0 * 2 : nullptr;
  MatmulShape shape{.m = static_cast<int32_t>(a.rows),
                    .n = static_cast<int32_t>(c.cols),
                    .k = static_cast<int32_t>(K),
                    .lda = static_cast<int32_t>(a.ld),
                    .ldb = static_cast<int32_t>(x.b.ld),
                    .ldc = static_cast<int32_t>(c.ld),
                    .in = DType::bf16,
                    .out = c.dtype,
                    .trans_b = x.trans_b,
                    .accumulate = x.accumulate,
                    .bias = bias != nullptr};
  if (slices == 1) return matmul(shape, a.data, x.trans_b ? x.b.at(n0, 0) : x.b.at(0, n0), bias, c.data);
  float* const sums = scratch<float>(ScratchSlot::sums, a.rows * c.cols);
  shape.ldc = shape.n;
  shape.out = DType::f32;
  shape.bias = false;
  for (int64_t k0 = 0; k0 < K; k0 += step) {
    shape.k = static_cast<int32_t>(std::min(step, K - k0));
    shape.accumulate = k0 > 0;
    matmul(shape, a.at(0, k0), x.trans_b ? x.b.at(n0, k0) : x.b.at(k0, n0), nullptr, sums);
  }
  finish_sums(sums, c.cols, reinterpret_cast<const uint16_t*>(bias), c.data, c.dtype, c.ld, a.rows, c.cols, x.accumulate);
}

void bf16_tile(const Product& x, int64_t m0, int64_t m, int64_t n0, int64_t n) {
  const int64_t K = x.a.cols, whole = m / kRowUnit * kRowUnit, rest = m - whole;
  if (whole > 0) bf16_rows(x, {x.a.at(m0, 0), x.a.dtype, whole, K, x.a.ld}, n0, {x.c.at(m0, n0), x.c.dtype, whole, n, x.c.ld});
  if (rest == 0) return;
  const Matrix from{x.a.at(m0 + whole, 0), x.a.dtype, rest, K, x.a.ld}, to{x.c.at(m0 + whole, n0), x.c.dtype, rest, n, x.c.ld};
  const Matrix a = padded(scratch<std::byte>(ScratchSlot::a, kRowUnit * K * 4), x.a.dtype, kRowUnit, K, rest);
  const Matrix c = padded(scratch<std::byte>(ScratchSlot::b, kRowUnit * n * 4), x.c.dtype, kRowUnit, n, rest);
  copy_matrix(from, a, rest);
  if (x.accumulate) copy_matrix(to, c, rest);
  bf16_rows(x, a, n0, c);
  copy_matrix(c, to, rest);
}

void own_bf16_tile(const Product& x, int64_t m0, int64_t m, int64_t n0, int64_t n) {
  const auto bf16 = [](const std::byte* p) { return reinterpret_cast<const uint16_t*>(p); };
  Bf16Matmul product{.a = bf16(x.a.at(m0, 0)),
                     .lda = x.a.ld,
                     .b = bf16(x.trans_b ? x.b.at(n0, 0) : x.b.at(0, n0)),
                     .ldb = x.b.ld,
                     .trans_b = x.trans_b,
                     .bias = x.bias ? bf16(x.bias) + n0 : nullptr,
                     .c = x.c.at(m0, n0),
                     .c_type = x.c.dtype,
                     .ldc = x.c.ld,
                     .m = m,
                     .n = n,
                     .k = x.a.cols,
                     .accumulate = x.accumulate};
  if (x.transposed(m)) {
    std::swap(product.a, product.b);
    std::swap(product.lda, product.ldb);
    std::swap(product.m, product.n);
    product.c_transposed = true;
  }
  uses_tiles(isa()) ? tile_matmul(product) : bf16_matmul(product);
}

void run_tile(const Product& x, int64_t tile) {
  const int64_t m0 = tile % x.row_tiles() * x.row_tile(), m = std::min(x.row_tile(), x.c.rows - m0);
  const int64_t n0 = x.column(tile / x.row_tiles()), n = x.column(tile / x.row_tiles() + 1) - n0;
  if (x.a.dtype == DType::f32) return f32_tile(x, m0, m, n0, n);
  by_onednn(x.a.dtype) ? bf16_tile(x, m0, m, n0, n) : own_bf16_tile(x, m0, m, n0, n);
}

// Products whose a, b and c have the same types.
void run_products(Context& context, std::span<Product> products) {
  const auto count = static_cast<int64_t>(products.size());
  for (Product& x : products)
    if (context.parallel && x.c.rows <= kNarrowRows) x.fewest = (kFewTiles * thread_limit() + count - 1) / count;
  run_jobs(context, products, run_tile);
}

// The type in which a product of depth K and N columns of type t is computed on this machine.
DType product_type(DType t, int64_t K, int64_t N) {
  if (t == DType::f32 || own_bf16(isa())) return t;
  return has_bf16_matmul() && N >= kMinColumns && K >= kRowUnit ? DType::bf16 : DType::f32;
}

// Where a matmul of type `in` may write directly: c itself, or f32 rows in the arena.
Matrix matmul_output(Context& context, const Matrix& c, DType in, bool accumulate) {
  if (in == c.dtype || c.dtype == DType::f32) return c;
  if (accumulate) return as_type(context, c, DType::f32);
  return {context.arena.alloc(DType::f32, {c.rows, c.cols}).data, DType::f32, c.rows, c.cols, c.cols};
}

void finish_output(Context& context, const Matrix& from, const Matrix& to) {
  if (from.data == to.data) return;
  for_rows(context, to.rows, 64, 0.2 * static_cast<double>(to.cols), [&](int64_t begin, int64_t end) {
    convert_rows(from.at(begin, 0), from.dtype, from.ld, to.at(begin, 0), to.dtype, to.ld, end - begin, to.cols);
  });
}

// c = a b (+ c) + bias in whatever types they come.
void convert_and_run(Context& context, const Matrix& a, const Matrix& b, bool trans_b, const View& bias, const Matrix& c,
                     bool accumulate) {
  const auto mark = context.arena.mark();
  const DType in = product_type(b.dtype, a.cols, c.cols);
  Product x{as_type(context, a, in),
            as_type(context, b, in),
            trans_b,
            nullptr,
            matmul_output(context, c, in, accumulate),
            accumulate};
  if (bias) x.bias = as_type(context, {bias.data, bias.dtype, 1, bias.shape[0], bias.shape[0]}, in).data;
  run_products(context, {&x, 1});
  finish_output(context, x.c, c);
  context.arena.release(mark);
}

// dw[N,K] += dy[T,N]^T x[T,K].  dy and x have one type, dw is f32.
struct WeightProduct {
  Matrix dy, x, dw;
  int64_t first_tile = 0;

  int64_t row_tiles() const { return (dw.rows + kWeightRowTile - 1) / kWeightRowTile; }
  int64_t tiles() const { return row_tiles() * ((dw.cols + kColumnTile - 1) / kColumnTile); }
  double ns() const { return ns_per_madd(x.dtype) * static_cast<double>(dw.rows * dw.cols) * static_cast<double>(dy.rows); }
};

void weight_tile(const WeightProduct& p, int64_t tile) {
  const DType in = p.x.dtype;
  const int64_t n0 = tile % p.row_tiles() * kWeightRowTile, n = std::min(kWeightRowTile, p.dw.rows - n0);
  const int64_t k0 = tile / p.row_tiles() * kColumnTile, k = std::min(kColumnTile, p.dw.cols - k0);
  if (in == DType::bf16 && own_bf16(isa())) {
    const auto bf16 = [](const std::byte* at) { return reinterpret_cast<const uint16_t*>(at); };
    const Bf16WeightProduct own{.dy = bf16(p.dy.at(0, n0)),
                                .ld_dy = p.dy.ld,
                                .x = bf16(p.x.at(0, k0)),
                                .ld_x = p.x.ld,
                                .dw = reinterpret_cast<float*>(p.dw.at(n0, k0)),
                                .ld_dw = p.dw.ld,
                                .n = n,
                                .k = k,
                                .t = p.dy.rows};
    return uses_tiles(isa()) ? tile_weight_product(own) : bf16_weight_product(own);
  }
  for (int64_t t0 = 0; t0 < p.dy.rows; t0 += kTokenTile) {
    const int64_t t = std::min(kTokenTile, p.dy.rows - t0);
    Matrix a{p.dy.at(t0, n0), in, t, n, p.dy.ld}, b{p.x.at(t0, k0), in, t, k, p.x.ld};
    if (t < kTokenTile) {
      // Padding with zeros adds zeros: few primitives serve every T.
      const int64_t bucket = (t + kTokenUnit - 1) / kTokenUnit * kTokenUnit;
      const Matrix pa = padded(scratch<std::byte>(ScratchSlot::a, bucket * n * 4), in, bucket, n, t);
      const Matrix pb = padded(scratch<std::byte>(ScratchSlot::b, bucket * k * 4), in, bucket, k, t);
      copy_matrix(a, pa, t);
      copy_matrix(b, pb, t);
      a = pa;
      b = pb;
    }
    const MatmulShape shape{.m = static_cast<int32_t>(n),
                            .n = static_cast<int32_t>(k),
                            .k = static_cast<int32_t>(a.rows),
                            .lda = static_cast<int32_t>(a.ld),
                            .ldb = static_cast<int32_t>(b.ld),
                            .ldc = static_cast<int32_t>(p.dw.ld),
                            .in = in,
                            .out = DType::f32,
                            .trans_a = true,
                            .accumulate = true};
    matmul(shape, a.data, b.data, nullptr, p.dw.at(n0, k0));
  }
}

}  // namespace

void linear(Context& context, const Linear& op) {
  convert_and_run(context, matrix(op.x), matrix(op.w), true, op.bias, matrix(op.y), false);
}

void linear(Context& context, std::span<const Linear> ops) {
  std::vector<Product> products;
  for (const Linear& op : ops) {
    const Product x{matrix(op.x), matrix(op.w), true, op.bias ? op.bias.data : nullptr, matrix(op.y), false};
    // Converted copies of all weights at once would need much memory.
    if (product_type(x.b.dtype, x.a.cols, x.c.cols) != x.b.dtype)
      linear(context, op);
    else
      products.push_back(x);
  }
  run_products(context, products);
}

void linear_backward_input(Context& context, const LinearBackwardInput& op) {
  convert_and_run(context, matrix(op.dy), matrix(op.w), false, {}, matrix(op.dx), op.accumulate);
}

void linear_backward_input(Context& context, std::span<const LinearBackwardInput> ops) {
  std::vector<Product> products;
  for (const LinearBackwardInput& op : ops) {
    const Product x{matrix(op.dy), matrix(op.w), false, nullptr, matrix(op.dx), op.accumulate};
    if (product_type(x.b.dtype, x.a.cols, x.c.cols) != x.b.dtype)
      linear_backward_input(context, op);
    else
      products.push_back(x);
  }
  run_products(context, products);
}

void linear_backward_weight(Context& context, const LinearBackwardWeight& op) {
  linear_backward_weight(context, std::span(&op, 1));
}

void linear_backward_weight(Context& context, std::span<const LinearBackwardWeight> ops) {
  const auto mark = context.arena.mark();
  std::vector<WeightProduct> products;
  for (const LinearBackwardWeight& op : ops) {
    if (op.db) add_column_sums(context, op.dy, op.db);
    const DType in = op.x.dtype == DType::bf16 && has_bf16_matmul() ? DType::bf16 : DType::f32;
    products.push_back({as_type(context, matrix(op.dy), in), as_type(context, matrix(op.x), in), matrix(op.dw)});
  }
  run_jobs(context, std::span(products), weight_tile);
  context.arena.release(mark);
}

void gemm(Context& context, const Gemm& op) {
  const Matrix a = matrix(op.a), b = matrix(op.b), c = matrix(op.c);
  const int64_t K = op.trans_a ? a.rows : a.cols;
  const double ns_per_row = ns_per_madd(DType::f32) * static_cast<double>(c.cols * K);
  if (K == 0) {  // oneDNN leaves c as it is
    for (int64_t r = 0; r < c.rows; ++r)
      for (int64_t i = 0; i < c.cols; ++i) {
        float& x = reinterpret_cast<float*>(c.at(r, 0))[i];
        x = op.beta == 0 ? 0.0f : op.beta * x;
      }
    return;
  }
  for_rows(context, c.rows, kRowTile, ns_per_row, [&](int64_t begin, int64_t end) {
    const std::byte* const a0 = op.trans_a ? a.at(0, begin) : a.at(begin, 0);
    sgemm(op.trans_a, op.trans_b, end - begin, c.cols, K, op.alpha, reinterpret_cast<const float*>(a0), a.ld,
          reinterpret_cast<const float*>(b.data), b.ld, op.beta, reinterpret_cast<float*>(c.at(begin, 0)), c.ld);
  });
}

}  // namespace r1::cpu
