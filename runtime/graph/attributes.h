// What attributes mean: which are only cosmetic, how values are typed, how an attribute is declared. Internal to runtime/graph.
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph/graph.h"

namespace r1::graph {

// Attributes of DOT that only change the drawing; they pass everywhere and mean nothing here.
bool is_cosmetic(const std::string& name);
const std::vector<std::string>& cosmetic_names();

const AttrSpec* find_attr(const std::vector<AttrSpec>& specs, const std::string& name);

// Throws bad_input at `attr.where` when the value does not have the declared type, range or choice. `owner`: "rl1_trainer".
void check_value(const AttrSpec& spec, const Attr& attr, const std::string& owner);
// Every given value of `attrs` by check_value; bad_input at `where` when a required one is missing.
void check_values(const std::vector<AttrSpec>& specs, const Attrs& attrs, const std::string& owner, const Where& where);
// Fills attrs.fallback: every declared name, "" for one without a default.
void declare(const std::vector<AttrSpec>& specs, Attrs& attrs);

// "did you mean 'x'?" for the nearest of `names`, then of the cosmetic ones; "" when none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& names, bool with_cosmetics);
std::vector<std::string> names_of(const std::vector<AttrSpec>& specs);
std::string with_article(const std::string& word);                                   // "a judge", "an evaluator"
std::string listed(const std::vector<std::string>& words, const std::string& last);  // "a, b or c"

}  // namespace r1::graph
