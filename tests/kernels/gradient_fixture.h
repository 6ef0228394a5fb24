// Finite differences for the reference's backward ops: fourth-order central differences of loss = sum(probe * output), in f32
// storage and f64 arithmetic. Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "tests/kernels/op_cases.h"

namespace r1::test {

inline constexpr DType f32 = DType::f32;

class Gradient : public testing::Test {
 protected:
  Device& device_ = open_device("reference");
  Context ctx_{device_};
  Buffers b_{device_, 11};

  template <class Op>
  void run_op(const Op& op) {
    run(ctx_, op);
  }

  std::vector<double> probe(const View& like) {
    std::vector<double> p(static_cast<size_t>(like.size()));
    for (double& e : p) e = static_cast<float>(b_.rng().normal());
    return p;
  }
  static double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }
  View given(const View& like, const std::vector<double>& values) {
    return b_.values(f32, Shape(like.shape.begin(), like.shape.begin() + like.rank), values);
  }
  View zeros(const Shape& shape) {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return b_.inout_values(f32, shape, std::vector<double>(static_cast<size_t>(n), 0.0));
  }

  // `claimed` is the gradient of loss() with respect to the elements of `variable`.
  void expect_gradient(const char* what, const View& variable, const std::vector<double>& claimed,
                       const std::function<double()>& loss) {
    const auto x = read_values(variable);
    ASSERT_EQ(x.size(), claimed.size());
    double scale = 1e-3;
    for (double g : claimed) scale = std::max(scale, std::abs(g));
    const double h = 1.0 / 32;
    for (size_t i = 0; i < x.size(); ++i) {
      const auto at = [&](double shift) {
        auto moved = x;
        moved[i] += shift;
        write_bytes(variable, to_bytes(f32, moved));
        return loss();
      };
      // The step as it is after rounding to f32 differs from h by 2^-24 |x|: below the tolerance.
      const double slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      EXPECT_NEAR(claimed[i], slope, 2e-4 * scale) << what << " element " << i;
      if (std::abs(claimed[i] - slope) > 2e-4 * scale) break;
    }
    write_bytes(variable, to_bytes(f32, x));
  }
};

}  // namespace r1::test
