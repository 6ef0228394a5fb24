// Takes the lines of the log (base/log.h) for itself. Not for runs: for simulations, whose schedule the log is a part of.
// Thread rule: any thread; the sink is called on the threads that log.
#pragma once

#include <functional>
#include <string_view>

#include "base/log.h"

namespace r1 {

// Lines go to `sink` and nowhere else; an empty one: where they went before.
void log_to(std::function<void(LogLevel, std::string_view)> sink);

}  // namespace r1
