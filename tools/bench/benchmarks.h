// The benchmarks of r1-bench. Each verifies on the device it is given, then times, beside ceilings measured before and after.
// A result that fails verification is still returned, with the reason, and has no time.
// Thread rule: one thread at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tools/bench/result.h"
#include "tools/bench/shapes.h"

namespace r1::bench {

struct KernelOptions {
  DType type = DType::bf16;
  std::string filter;          // only cases whose name contains this
  bool time = true;            // false: verify only
  bool small = false;          // times the sizes that are verified
  bool large = false;          // times sizes that keep a card busy
  std::filesystem::path bits;  // where results are written, or, if that is there, looked for; empty: neither
};
// With `bits` a case's note says how many numbers of its results, in the timed sizes, differ from those of the run that wrote
// the file. Throws bad_input when that had other cases and, before anything is made or measured, when no case has `filter` in
// its name.
std::vector<CaseResult> bench_kernels(Device&, CeilingMeter&, const KernelOptions&);

struct TrainOptions {
  DType type = DType::bf16;
  int64_t sequences = 8, length = 512;  // of a batch: one optimizer step; `length` predicted tokens a sequence
  int64_t micro_batch_tokens = 2048;
  bool recompute = false;  // activations of layers (TrainerConfig)
  int repetitions = 2;
  std::string shape = "base";  // of which the model is (bench_models), for other processes
};
CaseResult bench_train(Device&, CeilingMeter&, const BenchModel&, const TrainOptions&);

struct GenerateOptions {
  DType type = DType::bf16;
  int64_t batch = 1;
  int64_t prompt = 64, tokens = 64;
  int repetitions = 2;
};
CaseResult bench_generate(Device&, CeilingMeter&, const BenchModel&, const GenerateOptions&);

// A version on its way, beside the step that made it: handing it out inside the process (with its hash), coding and applying
// the difference for another process, a snapshot of the trainer (while it is read, training stands still; then it is put into
// place) beside a plain write of as many bytes to the same disk. Medians.
struct VersionOptions {
  DType type = DType::bf16;
  int64_t sequences = 2, length = 256;
  int64_t micro_batch_tokens = 256;
  int repetitions = 3;
  std::filesystem::path directory = ".";  // of the snapshot
};
std::vector<CaseResult> bench_versions(Device&, CeilingMeter&, const BenchModel&, const VersionOptions&);

}  // namespace r1::bench
