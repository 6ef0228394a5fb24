// What products_wgmma.h asks of CUTLASS, plainly: the emulator has no wgmma and no TMA. It holds callers to TMA's rules.
#include "kernels/cuda/products.h"
#include "kernels/cuda/products_wgmma.h"

namespace r1::cuda {
namespace {

__device__ float number(bool across, Rows<const bf16> x, int64_t own, int64_t k) {
  return widen(across ? x.at(k)[own] : x.at(own)[k]);
}

__device__ void multiply(Form form, const Rows<const bf16>& a, const Rows<const bf16>& b, void* to, int64_t m_n, int64_t n_n,
                         int64_t depth, const Target& target) {
  const bool across_a = form == Form::backward_weight, across_b = form != Form::forward;
  const int64_t pairs = (n_n + 1) / 2;
  for (int64_t at = global_index(); at < m_n * pairs; at += int64_t{gridDim.x} * blockDim.x) {
    const int64_t m = at / pairs, n = at % pairs * 2;
    float sums[2] = {0, 0};
    for (int64_t k = 0; k < depth; ++k)
      for (int i = 0; i < 2 && n + i < n_n; ++i)
        sums[i] = fmaf(number(across_a, a, m, k), number(across_b, b, n + i, k), sums[i]);
    const auto store = form == Form::forward          ? store_sums<Form::forward>
                       : form == Form::backward_input ? store_sums<Form::backward_input>
                                                      : store_sums<Form::backward_weight>;
    store(target, to, m, n, n_n, sums[0], sums[1]);
  }
}

__device__ void require(bool fine, const char* what) {
  if (!fine) emulator::stop(what);
}
__device__ void require_tma(const Rows<const bf16>& x) {
  require(reinterpret_cast<uintptr_t>(x.p) % 16 == 0 && x.row % 8 == 0, "an operand for TMA is not 16-byte aligned");
}

__global__ void product_kernel(Form form, Product p) {
  require_tma(p.a);
  require_tma(p.b);
  multiply(form, p.a, p.b, p.to, p.m, p.n, p.depth, p.target);
}
__global__ void list_of_products_kernel(Form form, ProductList l) {
  for (int i = 0; i < l.count; ++i) {
    const int32_t* const shape = l.shapes + i * 3;
    if (shape[0] == 0) continue;
    require(shape[1] > 0 && shape[2] > 0, "a product of a list is empty");
    const Rows<const bf16> a{l.a[i], l.a_row[i]}, b{l.b[i], l.b_row[i]};
    require_tma(a);
    require_tma(b);
    multiply(form, a, b, l.to[i], shape[0], shape[1], shape[2], l.target);
  }
}

}  // namespace

bool compiled_with_cutlass() { return true; }

void run_product(Context& ctx, Form form, Tile tile, const Product& p) {
  require(p.m > 0 && p.n > 0 && p.depth > 0, "a product is empty");
  require(form == Form::forward || tile == Tile::square || (form == Form::backward_input && tile == Tile::wide),
          "there is no such tile for this product");
  launch(ctx, "wgmma_stand_in", product_kernel, blocks_for(p.m * ((p.n + 1) / 2)), kBlock, 0, form, p);
}

void run_products(Context& ctx, Form form, const ProductList& list) {
  launch(ctx, "wgmma_stand_in", list_of_products_kernel, 8, kBlock, 0, form, list);
}

}  // namespace r1::cuda
