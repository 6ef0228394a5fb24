#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "models/training/trainer_engine.h"
#include "models/version_delta.h"
#include "tools/bench/benchmarks.h"

namespace r1::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kWarmSteps = 3;  // until every buffer that is used in turn has been touched

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const fs::path& where) {
    std::string name = (where / "r1-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw bad_input("cannot write here", {where.string()}, "--dir names another place");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code gone;
    fs::remove_all(path_, gone);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

// Bytes that this process has held at most.
double peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

// A plain write of as many bytes, synced: what the disk takes for a snapshot, whoever writes it.
double disk_ns(const fs::path& file, double bytes) {
  const std::string block(size_t{1} << 22, 'x');
  return time_ns([&] {
    AtomicFile out(file);
    for (double done = 0; done < bytes; done += static_cast<double>(block.size())) out.write(block.data(), block.size());
    out.finish();
  });
}

}  // namespace

std::vector<CaseResult> bench_versions(Device& device, CeilingMeter& meter, const BenchModel& model, const VersionOptions& o) {
  const TemporaryDirectory dir(o.directory);
  const fs::path snapshot = dir / "trainer.state";
  TrainerConfig config;
  config.objective = Objective::pretrain;
  config.lr = 1e-5;
  config.micro_batch_tokens = o.micro_batch_tokens;
  config.precision = o.type;
  const auto parameters = static_cast<double>(model.config.parameter_count());
  std::unique_ptr<TrainerEngine> engine;
  {
    const auto start = bench_weights(device, model.config, DType::f32);
    engine = std::make_unique<TrainerEngine>(device, config, *start);
  }
  const TrainBatch batch{bench_sequences(model.config, o.sequences, o.length + 1, 4)};
  std::vector<double> step, publish, encode, apply, save, sync, disk;
  std::shared_ptr<const WeightSet> held;
  Verification verification{true, "the delta gives the published hash; the snapshot loads to the same masters"};
  Ceilings ceilings = meter.measure();
  double peak = 0, delta_bytes = 0;
  for (int round = 0; round < kWarmSteps + o.repetitions; ++round) {
    const bool timed = round >= kWarmSteps;
    const auto time = [&](std::vector<double>& all, const std::function<void()>& f) {
      const double ns = time_ns(f);
      if (timed) all.push_back(ns);
    };
    time(step, [&] { engine->train(batch); });
    std::shared_ptr<const WeightSet> next;
    Hash128 hash;
    time(publish, [&] {
      next = engine->weights();
      std::string not_finite;
      hash = next->hash(&not_finite);
    });
    if (timed && held) {
      peak = peak > 0 ? peak : peak_bytes();
      VersionDelta delta;
      std::shared_ptr<WeightSet> received;
      time(encode, [&] { delta = encode_delta(held.get(), round - 1, *next, round); });
      time(apply, [&] { received = apply_delta(held.get(), delta, model.config, device, o.type); });
      delta_bytes = static_cast<double>(delta.bytes());
      if (delta.hash != hash || received->hash() != hash)
        verification = {false, "the delta does not give the published weights"};
    }
    held = std::move(next);
  }
  for (int round = 0; round < o.repetitions; ++round) {
    std::function<void()> finish;
    save.push_back(time_ns([&] { finish = engine->begin_save(snapshot); }));
    sync.push_back(time_ns(finish));
    disk.push_back(disk_ns(dir / "plain", static_cast<double>(fs::file_size(snapshot))));
  }
  const double saved_bytes = static_cast<double>(fs::file_size(snapshot));
  const Hash128 before = engine->masters_hash();
  engine->train(batch);
  engine->load(snapshot);
  if (engine->masters_hash() != before) verification = {false, "the snapshot loads to other masters"};
  ceilings = best_of(ceilings, meter.measure());

  const double weight_bytes = parameters * static_cast<double>(dtype_size(o.type));
  const double step_ns = median(step);
  std::vector<CaseResult> results;
  const auto add = [&](const char* what, const std::vector<double>& times, double floor_ns, const char* floor) {
    CaseResult& r = results.emplace_back();
    r.name = fmt::format("{} {}", what, model.name);
    r.floor = floor;
    r.floor_ns = floor_ns;
    r.measured_ns = median(times);
    r.ceilings = ceilings;
    r.threads = counted_cores(device);
    r.verification = verification;
    r.numbers = {{"share_of_step", r.measured_ns / step_ns}};
    r.note = fmt::format("{:.1f} % of the step", 100 * r.measured_ns / step_ns);
  };
  const auto memory_ns = [&](double bytes) { return ceilings.read_bytes > 0 ? bytes / ceilings.read_bytes * 1e9 : 0; };
  const double flops = train_flops(model.config, o.sequences, o.length);
  add("step", step, ceilings.flops(o.type) > 0 ? flops / ceilings.flops(o.type) * 1e9 : 0, "matmul");
  results.back().numbers = {{"parameters", parameters},
                            {"tokens_per_step", static_cast<double>(o.sequences * o.length)},
                            {"peak_bytes_per_parameter", peak / parameters}};
  results.back().note = fmt::format("{:.1f} bytes a parameter at most", peak / parameters);
  add("publish", publish, memory_ns(weight_bytes), "memory");
  add("encode delta", encode, memory_ns(2 * weight_bytes), "memory");
  results.back().numbers.emplace_back("delta_share_of_weights", delta_bytes / weight_bytes);
  add("apply delta", apply, memory_ns(2 * weight_bytes), "memory");
  add("snapshot", save, median(disk), "disk");
  results.back().numbers.emplace_back("bytes_per_parameter", saved_bytes / parameters);
  add("snapshot into place", sync, median(disk), "disk");
  return results;
}

}  // namespace r1::bench
