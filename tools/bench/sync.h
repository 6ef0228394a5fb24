// r1-bench sync: what it takes until a generator in another process samples with the weights that a trainer has just learned,
// on the way that runs take: f32 masters, weights in the generator's precision, hash, difference to the version held there,
// link (CURVE, loopback), the generator's own set of weights. Beside it memcpy of as many bytes in the same run, and what
// versions that come every second cost an engine that decodes.
//
// The masters move as Adam's do: learning rate x a clipped mixture of noise and drift (not a real run's gradients). The other
// process is this program again. Nothing is timed before the receiver's weights had the published hash. Thread rule: one
// thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/shapes.h"

namespace r1::bench {

struct SyncOptions {
  double lr = 1e-6;       // of the case that bytes are looked at
  double density = 0.01;  // share of the values that change, of the case that speed is looked at
  int rounds = 5;         // timed versions of a case; the best counts
  int decode_rounds = 6;  // of six intervals, four of them with a version; 0: not measured
  double decode_s = 1;    // an interval
  int decode_batch = 16;  // sequences
};

struct SyncCase {
  std::string name;  // "smollm2-135m lr 1e-06"
  double density = 0;
  double bytes = 0, whole_bytes = 0;  // of the message; of the weights
  // Seconds: masters to weights, hash, difference, link, unpacking, applying; all of them in sequence.
  double convert = 0, hash = 0, encode = 0, link = 0, decode = 0, apply = 0, total = 0;
  double link_floor = 0;                                 // bytes over what the link carried in this run
  double join = 0;                                       // the whole set, to a receiver that has none
  double memcpy_one = 0, memcpy_all = 0, link_rate = 0;  // bytes a second: of one thread, of all, of the link
  bool verified = false;
  double times_smaller() const { return whole_bytes / bytes; }
  double of_memcpy() const { return whole_bytes / total / memcpy_all; }
};

// What a version costs an engine that decodes. Seconds are medians over the intervals with one, so that what else the machine
// does falls out; tokens are all that were counted.
struct TakenIn {
  double cost_s = 0;        // taking it in, and what the steps around it are longer than the interval's others
  double stalled_s = 0;     // taking it in
  double fewer_tokens = 0;  // share of the tokens of an interval without
};

struct DecodeCase {
  std::string name;
  double tokens_per_s = 0, step_s = 0;  // without versions
  double interval_s = 0;
  double floor_s = 0;        // the lines of memory with changes, once, over memcpy's rate with all threads
  TakenIn in_place, beside;  // applied to the set in use, as generators do; to the one before, as with on_flip=finish
  double sender_s = 0;       // CPU time of the sender's process for a version on its way, on the same cores
};

struct SyncReport {
  std::string machine;
  std::vector<SyncCase> cases;
  std::vector<DecodeCase> decoding;
  bool ok() const;
};

SyncReport bench_sync(const std::vector<BenchModel>& models, const SyncOptions& options, const std::string& machine);
// The other process.
int sync_peer(const std::string& address);

std::string sync_table(const SyncReport& report);
nlohmann::json sync_json(const SyncReport& report);

}  // namespace r1::bench
