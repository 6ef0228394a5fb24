// products_wgmma.h by CUTLASS's kernels: which instance it is, and the memory that lists need.
#include "base/error.h"
#include "kernels/cuda/cutlass/instances.h"
#include "kernels/cuda/products.h"

namespace r1::cuda {
namespace {

wgmma::Card card_of(Context& ctx) { return {multiprocessors_of(ctx), stream_of(ctx)}; }

}  // namespace

namespace wgmma {
void refused(const char* why) {
  static_cast<void>(cudaGetLastError());
  throw failure(std::string("the GPU failed at a product by CUTLASS: ") + why, {}, "R1_CUDA_PRODUCTS=mma takes other products");
}
}  // namespace wgmma

bool compiled_with_cutlass() { return true; }

void run_product(Context& ctx, Form form, Tile tile, const Product& product) {
  using Run = void (*)(const wgmma::Card&, const Product&);
  constexpr Run kForward[] = {wgmma::forward_wide, wgmma::forward_square, wgmma::forward_some, wgmma::forward_few};
  const Run run = form == Form::forward           ? kForward[static_cast<int>(tile)]
                  : form == Form::backward_weight ? wgmma::backward_weight_square
                  : tile == Tile::wide            ? wgmma::backward_input_wide
                                                  : wgmma::backward_input_square;
  run(card_of(ctx), product);
}

void run_products(Context& ctx, Form form, const ProductList& list) {
  constexpr size_t kAlignment = 128;  // of descriptors that a kernel writes
  const wgmma::Card card = card_of(ctx);
  const size_t bytes = wgmma::list_workspace_bytes(card, list) + kAlignment;
  Scratch scratch(ctx);
  const auto begin = reinterpret_cast<uintptr_t>(scratch.longs(static_cast<int64_t>(bytes / sizeof(int64_t) + 1)));
  void* const workspace = reinterpret_cast<void*>((begin + kAlignment - 1) / kAlignment * kAlignment);
  const auto run = form == Form::forward          ? wgmma::forward_list
                   : form == Form::backward_input ? wgmma::backward_input_list
                                                  : wgmma::backward_weight_list;
  run(card, list, workspace);
}

}  // namespace r1::cuda
