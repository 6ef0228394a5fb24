#include "actors/role_kind.h"

#include <utility>

#include "models/generation/generation.h"

namespace r1::spec {

AttrSpec text(const char* name, const char* fallback, const char* doc) {
  AttrSpec attr;
  attr.name = name;
  attr.fallback = fallback;
  attr.doc = doc;
  return attr;
}
AttrSpec required_text(const char* name, const char* doc) { return required(text(name, "", doc)); }
AttrSpec integer(const char* name, const char* fallback, int64_t min, int64_t max, const char* doc) {
  AttrSpec attr = number(name, fallback, static_cast<double>(min), static_cast<double>(max), doc);
  attr.type = AttrType::integer;
  return attr;
}
AttrSpec number(const char* name, const char* fallback, double min, double max, const char* doc) {
  AttrSpec attr = text(name, fallback, doc);
  attr.type = AttrType::number;
  attr.min = min;
  attr.max = max;
  return attr;
}
AttrSpec temperature(const char* doc) {
  AttrSpec attr = number("temperature", "1", kLeastTemperature, kMostTemperature, doc);
  attr.or_zero = true;
  return attr;
}
AttrSpec top_p() { return number("top_p", "1", kLeastTopP, 1, "1: off"); }
AttrSpec flag(const char* name, const char* fallback, const char* doc) {
  AttrSpec attr = text(name, fallback, doc);
  attr.type = AttrType::flag;
  return attr;
}
AttrSpec choice(const char* name, const char* fallback, std::vector<std::string> choices, const char* doc) {
  AttrSpec attr = text(name, fallback, doc);
  attr.type = AttrType::choice;
  attr.choices = std::move(choices);
  return attr;
}
AttrSpec required(AttrSpec attr) {
  attr.required = true;
  return attr;
}
AttrSpec journaled(AttrSpec attr) {
  attr.change = AttrChange::journaled;
  return attr;
}
AttrSpec changeable(AttrSpec attr) {
  attr.change = AttrChange::free;
  return attr;
}

AttrSpec only_with(const char* other, std::vector<std::string> values, AttrSpec attr) {
  attr.only_with = {other, std::move(values)};
  return attr;
}

AttrSpec carried(AttrSpec attr, std::vector<std::string> kinds) {
  attr.only_carrying = std::move(kinds);
  return attr;
}
// Weights and metrics replace what waits to be sent, and what is finished crosses once.
AttrSpec capacity() {
  return carried(integer("capacity", "64", 1, 65536, "messages that may be on the way before the sender waits"),
                 {"prompts", "trajectories", "scored", "groups", "examples", "pairs"});
}
AttrSpec model_name() { return carried(text("as", "", "the name of a reward model in a judge's `rewards`"), {"model"}); }
AttrSpec decontaminate() {
  return choice(
      "decontaminate", "report", {"off", "report", "drop"},
      "records of files with ten words in a row of what an evaluator asks: not looked for, reported before the run, or "
      "left out as contaminated");
}
AttrSpec stop() {
  return text("stop", "",
              "texts that end a completion: one as it stands, or several in single quotes and with commas; \\n is a new line");
}

PortSpec takes(const char* carries, bool required, bool many) {
  PortSpec port;
  port.carries = carries;
  port.required = required;
  port.many = many;
  return port;
}
PortSpec takes_finished(const char* carries, bool many) {
  PortSpec port = takes(carries, false, many);
  port.crosses = true;
  port.inside = false;
  return port;
}
PortSpec takes_weights(Versions versions) {
  PortSpec port = takes("weights");
  port.versions = versions;
  return port;
}
PortSpec gives(const char* carries, bool many) {
  PortSpec port = takes(carries, false, many);
  port.input = false;
  return port;
}
PortSpec gives_finished(const char* carries) {
  PortSpec port = takes_finished(carries, true);
  port.input = false;
  return port;
}

}  // namespace r1::spec
