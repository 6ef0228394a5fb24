// A stage's finite set of examples: collected once, then read epoch after epoch, each in an order of its own that seed, stage
// and epoch decide. The examples lie on disk (actors/sequence_spool.h). Not for examples that are taken as they come.
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/sequence_spool.h"

namespace r1 {

class ExampleSet {
 public:
  static constexpr int kDatasets = -1;  // in place of an edge: what data sets hold, in front of all edges

  // `stride`: sequences an example, which come one behind the other and stay together. `spool`: as SequenceSpool's name.
  ExampleSet(std::filesystem::path spool, std::string stage, uint64_t seed, int64_t stride);

  // Throws failure when the disk refuses.
  void add(int edge, const Sequence& sequence);
  // Nothing follows: the set is the data sets, then edge by edge, whatever the order of arrival.
  void close();

  // Of the closed set: examples, in one epoch.
  int64_t size() const { return static_cast<int64_t>(set_.size()) / stride_; }
  // The sequences of examples [first, end) of the stage, counted through all its epochs; each epoch has every example once.
  std::vector<Sequence> read(int64_t first, int64_t end);

 private:
  int64_t example_at(int64_t i);

  const std::filesystem::path name_;
  const std::string stage_;
  const uint64_t seed_;
  const int64_t stride_;
  std::unique_ptr<SequenceSpool> spool_;           // made with the first sequence
  std::map<int, std::vector<int64_t>> collected_;  // by edge: places in the spool
  std::vector<int64_t> set_;                       // places in the spool
  int64_t epoch_ = -1;                             // that order_ is of
  std::vector<int64_t> order_;
};

}  // namespace r1
