// What the engines of a simulated stage take: given in a small JSON file, or measured by a run that has been. Not a model of
// any machine: every number is the caller's. Thread rule: pure functions but for reading files.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/graph/graph.h"

namespace r1::simulate {

struct StageShape;

// Seconds, bytes, tokens. A device samples n sequences at once at one token each in step_s + n * token_s.
struct Costs {
  struct {
    double step_s = 0, token_s = 0, prefill_token_s = 0;
  } generate;
  struct {
    double completion_s = 0;  // of rewards, on one thread of the head
  } judge;
  struct {
    double token_s = 0;  // on one device; the stage's trainer devices share it
  } reference;
  struct {
    double batch_s = 0, token_s = 0;  // token_s: on one device
  } train;
  struct {
    double problem_s = 0;  // of a held-out problem with all its completions, on one device, inside a stage that learns
  } evaluate;
  struct {
    double batch_s = 0;  // of a batch, in which no engine is at work: what is read, handed over and committed
  } between;
  struct {
    double prompt = 0, mean = 1, deviation = 0;  // of a completion; log-normal, cut at max_tokens
    double example = 0;                          // that is learned from, or of both responses of a pair; 0: prompt + mean
  } tokens;
  double example_tokens() const { return tokens.example > 0 ? tokens.example : tokens.prompt + tokens.mean; }
  double kept = 1;  // share of groups that teach something
  struct {
    double token = 12;   // of a trajectory: id, log-probability, the rest
    double weights = 0;  // of a version as it is sent to one generator
  } bytes;
  struct {
    double bytes_per_s = 1e9, latency_s = 1e-4;  // of the head's link, each way
  } link;
};

// A JSON object of these names, each of which may be absent. Throws bad_input for names that are none, for what is no number
// and for numbers out of range.
Costs read_costs(const std::filesystem::path& file);

// What the roles of a stage of that shape took in a run. Throws bad_input where the run has not done there what such a stage
// does.
Costs measured_costs(const std::filesystem::path& run_dir, const std::string& stage, const StageShape& shape);

}  // namespace r1::simulate
