#include "tools/run/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/devices.h"
#include "base/error.h"
#include "base/version.h"
#include "runtime/store/arithmetic.h"

namespace r1 {
namespace {

constexpr const char* kFingerprint = "fingerprint";
// Of what trains alone: that is all that a replay does again.
constexpr const char* kTrainingFingerprint = "training_fingerprint";

std::string fingerprint_of(const RunEnv& env, const GraphView& graph, const std::string& devices) {
  const auto any = [&](const auto& has) {
    return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                       [&](const NodePlan& node) { return !node.artifact && has(node.attrs); });
  };
  // What was once computed in another way: sums of three and more ranks, Muon beside weights of bf16, prompts of several
  // sequences.
  const bool sums = any([](const Attrs& a) { return a.has("ranks") && a.integer("ranks") > 2; });
  const bool muon =
      env.precision == DType::bf16 && any([](const Attrs& a) { return a.has("optimizer") && a.text("optimizer") == "muon"; });
  const bool shares = any(
      [](const Attrs& a) { return a.has("micro_batch_tokens") && !(a.has("objective") && a.text("objective") == "pretrain"); });
  return fmt::format("r1 {}; {}; {}{}{}{}", version(), devices, dtype_name(env.precision), sums ? "; ranks sum in a ring" : "",
                     muon ? "; Muon by bf16" : "", shares ? "; prompts once" : "");
}

void keep(RunStore& store, const std::string& now, const std::string& trains, const std::filesystem::path& run_dir,
          bool accept) {
  const auto before = store.meta(kFingerprint);
  if (before && *before != now) {
    if (!accept)
      throw bad_input(fmt::format("this run was started with other arithmetic\n  then: {}\n  now:  {}", *before, now), {},
                      "results may differ in the last bits; continue with --accept-fingerprint");
    note_arithmetic(store, run_dir, {*before, now, store.meta(kTrainingFingerprint).value_or(*before), trains});
  }
  store.set_meta(kFingerprint, now);
  store.set_meta(kTrainingFingerprint, trains);
}

}  // namespace

std::string keep_fingerprint(const RunEnv& env, const GraphView& graph, RunStore& store, bool accept) {
  const std::string now = fingerprint_of(env, graph, devices_fingerprint(env));
  keep(store, now, fingerprint_of(env, graph, training_fingerprint(env, graph)), env.run_dir, accept);
  store.set_meta("precision", dtype_name(env.precision));
  return now;
}

ReplayArithmetic replay_arithmetic(const RunEnv& env, const GraphView& graph, const RunStore& store, bool accept) {
  ReplayArithmetic a;
  a.now = fingerprint_of(env, graph, training_fingerprint(env, graph));
  a.of = [&env, &graph](const Device& device) { return fingerprint_of(env, graph, device.fingerprint()); };
  auto then = store.meta(kTrainingFingerprint);
  if (!then) then = store.meta(kFingerprint);  // of a run that had one device
  a.last = then.value_or(a.now);
  a.accept = accept;
  if (a.last != a.now && !accept)
    throw bad_input(fmt::format("this run was computed with other arithmetic\n  then: {}\n  now:  {}", a.last, a.now), {},
                    "compare all the same with --accept-fingerprint");
  return a;
}

}  // namespace r1
