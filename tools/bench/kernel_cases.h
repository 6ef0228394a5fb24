// One case per op of kernels/ops.h for r1-bench: how to build its arguments in any size.
// The sizes are those of one layer of a model of 25 to 60 million parameters; verification uses the same cases in small.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/op_views.h"

namespace r1::bench {

// Sizes of a layer and of the rows that pass it.
struct CaseSizes {
  int64_t sequences, length;  // packed rows T = sequences * length; in generation: sequences rows at context `length`
  int64_t hidden, ffn, heads, kv_heads, head_dim, vocab;
  int64_t experts, per_token, expert_ffn;
  int64_t nope_dim, rope_dim;  // of a head of latent attention; values are as wide as nope_dim
  int64_t flat;                // elements of flat arrays
  int64_t rows() const { return sequences * length; }
};
CaseSizes verified_sizes();
CaseSizes timed_sizes();
CaseSizes large_sizes();  // of a model of 0.6 billion parameters

// Device memory of a case. The same seed gives the same values on every device.
class CaseBuffers {
 public:
  CaseBuffers(Device& device, DType type, uint64_t seed) : type(type), device_(device), rng_(seed, "bench case") {}

  const DType type;  // of activations and weights
  // Normal numbers times scale.
  View values(DType, std::initializer_list<int64_t> shape, double scale = 1);
  View uniform(DType, std::initializer_list<int64_t> shape, double low, double high);
  View zeros(DType, std::initializer_list<int64_t> shape);
  View ints(const std::vector<int32_t>&);
  View ints(const std::vector<int32_t>&, std::initializer_list<int64_t> shape);
  View longs(const std::vector<int64_t>&, std::initializer_list<int64_t> shape);
  View below(int64_t count, int64_t limit);  // [count] i32 in [0, limit)
  Rng& rng() { return rng_; }
  Device& device() { return device_; }

 private:
  View place(DType, std::initializer_list<int64_t> shape, const std::vector<float>& host);
  Device& device_;
  Rng rng_;
  std::vector<Tensor> tensors_;
};

struct KernelCase {
  std::string name;  // "Linear": the op's name, perhaps followed by what is special
  std::function<AnyOp(CaseBuffers&, const CaseSizes&)> make;
  std::string op() const { return name.substr(0, name.find(' ')); }
};
const std::vector<KernelCase>& kernel_cases();

}  // namespace r1::bench
