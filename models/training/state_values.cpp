#include "models/training/state_values.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/ops.h"

namespace r1 {

static constexpr int64_t kScratchValues = int64_t{1} << 20;
static constexpr int64_t kWindowValues = int64_t{1} << 16;

StateValues::StateValues(const TrainerState& state) : state_(state), ctx_(state.like.device()) {
  if (state.together != nullptr) scratch_ = Tensor(state.like.device(), DType::f32, {kScratchValues});
}

bool StateValues::first_rank() const { return state_.together == nullptr || state_.together->rank() == 0; }

View StateValues::own(StateGroup group) const {
  switch (group) {
    case StateGroup::masters:
      return state_.masters.shard;
    case StateGroup::first:
      return state_.optimizer.first();
    case StateGroup::second:
      return state_.optimizer.second();
  }
  R1_CHECK(false, "a group");
}

template <class F>
void StateValues::for_shards(int64_t begin, int64_t end, F&& f) {
  for (size_t r = 0; r < state_.shards.size(); ++r) {
    const int64_t last = std::min(end, state_.shards[r].end);
    for (int64_t at = std::max(begin, state_.shards[r].begin); at < last; at += kScratchValues)
      f(static_cast<int64_t>(r), at, std::min(last, at + kScratchValues));
  }
}

void StateValues::get(StateGroup group, size_t param, int64_t begin, int64_t end, float* host) {
  const WeightSet::Place place = state_.like.place(param);
  const auto bytes = [](int64_t values) { return static_cast<size_t>(values) * sizeof(float); };
  const int64_t from = place.begin + begin;
  if (place.segment > 0) {  // selection biases, the same at every rank, without moments
    if (!first_rank()) return;
    if (group == StateGroup::masters)
      download(state_.masters.biases.slice(from, place.begin + end), host, bytes(end - begin));
    else
      std::fill(host, host + (end - begin), 0.f);
    return;
  }
  const int64_t to = place.begin + end;
  if (state_.together == nullptr || to - from >= kWindowValues) return fetch(group, from, to, host);
  for (int64_t at = from; at < to;) {
    const Window& w = window_at(group, at);
    const int64_t last = std::min(to, w.begin + kWindowValues);
    if (first_rank()) std::copy_n(w.values.begin() + (at - w.begin), last - at, host + (at - from));
    at = last;
  }
}

const StateValues::Window& StateValues::window_at(StateGroup group, int64_t at) {
  const int64_t begin = at / kWindowValues * kWindowValues;
  if (window_ && window_->group == group && window_->begin == begin) return *window_;
  const int64_t end = std::min(begin + kWindowValues, state_.like.segments()[0].values.size());
  window_.emplace(Window{group, begin, std::vector<float>(static_cast<size_t>(end - begin))});
  fetch(group, begin, end, window_->values.data());
  return *window_;
}

void StateValues::fetch(StateGroup group, int64_t from, int64_t end, float* host) {
  const auto bytes = [](int64_t values) { return static_cast<size_t>(values) * sizeof(float); };
  const View values = own(group);
  const int64_t shard = state_.optimizer.shard().begin;
  for_shards(from, end, [&](int64_t rank, int64_t first, int64_t last) {
    float* const to = first_rank() ? host + (first - from) : nullptr;
    if (rank == 0) {
      if (to != nullptr) download(values.slice(first - shard, last - shard), to, bytes(last - first));
      return;
    }
    const View all = shared(last - first);
    if (state_.together->rank() == rank) run(ctx_, Copy{values.slice(first - shard, last - shard), all});
    state_.together->broadcast(ctx_, all, rank);
    if (to != nullptr) download(all, to, bytes(last - first));
  });
}

void StateValues::put(StateGroup group, size_t param, int64_t begin, int64_t end, const float* host) {
  const WeightSet::Place place = state_.like.place(param);
  const auto bytes = [](int64_t values) { return static_cast<size_t>(values) * sizeof(float); };
  const int64_t from = place.begin + begin;
  if (place.segment > 0) {
    if (group != StateGroup::masters) return;
    const View biases = state_.masters.biases.slice(from, place.begin + end);
    if (first_rank()) upload(biases, host, bytes(end - begin));
    if (state_.together != nullptr) state_.together->broadcast(ctx_, biases, 0);
    return;
  }
  const View values = own(group);
  const int64_t shard = state_.optimizer.shard().begin;
  for_shards(from, place.begin + end, [&](int64_t rank, int64_t first, int64_t last) {
    const float* const at = first_rank() ? host + (first - from) : nullptr;
    if (rank == 0) {
      if (at != nullptr) upload(values.slice(first - shard, last - shard), at, bytes(last - first));
      return;
    }
    const View all = shared(last - first);
    if (at != nullptr) upload(all, at, bytes(last - first));
    state_.together->broadcast(ctx_, all, 0);
    if (state_.together->rank() == rank) run(ctx_, Copy{all, values.slice(first - shard, last - shard)});
  });
}

void StateValues::agree_on(int64_t& a, int64_t& b) {
  if (state_.together == nullptr) return;
  std::vector<int64_t> both = {a, b};
  const Tensor shared_counts = tensor_from(state_.like.device(), DType::i64, {2}, both.data());
  state_.together->broadcast(ctx_, shared_counts, 0);
  both = download_as<int64_t>(shared_counts);
  a = both[0], b = both[1];
}

void StateValues::gather_masters(const WeightSet* whole) {
  const int64_t shard = state_.optimizer.shard().begin;
  for_shards(0, state_.like.segments()[0].values.size(), [&](int64_t rank, int64_t first, int64_t last) {
    if (rank == 0) return;
    const View all = shared(last - first);
    if (state_.together->rank() == rank) run(ctx_, Copy{state_.masters.shard.slice(first - shard, last - shard), all});
    state_.together->broadcast(ctx_, all, rank);
    if (whole != nullptr) run(ctx_, Copy{all, whole->segments()[0].values.slice(first, last)});
  });
}

}  // namespace r1
