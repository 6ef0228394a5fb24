#include "actors/example_set.h"

#include <numeric>
#include <utility>

#include "base/rng.h"

namespace r1 {

ExampleSet::ExampleSet(std::filesystem::path spool, std::string stage, uint64_t seed, int64_t stride)
    : name_(std::move(spool)), stage_(std::move(stage)), seed_(seed), stride_(stride) {}

void ExampleSet::add(int edge, const Sequence& sequence) {
  if (!spool_) spool_ = std::make_unique<SequenceSpool>(name_);
  collected_[edge].push_back(spool_->size());
  spool_->append(sequence);
}

void ExampleSet::close() {
  for (const auto& [edge, places] : std::exchange(collected_, {})) set_.insert(set_.end(), places.begin(), places.end());
}

std::vector<Sequence> ExampleSet::read(int64_t first, int64_t end) {
  std::vector<Sequence> out;
  for (int64_t i = first; i < end; ++i) {
    const int64_t example = example_at(i);
    for (int64_t j = 0; j < stride_; ++j) out.push_back(spool_->read(set_[static_cast<size_t>(example * stride_ + j)]));
  }
  return out;
}

int64_t ExampleSet::example_at(int64_t i) {
  if (i / size() != epoch_) {
    epoch_ = i / size();
    order_.resize(static_cast<size_t>(size()));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Rng(seed_, "epoch order " + stage_, static_cast<uint64_t>(epoch_)).shuffle(order_);
  }
  return order_[static_cast<size_t>(i % size())];
}

}  // namespace r1
