#include "models/tokenizer/bpe.h"

#include <algorithm>
#include <queue>

#include "models/tokenizer/utf8.h"

namespace r1 {

void MergeTable::reserve(size_t merges) {
  size_t size = 16;
  while (size < merges * 2) size *= 2;
  if (size <= table_.size()) return;
  std::vector<Merge> old(size);
  old.swap(table_);
  mask_ = size - 1;
  used_ = 0;
  for (const Merge& m : old)
    if (m.pair != kEmpty) add(static_cast<int32_t>(m.pair >> 32), static_cast<int32_t>(m.pair & 0xFFFFFFFFu), m.rank, m.id);
}

void MergeTable::add(int32_t left, int32_t right, uint32_t rank, int32_t id) {
  if ((used_ + 1) * 2 > table_.size()) reserve(table_.size());
  const uint64_t k = key(left, right);
  size_t i = slot(k);
  while (table_[i].pair != kEmpty && table_[i].pair != k) i = (i + 1) & mask_;
  if (table_[i].pair == kEmpty) ++used_;
  table_[i] = {k, rank, id};
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t k = key(left, right);
  for (size_t i = slot(k); table_[i].pair != kEmpty; i = (i + 1) & mask_)
    if (table_[i].pair == k) return &table_[i];
  return nullptr;
}

namespace {

struct Symbol {
  int32_t id;
  int32_t previous, next;  // indices, or -1
};

struct Candidate {
  uint32_t rank;
  int32_t left;  // index of the left symbol
  int32_t left_id, right_id, id;
  bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
};

}  // namespace

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (ignore_merges) {
    const auto whole = vocab.find(utf8::to_byte_alphabet(piece));
    if (whole != vocab.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  bool last_unknown = false;
  for (const char c : piece) {
    int32_t id = byte_ids[static_cast<uint8_t>(c)];
    const bool unknown = id < 0;
    if (unknown) {
      if (unknown_id < 0 || (fuse_unknown && last_unknown)) continue;
      id = unknown_id;
    }
    last_unknown = unknown;
    const auto n = static_cast<int32_t>(symbols.size());
    if (n > 0) symbols.back().next = n;
    symbols.push_back({id, n - 1, -1});
  }
  if (symbols.empty()) return;

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const int32_t a = symbols[left].id, b = symbols[symbols[left].next].id;
    if (const auto* m = merges.find(a, b)) queue.push({m->rank, left, a, b, m->id});
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) offer(static_cast<int32_t>(i));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.left];
    // Merged away or changed since it was offered.
    if (left.id != top.left_id || left.next < 0 || symbols[left.next].id != top.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    offer(left.previous);
    offer(top.left);
  }
  for (int32_t i = 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace r1
