#include "tools/terminal/trajectories.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tools/terminal/stored_samples.h"

namespace r1::terminal {

static constexpr const char* kArguments = "traj STAGE [last|first|best|worst|DRAW|reason=REASON] [COUNT]";
static const std::map<std::string, DrawnChoice::Of, std::less<>> kNamed = {{"first", DrawnChoice::Of::first},
                                                                           {"last", DrawnChoice::Of::last},
                                                                           {"best", DrawnChoice::Of::best},
                                                                           {"worst", DrawnChoice::Of::worst}};
static constexpr std::string_view kAsJson = "--json ", kColoured = "--coloured ";

std::string trajectories(const std::filesystem::path& run_dir, const std::string& arguments, SamplesAs as) {
  std::istringstream words(arguments);
  std::string stage, which = "last";
  int64_t count = 4;
  words >> stage >> which >> count;
  if (stage.empty()) throw bad_input("traj takes STAGE", {}, kArguments);
  constexpr int64_t kMostShown = 1000;
  if (!words.eof() || count < 1 || count > kMostShown) throw bad_input("those are no arguments of traj", {}, kArguments);
  DrawnChoice choice;
  choice.count = count;
  using Of = DrawnChoice::Of;
  if (const auto named = kNamed.find(which); named != kNamed.end()) {
    choice.of = named->second;
  } else if (which.starts_with("reason=")) {
    choice.of = Of::reason;
    choice.reason = which.substr(7);
  } else {
    choice.of = Of::draw;
    const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), choice.draw);
    if (error != std::errc() || end != which.data() + which.size() || choice.draw < 0)
      throw bad_input(fmt::format("no trajectories are '{}'", which), {}, kArguments);
  }
  std::vector<StoredSample> samples = drawn_samples(run_dir, stage, choice);
  if (samples.empty())
    throw bad_input(choice.of == Of::draw ? fmt::format("stage {} has kept no trajectories of draw {}", stage, choice.draw)
                                          : fmt::format("stage {} has no such trajectories", stage));
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
