// r1-bench: verifies, then times, beside the ceilings that the same run measures.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "actors/summary.h"
#include "base/error.h"
#include "base/say.h"
#include "tools/bench/benchmarks.h"
#include "tools/bench/channel.h"
#include "tools/bench/logits.h"
#include "tools/bench/ranks.h"
#include "tools/bench/sync.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"

namespace r1 {
namespace {

using namespace bench;

constexpr const char* kExamples = R"(Examples:
  r1-bench kernels                                 every op, one by one
  r1-bench kernels --filter Attention
  r1-bench train --arch llama,qwen3                one optimizer step, sequences of 512 tokens, bf16
  r1-bench train --shape tiny --arch llama         the built-in world's model
  r1-bench train --arch llama --ranks 2            ranks as threads, and as processes around a ring of links
  r1-bench generate --batch 1,16,64 --json
  r1-bench versions --shape published --arch smollm2-135m   publishing and snapshots, as shares of a training step
  r1-bench sync --arch smollm2-135m                from f32 masters to another process's generator, beside memcpy
  r1-bench generate --device gpu:0 --shape published --batch 1,256
  R1_CUDA_PRODUCTS=cutlass r1-bench kernels --device gpu:0 --filter Linear --bits mma.bits   after the same without: what differs
  r1-bench channel                                 a link between two processes, beside memcpy and bare ZeroMQ
  r1-bench logits DIR --out logits.f32 < tokens.jsonl        for comparisons: tools/bench/peers

A fraction is floor time / measured time. The floor is the least work (see tools/bench/work.h) at the matmul and
memory rates that this run measures. Nothing is timed before its result was verified.

Exit codes: 0 done, 1 a result was wrong, 2 bad input.)";

struct Arguments {
  std::string dtype = "bf16", shape = "base", filter, model, out, logits_dtype = "f32", device = "cpu";
  std::vector<std::string> arch;
  std::vector<int64_t> batch = {1, 16, 64};
  int threads = 0;
  bool json = false, verify_only = false, small = false, large = false;
  std::string bits;
  TrainOptions train;
  GenerateOptions generate;
  VersionOptions versions;
  ChannelOptions channel;
  SyncOptions sync;
  std::string sync_peer, ranks_peer;
  int64_t ranks = 1;
  std::vector<std::string> peer;  // of the channel: what this process is to be, and where the other one is
};

// The models asked for; all by default.
std::vector<BenchModel> chosen_models(const Arguments& a) {
  const std::vector<BenchModel> all = bench_models(a.shape);
  if (a.arch.empty()) return all;
  std::vector<BenchModel> chosen;
  for (const std::string& name : a.arch) {
    const auto it = std::find_if(all.begin(), all.end(), [&](const BenchModel& m) { return m.name == name; });
    if (it == all.end()) {
      std::string known;
      for (const BenchModel& m : all) known += (known.empty() ? "" : ", ") + m.name;
      throw bad_input(fmt::format("--arch {}: no such model of shape {}", name, a.shape), {}, "known: " + known);
    }
    chosen.push_back(*it);
  }
  return chosen;
}

DType chosen_type(const Arguments& a, Device& device) {
  if (a.dtype == "bf16" && !device.has_fast_bf16()) say("r1-bench: {} has no bf16 dot products\n", device.name());
  return a.dtype == "bf16" ? DType::bf16 : DType::f32;
}

void shrink(Arguments& a) {
  a.shape = "tiny";
  a.train = {.sequences = 1, .length = 8, .micro_batch_tokens = 64, .repetitions = 1};
  a.batch = {1, 4};
  a.generate = {.prompt = 4, .tokens = 4, .repetitions = 1};
  a.versions.sequences = 1, a.versions.length = 8, a.versions.repetitions = 1;
}

Report run_benchmark(const std::string& what, Arguments a) {
  if (a.small) shrink(a);
  Device& device = open_device(a.device);
  set_cpu_threads(a.threads);
  const DType type = chosen_type(a, device);
  CeilingMeter meter(device, a.small);
  Report report{what, describe_machine(), device.fingerprint(), {}, ""};
  if (what == "kernels") {
    report.cases = bench_kernels(device, meter, {type, a.filter, !a.verify_only, a.small, a.large, a.bits});
    report.why_missing = meter.why_missing();
    return report;
  }
  for (const BenchModel& model : chosen_models(a)) {
    if (what == "train") {
      a.train.type = type;
      report.cases.push_back(bench_train(device, meter, model, a.train));
      continue;
    }
    if (what == "versions") {
      a.versions.type = type;
      for (CaseResult& r : bench_versions(device, meter, model, a.versions)) report.cases.push_back(std::move(r));
      continue;
    }
    for (const int64_t batch : a.batch) {
      a.generate.type = type;
      a.generate.batch = batch;
      report.cases.push_back(bench_generate(device, meter, model, a.generate));
    }
  }
  report.why_missing = meter.why_missing();
  return report;
}

void add_common(CLI::App& c, Arguments& a) {
  c.add_flag("--json", a.json, "print one JSON object instead of a table");
  c.add_option("--dtype", a.dtype, "type of weights and activations")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  c.add_option("--device", a.device, "cpu, or gpu:0 (docs/gpu.md)")->type_name("D")->capture_default_str();
  c.add_flag("--small", a.small, "the smallest model, batches and sequences, whatever else is said: to see that it works");
  c.add_option("--threads", a.threads, "at most this many threads (0: all cores)")->check(CLI::Range(0, 4096));
}

void add_models(CLI::App& c, Arguments& a) {
  c.add_option("--arch", a.arch, "models, separated by commas (default: all of the shape)")->delimiter(',');
  c.add_option("--shape", a.shape,
               "base: 25 to 60 million parameters; tiny: the built-in world's; published: SmolLM2-135M and Qwen2.5-0.5B")
      ->check(CLI::IsMember({"base", "tiny", "published"}))
      ->capture_default_str();
}

int main_checked(int argc, char** argv) {
  Arguments a;
  CLI::App app("Measures kernels, training and generation beside what the machine can do.", "r1-bench");
  add_common_flags(app, kExamples);
  app.require_subcommand(1);
  const CLI::Range counts(int64_t{1}, int64_t{1} << 20);

  CLI::App* const kernels = app.add_subcommand("kernels", "every op of kernels/ops.h against reference and ceilings");
  add_common(*kernels, a);
  kernels->add_option("--filter", a.filter, "only cases whose name contains this");
  kernels->add_flag("--large", a.large, "sizes of a 0.6B model's layers and 8,192 rows, that keep a card busy")
      ->excludes("--small");
  kernels->add_option("--bits", a.bits, "write the results to this file; where it is there, say what of them differs from it")
      ->type_name("FILE");
  kernels->add_flag("--verify-only", a.verify_only, "compare with the reference, time nothing");

  CLI::App* const train = app.add_subcommand("train", "optimizer steps of whole models");
  add_common(*train, a);
  add_models(*train, a);
  train->add_option("--sequences", a.train.sequences, "sequences of a batch")->check(counts)->capture_default_str();
  train->add_option("--length", a.train.length, "predicted tokens of a sequence")
      ->check(CLI::Range(1, 1023))
      ->capture_default_str();
  train->add_option("--micro-batch", a.train.micro_batch_tokens, "tokens of a micro-batch")
      ->check(counts)
      ->capture_default_str();
  train->add_flag("--recompute", a.train.recompute, "compute the activations of layers again in the backward pass");
  train->add_option("--repeat", a.train.repetitions, "timed steps; the best counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();

  train->add_option("--ranks", a.ranks, "of the trainer: a step as threads and as processes, and what it moves between them")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  train->add_option("--ranks-peer", a.ranks_peer)->group("");  // another process

  CLI::App* const generate = app.add_subcommand("generate", "decode steps of whole models");
  add_common(*generate, a);
  add_models(*generate, a);
  generate->add_option("--batch", a.batch, "sequences that decode side by side")->delimiter(',')->check(CLI::Range(1, 4096));
  generate->add_option("--prompt", a.generate.prompt, "tokens of a prompt")->check(CLI::Range(1, 512))->capture_default_str();
  generate->add_option("--tokens", a.generate.tokens, "new tokens of a sequence")
      ->check(CLI::Range(4, 511))
      ->capture_default_str();
  generate->add_option("--repeat", a.generate.repetitions, "timed runs; the best counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();

  CLI::App* const versions =
      app.add_subcommand("versions", "publishing weights and snapshots of whole models, beside their steps");
  add_common(*versions, a);
  add_models(*versions, a);
  versions->add_option("--sequences", a.versions.sequences, "sequences of a step")->check(counts)->capture_default_str();
  versions->add_option("--length", a.versions.length, "predicted tokens of a sequence")
      ->check(CLI::Range(1, 1023))
      ->capture_default_str();
  versions->add_option("--repeat", a.versions.repetitions, "timed rounds; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  versions->add_option("--dir", a.versions.directory, "where the snapshot is written, and removed")->capture_default_str();

  CLI::App* const channel = app.add_subcommand("channel", "what a link between two processes carries");
  channel->add_flag("--json", a.json, "print one JSON object instead of a table");
  channel->add_option("--mib", a.channel.mib, "MiB of bulk")->check(CLI::Range(1, 65536))->capture_default_str();
  channel->add_option("--messages", a.channel.messages, "messages of 4 KiB")->check(counts)->capture_default_str();
  channel->add_option("--round-trips", a.channel.round_trips, "round trips of 64 bytes")->check(counts)->capture_default_str();
  channel->add_option("--repeat", a.channel.repetitions, "timed runs; the best counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  channel->add_option("--peer", a.peer)->expected(2)->group("");  // the other process

  CLI::App* const sync = app.add_subcommand("sync", "a version on its way from f32 masters to a generator in another process");
  sync->add_flag("--json", a.json, "print one JSON object instead of a table");
  add_models(*sync, a);
  sync->add_option("--lr", a.sync.lr, "learning rate of the case that bytes are looked at")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  sync->add_option("--density", a.sync.density, "share of the values that change, of the case that speed is looked at")
      ->check(CLI::Range(1e-5, 0.5))
      ->capture_default_str();
  sync->add_option("--repeat", a.sync.rounds, "timed versions; the best counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sync->add_option("--decode", a.sync.decode_rounds,
                   "rounds of six intervals of decoding, four of them with a version; 0: none")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  sync->add_option("--decode-seconds", a.sync.decode_s, "of an interval")->check(CLI::Range(0.1, 600.0))->capture_default_str();
  sync->add_option("--peer", a.sync_peer)->group("");  // the other process

  CLI::App* const logits =
      app.add_subcommand("logits", "what a model says about tokens: lines {\"tokens\": [...]} in, raw f32 out");
  logits->add_option("model", a.model, "a Hugging Face directory or a GGUF file")->required();
  logits->add_option("--out", a.out, "where the logits go: of each line [n - 1, vocabulary], of a reward model [1]")
      ->required();
  logits->add_option("--device", a.device, "cpu, or gpu:0 (docs/gpu.md)")->type_name("D")->capture_default_str();
  logits->add_option("--dtype", a.logits_dtype, "type of weights and activations")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();

  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (logits->parsed()) {
    const DType type = a.logits_dtype == "bf16" ? DType::bf16 : DType::f32;
    fmt::print("{} sequences\n", write_logits(open_device(a.device), a.model, type, std::cin, a.out));
    return static_cast<int>(ExitCode::done);
  }
  if (sync->parsed()) {
    if (!a.sync_peer.empty()) return sync_peer(a.sync_peer);
    if (sync->count("--shape") == 0) a.shape = "published";
    const SyncReport report = bench_sync(chosen_models(a), a.sync, describe_machine());
    std::cout << (a.json ? sync_json(report).dump(2) + "\n" : sync_table(report));
    return static_cast<int>(report.ok() ? ExitCode::done : ExitCode::failed);
  }
  if (channel->parsed()) {
    if (!a.peer.empty()) return channel_peer(a.peer[0], a.peer[1]);
    const ChannelReport report = bench_channel(a.channel, describe_machine());
    std::cout << (a.json ? channel_json(report).dump(2) + "\n" : channel_table(report));
    return static_cast<int>(report.ok() ? ExitCode::done : ExitCode::failed);
  }
  if (train->parsed() && (a.ranks > 1 || !a.ranks_peer.empty())) {
    if (a.small) shrink(a);
    Device& device = open_device("cpu");
    set_cpu_threads(a.threads);
    const DType type = chosen_type(a, device);
    if (!a.ranks_peer.empty()) return ranks_peer(device, chosen_models(a).at(0), type, a.ranks_peer);
    if (a.device != "cpu") throw bad_input("ranks are on the CPU", {}, "without --device");
    a.train.type = type;
    a.train.shape = a.shape;
    const RanksReport report = bench_ranks(device, chosen_models(a), a.ranks, a.train, describe_machine());
    std::cout << (a.json ? ranks_json(report).dump(2) + "\n" : ranks_table(report));
    return static_cast<int>(report.ok() ? ExitCode::done : ExitCode::failed);
  }
  const Report report = run_benchmark(app.get_subcommands().front()->get_name(), a);
  if (a.json)
    std::cout << report_json(report).dump(2) << "\n";
  else
    std::cout << report_table(report);
  return static_cast<int>(report.ok() ? ExitCode::done : ExitCode::failed);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-bench", argc, argv, r1::main_checked); }
