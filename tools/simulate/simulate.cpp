#include "tools/simulate/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
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

std::optional<StageSort> sort_of(const GraphView& graph, int stage) {
  const bool samples = stage_node(graph, stage, "generator") != nullptr;
  if (stage_trainer(graph, stage) != nullptr) return samples ? StageSort::learns_from_samples : StageSort::learns_from_examples;
  if (samples) return StageSort::samples;
  if (stage_node(graph, stage, "evaluator") != nullptr) return StageSort::evaluates;
  return std::nullopt;
}

int64_t batches_of(int64_t limit, const Setting& setting) {
  return setting.batches > 0 ? setting.batches : std::min(limit > 0 ? limit : kUsualBatches, kUsualBatches);
}

// Whether the one asks of the weights that a stage begins with what the other has asked of them at the end of theirs.
bool asks_the_same(const NodePlan& before, const NodePlan& after) {
  for (const char* attr : {"source", "problems", "samples", "greedy", "temperature", "max_tokens"})
    if (before.attrs.text(attr) != after.attrs.text(attr)) return false;
  const int64_t few = before.attrs.integer("problems_before");
  return few == 0 || few == after.attrs.integer("problems");
}

void add_problems(const GraphView& graph, int stage, StageShape& shape) {
  const NodePlan& trainer = *stage_trainer(graph, stage);
  const NodePlan& origin = model_origin(graph, trainer);
  for (const int n : graph.stages[static_cast<size_t>(stage)].nodes) {
    const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
    if (node.role != "evaluator") continue;
    const std::string sources = node.attrs.text("source");
    const int64_t sets = 1 + std::count(sources.begin(), sources.end(), ','), problems = node.attrs.integer("problems"),
                  few = node.attrs.integer("problems_before"), every = node.attrs.integer("every");
    shape.problems.after += sets * problems;
    if (every > 0) shape.problems.every.emplace_back(every, sets * problems);
    bool known = false;
    if (!origin.artifact)
      for (const int other : graph.stages[static_cast<size_t>(origin.stage)].nodes) {
        const NodePlan& of = graph.nodes[static_cast<size_t>(other)];
        known = known || (of.role == "evaluator" && asks_the_same(node, of));
      }
    if (!known) shape.problems.before += sets * (few > 0 ? few : problems);
  }
}

StageShape examples_shape(const GraphView& graph, const NodePlan& trainer, const Setting& setting) {
  StageShape s;
  s.sort = StageSort::learns_from_examples;
  s.examples = trainer.attrs.integer("batch");
  int64_t limit = parse_until(graph, trainer).batch_limit();
  // A set whose size stands in the graph.
  int64_t records = 0;
  bool known = true;
  for (const int e : trainer.in_edges) {
    const NodePlan& from = graph.nodes[static_cast<size_t>(graph.edges[static_cast<size_t>(e)].from)];
    const bool prompter = from.role == "prompter";
    if (prompter) records += from.attrs.integer("count");
    known = known && (!prompter ? graph.edges[static_cast<size_t>(e)].carries != "dataset" : from.attrs.integer("count") > 0);
  }
  if (const int64_t epochs = trainer.attrs.integer("epochs"); epochs > 0 && known && records > 0) {
    const int64_t all = (records * epochs + s.examples - 1) / s.examples;
    limit = limit > 0 ? std::min(limit, all) : all;
  }
  s.batches = setting.batches > 0 ? setting.batches : limit > 0 ? limit : kUsualBatches;  // a sum: there is no need for fewer
  return s;
}

StageShape evaluation_shape(const NodePlan& evaluator) {
  StageShape s;
  s.sort = StageSort::evaluates;
  const std::string sources = evaluator.attrs.text("source");
  s.groups = evaluator.attrs.integer("problems") * (1 + std::count(sources.begin(), sources.end(), ','));
  s.samples = evaluator.attrs.integer("samples");
  s.greedy = evaluator.attrs.flag("greedy");
  s.max_running = evaluator.attrs.integer("max_running");
  s.max_tokens = evaluator.attrs.integer("max_tokens");
  s.capacity = s.groups;
  return s;
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
  s.halved = s.gpus > 0 && s.trainer == 0 && s.hosts == 1;
  if (s.gpus > 0 && s.trainer == 0) s.trainer = s.hosts > 1 ? s.gpus : s.gpus / 2;
  if (s.gpus > 0 && s.hosts == 1 && s.trainer == s.gpus)
    throw bad_input("--simulate: the trainer takes all devices", {}, "fewer with trainer=, or more hosts");
  return s;
}

