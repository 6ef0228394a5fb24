// What r1-shell may set while a run goes on: the attributes of a trainer or distiller that are journaled (AttrChange in
// runtime/graph/graph.h), and `until`. The trainer says from which batch on (actors/trainer_role.cpp); the run store keeps it
// (table `changes`), so that a restart and a replay honour it (actors/changed_run.h). The graph in the run directory stays what
// the command said: the same command continues the run, with what was set.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1 {

bool is_live(const RoleSpec& role, const AttrSpec& attr);

// Whether `node`.`attr` may become `value`: all that is checked of a graph is checked of `graph` with it and with what was set
// before. Throws bad_input.
void check_live_set(const GraphView& graph, const RoleRegistry&, const RunStore&, const std::string& node,
                    const std::string& attr, const std::string& value);

// All that may be set of the stages that have not ended: attribute, value now, what it does.
struct LiveAttr {
  std::string attribute, value, doc;
};
std::vector<LiveAttr> live_attributes(const GraphView& graph, const RoleRegistry&, const RunStore&);

// What differs from `graph` by what was set, one line an attribute: "rl_trainer.lr: 2e-4 -> 1e-4, from batch 12 on".
std::vector<std::string> live_sets(const GraphView& graph, const RunStore&);

}  // namespace r1
