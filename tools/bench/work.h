// The least work of an op: arithmetic of its matmuls and bytes that must move. What floors are made of.
//
// FLOPs count multiply-adds of matmuls and attention as two (causal attention: only pairs that attend); element-wise
// arithmetic is not counted, its bytes are. Bytes: every element read counts once, every element written once, of tables only
// the rows that are touched. Thread rule: pure functions; they read data-dependent arguments (offsets) from the device.
#pragma once

#include "kernels/op_views.h"
#include "models/model_config.h"
#include "tools/bench/ceilings.h"

namespace r1::bench {

struct Work {
  double flops = 0, bytes = 0;
  DType type = DType::f32;  // of the operands: which matmul ceiling counts
  Work& operator+=(const Work& o) {
    flops += o.flops;
    bytes += o.bytes;
    return *this;
  }
};
Work op_work(const AnyOp& op);

// The larger of the two floors, ns; 0 where a ceiling was not measured.
double floor_ns(const Work& work, const Ceilings& ceilings);
// "matmul" or "memory": which of the two it is.
const char* floor_kind(const Work& work, const Ceilings& ceilings);

// One optimizer step on sequences of `length` predicted tokens each: 6 FLOPs per active parameter and token; attention's two
// products (d and d_v deep) over the causal pairs, forward and twice that backward; AdamW's arithmetic (14 a parameter).
double train_flops(const ModelConfig&, int64_t sequences, int64_t length);
// One decode step of sequences that attend to `context` positions each, their own included: every weight that takes part read
// once (all experts that some token goes to, by expectation under even routing), keys and values of every sequence read once;
// 2 FLOPs per active parameter and token, and attention's.
Work decode_work(const ModelConfig&, DType type, int64_t sequences, int64_t context);

}  // namespace r1::bench
