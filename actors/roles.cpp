#include "actors/roles.h"

#include <utility>

#include "actors/artifacts.h"
#include "actors/evaluator_role.h"
#include "actors/filter_role.h"
#include "actors/generator_role.h"
#include "actors/judge_role.h"
#include "actors/prompter_role.h"
#include "actors/reference_role.h"
#include "actors/trainer_role.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

using GiveKind = RoleKind (*)(const fs::path& graph_dir);
constexpr GiveKind kRoles[] = {prompter_kind,  generator_kind, judge_kind,     filter_kind,
                               reference_kind, trainer_kind,   distiller_kind, evaluator_kind};

std::vector<AttrSpec> graph_attrs() {
  using namespace spec;
  return {
      integer("seed", "0", 0, 9'007'199'254'740'991, "of everything random"),
      choice("precision", "auto", {"auto", "f32", "bf16"}, "of weights and activations"),
      text("device", "cpu", "where actors compute that do not say on=: cpu, gpu:0, gpu:0-3 (one of them) or auto"),
      changeable(integer("parallel_stages", "1", 1, 1024, "independent stages that may run at the same time")),
      changeable(text("tracker", "", "command(PROGRAM ...): is told every batch's metrics as JSON lines (docs/formats.md)")),
      changeable(number("stall_s", "60", 0.1, 1e6, "seconds without progress before a stall is reported")),
      changeable(number("job_stall_s", "900", 0.1, 1e6,
                        "the same while a piece of work is at hand: it moves with each micro-batch, decode step or example")),
      changeable(integer("max_restarts", "3", 0, 1000, "restarts of a failed stage without progress in between"))};
}

}  // namespace

RoleRegistry role_registry(const fs::path& graph_dir, const std::shared_ptr<ReadOnce>& once) {
  RoleRegistry registry;
  for (const GiveKind kind : kRoles) registry.roles.push_back(kind(graph_dir).spec);
  registry.artifacts = {model_kind(graph_dir, once).spec, dataset_kind(graph_dir).spec};
  registry.graph_attrs = graph_attrs();
  return registry;
}

RoleRegistry recorded_role_registry(const fs::path& graph_dir, const std::map<std::string, std::string>& source_kinds) {
  RoleRegistry registry = role_registry(graph_dir);
  registry.recorded = true;
  for (auto* specs : {&registry.roles, &registry.artifacts})
    for (RoleSpec& role : *specs) {
      role.check = {};
      if (role.ports_of)
        role.ports_of = [source_kinds, before = role.ports_of](const NodePlan& node) {
          const auto known = source_kinds.find(node.attrs.text("source"));
          return known == source_kinds.end() ? before(node) : std::vector<PortSpec>{spec::gives(known->second.c_str())};
        };
    }
  return registry;
}

RoleFactory role_factory(const RunEnv& env) {
  std::map<std::string, RoleKind> kinds;
  for (const GiveKind give : kRoles) {
    RoleKind kind = give(env.graph_dir);
    kinds.emplace(kind.spec.name, std::move(kind));
  }
  return [env, kinds = std::move(kinds)](const GraphView&, const NodePlan& node) {
    return kinds.at(node.role).make(env_of(env, node));
  };
}

}  // namespace r1
