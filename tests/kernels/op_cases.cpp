#include "tests/kernels/op_cases.h"

#include "base/hash.h"

namespace r1::test {

std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases;
  add_layer_cases(cases);
  add_attention_cases(cases);
  add_vocabulary_cases(cases);
  add_arithmetic_cases(cases);
  add_moe_cases(cases);
  add_version_cases(cases);
  return cases;
}

std::vector<Output> run_case(const OpCase& c, Device& device, bool parallel) {
  Context ctx(device);
  ctx.parallel = parallel;
  Buffers buffers(device, hash_string(c.name).lo);
  const AnyOp op = c.make(buffers);
  run(ctx, op);
  std::vector<Output> outputs = outputs_of(op);
  for (const std::string& line : buffers.damage()) outputs.push_back({"damage: " + line, DType::f32, {0}, {}});
  return outputs;
}

}  // namespace r1::test
