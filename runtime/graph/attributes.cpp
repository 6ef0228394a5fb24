#include "runtime/graph/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "base/clipped.h"

namespace r1 {

namespace {

template <class T>
std::optional<T> parsed(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

bool Attrs::has(const std::string& name) const {
  if (given.count(name)) return true;
  const auto it = fallback.find(name);
  return it != fallback.end() && !it->second.empty();
}

std::string Attrs::text(const std::string& name) const {
  if (const auto it = given.find(name); it != given.end()) return it->second.value;
  const auto it = fallback.find(name);
  R1_CHECK(it != fallback.end(), fmt::format("no attribute '{}' is declared here", name));
  return it->second;
}

int64_t Attrs::integer(const std::string& name) const {
  const auto value = parsed<int64_t>(text(name));
  R1_CHECK(value.has_value(), fmt::format("attribute '{}' holds no integer: '{}'", name, text(name)));
  return *value;
}

double Attrs::number(const std::string& name) const {
  const auto value = parsed<double>(text(name));
  R1_CHECK(value.has_value(), fmt::format("attribute '{}' holds no number: '{}'", name, text(name)));
  return *value;
}

bool Attrs::flag(const std::string& name) const {
  const std::string value = text(name);
  R1_CHECK(value == "true" || value == "false", fmt::format("attribute '{}' holds no flag: '{}'", name, value));
  return value == "true";
}

Where Attrs::where(const std::string& name) const {
  const auto it = given.find(name);
  return it == given.end() ? Where{} : it->second.where;
}

const RoleSpec* RoleRegistry::find(const std::string& role) const {
  for (const auto* list : {&roles, &artifacts})
    for (const RoleSpec& spec : *list)
      if (spec.name == role) return &spec;
  return nullptr;
}

}  // namespace r1

namespace r1::graph {

const std::vector<std::string>& cosmetic_names() {
  static const std::vector<std::string> kNames = {"label",
                                                  "color",
                                                  "fillcolor",
                                                  "fontcolor",
                                                  "fontname",
                                                  "fontsize",
                                                  "shape",
                                                  "style",
                                                  "rankdir",
                                                  "rank",
                                                  "penwidth",
                                                  "width",
                                                  "height",
                                                  "fixedsize",
                                                  "tooltip",
                                                  "constraint",
                                                  "weight",
                                                  "minlen",
                                                  "arrowhead",
                                                  "arrowtail",
                                                  "arrowsize",
                                                  "dir",
                                                  "newrank",
                                                  "compound",
                                                  "splines",
                                                  "nodesep",
                                                  "ranksep",
                                                  "bgcolor",
                                                  "pencolor",
                                                  "margin",
                                                  "pad",
                                                  "labelloc",
                                                  "labeljust",
                                                  "labelangle",
                                                  "labeldistance",
                                                  "labelfontcolor",
                                                  "labelfontname",
                                                  "labelfontsize",
                                                  "headlabel",
                                                  "taillabel",
                                                  "xlabel",
                                                  "URL",
                                                  "href",
                                                  "comment",
                                                  "colorscheme",
                                                  "gradientangle",
                                                  "peripheries",
                                                  "sides",
                                                  "orientation",
                                                  "ordering",
                                                  "concentrate",
                                                  "clusterrank",
                                                  "center",
                                                  "charset",
                                                  "dpi",
                                                  "ratio",
                                                  "size",
                                                  "overlap",
                                                  "layout",
                                                  "lhead",
                                                  "ltail",
                                                  "headport",
                                                  "tailport",
                                                  "decorate",
                                                  "group",
                                                  "pos",
                                                  "id",
                                                  "class",
                                                  "image",
                                                  "forcelabels",
                                                  "outputorder",
                                                  "nojustify",
                                                  "regular",
                                                  "skew",
                                                  "distortion",
                                                  "samehead",
                                                  "sametail",
                                                  "target"};
  return kNames;
}

bool is_cosmetic(const std::string& name) {
  const auto& names = cosmetic_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

const AttrSpec* find_attr(const std::vector<AttrSpec>& specs, const std::string& name) {
  for (const AttrSpec& spec : specs)
    if (spec.name == name) return &spec;
  return nullptr;
}

std::vector<std::string> names_of(const std::vector<AttrSpec>& specs) {
  std::vector<std::string> names;
  for (const AttrSpec& spec : specs) names.push_back(spec.name);
  return names;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& names, bool with_cosmetics) {
  std::string near = nearest(word, names);
  if (near.empty() && with_cosmetics) near = nearest(word, cosmetic_names());
  return near.empty() ? "" : fmt::format("did you mean '{}'?", near);
}

std::string with_article(const std::string& word) {
  const bool vowel = !word.empty() && std::string("aeiou").find(word[0]) != std::string::npos;
  return (vowel ? "an " : "a ") + word;
}

std::string listed(const std::vector<std::string>& words, const std::string& last) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " " + last + " " : ", ";
    text += words[i];
  }
  return text;
}

static void check_range(const AttrSpec& spec, const Attr& attr, const std::string& owner, double value) {
  const bool low = spec.min && value < *spec.min && !(spec.or_zero && value == 0), high = spec.max && value > *spec.max;
  if (!low && !high) return;
  const std::string wanted = spec.min && spec.max ? fmt::format("{}from {} to {}", spec.or_zero ? "0, or " : "", *spec.min, *spec.max)
                             : spec.min           ? fmt::format("at least {}", *spec.min)
                                                  : fmt::format("at most {}", *spec.max);
  throw bad_input(fmt::format("{}.{} must be {}, got {}", owner, spec.name, wanted, clipped(attr.value)), attr.where, spec.doc);
}

void check_value(const AttrSpec& spec, const Attr& attr, const std::string& owner) {
  const auto refuse = [&](const std::string& wanted, std::string hint) {
    throw bad_input(fmt::format("{}.{} must be {}, got '{}'", owner, spec.name, wanted, clipped(attr.value)), attr.where,
                    std::move(hint));
  };
  switch (spec.type) {
    case AttrType::text:
      if (spec.required && attr.value.empty())
        throw bad_input(fmt::format("{}.{} must not be empty", owner, spec.name), attr.where, spec.doc);
      break;
    case AttrType::integer: {
      const auto value = parsed<int64_t>(attr.value);
      if (!value) refuse("an integer", spec.doc);
      check_range(spec, attr, owner, static_cast<double>(*value));
      break;
    }
    case AttrType::number: {
      const auto value = parsed<double>(attr.value);
      if (!value || !std::isfinite(*value)) refuse("a number", spec.doc);
      check_range(spec, attr, owner, *value);
      break;
    }
    case AttrType::flag:
      if (attr.value != "true" && attr.value != "false") refuse("true or false", spec.doc);
      break;
    case AttrType::choice:
      if (std::find(spec.choices.begin(), spec.choices.end(), attr.value) == spec.choices.end())
        refuse(listed(spec.choices, "or"), suggestion(attr.value, spec.choices, false));
      break;
  }
}

void check_values(const std::vector<AttrSpec>& specs, const Attrs& attrs, const std::string& owner, const Where& where) {
  std::set<std::string> seen;
  for (const AttrSpec& spec : specs) {
    if (!seen.insert(spec.name).second) continue;
    if (const auto it = attrs.given.find(spec.name); it != attrs.given.end())
      check_value(spec, it->second, owner);
    else if (spec.required && spec.fallback.empty())
      throw bad_input(fmt::format("{} needs the attribute '{}'", owner, spec.name), where, spec.doc);
  }
}

void declare(const std::vector<AttrSpec>& specs, Attrs& attrs) {
  for (const AttrSpec& spec : specs) attrs.fallback.emplace(spec.name, spec.fallback);
}

}  // namespace r1::graph