StageShape shape_of(const GraphView& graph, int stage, const Setting& setting) {
  const StageSort sort = *sort_of(graph, stage);
  const NodePlan* const trainer = stage_trainer(graph, stage);
  if (sort == StageSort::learns_from_examples) {
    StageShape s = examples_shape(graph, *trainer, setting);
    add_problems(graph, stage, s);
    return s;
  }
  if (sort == StageSort::evaluates) return evaluation_shape(*stage_node(graph, stage, "evaluator"));
  const NodePlan& generator = *stage_node(graph, stage, "generator");
  StageShape s;
  s.sort = sort;
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
  int64_t limit = trainer != nullptr ? parse_until(graph, *trainer).batch_limit() : 0;
  if (sort == StageSort::samples)
    if (const NodePlan* const prompter = stage_node(graph, stage, "prompter"))
      if (const int64_t count = prompter->attrs.integer("count"); count > 0) {
        s.groups = std::min(s.groups, count);
        limit = (count + s.groups - 1) / s.groups;
      }
  s.batches = batches_of(limit, setting);
  if (trainer != nullptr) add_problems(graph, stage, s);
  return s;
}

Machines machines_of(const GraphView& graph, int stage, const Setting& setting) {
  Machines m;
  const StageSort sort = *sort_of(graph, stage);
  const bool trains = stage_trainer(graph, stage) != nullptr;
  if (setting.gpus == 0) {
    if (sort != StageSort::learns_from_examples) m.generators = {0};
    m.trainers = trains ? 1 : 0;
    m.reference_apart = true;
    return m;
  }
  m.evaluates_beside = true;
  const int64_t devices = setting.hosts * setting.gpus;
  if (sort == StageSort::learns_from_examples) {
    m.trainers = static_cast<int>(setting.halved ? setting.gpus : setting.trainer);
    m.idle = devices - m.trainers;
    return m;
  }
  const int64_t first = trains ? setting.trainer : 0;  // of the head's devices that sample
  m.trainers = static_cast<int>(first);
  if (sort == StageSort::evaluates) {  // done whole by one node
    m.generators = {0};
    m.idle = devices - 1;
    return m;
  }
  // One entry of a host file for each device that does not train.
  std::vector<FleetEntry> entries;
  std::map<std::string, int> host_of;
  for (int64_t host = 0; host < setting.hosts; ++host)
    for (int64_t gpu = host == 0 ? first : 0; gpu < setting.gpus; ++gpu) {
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
  m.idle = devices - m.trainers - std::ssize(m.generators);
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
    if (!sort_of(graph, stage)) continue;
    SimulatedStage s;
    s.name = graph.stages[i].name;
    s.shape = shape_of(graph, stage, setting);
    s.machines = machines_of(graph, stage, setting);
    s.result = simulate_stage(s.shape, s.machines, run ? measured_costs(costs, s.name, s.shape) : read_costs(costs),
                              static_cast<uint64_t>(graph.attrs.integer("seed")));
    out.push_back(std::move(s));
  }
  if (out.empty())
    throw bad_input("this graph has no stage that samples, trains or measures", {graph.file},
                    "--simulate is about stages with a generator, a trainer or an evaluator");
  return out;
}

namespace {

const char* word_of(StageSort sort) {
  switch (sort) {
    case StageSort::learns_from_samples:
      return "learns from samples";
    case StageSort::learns_from_examples:
      return "learns from examples";
    case StageSort::samples:
      return "samples";
    case StageSort::evaluates:
      return "evaluates";
  }
  return "";
}

std::string head_line(const SimulatedStage& s) {
  const StageShape& shape = s.shape;
  std::string text = fmt::format("stage {}: ", s.name);
  if (shape.sort == StageSort::learns_from_examples)
    text += fmt::format("{} of {}", report::plural(s.result.batches, "batch"), report::plural(shape.examples, "example"));
  else if (shape.sort == StageSort::evaluates)
    text += fmt::format("{} of {}{}", report::plural(shape.groups, "prompt"), report::plural(shape.samples, "completion"),
                        shape.greedy ? " and a greedy one" : "");
  else
    text += fmt::format("{} of {} groups of {} completions", report::plural(s.result.batches, "batch"), shape.groups,
                        shape.samples);
  if (shape.sort == StageSort::learns_from_samples) text += fmt::format(", staleness {}", shape.staleness);
  const std::string sampling = report::plural(std::ssize(s.machines.generators), "device");
  switch (shape.sort) {
    case StageSort::learns_from_samples:
      text += fmt::format("; {} to sample, {} to train", sampling, s.machines.trainers);
      break;
    case StageSort::learns_from_examples:
      text += fmt::format("; {} to train", report::plural(s.machines.trainers, "device"));
      break;
    case StageSort::samples:
    case StageSort::evaluates:
      text += fmt::format("; {} to sample", sampling);
  }
  if (s.machines.idle > 0) text += fmt::format(", {} without work", s.machines.idle);
  return text + "\n";
}

}  // namespace

