#include "models/training/packing.h"

#include <algorithm>

namespace r1 {
namespace {

struct Item {
  const std::vector<int32_t>* tokens;
  const std::vector<uint8_t>* trainable;  // null unless HeadRows::trainable
  int64_t rows;
};

int64_t packed_rows(const Item& s, HeadRows head_rows) {
  const auto n = static_cast<int64_t>(s.tokens->size());
  if (head_rows == HeadRows::last_token) return n;
  if (head_rows == HeadRows::every_token) return std::max<int64_t>(n - 1, 0);
  for (int64_t i = static_cast<int64_t>(s.trainable->size()) - 1; i >= 1; --i)
    if ((*s.trainable)[static_cast<size_t>(i)]) return i;
  return 0;
}

void append(MicroBatch& m, const Item& s, int32_t index, HeadRows head_rows) {
  if (m.offsets.empty()) m.offsets.push_back(0);
  if (s.rows == 0) return;
  const auto first = static_cast<int32_t>(m.ids.size());
  for (int32_t i = 0; i < s.rows; ++i) {
    m.ids.push_back((*s.tokens)[static_cast<size_t>(i)]);
    m.positions.push_back(i);
    const bool last = i + 1 == s.rows;
    const bool wanted = head_rows == HeadRows::last_token
                            ? last
                            : head_rows == HeadRows::every_token || (*s.trainable)[static_cast<size_t>(i) + 1];
    if (!wanted) continue;
    m.rows.push_back(first + i);
    m.targets.push_back(head_rows == HeadRows::last_token ? 0 : (*s.tokens)[static_cast<size_t>(i) + 1]);
    m.row_sequence.push_back(index);
    m.row_token.push_back(head_rows == HeadRows::last_token ? i : i + 1);
  }
  m.offsets.push_back(static_cast<int32_t>(m.ids.size()));
}

std::vector<MicroBatch> pack_items(std::vector<Item>& items, const PackRules& r) {
  int64_t total = 0;
  for (Item& s : items) total += s.rows = packed_rows(s, r.head_rows);
  std::vector<MicroBatch> out;
  if (total == 0) return out;
  const int64_t needed = (total + r.budget - 1) / r.budget;
  int64_t count = 1;
  while (count < r.spread && (count < needed || count * 2 * r.spread_rows <= total)) count *= 2;
  if (count < needed) count = (needed + r.spread - 1) / r.spread * r.spread;
  const double share = static_cast<double>(total) / static_cast<double>(count);

  int64_t before = 0, current = 0;
  for (size_t i = 0; i < items.size(); i += static_cast<size_t>(r.group)) {
    const size_t end = std::min(items.size(), i + static_cast<size_t>(r.group));
    int64_t rows = 0;
    for (size_t j = i; j < end; ++j) rows += items[j].rows;
    if (rows == 0) continue;
    const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(rows);
    const bool full = current + rows > r.budget || middle > share * static_cast<double>(out.size());
    if (out.empty() || (current > 0 && full)) {
      out.emplace_back();
      current = 0;
    }
    for (size_t j = i; j < end; ++j) append(out.back(), items[j], static_cast<int32_t>(j), r.head_rows);
    before += rows;
    current += rows;
  }
  for (MicroBatch& m : out) m.all_rows = m.rows.size() == m.ids.size();
  return out;
}

}  // namespace

std::vector<MicroBatch> pack(std::span<const Sequence> sequences, const PackRules& rules) {
  std::vector<Item> items;
  items.reserve(sequences.size());
  for (const Sequence& s : sequences) items.push_back({&s.tokens, &s.trainable, 0});
  return pack_items(items, rules);
}

std::vector<MicroBatch> pack_tokens(std::span<const std::vector<int32_t>> sequences, const PackRules& rules) {
  std::vector<Item> items;
  items.reserve(sequences.size());
  for (const std::vector<int32_t>& s : sequences) items.push_back({&s, nullptr, 0});
  return pack_items(items, rules);
}

}  // namespace r1
