// The f32 values of a trainer's state - masters and moments - as one array, though every rank holds its own shard of it: they
// go through the first rank, piece by piece, so that no second copy of the state exists. Not a file format (trainer_state.h).
//
// With several ranks all of them make the same calls in the same order; `host` counts at the first rank alone.
// Thread rule: one thread at a time at every rank.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/collective.h"
#include "models/training/optimizer.h"

namespace r1 {

// Where a rank holds its part. Borrowed.
struct TrainerState {
  const WeightSet& like;  // a set of the model: names, shapes and places
  Masters masters;
  Optimizer& optimizer;
  std::span<const ElementRange> shards;  // of all ranks
  Collective* together;                  // null: there is one rank
};

enum class StateGroup { masters, first, second };

class StateValues {
 public:
  explicit StateValues(const TrainerState&);
  bool first_rank() const;
  // Values [begin, end) of a parameter, to and from the first rank's host: f32.
  void get(StateGroup, size_t param, int64_t begin, int64_t end, float* host);
  void put(StateGroup, size_t param, int64_t begin, int64_t end, const float* host);
  // Both values of the first rank, at all ranks.
  void agree_on(int64_t& a, int64_t& b);
  // Masters of the other ranks, into `whole` of the first: a set that holds them all (null elsewhere).
  void gather_masters(const WeightSet* whole);

 private:
  View own(StateGroup) const;
  // f(rank, begin, end): the part of values [begin, end) of what is trained that the rank holds, in pieces that fit the
  // scratch.
  template <class F>
  void for_shards(int64_t begin, int64_t end, F&& f);
  View shared(int64_t n) { return scratch_.view().slice(0, n); }
  // Values [begin, end) of what is trained, to the first rank's host.
  void fetch(StateGroup, int64_t begin, int64_t end, float* host);

  // What lies around a small parameter comes with it: small models would else wait for each other at every one.
  struct Window {
    StateGroup group = StateGroup::masters;
    int64_t begin = 0;
    std::vector<float> values;  // at the first rank
  };
  const Window& window_at(StateGroup, int64_t at);

  TrainerState state_;
  Context ctx_;
  Tensor scratch_;
  std::optional<Window> window_;
};

}  // namespace r1
