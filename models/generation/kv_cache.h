// The memory of a paged KV cache: pages of kKeyBlock positions for every layer, and the page table, on a device.
// Which page belongs to whom is the scheduler's business. Memory grows with the pages that are touched, not with the limit.
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device.h"
#include "models/blocks.h"
#include "models/model_config.h"

namespace r1 {

struct PageCopy {
  int32_t from = 0, to = 0;
};

// Of one page id in all layers.
double kv_page_bytes(const ModelConfig& config, DType dtype, int64_t layers);

class KvCache {
 public:
  // `layers`: of the model, and one more where its MTP module drafts (the module's block is layer config.layers).
  KvCache(Device& device, const ModelConfig& config, DType dtype, int64_t layers)
      : device_(&device), config_(config), dtype_(dtype), layers_(layers) {}
  KvCache(Device& device, const ModelConfig& config, DType dtype) : KvCache(device, config, dtype, config.layers) {}

  // Makes memory for page ids [0, pages), keeping what is there; `limit`: never more than this.
  void reserve(Context& ctx, int64_t pages, int64_t limit);
  // In order, all layers.
  void copy_pages(Context& ctx, std::span<const PageCopy> copies);
  std::span<const KvLayer> layers() const { return views_; }
  // Another number whenever pages or table lie elsewhere than before.
  int64_t generation() const { return generation_; }

  // Makes the device's table equal to the host's [rows, width], sending the rows from the first to the last marked dirty in one
  // copy; marks are cleared.
  const View& sync_table(std::span<const int32_t> table, int64_t width, std::vector<uint8_t>& dirty);

 private:
  Device* device_;
  ModelConfig config_;
  DType dtype_;
  int64_t layers_, pages_ = 0, generation_ = 0;
  std::vector<Tensor> k_, v_;  // per layer: [P, Hk, qk_head_dim, kKeyBlock], [P, Hk, kKeyBlock, v_head_dim]
  std::vector<KvLayer> views_;
  Tensor table_;  // [rows, width] i32
};

}  // namespace r1
