#include "tools/terminal/trajectories.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tools/terminal/stored_samples.h"

namespace r1::terminal {

static constexpr const char* kArguments = "traj STAGE [last|first|best|worst|DRAW|reason=REASON] [COUNT]";
static constexpr std::string_view kAsJson = "--json ", kColoured = "--coloured ";

std::string trajectories(const std::filesystem::path& run_dir, const std::string& arguments, SamplesAs as) {
  std::istringstream words(arguments);
  std::string stage, which = "last";
  int64_t count = 4;
  words >> stage >> which >> count;
  if (stage.empty()) throw bad_input("traj takes STAGE", {}, kArguments);
  constexpr int64_t kMostShown = 1000;
  if (!words.eof() || count < 1 || count > kMostShown) throw bad_input("those are no arguments of traj", {}, kArguments);
  constexpr int64_t kLookedAt = 2000;  // draws from each end of the stage
  std::vector<StoredSample> samples = stored_samples(run_dir, stage, which == "last" || which == "first" ? count : kLookedAt);
  std::erase_if(samples, [](const StoredSample& s) { return s.moment != "sampled"; });
  const auto by_reward = [&](double sign) {
    std::erase_if(samples, [](const StoredSample& s) { return !s.reward; });
    std::stable_sort(samples.begin(), samples.end(),
                     [&](const StoredSample& a, const StoredSample& b) { return sign * *a.reward < sign * *b.reward; });
  };
  if (which == "last") {
    std::reverse(samples.begin(), samples.end());
  } else if (which == "best" || which == "worst") {
    by_reward(which == "worst" ? 1 : -1);
  } else if (which.starts_with("reason=")) {
    std::erase_if(samples, [&](const StoredSample& s) { return s.verdict.find(which.substr(7)) == s.verdict.npos; });
  } else if (which != "first") {
    if (which.find_first_not_of("0123456789") != which.npos)
      throw bad_input(fmt::format("no trajectories are '{}'", which), {}, kArguments);
    std::erase_if(samples, [&](const StoredSample& s) { return s.what.rfind("draw " + which + ",", 0) != 0; });
  }
  if (samples.empty())
    throw bad_input(fmt::format("stage {} has none of those among the {} draws at either end", stage, kLookedAt));
  samples.resize(std::min(samples.size(), static_cast<size_t>(count)));
  if (as == SamplesAs::json) return samples_jsonl(samples);
  if (as == SamplesAs::coloured) add_tokens(run_dir, samples);
  return samples_text(samples, as == SamplesAs::coloured);
}

std::string trajectories_answer(const std::filesystem::path& run_dir, const std::string& arguments) {
  using Json = nlohmann::ordered_json;
  SamplesAs as = SamplesAs::text;
  std::string_view rest = arguments;
  for (const auto& [word, form] : {std::pair(kAsJson, SamplesAs::json), std::pair(kColoured, SamplesAs::coloured)})
    if (rest.starts_with(word)) {
      as = form;
      rest.remove_prefix(word.size());
      break;
    }
  const bool json = as == SamplesAs::json;
  std::string text = trajectories(run_dir, std::string(rest), as);
  if (text.ends_with('\n')) text.pop_back();
  return Json{{json ? "lines" : "text", text}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace r1::terminal
