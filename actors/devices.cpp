#include "actors/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "actors/graph_checks.h"
#include "base/memory.h"
#include "kernels/plugin.h"

namespace r1 {
namespace {

constexpr const char* kSyntax = "cpu, gpu:0, gpu:0-3 or auto";
constexpr int kMostCards = 1024;
constexpr double kKvShare = 0.9;  // of what is left of a card: fragments and copies on the way need the rest

bool is_card(const Device& device) { return device.name().rfind("gpu:", 0) == 0; }

int64_t ranks_of(const NodePlan& node) { return node.attrs.has("ranks") ? node.attrs.integer("ranks") : 1; }

// Devices by name, each opened once; an error gets the place of who asked first.
class Opened {
 public:
  Device& open(const std::string& name, const Where& where) {
    try {
      return open_device(name);
    } catch (const Error& e) {
      throw Error(e.code(), e.message(), where, e.hint());
    }
  }
  std::vector<Device*> choices(const DeviceWish& wish, const Where& where, DevicePlan& plan) {
    std::vector<Device*> devices;
    for (const std::string& name : wish.names) devices.push_back(&open(name, where));
    if (!wish.names.empty()) return devices;
    const PluginDevices& cards = all_cards(plan);
    for (int i = 0; i < cards.count; ++i) devices.push_back(&open(fmt::format("gpu:{}", i), where));
    if (devices.empty()) devices.push_back(&open_device("cpu"));
    return devices;
  }

