#include "models/generation/kv_cache.h"

#include <algorithm>

#include "kernels/ops.h"

namespace r1 {

double kv_page_bytes(const ModelConfig& config, DType dtype, int64_t layers) {
  return static_cast<double>(layers) * static_cast<double>(config.kv_heads * kKeyBlock) *
         static_cast<double>(config.qk_head_dim() + config.v_head_dim()) * static_cast<double>(dtype_size(dtype));
}

void KvCache::reserve(Context& ctx, int64_t pages, int64_t limit) {
  if (pages <= pages_) return;
  const int64_t size = std::min(limit, std::max<int64_t>({pages, 2 * pages_, 64}));
  const int64_t heads = config_.kv_heads;
  const auto grow = [&](Tensor& old, std::initializer_list<int64_t> shape) {
    Tensor fresh(*device_, dtype_, shape);
    if (pages_ > 0) run(ctx, Copy{old, fresh.view().slice(0, pages_)});
    // Masked positions of a page are multiplied by zero weight at most, but never by the garbage of fresh memory.
    run(ctx, Fill{fresh.view().slice(pages_, size), 0});
    old = fresh;
  };
  k_.resize(static_cast<size_t>(layers_));
  v_.resize(k_.size());
  views_.clear();
  for (size_t l = 0; l < k_.size(); ++l) {
    grow(k_[l], {size, heads, config_.qk_head_dim(), kKeyBlock});
    grow(v_[l], {size, heads, kKeyBlock, config_.v_head_dim()});
    views_.push_back({k_[l], v_[l]});
  }
  pages_ = size;
  ++generation_;
}

void KvCache::copy_pages(Context& ctx, std::span<const PageCopy> copies) {
  for (const PageCopy& c : copies) {
    for (const KvLayer& layer : views_) {
      run(ctx, Copy{layer.k_pages.slice(c.from, c.from + 1), layer.k_pages.slice(c.to, c.to + 1)});
      run(ctx, Copy{layer.v_pages.slice(c.from, c.from + 1), layer.v_pages.slice(c.to, c.to + 1)});
    }
  }
}

const View& KvCache::sync_table(std::span<const int32_t> table, int64_t width, std::vector<uint8_t>& dirty) {
  const int64_t rows = static_cast<int64_t>(dirty.size());
  const bool fresh = !table_ || table_.view().shape[0] != rows || table_.view().shape[1] != width;
  if (fresh) table_ = Tensor(*device_, DType::i32, {rows, width}), ++generation_;
  // One copy from the first changed row to the last: a copy costs more than the rows between.
  const auto first = fresh ? dirty.begin() : std::find(dirty.begin(), dirty.end(), uint8_t{1});
  if (first != dirty.end()) {
    const auto last = fresh ? dirty.end() : std::find(dirty.rbegin(), dirty.rend(), uint8_t{1}).base();
    const int64_t begin = first - dirty.begin(), end = last - dirty.begin();
    upload(table_.view().slice(begin, end), table.data() + begin * width,
           static_cast<size_t>((end - begin) * width) * sizeof(int32_t));
  }
  std::fill(dirty.begin(), dirty.end(), uint8_t{0});
  return table_.view();
}

}  // namespace r1
