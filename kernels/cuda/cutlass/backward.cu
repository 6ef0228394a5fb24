#include "kernels/cuda/cutlass/main_loop.h"

namespace r1::cuda::wgmma {

void backward_input_wide(const Card& card, const Product& p) {
  run_one<Form::backward_input, 128, 256, TwoOfM, Cooperative>(card, p);
}
void backward_input_square(const Card& card, const Product& p) {
  run_one<Form::backward_input, 128, 128, TwoOfM, Pingpong>(card, p);
}
void backward_weight_square(const Card& card, const Product& p) {
  run_one<Form::backward_weight, 128, 128, TwoOfM, Cooperative>(card, p);
}

}  // namespace r1::cuda::wgmma
