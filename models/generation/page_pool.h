// The bookkeeping of KV pages: which page ids are free and how many sequences read each. Not the pages' memory (kv_cache.h).
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace r1 {

class PagePool {
 public:
  // shuffle_seed != 0 hands pages out in a shuffled order (tests: results do not depend on the layout).
  explicit PagePool(uint64_t shuffle_seed = 0) : shuffle_seed_(shuffle_seed) {}

  // Page ids are [0, limit). The limit never shrinks.
  void raise_limit(int64_t limit);
  int64_t limit() const { return static_cast<int64_t>(refs_.size()); }

  // A page with one reference; nullopt when all are taken.
  std::optional<int32_t> alloc();
  void ref(int32_t page) { ++refs_[static_cast<size_t>(page)]; }
  void unref(int32_t page);
  int32_t refs(int32_t page) const { return refs_[static_cast<size_t>(page)]; }

  int64_t used() const { return used_; }
  int64_t available() const { return limit() - used_; }
  int64_t peak() const { return peak_; }
  // One more than the highest id ever handed out: what memory must exist.
  int64_t touched() const { return touched_; }

 private:
  uint64_t shuffle_seed_;
  std::vector<int32_t> refs_;
  std::vector<int32_t> free_;  // a stack, so that few pages are touched when few are used at once
  int64_t used_ = 0, peak_ = 0, touched_ = 0;
};

}  // namespace r1
