#include "tools/simulate/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "actors/run_env.h"
#include "actors/training_plan.h"
#include "base/error.h"
#include "runtime/nodes/placement.h"
#include "tools/report/html.h"

namespace r1::simulate {

namespace {

constexpr int64_t kMostHosts = 4096, kMostDevices = 4096, kMostBatches = 100'000, kUsualBatches = 64;
constexpr int64_t kUsualCapacity = 64;

bool simulated(const GraphView& graph, int stage) {
  const NodePlan* const trainer = stage_trainer(graph, stage);
  return trainer != nullptr && stage_node(graph, stage, "generator") != nullptr && trainer->attrs.text("objective") == "grpo";
}

}  // namespace

Setting parse_setting(const std::string& text) {
  constexpr const char* kHint = "such as hosts=4,gpus=8 or hosts=4,gpus=8,trainer=8,batches=64; gpus=0: this machine";
  Setting s;
  struct Word {
    const char* name;
    int64_t* value;
    int64_t min, max;
  };
  const Word words[] = {{"hosts", &s.hosts, 1, kMostHosts},
                        {"gpus", &s.gpus, 0, 64},
                        {"trainer", &s.trainer, 1, 64},
                        {"batches", &s.batches, 1, kMostBatches}};
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    const size_t equals = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, equals), value = word.substr(std::min(word.size(), equals + 1));
    const auto known = std::find_if(std::begin(words), std::end(words), [&](const Word& w) { return name == w.name; });
    if (known == std::end(words)) throw bad_input(fmt::format("--simulate: there is no '{}'", name.substr(0, 60)), {}, kHint);
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *known->value);
    if (value.empty() || error != std::errc() || end != value.data() + value.size() || *known->value < known->min ||
        *known->value > known->max)
      throw bad_input(fmt::format("--simulate: {} is '{}', and a number from {} to {} is expected", name, value.substr(0, 60),
                                  known->min, known->max),
                      {}, kHint);
  }
  if (s.gpus == 0 && (s.hosts != 1 || s.trainer != 0))
    throw bad_input("--simulate: without GPUs it is one host, whose engines share its cores", {}, kHint);
  if (s.hosts * s.gpus > kMostDevices)
    throw bad_input(fmt::format("--simulate: more than {} devices", kMostDevices), {}, kHint);
  if (s.gpus > 0 && s.trainer > s.gpus)
    throw bad_input(fmt::format("--simulate: trainer={} is more than the {} devices of a host", s.trainer, s.gpus), {},
                    "a trainer stays with the head, on one host");
  if (s.hosts * s.gpus == 1)
    throw bad_input("--simulate: one GPU cannot train and sample at once here", {}, "gpus=2, or gpus=0");
  if (s.gpus > 0 && s.trainer == 0) s.trainer = s.hosts > 1 ? s.gpus : s.gpus / 2;
  if (s.gpus > 0 && s.hosts == 1 && s.trainer == s.gpus)
    throw bad_input("--simulate: the trainer takes all devices", {}, "fewer with trainer=, or more hosts");
  return s;
}

StageShape shape_of(const GraphView& graph, int stage, const Setting& setting) {
  const NodePlan& generator = *stage_node(graph, stage, "generator");
  const NodePlan& trainer = *stage_trainer(graph, stage);
  StageShape s;
  s.groups = stage_window(graph, stage);
  s.samples = generator.attrs.integer("samples");
  s.staleness = stage_staleness(graph, stage);
  s.max_running = generator.attrs.integer("max_running");
  s.max_tokens = generator.attrs.integer("max_tokens");
  s.recompute = generator.attrs.text("on_flip") == "recompute";
  s.reference = stage_node(graph, stage, "reference") != nullptr;
  s.capacity = kUsualCapacity;
  for (const int e : generator.in_edges)
    if (graph.edges[static_cast<size_t>(e)].carries == "prompts" && graph.edges[static_cast<size_t>(e)].attrs.has("capacity"))
      s.capacity = graph.edges[static_cast<size_t>(e)].attrs.integer("capacity");
  const int64_t limit = parse_until(graph, trainer).batch_limit();
  s.batches = setting.batches > 0 ? setting.batches : std::min(limit > 0 ? limit : kUsualBatches, kUsualBatches);
  return s;
}

