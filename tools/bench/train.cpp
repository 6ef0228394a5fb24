#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/threads.h"
#include "models/training/trainer_engine.h"
#include "models/weight_transfer.h"
#include "tools/bench/benchmarks.h"

namespace r1::bench {
namespace {

constexpr int kVerifiedSteps = 3;

TrainerConfig trainer_config(const TrainOptions& o, DType type) {
  TrainerConfig c;
  c.objective = Objective::pretrain;
  c.lr = 1e-3;
  c.micro_batch_tokens = o.micro_batch_tokens;
  c.recompute = o.recompute;
  c.precision = type;
  return c;
}

// Losses and gradient norms of a few steps of the architecture in miniature, as on the reference device in f32.
std::string compare_with_reference(Device& device, const ModelConfig& config, const TrainOptions& o, DType type) {
  const ModelConfig mini = miniature(config);
  const double tolerance = type == DType::bf16 ? 0.05 : 1e-3;
  Device& reference = open_device("reference");
  TrainerEngine want(reference, trainer_config(o, DType::f32), *bench_weights(reference, mini, DType::f32));
  TrainerEngine got(device, trainer_config(o, type), *bench_weights(device, mini, DType::f32));
  const TrainBatch batch{bench_sequences(mini, 3, 41, 2)};
  for (int step = 1; step <= kVerifiedSteps; ++step) {
    const TrainStats w = want.train(batch), g = got.train(batch);
    if (!(std::abs(g.loss - w.loss) <= tolerance * w.loss))
      return fmt::format("miniature in {}: loss {:.6g} at step {}, the reference in f32 {:.6g}", dtype_name(type), g.loss, step,
                         w.loss);
    if (!(std::abs(g.grad_norm - w.grad_norm) <= 2 * tolerance * w.grad_norm))
      return fmt::format("miniature in {}: gradient norm {:.6g} at step {}, the reference in f32 {:.6g}", dtype_name(type),
                         g.grad_norm, step, w.grad_norm);
  }
  return "";
}

// One step of the whole model with one thread and with all must give the same bits.
std::string compare_threads(Device& device, const WeightSet& weights, const TrainOptions& o) {
  const int threads = cpu::thread_limit();
  const TrainBatch batch{bench_sequences(weights.config(), 2, 101, 3)};
  const auto hash = [&](int n) {
    set_cpu_threads(n);
    TrainerEngine engine(device, trainer_config(o, o.type), weights);
    engine.train(batch);
    set_cpu_threads(threads);
    return engine.masters_hash();
  };
  if (hash(1) == hash(threads)) return "";
  return is_card(device) ? "the second time gives other weights" : "one thread gives other weights than all threads";
}

Verification verify(Device& device, const ModelConfig& config, const WeightSet& weights, const TrainOptions& o) {
  for (const DType type : {DType::f32, o.type})
    if (const std::string wrong = compare_with_reference(device, config, o, type); !wrong.empty()) return {false, wrong};
  if (const std::string wrong = compare_threads(device, weights, o); !wrong.empty()) return {false, wrong};
  return {true, fmt::format("{} steps as the reference, bits as {}, loss falls", kVerifiedSteps,
                            is_card(device) ? "the second time" : "on one thread")};
}

void profile(Device& device, const WeightSet& weights, const TrainBatch& batch, const TrainOptions& o, CaseResult& r) {
  ProfilingDevice profiling(device);
  TrainerEngine engine(profiling, trainer_config(o, o.type), *copy_to_device(weights, profiling));
  engine.train(batch);
  profiling.reset();
  r.breakdown_wall_ns = time_ns([&] { engine.train(batch); });
  r.breakdown = profiling.times();
}

}  // namespace

CaseResult bench_train(Device& device, CeilingMeter& meter, const BenchModel& model, const TrainOptions& o) {
  CaseResult r;
  r.name = fmt::format("train {} {}x{} {}{}", model.name, o.sequences, o.length, dtype_name(o.type),
                       o.recompute ? " recompute" : "");
  r.goal = model.train_goal;
  r.threads = counted_cores(device);
  r.floor = "matmul";
  const auto weights = bench_weights(device, model.config, DType::f32);
  r.verification = verify(device, model.config, *weights, o);
  if (!r.verification.ok) return r;

  // One token more than predictions.
  const TrainBatch batch{bench_sequences(model.config, o.sequences, o.length + 1, 4)};
  {
    TrainerEngine engine(device, trainer_config(o, o.type), *weights);
    const double first_loss = engine.train(batch).loss;
    double last_loss = first_loss;
    Ceilings best = meter.measure();
    for (int i = 0; i < o.repetitions; ++i) {
      const double ns = time_ns([&] { last_loss = engine.train(batch).loss; });
      r.measured_ns = i == 0 ? ns : std::min(r.measured_ns, ns);
    }
    r.ceilings = best_of(best, meter.measure());
    if (!(last_loss < first_loss)) {
      r.verification = {false, fmt::format("the loss went from {:.4f} to {:.4f} on one batch", first_loss, last_loss)};
      return r;
    }
  }
  profile(device, *weights, batch, o, r);
  const double flops = train_flops(model.config, o.sequences, o.length);
  const auto tokens = static_cast<double>(o.sequences * o.length);
  if (r.ceilings.flops(o.type) > 0) r.floor_ns = flops / r.ceilings.flops(o.type) * 1e9;
  r.numbers = {{"parameters", static_cast<double>(model.config.parameter_count())},
               {"active_parameters", static_cast<double>(model.config.active_parameter_count())},
               {"tokens_per_step", tokens},
               {"flops_per_step", flops},
               {"tokens_per_s", tokens / r.measured_ns * 1e9},
               {"gflops", flops / r.measured_ns}};
  return r;
}

}  // namespace r1::bench
