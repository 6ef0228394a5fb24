#include "tasks/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "tasks/jsonl.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

// Where a draw comes from.
struct Place {
  size_t part = 0;
  uint64_t index = 0;
};

class Mixture : public Source {
 public:
  explicit Mixture(std::vector<MixturePart> parts) : parts_(std::move(parts)) {}

  RecordKind kind() const override { return parts_[0].source->kind(); }
  Prompt prompt(uint64_t index) const override {
    const Place p = place_of(index);
    return parts_[p.part].source->prompt(p.index);
  }
  Example example(uint64_t index) const override {
    const Place p = place_of(index);
    return parts_[p.part].source->example(p.index);
  }
  Pair pair(uint64_t index) const override {
    const Place p = place_of(index);
    return parts_[p.part].source->pair(p.index);
  }
  Where place(uint64_t index) const override {
    const Place p = place_of(index);
    return parts_[p.part].source->place(p.index);
  }
  std::vector<std::string> texts(uint64_t index) const override {
    const Place p = place_of(index);
    return parts_[p.part].source->texts(p.index);
  }
  std::vector<std::pair<std::filesystem::path, std::string>> stamps() const override {
    std::vector<std::pair<std::filesystem::path, std::string>> all;
    for (const MixturePart& part : parts_)
      for (auto& stamp : part.source->stamps()) all.push_back(std::move(stamp));
    return all;
  }
  uint64_t left_out() const override {
    uint64_t n = 0;
    for (const MixturePart& part : parts_) n += part.source->left_out();
    return n;
  }
  const ChatTemplate* chat() const override { return parts_[0].source->chat(); }
  std::map<std::string, std::set<std::string>> fact_values() const override {
    std::map<std::string, std::set<std::string>> all;
    for (const MixturePart& part : parts_)
      for (const auto& [name, values] : part.source->fact_values())
        for (const std::string& value : values)
          if (auto& to = all[name]; to.size() < kMaxFactValues) to.insert(value);
    return all;
  }

 protected:
  virtual Place place_of(uint64_t index) const = 0;

  std::vector<MixturePart> parts_;
};

// Every record of every part once an epoch.
class Concatenation final : public Mixture {
 public:
  Concatenation(std::vector<MixturePart> parts, uint64_t seed, bool shuffled)
      : Mixture(std::move(parts)), seed_(seed), shuffled_(shuffled) {
    for (const MixturePart& part : parts_) begins_.push_back(begins_.back() + part.source->size().value());
  }
  std::optional<uint64_t> size() const override { return begins_.back(); }

 private:
  Place place_of(uint64_t index) const override {
    const uint64_t n = begins_.back(), epoch = index / n;
    const uint64_t at = shuffled_ ? permute(index % n, n, rng_key(seed_, "mixture order", epoch)) : index % n;
    const auto part = static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), at) - begins_.begin()) - 1;
    return {part, epoch * (begins_[part + 1] - begins_[part]) + at - begins_[part]};
  }

  std::vector<uint64_t> begins_ = {0};
  uint64_t seed_;
  bool shuffled_;
};

// A cycle of parts, again and again.
class Cycle final : public Mixture {
 public:
  explicit Cycle(std::vector<MixturePart> parts) : Mixture(std::move(parts)) {
    std::vector<double> weights;
    for (const MixturePart& part : parts_) weights.push_back(*part.weight);
    shares_ = cycle_shares(weights);
    for (size_t p = 0; p < parts_.size(); ++p)
      if (shares_[p] == 0)
        throw bad_input(fmt::format("'{}' is drawn less than once in {} draws", parts_[p].spec, kLongestCycle), {},
                        "raise its weight, or leave it out");
    const int64_t length = std::accumulate(shares_.begin(), shares_.end(), int64_t{0});
    std::vector<int64_t> due(parts_.size(), 0);
    positions_.resize(parts_.size());
    for (int64_t slot = 0; slot < length; ++slot) {
      for (size_t p = 0; p < due.size(); ++p) due[p] += shares_[p];
      const auto next = static_cast<size_t>(std::max_element(due.begin(), due.end()) - due.begin());
      due[next] -= length;
      slots_.push_back({next, positions_[next].size()});
      positions_[next].push_back(static_cast<uint64_t>(slot));
    }
  }

