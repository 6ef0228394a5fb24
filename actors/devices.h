// On which device each actor of a run computes, and whether what is there together fits: decided before anything is loaded.
// Not on which node of a run (runtime/nodes/placement.h): a node process has one device, told by the head.
//
//   on, graph.device := "cpu" | "gpu" | "gpu:" N | "gpu:" FIRST "-" LAST | "auto"
//
// A range is a choice: the card of it with the most room. auto: of all cards; the CPU where there is none. Actors on one
// device share it: each has streams of its own, versions are handed over as they are, and what weights and optimizers leave
// of a card is shared among those who sample, as the memory of their KV caches (no result depends on it).
// Thread rule: one thread; before the run starts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "actors/memory_need.h"
#include "actors/run_env.h"

namespace r1 {

struct DeviceWish {
  std::vector<std::string> names;  // any of them; one for most; empty: auto
};
// Throws bad_input at `where`.
DeviceWish parse_device_wish(const std::string& text, const Where& where);

// Whether a node computes at all: a judge does with models, a filter does not.
bool computes(const GraphView&, const NodePlan&);
bool is_training(const NodePlan&);  // a trainer or a distiller
// What it says about its device, or what the graph says for it, and where.
struct AskedDevice {
  std::string text;
  Where where;
};
AskedDevice asked_device(const GraphView&, const NodePlan&);

struct PlacedActor {
  const NodePlan* node = nullptr;
  Device* device = nullptr;
  MemoryNeed need;
  double kv_bytes = 0;  // of its KV cache at most; 0: as much as it takes
};
struct DevicePlan {
  std::vector<PlacedActor> actors;  // that compute in this process, in the order of the graph
  std::vector<std::string> notes;   // "no GPU ..., so on the CPU"
  DType precision = DType::f32;
};

// `here`: which nodes compute in this process. Opens the devices that are named. Throws bad_input at the attribute: no such
// device or driver; a sampler whose arithmetic is not its trainer's; more than a card has.
DevicePlan plan_devices(const RunEnv&, const GraphView&, const std::function<bool(const NodePlan&)>& here);
// A table of bytes by stage and device; "" where all is on the CPU.
std::string device_plan_text(const GraphView&, const DevicePlan&);
// Roles made for `env` from now on compute where the plan says.
void use_devices(RunEnv& env, const DevicePlan&);

// The numeric fingerprints of what a run's actors compute on: of env.device, where no other device is used.
std::string devices_fingerprint(const RunEnv&);
// Of trainers and distillers alone.
std::string training_fingerprint(const RunEnv&, const GraphView&);

}  // namespace r1
