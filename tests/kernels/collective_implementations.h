// The implementations of Collective that a test program has (collective_test.cpp): one list a program.
// Thread rule: pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/collective.h"

namespace r1::test {

using RankBody = std::function<void(Collective&, Context&)>;

struct CollectiveImplementation {
  std::string name, device;
  int64_t most_ranks = 1024;
  bool names_the_absent = true;  // a rank that left or never came
  // Runs the body once for each rank, all at the same time, and returns what each threw ("" for nothing).
  std::function<std::vector<std::string>(Device&, int64_t ranks, const RankBody&)> run;
};
const std::vector<CollectiveImplementation>& collective_implementations();

// `make` gives rank r; each runs in a thread of its own.
std::vector<std::string> run_rank_threads(Device& device, int64_t ranks,
                                          const std::function<std::unique_ptr<Collective>(int64_t rank)>& make,
                                          const RankBody& body);
// Ranks on one card, by NCCL or what R1_NCCL names.
std::vector<std::string> run_card_ranks(Device& card, int64_t ranks, const RankBody& body);

}  // namespace r1::test
