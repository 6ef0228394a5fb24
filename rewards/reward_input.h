// What a reward sees of one completion. Plain views: nothing is owned.
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace r1 {

// What the task knows about a prompt (tasks/source.h writes them). Read here:
//   answers    accepted answers separated by '|' ("\|" is a bar inside an answer)
//   language   en or zh: the language that the thought should be in
//   domain     reasoning, general, ...: metrics are grouped by it
//   kind       compute, find, color, ...
//   checkable  1: `answers` decides;  harm  1: the prompt asks for something unsafe
//   courtesy   the polite ending (". welcome"): does not count against an answer
//   refusal    the words of a refusal ("sorry cannot")
using Facts = std::map<std::string, std::string>;

struct RewardInput {
  std::string_view prompt;
  std::string_view response;     // the completion's text, tags included; an end token of a known family is set aside
  const Facts* facts = nullptr;  // null: no facts
  bool finished = false;         // it ended with the end-of-sequence token, not by running out of room
  int64_t tokens = 0;            // tokens of the completion, for `length`; 0: unknown

  // The fact, or "".
  std::string_view fact(const std::string& name) const {
    if (facts == nullptr) return {};
    const auto it = facts->find(name);
    return it == facts->end() ? std::string_view() : std::string_view(it->second);
  }
};

}  // namespace r1
