// The trajectory browser: what a stage drew and what became of it, as pieces of a page, from a run store that may be written to
// meanwhile. Reads at most kMostLookedAt draws a question.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "models/tokenizer/tokenizer.h"
#include "runtime/store/run_store.h"

namespace r1::dashboard {

inline constexpr int64_t kMostLookedAt = 512;

struct TrajectoryQuestion {
  enum class Order { last, first, best, worst };
  Order order = Order::last;
  std::string outcome;  // "": any; "trained"; else the reason why a draw was dropped
  int64_t beyond = -1;  // last, first: only draws before, behind this one; negative: from the end
  int64_t limit = 20;   // 1 to 100
};
// A table of draws with their rewards; best and worst by the mean reward, of the last kMostLookedAt that are meant. `tokenizer`
// may be null: then there are no texts.
std::string trajectory_list(const RunStore& store, int64_t stage, const TrajectoryQuestion& question,
                            const Tokenizer* tokenizer);

// The completions of one draw: tokens shaded by probability, versions, and each reward's parts. Says so where there is none.
std::string trajectory_group(const RunStore& store, int64_t stage, int64_t draw, const Tokenizer* tokenizer);

}  // namespace r1::dashboard