Machines machines_of(const GraphView& graph, int stage, const Setting& setting) {
  Machines m;
  if (setting.gpus == 0) {
    m.generators = {0};
    m.reference_apart = true;
    return m;
  }
  m.trainers = static_cast<int>(setting.trainer);
  // One entry of a host file for each device that does not train.
  std::vector<FleetEntry> entries;
  std::map<std::string, int> host_of;
  for (int64_t host = 0; host < setting.hosts; ++host)
    for (int64_t gpu = host == 0 ? setting.trainer : 0; gpu < setting.gpus; ++gpu) {
      FleetEntry& e = entries.emplace_back();
      e.name = fmt::format("node{}", entries.size());
      e.host = host == 0 ? "" : fmt::format("host{}", host + 1);
      e.device = fmt::format("gpu:{}", gpu);
      host_of[e.name] = static_cast<int>(host);
    }
  const auto node = static_cast<int>(stage_node(graph, stage, "generator") - graph.nodes.data());
  const Placement placement = place_roles(graph, {node}, entries);
  for (const std::string& name : placement.at(node)) m.generators.push_back(host_of.at(name));
  // As many work at a time; the others would step in for one that is lost.
  const Attrs& attrs = graph.nodes[static_cast<size_t>(node)].attrs;
  const auto most = static_cast<size_t>(attrs.has("replicas") ? attrs.integer("replicas") : 0);
  if (most > 0 && most < m.generators.size()) m.generators.resize(most);
  return m;
}

std::vector<SimulatedStage> simulate_graph(const GraphView& graph, const Setting& setting, const std::filesystem::path& costs) {
  if (costs.empty())
    throw bad_input("--simulate needs to know what engines take", {},
                    "--costs FILE.json, or --costs RUN_DIR of a run that was");
  const bool run = std::filesystem::is_directory(costs);
  std::vector<SimulatedStage> out;
  for (size_t i = 0; i < graph.stages.size(); ++i) {
    const int stage = static_cast<int>(i);
    if (!simulated(graph, stage)) continue;
    SimulatedStage s;
    s.name = graph.stages[i].name;
    s.shape = shape_of(graph, stage, setting);
    s.machines = machines_of(graph, stage, setting);
    s.result = simulate_stage(s.shape, s.machines, run ? measured_costs(costs, s.name) : read_costs(costs),
                              static_cast<uint64_t>(graph.attrs.integer("seed")));
    out.push_back(std::move(s));
  }
  if (out.empty())
    throw bad_input("this graph has no stage that samples and trains on it", {graph.file},
                    "--simulate is about stages with a generator and a trainer with objective=grpo");
  return out;
}

std::string simulation_table(const std::vector<SimulatedStage>& stages) {
  std::string text;
  const auto percent = [](double share) { return fmt::format("{:.0f} %", 100 * share); };
  for (const SimulatedStage& s : stages) {
    const StageResult& r = s.result;
    const double batches = static_cast<double>(std::max<int64_t>(r.batches, 1));
    text += fmt::format("stage {}: {} of {} groups of {} completions, staleness {}; {} to sample, {} to train\n", s.name,
                        report::plural(r.batches, "batch"), s.shape.groups, s.shape.samples, s.shape.staleness,
                        report::plural(std::ssize(s.machines.generators), "device"), s.machines.trainers);
    const auto line = [&](const char* what, const std::string& value) { text += fmt::format("  {:<22} {}\n", what, value); };
    line("time", fmt::format("{:.3f} s, {:.4g} s a batch", r.seconds, r.seconds / batches));
    line("tokens a second",
         fmt::format("{:.0f} sampled, {:.0f} trained", r.tokens_generated / r.seconds, r.tokens_trained / r.seconds));
    line("generators at work", fmt::format("{} (from {} to {}); held back by staleness {}", percent(r.generators),
                                           percent(r.idlest), percent(r.busiest), percent(r.held_back)));
    line("trainer at work", percent(r.trainer));
    if (s.shape.reference) line("reference at work", percent(r.reference));
    line("judge at work", percent(r.judge));
    line("the head's link",
         fmt::format("sends {} ({} a batch), takes in {} ({} a batch)", percent(r.link_out),
                     report::bytes_text(r.bytes_out / batches), percent(r.link_in), report::bytes_text(r.bytes_in / batches)));
    line("age when trained", fmt::format("{:.2f} versions, at most {}", r.age, r.age_max));
    line("so", what_to_scale(r));
  }
  return text;
}

std::string simulation_json(const std::vector<SimulatedStage>& stages) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const SimulatedStage& s : stages) {
    const StageResult& r = s.result;
    out.push_back({{"stage", s.name},
                   {"generators", s.machines.generators.size()},
                   {"trainers", s.machines.trainers},
                   {"batches", r.batches},
                   {"seconds", r.seconds},
                   {"tokens_generated", r.tokens_generated},
                   {"tokens_trained", r.tokens_trained},
                   {"use",
                    {{"generators", r.generators},
                     {"generators_idlest", r.idlest},
                     {"generators_busiest", r.busiest},
                     {"generators_held_back", r.held_back},
                     {"trainer", r.trainer},
                     {"reference", r.reference},
                     {"judge", r.judge},
                     {"link_out", r.link_out},
                     {"link_in", r.link_in}}},
                   {"bytes_out", r.bytes_out},
                   {"bytes_in", r.bytes_in},
                   {"age", r.age},
                   {"age_max", r.age_max},
                   {"so", what_to_scale(r)}});
  }
  return out.dump(2) + "\n";
}

}  // namespace r1::simulate
