// What changed between two versions of a chunk of weights: the vector code under kernels/cpu/version_ops.cpp. Bits: uint16_t or
// uint32_t, the bit patterns of values. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/delta_format.h"

namespace r1::cpu {

// Bit i % 64 of masks[i / 64]: whether value i changed; bits behind n are 0.  masks: (n + 63) / 64.
void change_masks(const uint16_t* previous, const uint16_t* next, size_t n, uint64_t* masks);
void change_masks(const uint32_t* previous, const uint32_t* next, size_t n, uint64_t* masks);

// The changed ones of n values, in order: where they are, what they were and are; how many. Where there are more than `most`:
// most + 1, and the lists hold anything.
size_t list_changes(const uint16_t* previous, const uint16_t* next, size_t n, size_t most, uint32_t* places, uint16_t* before,
                    uint16_t* after);
size_t list_changes(const uint32_t* previous, const uint32_t* next, size_t n, size_t most, uint32_t* places, uint32_t* before,
                    uint32_t* after);

// The change sum of n values that were before[i] and are after[i], at first + places[i].
ChangeSum sum_of_changes(const uint32_t* places, const uint16_t* before, const uint16_t* after, size_t n, uint64_t first);
ChangeSum sum_of_changes(const uint32_t* places, const uint32_t* before, const uint32_t* after, size_t n, uint64_t first);

// The first of n values whose exponent is all ones, or -1.
int64_t first_not_finite(const uint16_t* x, int64_t n);
int64_t first_not_finite(const uint32_t* x, int64_t n);

}  // namespace r1::cpu
