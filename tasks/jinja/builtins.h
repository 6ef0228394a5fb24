// Filters, tests, methods and functions that chat templates use. Internal to tasks/jinja.
// Thread rule: pure functions.
#pragma once

#include <deque>
#include <string>

#include "tasks/jinja/value.h"

namespace r1::jinja {

// Calls `name` on `value`. Refuse names that are not known, and arguments that do not fit.
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
// How many steps of a rendering `name` takes that the size of its result does not show.
int64_t filter_cost(const std::string& name, const Value& value, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);

// The method `name` of a text or a dict, bound to it; undefined when there is none.
Value method(const Value& value, const std::string& name);
// value.name as Jinja looks it up: a method first, then a member; undefined when there is neither. Refuses undefined values.
Value attribute(const Value& value, const std::string& name);
// value[key]: an item, then an attribute; undefined when there is neither.
Value item(const Value& value, const Value& key);

// range, namespace, dict, raise_exception. Not strftime_now: a prompt must not depend on the day it is rendered on; templates
// that ask whether it is there have a date of their own. Namespaces are put into `spaces`, which must live as long as they.
Dict global_functions(std::deque<Dict>& spaces);

}  // namespace r1::jinja
