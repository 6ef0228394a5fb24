#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "models/generation/generator_engine.h"
#include "models/training/scoring_engine.h"
#include "models/training/trainer_engine.h"
#include "models/weight_transfer.h"
#include "tools/bench/benchmarks.h"

namespace r1::bench {
namespace {

GenRequest request(std::vector<int32_t> prompt, uint64_t id, int64_t tokens, float temperature) {
  GenRequest q;
  q.id = id;
  q.rng_key = id + 1;
  q.prompt = std::move(prompt);
  q.max_new_tokens = tokens;
  q.temperature = temperature;
  return q;
}

void submit_all(GeneratorEngine& engine, const ModelConfig& config, const GenerateOptions& o, float temperature) {
  const std::vector<Sequence> prompts = bench_sequences(config, o.batch, o.prompt, 5);
  for (size_t i = 0; i < prompts.size(); ++i)
    engine.submit(request(prompts[i].tokens, static_cast<uint64_t>(i), o.tokens, temperature));
}

GeneratorConfig generator_config(const GenerateOptions& o) {
  GeneratorConfig c;
  c.max_rows = std::max<int64_t>(256, o.batch * o.prompt);  // all prompts in one step, so that all sequences keep in step
  c.max_running = o.batch;
  return c;
}

std::vector<Sequence> finish(GeneratorEngine& engine) {
  std::vector<GenResult> done;
  while (engine.pending() > 0)
    for (GenResult& r : engine.step()) done.push_back(std::move(r));
  std::sort(done.begin(), done.end(), [](const GenResult& a, const GenResult& b) { return a.id < b.id; });
  std::vector<Sequence> out;
  for (const GenResult& r : done) out.insert(out.end(), r.samples.begin(), r.samples.end());
  return out;
}

// Greedy continuations of the architecture in miniature, in f32: the reference's tokens and nearly its log-probabilities.
std::string compare_with_reference(Device& device, const ModelConfig& config) {
  const ModelConfig mini = miniature(config);
  const GenerateOptions o{.type = DType::f32, .batch = 3, .prompt = 19, .tokens = 12};
  const auto generate = [&](Device& d) {
    GeneratorConfig c = generator_config(o);
    c.shards = 1;  // the reference's kernels rewrite whole page arrays: none may run beside another
    GeneratorEngine engine(d, c, bench_weights(d, mini, DType::f32), 0);
    submit_all(engine, mini, o, 0);
    return finish(engine);
  };
  const auto want = generate(open_device("reference")), got = generate(device);
  for (size_t s = 0; s < want.size(); ++s)
    for (size_t t = 0; t < want[s].tokens.size(); ++t)
      if (got[s].tokens[t] != want[s].tokens[t] || !(std::abs(got[s].behaviour_logp[t] - want[s].behaviour_logp[t]) < 1e-3))
        return fmt::format(
            "miniature in f32: token {} of sequence {} is {} (log-probability {:.5f}), the reference says {} ({:.5f})", t, s,
            got[s].tokens[t], got[s].behaviour_logp[t], want[s].tokens[t], want[s].behaviour_logp[t]);
  return "";
}

// P2: the training forward pass gives sampled tokens the same log-probabilities, bit for bit.
std::string compare_with_training(Device& device, const std::shared_ptr<const WeightSet>& weights,
                                  const std::vector<Sequence>& sampled, int64_t& tokens) {
  ScoringEngine scoring(device, weights);
  const auto trained = scoring.logprobs(sampled, 1);
  for (size_t s = 0; s < sampled.size(); ++s)
    for (size_t t = 0; t < sampled[s].tokens.size(); ++t) {
      if (sampled[s].trainable[t] == 0) continue;
      ++tokens;
      if (std::bit_cast<uint32_t>(trained[s][t]) != std::bit_cast<uint32_t>(sampled[s].behaviour_logp[t]))
        return fmt::format("token {} of sequence {}: sampled with log-probability {:.9g}, trained with {:.9g}", t, s,
                           sampled[s].behaviour_logp[t], trained[s][t]);
    }
  return "";
}

// The decode steps of one batch from the first whole one to the last but one; the prompts' step is not counted.
struct DecodeTime {
  double ns = 0;
  Work work;
  int64_t steps = 0;
  std::vector<Sequence> sampled;
};

template <class F>
DecodeTime decode(GeneratorEngine& engine, const ModelConfig& config, const GenerateOptions& o, F&& before_first) {
  submit_all(engine, config, o, 1);
  engine.step();  // all prompts, and the first token of each sequence
  R1_CHECK(engine.stats().tokens_prefilled % (o.batch * o.prompt) == 0, "the prompts take one step");
  before_first();
  DecodeTime t;
  t.work.type = o.type;
  for (; t.steps + 2 < o.tokens; ++t.steps) {
    t.ns += time_ns([&] { engine.step(); });
    t.work += decode_work(config, o.type, o.batch, o.prompt + 1 + t.steps);
  }
  t.sampled = finish(engine);
  return t;
}

}  // namespace

CaseResult bench_generate(Device& device, CeilingMeter& meter, const BenchModel& model, const GenerateOptions& o) {
  CaseResult r;
  r.name = fmt::format("generate {} batch {} {}", model.name, o.batch, dtype_name(o.type));
  r.goal = model.generate_goal;
  r.threads = counted_cores(device);
  if (const std::string wrong = compare_with_reference(device, model.config); !wrong.empty()) {
    r.verification = {false, wrong};
    return r;
  }
  const std::shared_ptr<const WeightSet> weights = bench_weights(device, model.config, o.type);
  GeneratorEngine engine(device, generator_config(o), weights, 0);
  DecodeTime best = decode(engine, model.config, o, [] {});
  int64_t compared = 0;
  if (const std::string wrong = compare_with_training(device, weights, best.sampled, compared); !wrong.empty()) {
    r.verification = {false, wrong};
    return r;
  }
  r.verification = {true,
                    fmt::format("greedy tokens as the reference; {} sampled log-probabilities equal the trainer's", compared)};

  const Ceilings before = meter.measure();
  best.ns = 0;
  for (int i = 0; i < o.repetitions; ++i) {
    DecodeTime t = decode(engine, model.config, o, [] {});
    if (best.ns == 0 || t.ns < best.ns) best = std::move(t);
  }
  r.ceilings = best_of(before, meter.measure());
  r.measured_ns = best.ns;
  r.floor_ns = floor_ns(best.work, r.ceilings);
  r.floor = floor_kind(best.work, r.ceilings);

  ProfilingDevice profiling(device);
  GeneratorEngine profiled(profiling, generator_config(o), copy_to_device(*weights, profiling), 0);
  decode(profiled, model.config, o, [] {});
  // The last two steps are not timed but run on the same device: too few to matter.
  const DecodeTime t = decode(profiled, model.config, o, [&] { profiling.reset(); });
  r.breakdown_wall_ns = t.ns;
  r.breakdown = profiling.times();

  const auto steps = static_cast<double>(best.steps);
  r.numbers = {{"parameters", static_cast<double>(model.config.parameter_count())},
               {"active_parameters", static_cast<double>(model.config.active_parameter_count())},
               {"step_ms", best.ns / steps * 1e-6},
               {"tokens_per_s", static_cast<double>(o.batch) * steps / best.ns * 1e9},
               {"gflops", best.work.flops / best.ns},
               {"gb_per_s", best.work.bytes / best.ns}};
  return r;
}

}  // namespace r1::bench
