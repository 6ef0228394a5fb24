// bf16 products of our own on AMX tiles: the same bits for any number of rows, no slices of k, nothing packed between calls.
//
// An element is one chain of TDPBF16PS over blocks of 32 of k in order (kernels/cpu/tiles.h), so its bits depend on its row of
// a and its column of b alone. What is read as it lies are the rows of a; b is brought into pairs. So of few rows the weights
// are made a (Bf16Matmul::c_transposed), and are then read once, as they lie, from memory. Chosen by R1_ISA=amx, and by
// R1_ISA=amx_software with the tile instructions computed by AVX-512 (kernels/cpu/isa.h).
// Thread rule: pure functions on the calling thread.
#pragma once

#include "kernels/cpu/bf16_matmul.h"

namespace r1::cpu {

// As bf16_matmul, with the bits of this instruction.
void tile_matmul(const Bf16Matmul&);

// In order of t, the chain of an element beginning with dw.
void tile_weight_product(const Bf16WeightProduct&);

}  // namespace r1::cpu
