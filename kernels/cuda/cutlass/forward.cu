#include "kernels/cuda/cutlass/main_loop.h"

namespace r1::cuda::wgmma {

void forward_wide(const Card& card, const Product& p) { run_one<Form::forward, 128, 256, TwoOfM, Cooperative>(card, p); }
void forward_square(const Card& card, const Product& p) { run_one<Form::forward, 128, 128, TwoOfM, Pingpong>(card, p); }
void forward_some(const Card& card, const Product& p) { run_one<Form::forward, 64, 64, Alone, Pingpong>(card, p); }
void forward_few(const Card& card, const Product& p) { run_one<Form::forward, 64, 32, Alone, Pingpong>(card, p); }

}  // namespace r1::cuda::wgmma
