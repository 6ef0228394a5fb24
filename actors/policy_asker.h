// What r1-shell's `ask` does: samples one completion of the weights that a stage has learned so far, and says it as it comes.
// It has an engine, a thread and random numbers of its own, and shares nothing with the run but the weights, which nobody
// changes: what the run samples and learns is the same bits. It costs the run what it computes and the pages of a few
// sequences; how many are answered at once is bounded, and so is how many wait.
// Thread rule: ask() from any thread; construct and destroy in one.
#pragma once

#include <memory>
#include <string>

#include "actors/run_env.h"
#include "runtime/flow/envelope.h"
#include "runtime/shell/shell_reply.h"

namespace r1 {

struct PolicyQuestion {
  int stage = 0;  // index into GraphView::stages
  std::string prompt;
  PayloadPtr weights;   // WeightsMessage of the stage's trainer; null: the stage trains nothing, and its generator is asked
  ShellReplyPtr reply;  // parts {"part": TEXT}, then {"text", "stage", "version", "tokens", "finished"}
};

class PolicyAsker {
 public:
  // What is asked is rendered as the stage's prompts are, and sampled as its generator does; a stage without one:
  // temperature 1. `env` and `graph` outlive it.
  PolicyAsker(const RunEnv& env, const GraphView& graph);
  ~PolicyAsker();  // gives up what is not answered
  PolicyAsker(const PolicyAsker&) = delete;
  PolicyAsker& operator=(const PolicyAsker&) = delete;

  void ask(PolicyQuestion question);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
