// The built-in sources by name.
//
//   tiny:pretrain            examples  the messy corpus, loss on every token
//   tiny:cold_start          examples  correct thoughts in the right layout (the recipe takes 600)
//   tiny:general             examples  supervised general tasks: mostly right, sometimes courteous, harm refused only at times
//   tiny:reasoning           prompts   60% compute, 40% find;            tiny:reasoning_test       its held-out side
//   tiny:general_prompts     prompts   the general tasks, harm included; tiny:general_test         its held-out side
//   tiny:all_scenarios       prompts   half reasoning, half general;     tiny:all_scenarios_test   its held-out side
//   tiny:helpful_pairs       pairs                                       tiny:helpful_pairs_test   held-out prompts
//   tiny:harmless_pairs      pairs                                       tiny:harmless_pairs_test  held-out prompts
//
// All are endless. Held-out problems never occur in any of the other sources.
// Thread rule: as Source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/source.h"
#include "tasks/spec.h"

namespace r1 {

// null: not a built-in name. `whole`: the spec as the user wrote it, for messages.
std::unique_ptr<Source> open_tiny(const SourceSpec& spec, const std::string& whole, uint64_t seed);
std::vector<std::string> tiny_source_names();

}  // namespace r1