 private:
  const PluginDevices& all_cards(DevicePlan& plan) {
    if (!cards_) {
      cards_ = plugin_devices();
      if (cards_->count == 0) plan.notes.push_back(fmt::format("auto is the CPU: {}", cards_->why_none));
    }
    return *cards_;
  }
  std::optional<PluginDevices> cards_;
};

struct Candidate {
  PlacedActor actor;
  Where where;
  std::vector<Device*> devices;
};

double available(const Device& device) { return static_cast<double>(device.memory().available); }

// The largest first, each where most is left; of the stage alone.
void choose(std::vector<Candidate*> of_stage) {
  std::stable_sort(of_stage.begin(), of_stage.end(),
                   [](const Candidate* a, const Candidate* b) { return a->actor.need.fixed() > b->actor.need.fixed(); });
  std::map<Device*, double> taken;
  for (Candidate* c : of_stage) {
    const auto room = [&](Device* d) { return available(*d) - taken[d]; };
    Device* best = c->devices[0];
    for (Device* d : c->devices)
      if (room(d) > room(best)) best = d;
    c->actor.device = best;
    taken[best] += c->actor.need.fixed();
  }
}

void refuse_if_too_much(const std::vector<const Candidate*>& together, const Device& device, const std::string& stages) {
  double sum = 0;
  const Candidate* largest = nullptr;
  std::string parts;
  for (const Candidate* c : together) {
    sum += c->actor.need.fixed();
    if (largest == nullptr || c->actor.need.fixed() > largest->actor.need.fixed()) largest = c;
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", c->actor.node->id, bytes_text(c->actor.need.fixed()));
  }
  if (largest == nullptr || sum <= available(device)) return;
  throw bad_input(fmt::format("{} needs at least {} of {} ({}), and {} are available", stages, bytes_text(sum), device.name(),
                              parts, bytes_text(available(device))),
                  largest->where, "on= another card for some of them, precision=bf16, or a smaller model");
}

// Every stage has to fit a card, and as many of the largest as may run at the same time.
void check_memory(const GraphView& graph, const std::vector<Candidate>& candidates) {
  std::map<Device*, std::map<int, std::vector<const Candidate*>>> on;
  for (const Candidate& c : candidates)
    if (is_card(*c.actor.device)) on[c.actor.device][c.actor.node->stage].push_back(&c);
  const auto at_once = static_cast<size_t>(graph.attrs.integer("parallel_stages"));
  for (const auto& [device, stages] : on) {
    std::vector<std::pair<double, int>> by_size;
    for (const auto& [stage, actors] : stages) {
      refuse_if_too_much(actors, *device, fmt::format("stage '{}'", graph.stages[static_cast<size_t>(stage)].name));
      double sum = 0;
      for (const Candidate* c : actors) sum += c->actor.need.fixed();
      by_size.emplace_back(sum, stage);
    }
    std::sort(by_size.rbegin(), by_size.rend());
    std::vector<const Candidate*> together;
    for (size_t i = 0; i < std::min(at_once, by_size.size()); ++i)
      for (const Candidate* c : stages.at(by_size[i].second)) together.push_back(c);
    refuse_if_too_much(together, *device, fmt::format("parallel_stages={}", at_once));
  }
}

// What the fixed parts of the largest stages leave is for KV caches, by what each may need.
void share_kv_memory(const GraphView& graph, std::vector<Candidate>& candidates) {
  const auto at_once = static_cast<double>(graph.attrs.integer("parallel_stages"));
  for (Candidate& c : candidates) {
    PlacedActor& own = c.actor;
    if (!is_card(*own.device) || own.need.kv_cache == 0) continue;
    double fixed = 0, wanted = 0;
    for (const Candidate& other : candidates) {
      if (other.actor.device != own.device || other.actor.node->stage != own.node->stage) continue;
      fixed += other.actor.need.fixed() + other.actor.need.work;
      wanted += other.actor.need.kv_cache;
    }
    const double left = std::max(available(*own.device) / at_once - fixed, available(*own.device) / at_once / 8);
    own.kv_bytes = kKvShare * left * own.need.kv_cache / wanted;
  }
}

// P2: a sampler's log-probabilities are its trainer's bits, so both compute alike.
void check_arithmetic(const GraphView& graph, const std::vector<Candidate>& candidates) {
  for (const Candidate& c : candidates) {
    if (c.actor.node->role != "generator") continue;
    const NodePlan* const trainer = stage_trainer(graph, c.actor.node->stage);
    for (const Candidate& t : candidates)
      if (t.actor.node == trainer && trainer != nullptr && t.actor.device->fingerprint() != c.actor.device->fingerprint())
        throw bad_input(fmt::format("'{}' on {} would sample with other bits than '{}' on {} trains with", c.actor.node->id,
                                    c.actor.device->name(), trainer->id, t.actor.device->name()),
                        c.where, "both on the CPU, or both on cards of one kind");
  }
}

}  // namespace

bool is_training(const NodePlan& node) { return node.role == "trainer" || node.role == "distiller"; }

bool computes(const GraphView& graph, const NodePlan& node) {
  if (node.artifact) return false;
  if (node.role == "judge") return node.attrs.has("on") || !reward_model_names(graph, node).empty();
  static const std::set<std::string> kRoles = {"generator", "reference", "trainer", "distiller", "evaluator"};
  return kRoles.count(node.role) != 0;
}

AskedDevice asked_device(const GraphView& graph, const NodePlan& node) {
  if (node.attrs.has("on")) return {node.attrs.text("on"), attr_place(node, "on")};
  const bool given = graph.attrs.given.count("device") != 0;
  return {graph.attrs.text("device"), given ? graph.attrs.where("device") : node.where};
}

DeviceWish parse_device_wish(const std::string& text, const Where& where) {
  const auto refuse = [&](const std::string& what) { return bad_input(what, where, kSyntax); };
  if (text == "auto") return {};
  if (text == "gpu") return {{"gpu:0"}};
  const size_t dash = text.find('-');
  if (text.rfind("gpu:", 0) != 0 || dash == text.npos) return {{text}};
  int first = -1, last = -1;
  const char *const begin = text.data() + 4, *const middle = text.data() + dash, *const end = text.data() + text.size();
  const auto a = std::from_chars(begin, middle, first);
  const auto b = std::from_chars(middle + 1, end, last);
  if (a.ec != std::errc() || a.ptr != middle || b.ec != std::errc() || b.ptr != end || first < 0 || last < first)
    throw refuse(fmt::format("'{}' is no range of devices", text));
  if (last - first >= kMostCards) throw refuse(fmt::format("'{}' are more than {} devices", text, kMostCards));
  DeviceWish wish;
  for (int i = first; i <= last; ++i) wish.names.push_back(fmt::format("gpu:{}", i));
  return wish;
}

DevicePlan plan_devices(const RunEnv& env, const GraphView& graph, const std::function<bool(const NodePlan&)>& here) {
  DevicePlan plan;
  plan.precision = env.precision;
  Opened opened;
  std::vector<Candidate> candidates;
  for (const NodePlan& node : graph.nodes) {
    if (!computes(graph, node) || !here(node)) continue;
    const AskedDevice asked = asked_device(graph, node);
    Candidate& c = candidates.emplace_back();
    c.actor.node = &node;
    c.where = asked.where;
    c.devices = opened.choices(parse_device_wish(asked.text, asked.where), asked.where, plan);
  }
  if (candidates.empty()) return plan;
  // One precision for all, or what one samples another could not train on.
  const std::string asked = graph.attrs.text("precision");
  plan.precision = asked == "f32" ? DType::f32 : DType::bf16;
  for (const Candidate& c : candidates)
    for (const Device* d : c.devices)
      if (resolve_precision(asked, *d) == DType::f32) plan.precision = DType::f32;
  std::map<int, std::vector<Candidate*>> stages;
  for (Candidate& c : candidates) {
    c.actor.need = memory_need(env.graph_dir, graph, *c.actor.node, plan.precision);
    stages[c.actor.node->stage].push_back(&c);
  }
  for (const auto& [stage, of_stage] : stages) choose(of_stage);
  for (const Candidate& c : candidates)
    if (ranks_of(*c.actor.node) > 1 && is_card(*c.actor.device))
      throw bad_input(
          fmt::format("'{}' would have {} ranks on {}", c.actor.node->id, ranks_of(*c.actor.node), c.actor.device->name()),
          attr_place(*c.actor.node, "ranks"), "ranks are CPUs that share the work of a trainer: on=cpu, or ranks=1");
  check_arithmetic(graph, candidates);
  check_memory(graph, candidates);
  share_kv_memory(graph, candidates);
  for (Candidate& c : candidates) plan.actors.push_back(c.actor);
  return plan;
}

std::string device_plan_text(const GraphView& graph, const DevicePlan& plan) {
  std::set<const Device*> cards;
  for (const PlacedActor& a : plan.actors)
    if (is_card(*a.device)) cards.insert(a.device);
  std::string text;
  for (const std::string& note : plan.notes) text += note + "\n";
  const auto ranked = [](const PlacedActor& a) { return ranks_of(*a.node) > 1; };
  if (cards.empty() && std::none_of(plan.actors.begin(), plan.actors.end(), ranked)) return text;
  for (const Device* card : cards) {
    const DeviceMemory m = card->memory();
    text += fmt::format("{}: {} of {} are available\n", card->name(), bytes_text(static_cast<double>(m.available)),
                        bytes_text(static_cast<double>(m.total)));
  }
  size_t width = 0;
  for (const PlacedActor& a : plan.actors) width = std::max(width, a.node->id.size());
  int stage = -1;
  for (const PlacedActor& a : plan.actors) {
    if (a.need.none() || (cards.empty() && !ranked(a))) continue;
    if (a.node->stage != stage) text += fmt::format("stage {}\n", graph.stages[static_cast<size_t>(a.node->stage)].name);
    stage = a.node->stage;
    text += fmt::format("  {:<{}} {:<6} {}", a.node->id, width, a.device->name(), memory_text(a.need));
    if (ranked(a)) text += fmt::format(", of {} ranks together", ranks_of(*a.node));
    if (a.kv_bytes > 0 && a.kv_bytes < a.need.kv_cache) text += fmt::format("; its cache gets {}", bytes_text(a.kv_bytes));
    text += "\n";
  }
  return text;
}

void use_devices(RunEnv& env, const DevicePlan& plan) {
  env.precision = plan.precision;
  for (const PlacedActor& a : plan.actors) {
    if (a.device == env.device && a.kv_bytes == 0) continue;
    env.elsewhere[a.node->id] = {a.device, device_engines(*a.device, a.kv_bytes)};
  }
  // What no actor is on need not be in the fingerprint.
  if (!plan.actors.empty()) env.computes_on.clear();
  for (const PlacedActor& a : plan.actors)
    if (!a.need.none() && std::find(env.computes_on.begin(), env.computes_on.end(), a.device) == env.computes_on.end())
      env.computes_on.push_back(a.device);
  if (env.computes_on.empty()) env.computes_on.push_back(env.device);
}

static std::string fingerprints_of(const std::vector<const Device*>& devices, const Device& none) {
  std::vector<std::string> prints;
  for (const Device* d : devices)
    if (const std::string print = d->fingerprint(); std::find(prints.begin(), prints.end(), print) == prints.end())
      prints.push_back(print);
  return prints.empty() ? none.fingerprint() : fmt::format("{}", fmt::join(prints, " + "));
}

std::string devices_fingerprint(const RunEnv& env) { return fingerprints_of(env.computes_on, *env.device); }

std::string training_fingerprint(const RunEnv& env, const GraphView& graph) {
  std::vector<const Device*> devices;
  for (const NodePlan& node : graph.nodes)
    if (is_training(node)) devices.push_back(env_of(env, node).device);
  return fingerprints_of(devices, *env.device);
}

}  // namespace r1
