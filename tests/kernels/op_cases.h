// One table of op cases: what drives comparison with the reference, bit-equality over runs and threads, and the fake device.
//
// A case builds an op in Buffers of any device: odd sizes, single rows, strided rows, misaligned starts.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/kernels/buffers.h"
#include "tests/kernels/compare.h"

namespace r1::test {

struct OpCase {
  std::string name;  // "Linear bf16 T=7 K=100 N=33"
  Tolerance tolerance;
  std::function<AnyOp(Buffers&)> make;
  std::optional<Tolerance> on_cards = {};  // where theirs is another: tensor cores take no f32 factors

  const Tolerance& tolerance_on(const Device& device) const {
    return on_cards && device.name().starts_with("gpu") ? *on_cards : tolerance;
  }
};

// Appends the cases of a family of ops.
void add_layer_cases(std::vector<OpCase>&);
void add_attention_cases(std::vector<OpCase>&);
void add_vocabulary_cases(std::vector<OpCase>&);
void add_arithmetic_cases(std::vector<OpCase>&);
void add_moe_cases(std::vector<OpCase>&);
void add_version_cases(std::vector<OpCase>&);

std::vector<OpCase> op_cases();

// The case's op, run once on `device` in fresh memory. Damage to guards or inputs comes back as an output named "damage".
std::vector<Output> run_case(const OpCase&, Device& device, bool parallel = true);

inline constexpr DType kFloatTypes[] = {DType::f32, DType::bf16};

}  // namespace r1::test
