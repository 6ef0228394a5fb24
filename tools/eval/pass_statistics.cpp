#include "tools/eval/pass_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "rewards/metrics.h"
#include "rewards/response.h"

namespace r1 {

using nlohmann::ordered_json;

namespace {

// A number a prompt.
class Values {
 public:
  void add(double v) { values_.push_back(v); }
  std::optional<MeanOverPrompts> mean() const {
    if (values_.empty()) return std::nullopt;
    MeanOverPrompts m;
    m.prompts = std::ssize(values_);
    const auto n = static_cast<double>(values_.size());
    for (const double v : values_) m.mean += v;
    m.mean /= n;
    if (values_.size() > 1) {
      double squares = 0;
      for (const double v : values_) squares += (v - m.mean) * (v - m.mean);
      m.standard_error = std::sqrt(squares / (n - 1) / n);
    }
    return m;
  }

 private:
  std::vector<double> values_;
};

// The smallest value that at least `share` of the values do not exceed; `sorted` is not empty.
double quantile(const std::vector<int64_t>& sorted, double share) {
  const auto at = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::clamp<size_t>(at, 1, sorted.size()) - 1]);
}

ordered_json or_null(const std::optional<double>& value) { return value ? ordered_json(*value) : ordered_json(nullptr); }

ordered_json mean_json(const std::optional<MeanOverPrompts>& m) {
  if (!m) return nullptr;
  return {{"mean", m->mean}, {"se", or_null(m->standard_error)}, {"prompts", m->prompts}};
}

std::string share_cell(const std::optional<MeanOverPrompts>& m) {
  if (!m) return "";
  return m->standard_error ? fmt::format("{:.1f} ± {:.1f}", 100 * m->mean, 100 * *m->standard_error)
                           : fmt::format("{:.1f}", 100 * m->mean);
}

}  // namespace

bool passes(const EvaluatedResponse& response, double pass_at) {
  constexpr double kRounding = 1e-9;  // of sums like 0.7 + 0.2 + 0.1
  return response.score.reward && *response.score.reward >= pass_at - kRounding;
}

PassStatistics pass_statistics(const std::vector<const EvaluatedSource*>& sources, const std::vector<std::string>& names,
                               double pass_at) {
  PassStatistics out;
  Values pass, consensus, any, reward;
  std::map<std::string, Values> parts;
  std::vector<int64_t> lengths;
  int64_t truncated = 0;
  const AnswerForm form = answer_form(names);
  for (const EvaluatedSource* source : sources) {
    out.too_long += source->too_long;
    for (const EvaluatedPrompt& p : source->prompts) {
      ++out.prompts;
      double passed = 0, scored = 0, rewards = 0, errors = 0;
      std::map<std::string, std::pair<double, double>> of_prompt;
      std::vector<RewardInput> inputs;
      for (size_t i = 0; i < p.responses.size(); ++i) {
        const EvaluatedResponse& r = p.responses[i];
        inputs.push_back(p.input(i));
        ++out.responses;
        lengths.push_back(r.tokens);
        truncated += !r.finished;
        for (const std::string& name : names)
          if (const auto part = r.score.parts.find(name); part != r.score.parts.end())
            of_prompt[name].first += part->second, of_prompt[name].second += 1;
        if (!r.score.reward) {
          errors += r.score.error.empty() ? 0 : 1;
          continue;
        }
        scored += 1;
        rewards += *r.score.reward;
        passed += passes(r, pass_at);
      }
      out.reward_errors += static_cast<int64_t>(errors);
      out.without_answer += scored == 0 && errors == 0;
      for (const auto& [name, sum] : of_prompt) parts[name].add(sum.first / sum.second);
      if (scored == 0) continue;
      pass.add(passed / scored);
      any.add(passed > 0);
      reward.add(rewards / scored);
      const auto chosen = majority(inputs, form);
      consensus.add(chosen && passes(p.responses[*chosen], pass_at));
    }
  }
  out.pass = pass.mean();
  out.consensus = consensus.mean();
  out.any = any.mean();
  out.reward = reward.mean();
  for (const auto& [name, values] : parts) out.parts[name] = *values.mean();
  if (lengths.empty()) return out;
  std::sort(lengths.begin(), lengths.end());
  for (const int64_t n : lengths) out.tokens += n;
  out.tokens_mean = static_cast<double>(out.tokens) / static_cast<double>(lengths.size());
  out.tokens_median = quantile(lengths, 0.5);
  out.tokens_p95 = quantile(lengths, 0.95);
  out.tokens_max = lengths.back();
  out.truncated = static_cast<double>(truncated) / static_cast<double>(lengths.size());
  return out;
}

