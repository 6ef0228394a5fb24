// r1-bench train --ranks N: an optimizer step of N ranks (`ranks=` of a trainer) as threads of this process and as N processes
// on loopback, and what a step moves between them. Ranks in processes are those of a run: orders over a link each, sums around
// a ring (actors/far_ranks.h); the others are this program again. The exchange of a step alone - gradients in f32 summed to
// shards, weights in their type to all - stands beside its floor, the bytes of one rank over what one link carries in this run;
// here all N links share this machine's cores, on hosts of their own they would not.
//
// Nothing is timed before the processes had the weights of the threads, bit by bit. Thread rule: one thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/bench/benchmarks.h"

namespace r1::bench {

struct RanksCase {
  std::string name;  // "llama, 2 ranks"
  double parameters = 0, tokens = 0;
  double alone_s = 0, threads_s = 0, processes_s = 0;  // a step: of one rank, of N as threads, as processes; the best
  double exchange_s = 0;                               // of a step, alone, between processes; the best
  double sent_bytes = 0;                               // by the first rank for one exchange, counted
  double needed_bytes = 0;                             // what a ring has to send: (4 + bytes of a weight) P (N-1)/N
  double step_bytes = 0;                               // by the first rank for one step of training, counted
  double link_rate = 0;                                // bytes a second
  bool verified = false;
  double floor_s() const { return sent_bytes / link_rate; }
};

struct RanksReport {
  std::string machine;
  std::vector<RanksCase> cases;
  bool ok() const;
};

RanksReport bench_ranks(Device&, const std::vector<BenchModel>& models, int64_t ranks, const TrainOptions&,
                        const std::string& machine);
// The other processes.
int ranks_peer(Device&, const BenchModel& model, DType type, const std::string& address);

std::string ranks_table(const RanksReport& report);
nlohmann::json ranks_json(const RanksReport& report);

}  // namespace r1::bench
