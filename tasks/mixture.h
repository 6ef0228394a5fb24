// Several sources as one. With weights, each part has its share of every stretch of draws, however large it is:
//
//   jsonl:math.jsonl?weight=3, jsonl:code.jsonl?weight=1      three of math, one of code, three of math, ...
//
// the parts follow each other in a cycle in which each is spread evenly, and a part that is over begins its next epoch. An
// epoch of the mixture is over when every part has been read whole at least once. Without weights every record of every part
// comes once an epoch, in an order from the seed that mixes them; in the order of parts and files where each has shuffle=0.
//
// Like every source it has no state: which part draw N is of, and which of its records, follows from N.
// Thread rule: as Source.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tasks/source.h"

namespace r1 {

struct MixturePart {
  std::string spec;  // for messages
  std::optional<double> weight;
  std::unique_ptr<Source> source;
};

constexpr size_t kMostParts = 256;
constexpr int kLongestCycle = 10'000;  // draws: shares are exact to one in so many, and no part has less than that

// Throws bad_input: records of different kinds, weights of some parts only, a part without an end and no weights, a share below
// one in kLongestCycle, more than kMostParts parts.
std::unique_ptr<Source> mix_sources(std::vector<MixturePart> parts, uint64_t seed, bool in_file_order);

// How often each part comes in a cycle: the shortest in which shares are those of `weights` to one in 1e9, else the nearest of
// kLongestCycle draws. Not empty; each > 0.
std::vector<int> cycle_shares(const std::vector<double>& weights);

}  // namespace r1
