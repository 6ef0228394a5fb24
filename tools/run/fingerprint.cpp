#include "tools/run/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/devices.h"
#include "base/error.h"
#include "base/version.h"

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
  // What was once computed in another way: sums of three and more ranks, Muon beside weights of bf16.
  const bool sums = any([](const Attrs& a) { return a.has("ranks") && a.integer("ranks") > 2; });
  const bool muon =
      env.precision == DType::bf16 && any([](const Attrs& a) { return a.has("optimizer") && a.text("optimizer") == "muon"; });
  return fmt::format("r1 {}; {}; {}{}{}", version(), devices, dtype_name(env.precision), sums ? "; ranks sum in a ring" : "",
                     muon ? "; Muon by bf16" : "");
}

void keep(RunStore& store, const std::string& now, bool accept) {
  const auto before = store.meta(kFingerprint);
  if (before && *before != now) {
    if (!accept)
      throw bad_input(fmt::format("this run was started with other arithmetic\n  then: {}\n  now:  {}", *before, now), {},
                      "results may differ in the last bits; continue with --accept-fingerprint");
    store.add_event(0, "r1-run", "fingerprint", fmt::format(R"({{"before":"{}","now":"{}"}})", *before, now));
  }
  store.set_meta(kFingerprint, now);
}

}  // namespace

std::string keep_fingerprint(const RunEnv& env, const GraphView& graph, RunStore& store, bool accept) {
  const std::string now = fingerprint_of(env, graph, devices_fingerprint(env));
  keep(store, now, accept);
  store.set_meta(kTrainingFingerprint, fingerprint_of(env, graph, training_fingerprint(env, graph)));
  store.set_meta("precision", dtype_name(env.precision));
  return now;
}

void check_replay_fingerprint(const RunEnv& env, const GraphView& graph, const RunStore& store) {
  const std::string now = fingerprint_of(env, graph, training_fingerprint(env, graph));
  auto then = store.meta(kTrainingFingerprint);
  if (!then) then = store.meta(kFingerprint);  // of a run that had one device
  if (then && *then != now)
    throw bad_input(fmt::format("this run was computed with other arithmetic\n  then: {}\n  now:  {}", *then, now), {},
                    "compare all the same with --accept-fingerprint");
}

}  // namespace r1
