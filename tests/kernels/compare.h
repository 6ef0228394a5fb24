// Comparing an op's outputs with the reference's.
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "tests/kernels/buffers.h"

namespace r1::test {

// How far a value may be from the reference's:
//   2 u |want|  +  (roundings - 1) 2 u' s  +  noise sqrt(n) 2^-24 s,    s = max(max |want|, magnitude)
// with u = 2^-24 (f32) or 2^-8 (bf16) of the output's type, u' of the coarser of the output's and the data's type
// - the last rounding; intermediate values that may be held in the data type; and f32 sums of n terms.
struct Tolerance {
  int64_t reduction = 1;    // n: terms of the longest sum behind one output value
  double noise = 4;         // f32 roundings of one term
  double roundings = 1;     // times a value may be rounded to the data type on its way, the last included
  double magnitude = 0;     // size of the sums' terms taken together, where cancellation may hide it
  DType data = DType::f32;  // the data type: that of the op's float inputs
};

// "" when `got` is close enough to `want`; else what differs worst. Integers must be equal; a NaN differs from everything.
std::string difference(const Output& got, const Output& want, const Tolerance&);
// "" when the bytes are equal; else the first element that differs.
std::string bit_difference(const Output& got, const Output& want);

// The same over lists of outputs; a missing one is a difference.
std::string difference(const std::vector<Output>& got, const std::vector<Output>& want, const Tolerance&);
std::string bit_difference(const std::vector<Output>& got, const std::vector<Output>& want);

}  // namespace r1::test
