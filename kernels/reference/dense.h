// Host views as dense row-major arrays of f64 (or i64) and back: the reference kernels compute on these.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace r1::reference {

// The elements of a host view in row-major order. Strides are honoured.
std::vector<double> load(const View&);
std::vector<int64_t> load_ints(const View&);  // i32 or i64
// Rounds each value to the view's type (f32 first, then bf16; integers are truncated).
void store(const View&, const std::vector<double>&);

// x as a value of type `dtype`.
double rounded(double x, DType dtype);

}  // namespace r1::reference
