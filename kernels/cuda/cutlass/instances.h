// The instances of CUTLASS's main loops (main_loop.h), as plain functions. Thread rule: as ops.
#pragma once

#include "kernels/cuda/products_wgmma.h"

namespace r1::cuda::wgmma {

struct Card {
  int multiprocessors;
  cudaStream_t stream;
};

// Throws failure: CUTLASS says why.
[[noreturn]] void refused(const char* why);

void forward_wide(const Card& card, const Product& product);
void forward_square(const Card& card, const Product& product);
void forward_some(const Card& card, const Product& product);
void forward_few(const Card& card, const Product& product);
void backward_input_wide(const Card& card, const Product& product);
void backward_input_square(const Card& card, const Product& product);
void backward_weight_square(const Card& card, const Product& product);

// Device memory that a list needs while it runs, aligned to 128 bytes; the same for all of them.
size_t list_workspace_bytes(const Card& card, const ProductList& list);
void forward_list(const Card& card, const ProductList& list, void* workspace);
void backward_input_list(const Card& card, const ProductList& list, void* workspace);
void backward_weight_list(const Card& card, const ProductList& list, void* workspace);

}  // namespace r1::cuda::wgmma