std::string simulation_table(const std::vector<SimulatedStage>& stages) {
  std::string text;
  const auto percent = [](double share) { return fmt::format("{:.0f} %", 100 * share); };
  for (const SimulatedStage& s : stages) {
    const StageResult& r = s.result;
    const StageSort sort = s.shape.sort;
    const double batches = static_cast<double>(std::max<int64_t>(r.batches, 1)), seconds = std::max(r.seconds, 1e-300);
    text += head_line(s);
    const auto line = [&](const char* what, const std::string& value) { text += fmt::format("  {:<22} {}\n", what, value); };
    line("time", sort == StageSort::evaluates ? fmt::format("{:.3f} s", r.seconds)
                                              : fmt::format("{:.3f} s, {:.4g} s a batch", r.seconds, r.seconds / batches));
    const std::string sampled = fmt::format("{:.0f} sampled", r.tokens_generated / seconds),
                      trained = fmt::format("{:.0f} trained", r.tokens_trained / seconds);
    line("tokens a second", sort == StageSort::learns_from_samples    ? sampled + ", " + trained
                            : sort == StageSort::learns_from_examples ? trained
                                                                      : sampled);
    if (sort != StageSort::learns_from_examples)
      line("generators at work",
           fmt::format("{} (from {} to {}){}", percent(r.generators), percent(r.idlest), percent(r.busiest),
                       sort == StageSort::learns_from_samples ? "; held back by staleness " + percent(r.held_back) : ""));
    if (s.machines.trainers > 0) line("trainer at work", percent(r.trainer));
    if (s.shape.reference) line("reference at work", percent(r.reference));
    if (r.evaluator > 0) line("evaluators at work", percent(r.evaluator));
    if (sort != StageSort::learns_from_examples) {
      line("judge at work", percent(r.judge));
      line("the head's link", fmt::format("sends {} ({} a batch), takes in {} ({} a batch)", percent(r.link_out),
                                          report::bytes_text(r.bytes_out / batches), percent(r.link_in),
                                          report::bytes_text(r.bytes_in / batches)));
    }
    if (sort == StageSort::learns_from_samples)
      line("age when trained", fmt::format("{:.2f} versions, at most {}", r.age, r.age_max));
    line("so", what_to_scale(r));
  }
  return text;
}

std::string simulation_json(const std::vector<SimulatedStage>& stages) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const SimulatedStage& s : stages) {
    const StageResult& r = s.result;
    const StageSort sort = s.shape.sort;
    // What a stage has not is absent.
    nlohmann::ordered_json use, stage = {{"stage", s.name}, {"does", word_of(sort)}};
    if (sort != StageSort::learns_from_examples) {
      stage["generators"] = s.machines.generators.size();
      use = {{"generators", r.generators}, {"generators_idlest", r.idlest}, {"generators_busiest", r.busiest}};
      if (sort == StageSort::learns_from_samples) use["generators_held_back"] = r.held_back;
      use.update({{"judge", r.judge}, {"link_out", r.link_out}, {"link_in", r.link_in}});
    }
    if (s.machines.trainers > 0) {
      stage["trainers"] = s.machines.trainers;
      use["trainer"] = r.trainer;
    }
    if (s.shape.reference) use["reference"] = r.reference;
    if (r.evaluator > 0) use["evaluator"] = r.evaluator;
    stage["devices_without_work"] = s.machines.idle;
    if (sort != StageSort::evaluates) stage["batches"] = r.batches;
    stage["seconds"] = r.seconds;
    if (sort != StageSort::learns_from_examples) stage["tokens_generated"] = r.tokens_generated;
    if (s.machines.trainers > 0) stage["tokens_trained"] = r.tokens_trained;
    stage["use"] = use;
    if (sort != StageSort::learns_from_examples) {
      stage["bytes_out"] = r.bytes_out;
      stage["bytes_in"] = r.bytes_in;
    }
    if (sort == StageSort::learns_from_samples) {
      stage["age"] = r.age;
      stage["age_max"] = r.age_max;
    }
    stage["so"] = what_to_scale(r);
    out.push_back(std::move(stage));
  }
  return out.dump(2) + "\n";
}

}  // namespace r1::simulate
