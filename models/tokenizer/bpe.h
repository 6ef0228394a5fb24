// Byte-level BPE merging: one pre-token in, token ids out. Not pre-tokenisation, not added tokens.
// Thread rule: immutable after construction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace r1 {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using TokenMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

// (left id, right id) -> (rank, merged id). Open addressing: half a million look-ups per 100 KB of text make this the hot spot.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kEmpty;
    uint32_t rank = 0;
    int32_t id = 0;
  };
  void reserve(size_t merges);
  // The last rank given to a pair counts, as in huggingface/tokenizers.
  void add(int32_t left, int32_t right, uint32_t rank, int32_t id);
  const Merge* find(int32_t left, int32_t right) const;

 private:
  static constexpr uint64_t kEmpty = ~0ull;
  static uint64_t key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  size_t slot(uint64_t key) const { return static_cast<size_t>((key * 0x9E3779B97F4A7C15ull) >> 32) & mask_; }
  std::vector<Merge> table_ = std::vector<Merge>(16);
  size_t mask_ = 15;
  size_t used_ = 0;
};

struct Bpe {
  TokenMap vocab;  // token text in the byte alphabet -> id
  MergeTable merges;
  int32_t byte_ids[256];      // id of the one-byte token, or -1
  int32_t unknown_id = -1;    // stands for bytes without a token
  bool fuse_unknown = false;  // a run of unknown bytes becomes one
  bool ignore_merges = false;

  // Appends the ids of `piece` (raw bytes, not empty): the pair of lowest rank is merged, leftmost on ties, until none is left.
  // Source: Sennrich et al. 2016, and huggingface/tokenizers models/bpe/word.rs.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;
};

}  // namespace r1
