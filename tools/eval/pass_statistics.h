// What r1-eval says about the responses of one or several sources: pass@1 with its standard error, cons@k, means of the reward
// and its parts, lengths. Not the sampling (actors/evaluation.h).
//
// A response passes when its reward is at least `pass_at`. pass@1: mean over prompts of the share of their responses that pass;
// its standard error is that of a mean over prompts (responses to one prompt are no independent draws). cons@k: share of
// prompts whose majority answer passes, by its first response (rewards/metrics.h says how answers are found and compared); a
// prompt without any answer does not. pass@k: share of prompts with a response that passes. Thread rule: pure functions.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "actors/evaluation.h"

namespace r1 {

struct MeanOverPrompts {
  double mean = 0;
  std::optional<double> standard_error;  // absent for a single prompt
  int64_t prompts = 0;
};

struct PassStatistics {
  int64_t prompts = 0, responses = 0, too_long = 0, reward_errors = 0, tokens = 0;
  int64_t without_answer = 0;  // prompts whose responses the expression compares with an answer that is not there
  std::optional<MeanOverPrompts> pass, consensus, any, reward;  // absent: no response has a reward
  std::map<std::string, MeanOverPrompts> parts;                 // by name of the expression, over prompts that have it
  std::optional<double> tokens_mean, tokens_median, tokens_p95, truncated;
  int64_t tokens_max = 0;
};

bool passes(const EvaluatedResponse& response, double pass_at);

// `names`: of the expression.
PassStatistics pass_statistics(const std::vector<const EvaluatedSource*>& sources, const std::vector<std::string>& names,
                               double pass_at);

nlohmann::ordered_json statistics_json(const PassStatistics& s);
// A table: a row a source, and one of all where there are several. `samples`: k, for headings.
std::string statistics_table(const std::vector<std::pair<std::string, PassStatistics>>& rows, int64_t samples);

// A line of --out: what r1-score reads, and what became of it.
nlohmann::ordered_json response_json(const std::string& source, const EvaluatedPrompt& prompt, size_t response, double pass_at);

}  // namespace r1
