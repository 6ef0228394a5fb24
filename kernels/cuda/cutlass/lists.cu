#include "kernels/cuda/cutlass/main_loop.h"

namespace r1::cuda::wgmma {

size_t list_workspace_bytes(const Card& card, const ProductList& list) {
  return List<Form::forward>::workspace_bytes(card, list);
}
void forward_list(const Card& card, const ProductList& list, void* workspace) {
  List<Form::forward>::run(card, list, workspace);
}
void backward_input_list(const Card& card, const ProductList& list, void* workspace) {
  List<Form::backward_input>::run(card, list, workspace);
}
void backward_weight_list(const Card& card, const ProductList& list, void* workspace) {
  List<Form::backward_weight>::run(card, list, workspace);
}

}  // namespace r1::cuda::wgmma
