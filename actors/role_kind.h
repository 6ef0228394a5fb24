// A role (or a kind of artifact) as its file gives it away - what a graph may say about it, what is checked about it before a
// run starts (P10), how it is made - and the words in which that is said. Not the list of all of them (actors/roles.cpp).
// Thread rule: values and pure functions; checks may read headers of files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "runtime/flow/role.h"
#include "runtime/graph/graph.h"

namespace r1 {

struct RoleKind {
  RoleSpec spec;
  std::unique_ptr<Role> (*make)(const RunEnv&) = nullptr;  // null for artifacts, which nobody plays
};

namespace spec {

// Attributes. Both bounds are inclusive, and docs/limits.md says why they are what they are: a test walks the registry, and a
// numeric attribute without its row there fails it. One name has one range, whichever role has it.
AttrSpec text(const char* name, const char* fallback, const char* doc);
AttrSpec required_text(const char* name, const char* doc);
AttrSpec integer(const char* name, const char* fallback, int64_t min, int64_t max, const char* doc);
AttrSpec number(const char* name, const char* fallback, double min, double max, const char* doc);
// `temperature` and `top_p` of sampling. What is above 0 is so as a float too, and leaves finite numbers.
AttrSpec temperature(const char* doc);
AttrSpec top_p();
AttrSpec flag(const char* name, const char* fallback, const char* doc);
AttrSpec choice(const char* name, const char* fallback, std::vector<std::string> choices, const char* doc);
AttrSpec required(AttrSpec attr);
AttrSpec journaled(AttrSpec attr);   // AttrChange::journaled: of an update and nothing else
AttrSpec changeable(AttrSpec attr);  // AttrChange::free
AttrSpec only_with(const char* other, std::vector<std::string> values, AttrSpec attr);  // AttrSpec::only_with

// Attributes of edges, and those that several roles have.
AttrSpec carried(AttrSpec attr, std::vector<std::string> kinds);  // of edges that carry one of these only
AttrSpec capacity();
AttrSpec model_name();
AttrSpec stop();
AttrSpec decontaminate();

// Ports.
PortSpec takes(const char* carries, bool required = false, bool many = false);
PortSpec takes_finished(const char* carries, bool many = false);
PortSpec takes_weights(Versions versions);
PortSpec gives(const char* carries, bool many = false);
PortSpec gives_finished(const char* carries);

}  // namespace spec
}  // namespace r1
