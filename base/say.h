// What a program says on stderr beside its answer: warnings, progress, why it ends. A stderr that takes nothing (a full disk, a
// closed pipe) changes nothing else: fmt::print() would throw there, which in a thread or in a handler ends the program.
//
// Thread rule: any thread; one call is one write where the text fits stdio's.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace r1 {

template <class... Args>
void say(fmt::format_string<Args...> text, Args&&... args) {
  std::fputs(fmt::format(text, std::forward<Args>(args)...).c_str(), stderr);
}

}  // namespace r1
