#include "models/generation/page_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"

namespace r1 {

void PagePool::raise_limit(int64_t limit) {
  const int64_t old = this->limit();
  if (limit <= old) return;
  refs_.resize(static_cast<size_t>(limit), 0);
  std::vector<int32_t> fresh;
  for (int64_t id = limit - 1; id >= old; --id) fresh.push_back(static_cast<int32_t>(id));
  if (shuffle_seed_ != 0) Rng(shuffle_seed_, "pages", static_cast<uint64_t>(old)).shuffle(fresh);
  free_.insert(free_.begin(), fresh.begin(), fresh.end());
}

std::optional<int32_t> PagePool::alloc() {
  if (free_.empty()) return std::nullopt;
  const int32_t page = free_.back();
  free_.pop_back();
  refs_[static_cast<size_t>(page)] = 1;
  peak_ = std::max(peak_, ++used_);
  touched_ = std::max<int64_t>(touched_, page + 1);
  return page;
}

void PagePool::unref(int32_t page) {
  int32_t& refs = refs_[static_cast<size_t>(page)];
  R1_CHECK(refs > 0, fmt::format("page {} is free already", page));
  if (--refs > 0) return;
  free_.push_back(page);
  --used_;
}

}  // namespace r1
