// What models said in a run, read from its store: answers to held-out prompts that evaluators kept, and completions that were
// trained on or dropped. Not the report (tools/report).
// Thread rule: pure functions but for reading the run directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/store/run_store.h"
#include "tools/report/shown_tokens.h"

namespace r1::terminal {

struct StoredSample {
  std::string stage;
  std::string moment;  // "before", "version 20", "after" for held-out prompts; "sampled" for what the stage drew
  std::string what;    // "tiny:reasoning_test 4", "tiny:reasoning_test 4, greedy", "draw 12, sample 3"
  std::string prompt, response;
  int64_t tokens = 0;                    // of the response
  int64_t draw = -1, sample = -1;        // of what the stage drew
  report::Versions versions;             // that sampled it
  std::vector<report::ShownToken> said;  // the response, where add_tokens() was asked for it
  std::optional<double> reward;
  nlohmann::json scores = nlohmann::json::object();
  std::string verdict;  // "right", "wrong, cut off", "trained in batch 3", "dropped: equal_rewards", "no reward: ..."
};

// At most `count` prompts of every evaluation and source, and of every stage that samples `count` draws from its beginning and
// as many from its end. `stage`: of that one alone; "" for all. Throws bad_input for a directory that holds no run and for a
// stage that the run does not have.
std::vector<StoredSample> stored_samples(const std::filesystem::path& run_dir, const std::string& stage, int64_t count);

// Which samples of a stage, of all that it drew.
struct DrawnChoice {
  enum class Of { first, last, best, worst, draw, reason };
  Of of = Of::last;
  int64_t draw = -1;   // of `draw`
  std::string reason;  // of `reason`: a part of the verdict
  int64_t count = 4;   // samples, at most
};
// In the order of the draws, but the last one first, and by reward for best and worst (those without one are left out). Throws
// as above.
std::vector<StoredSample> drawn_samples(const std::filesystem::path& run_dir, const std::string& stage,
                                        const DrawnChoice& choice);

// Fills in `said` of those that the stage drew.
void add_tokens(const std::filesystem::path& run_dir, std::vector<StoredSample>& samples);

// For people; control characters are shown, not sent. `coloured`: for a terminal of 256 colours, with a legend; tokens by the
// probability that they were sampled with.
std::string samples_text(const std::vector<StoredSample>& samples, bool coloured = false);
std::string samples_jsonl(const std::vector<StoredSample>& samples);  // one object a line

}  // namespace r1::terminal
