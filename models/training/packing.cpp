#include "models/training/packing.h"

#include <algorithm>
#include <map>
#include <utility>

namespace r1 {
namespace {

struct Item {
  const std::vector<int32_t>* tokens;
  const std::vector<uint8_t>* trainable;  // null unless HeadRows::trainable
  int32_t index;
  int64_t rows = 0;
  int64_t head = 0;    // the first row that goes through the head
  int64_t shared = 0;  // rows that the sequence before has too
};

void find_rows(Item& s, HeadRows head_rows) {
  const auto n = static_cast<int64_t>(s.tokens->size());
  if (head_rows == HeadRows::last_token) {
    s.rows = n;
    s.head = n - 1;
  } else if (head_rows == HeadRows::every_token) {
    s.rows = std::max<int64_t>(n - 1, 0);
  } else {
    const auto counts = [](uint8_t t) { return t != 0; };
    const auto begin = s.trainable->begin() + !s.trainable->empty();
    const auto last = std::find_if(s.trainable->rbegin(), std::make_reverse_iterator(begin), counts).base();
    s.rows = std::max<int64_t>(last - begin, 0);
    s.head = std::find_if(begin, last, counts) - begin;
  }
}

// Those with the same prompt side by side, in order of the first of them.
void bring_prompts_together(std::vector<Item>& items) {
  const auto prompt = [](const Item& s) { return std::span(*s.tokens).first(static_cast<size_t>(s.head) + 1); };
  const auto before = [&](size_t a, size_t b) {
    return std::ranges::lexicographical_compare(prompt(items[a]), prompt(items[b]));
  };
  std::map<size_t, size_t, decltype(before)> first(before);  // item: the first with its prompt
  std::vector<std::pair<size_t, Item>> sorted;
  for (size_t i = 0; i < items.size(); ++i) sorted.emplace_back(first.try_emplace(i, i).first->second, items[i]);
  std::ranges::stable_sort(sorted, {}, [](const auto& s) { return s.first; });
  for (size_t i = 0; i < items.size(); ++i) items[i] = sorted[i].second;
}

// Sets Item::shared where it is worth while.
void find_shared(std::vector<Item>& items) {
  constexpr int64_t kWorthWhile = 8;
  int64_t rows = 0, shared = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    rows += items[i].rows;
    if (i == 0) continue;
    const auto &a = *items[i - 1].tokens, &b = *items[i].tokens;
    const int64_t most = std::min({items[i - 1].rows, items[i].rows, items[i].head});
    items[i].shared = std::mismatch(a.begin(), a.begin() + most, b.begin()).first - a.begin();
    shared += items[i].shared;
  }
  if (shared * kWorthWhile < rows)
    for (Item& s : items) s.shared = 0;
}

// `shared`: rows of it that are those of the sequence before.
void append(MicroBatch& m, const Item& s, int64_t shared, HeadRows head_rows) {
  if (m.offsets.empty()) m.offsets.push_back(0), m.own.push_back(0);
  if (s.rows == 0) return;
  const size_t before = m.offsets.size() < 2 ? 0 : static_cast<size_t>(m.offsets[m.offsets.size() - 2]);
  for (int64_t i = 0; i < shared; ++i) m.seen.push_back(m.seen[before + static_cast<size_t>(i)]);
  for (auto i = static_cast<int32_t>(shared); i < s.rows; ++i) {
    const auto row = static_cast<int32_t>(m.ids.size());
    m.seen.push_back(row);
    m.ids.push_back((*s.tokens)[static_cast<size_t>(i)]);
    m.positions.push_back(i);
    const bool last = i + 1 == s.rows;
    const bool wanted = head_rows == HeadRows::last_token
                            ? last
                            : head_rows == HeadRows::every_token || (*s.trainable)[static_cast<size_t>(i) + 1];
    if (!wanted) continue;
    m.rows.push_back(row);
    m.targets.push_back(head_rows == HeadRows::last_token ? 0 : (*s.tokens)[static_cast<size_t>(i) + 1]);
    m.row_sequence.push_back(s.index);
    m.row_token.push_back(head_rows == HeadRows::last_token ? i : i + 1);
  }
  m.offsets.push_back(static_cast<int32_t>(m.seen.size()));
  m.own.push_back(static_cast<int32_t>(m.ids.size()));
}

std::vector<MicroBatch> pack_items(std::vector<Item>& items, const PackRules& r) {
  for (Item& s : items) find_rows(s, r.head_rows);
  std::erase_if(items, [&](const Item& s) { return s.rows == 0 && r.group == 1; });
  if (r.share_prompts) {
    if (r.head_rows == HeadRows::trainable) bring_prompts_together(items);
    find_shared(items);
  }
  int64_t total = 0;
  for (const Item& s : items) total += s.rows - s.shared;
  std::vector<MicroBatch> out;
  if (total == 0) return out;
  const int64_t needed = (total + r.budget - 1) / r.budget;
  int64_t count = 1;
  while (count < r.spread && (count < needed || count * 2 * r.spread_rows <= total)) count *= 2;
  if (count < needed) count = (needed + r.spread - 1) / r.spread * r.spread;
  const double share = static_cast<double>(total) / static_cast<double>(count);

  int64_t before = 0, current = 0, seen = 0;
  for (size_t i = 0; i < items.size(); i += static_cast<size_t>(r.group)) {
    const auto unit = std::span(items).subspan(i, std::min(items.size() - i, static_cast<size_t>(r.group)));
    int64_t rows = 0, all = 0;
    for (const Item& s : unit) rows += s.rows - s.shared, all += s.rows;
    if (all == 0) continue;
    const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(rows);
    // Where a group is cut its prompt is computed twice.
    const bool may_cut = unit[0].shared == 0 || static_cast<double>(current) >= share;
    const bool full = current + rows > r.budget || seen + all > kMostSeenRows * r.budget ||
                      (may_cut && middle > share * static_cast<double>(out.size()));
    before += rows;
    if (out.empty() || (current > 0 && full)) {
      out.emplace_back();
      current = seen = 0;
      rows += std::exchange(unit[0].shared, 0);
    }
    for (const Item& s : unit) append(out.back(), s, s.shared, r.head_rows);
    current += rows;
    seen += all;
  }
  for (MicroBatch& m : out) {
    m.all_rows = m.rows.size() == m.ids.size();
    if (m.seen.size() == m.ids.size()) m.seen.clear(), m.own.clear();
  }
  return out;
}

}  // namespace

std::vector<MicroBatch> pack(std::span<const Sequence> sequences, const PackRules& rules) {
  std::vector<Item> items;
  items.reserve(sequences.size());
  for (const Sequence& s : sequences) items.push_back({&s.tokens, &s.trainable, static_cast<int32_t>(items.size())});
  return pack_items(items, rules);
}

std::vector<MicroBatch> pack_tokens(std::span<const std::vector<int32_t>> sequences, const PackRules& rules) {
  std::vector<Item> items;
  items.reserve(sequences.size());
  for (const std::vector<int32_t>& s : sequences) items.push_back({&s, nullptr, static_cast<int32_t>(items.size())});
  return pack_items(items, rules);
}

}  // namespace r1