  std::optional<uint64_t> size() const override {
    uint64_t most = 0;
    for (size_t p = 0; p < parts_.size(); ++p) {
      const auto records = parts_[p].source->size();
      if (!records) return std::nullopt;
      const auto share = static_cast<uint64_t>(shares_[p]), last = *records - 1;
      most = std::max(most, last / share * slots_.size() + positions_[p][last % share] + 1);
    }
    return most;
  }

 private:
  Place place_of(uint64_t index) const override {
    const Place& slot = slots_[index % slots_.size()];
    return {slot.part, index / slots_.size() * static_cast<uint64_t>(shares_[slot.part]) + slot.index};
  }

  std::vector<int> shares_;
  std::vector<Place> slots_;                      // part, and which of its draws in the cycle
  std::vector<std::vector<uint64_t>> positions_;  // by part: its slots
};

bool in_order(const std::string& spec) {
  for (const auto& [name, value] : parse_source_spec(spec).options)
    if (name == "shuffle") return value == "0";
  return false;
}

}  // namespace

std::vector<int> cycle_shares(const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int> shares(weights.size());
  for (int length = 1; length <= kLongestCycle; ++length) {
    const bool exact = std::all_of(weights.begin(), weights.end(), [&](double w) {
      const double share = w / sum * length;
      return std::abs(share - std::round(share)) <= 1e-9 * length && std::round(share) >= 1;
    });
    if (!exact) continue;
    for (size_t i = 0; i < weights.size(); ++i) shares[i] = static_cast<int>(std::lround(weights[i] / sum * length));
    return shares;
  }
  std::vector<std::pair<double, size_t>> rest;  // the largest first, of equal ones the first part
  int given = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double share = weights[i] / sum * kLongestCycle;
    given += shares[i] = static_cast<int>(share);
    rest.emplace_back(shares[i] - share, i);
  }
  std::sort(rest.begin(), rest.end());
  for (int i = 0; given < kLongestCycle; ++i, ++given) ++shares[rest[static_cast<size_t>(i)].second];
  return shares;
}

std::unique_ptr<Source> mix_sources(std::vector<MixturePart> parts, uint64_t seed, bool in_file_order) {
  R1_CHECK(parts.size() > 1, "a mixture of one source");
  if (parts.size() > kMostParts)
    throw bad_input(fmt::format("a source of {} parts, at most {} can be mixed", parts.size(), kMostParts), {},
                    "put files together: cat A.jsonl B.jsonl > ALL.jsonl");
  size_t weighted = 0;
  for (const MixturePart& part : parts) {
    weighted += part.weight.has_value();
    if (part.source->kind() != parts[0].source->kind())
      throw bad_input(fmt::format("'{}' gives {}, and '{}' {}", parts[0].spec, record_kind_name(parts[0].source->kind()),
                                  part.spec, record_kind_name(part.source->kind())));
  }
  for (const MixturePart& part : parts) {
    if (weighted > 0 && !part.weight)
      throw bad_input(
          fmt::format("other parts of the source have a weight, '{}' has none", part.spec), {},
          "give every part a weight: " + part.spec + (part.spec.find('?') == std::string::npos ? "?" : "&") + "weight=1");
    if (weighted == 0 && !part.source->size())
      throw bad_input(
          fmt::format("'{}' has no end, so it cannot be mixed in whole", part.spec), {},
          "give every part a weight: " + part.spec + (part.spec.find('?') == std::string::npos ? "?" : "&") + "weight=1");
  }
  if (weighted > 0) return std::make_unique<Cycle>(std::move(parts));
  const bool ordered =
      in_file_order || std::all_of(parts.begin(), parts.end(), [](const MixturePart& part) { return in_order(part.spec); });
  return std::make_unique<Concatenation>(std::move(parts), seed, !ordered);
}

}  // namespace r1