ordered_json statistics_json(const PassStatistics& s) {
  ordered_json j;
  j["prompts"] = s.prompts;
  j["responses"] = s.responses;
  for (const auto& [name, value] : {std::pair{"pass@1", &s.pass}, {"cons@k", &s.consensus}, {"pass@k", &s.any}}) {
    j[name] = *value ? ordered_json((*value)->mean) : ordered_json(nullptr);
    j[std::string(name) + "_se"] = *value ? or_null((*value)->standard_error) : ordered_json(nullptr);
  }
  j["reward"] = mean_json(s.reward);
  j["parts"] = ordered_json::object();
  for (const auto& [name, mean] : s.parts) j["parts"][name] = mean_json(mean);
  j["reward_errors"] = s.reward_errors;
  j["without_answer"] = s.without_answer;
  j["tokens"] = {{"mean", or_null(s.tokens_mean)},
                 {"median", or_null(s.tokens_median)},
                 {"p95", or_null(s.tokens_p95)},
                 {"max", s.responses > 0 ? ordered_json(s.tokens_max) : ordered_json(nullptr)},
                 {"all", s.tokens}};
  j["truncated"] = or_null(s.truncated);
  j["too_long"] = s.too_long;
  return j;
}

std::string statistics_table(const std::vector<std::pair<std::string, PassStatistics>>& rows, int64_t samples) {
  std::vector<std::vector<std::string>> table = {{"source", "prompts", "pass@1 %"}};
  if (samples > 1)
    for (const char* name : {"cons@{} %", "pass@{} %"}) table[0].push_back(fmt::format(fmt::runtime(name), samples));
  table[0].emplace_back("reward");
  std::vector<std::string> names;
  for (const auto& [label, s] : rows)
    for (const auto& [name, mean] : s.parts)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const std::string& name : names) table[0].push_back(name);
  for (const char* heading : {"tokens", "median", "cut off %"}) table[0].emplace_back(heading);
  for (const auto& [label, s] : rows) {
    auto& row = table.emplace_back();
    row = {label, std::to_string(s.prompts), share_cell(s.pass)};
    if (samples > 1) row.insert(row.end(), {share_cell(s.consensus), share_cell(s.any)});
    row.push_back(s.reward ? fmt::format("{:.3f}", s.reward->mean) : "");
    for (const std::string& name : names) {
      const auto part = s.parts.find(name);
      row.push_back(part == s.parts.end() ? "" : fmt::format("{:.3f}", part->second.mean));
    }
    row.push_back(s.tokens_mean ? fmt::format("{:.0f}", *s.tokens_mean) : "");
    row.push_back(s.tokens_median ? fmt::format("{:.0f}", *s.tokens_median) : "");
    row.push_back(s.truncated ? fmt::format("{:.1f}", 100 * *s.truncated) : "");
  }
  const auto columns_of = [](const std::string& text) {  // "±" is one
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  };
  std::vector<size_t> widths(table[0].size(), 0);
  for (const auto& row : table)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], columns_of(row[c]));
  std::string out;
  for (const auto& row : table) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string gap(widths[c] - columns_of(row[c]), ' ');
      out += c == 0 ? row[c] + gap : "  " + gap + row[c];
    }
    out += "\n";
  }
  return out;
}

ordered_json response_json(const std::string& source, const EvaluatedPrompt& prompt, size_t response, double pass_at) {
  const EvaluatedResponse& r = prompt.responses.at(response);
  ordered_json line;
  line["source"] = source;
  line["index"] = prompt.index;
  line["sample"] = r.sample;
  line["prompt"] = prompt.prompt.text;
  for (const auto& [name, value] : prompt.prompt.facts)
    if (name == "answers") line["answer"] = split_answers(value);
  line["response"] = r.text;
  line["reward"] = or_null(r.score.reward);
  line["scores"] = r.score.parts;
  if (!r.score.error.empty()) line["error"] = r.score.error;
  const bool judged = r.score.reward || !r.score.error.empty();
  line["passed"] = judged ? ordered_json(passes(r, pass_at)) : ordered_json(nullptr);
  line["tokens"] = r.tokens;
  line["finished"] = r.finished;
  return line;
}

}  // namespace r1
