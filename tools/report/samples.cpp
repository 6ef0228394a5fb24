// Completions from the first and the last batches of an RL stage for alike prompts, tokens shaded by probability.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "actors/codec.h"
#include "actors/metric_table.h"
#include "actors/stored_rows.h"
#include "base/error.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"
#include "tools/report/shown_tokens.h"

namespace r1::report {

namespace {

constexpr int64_t kEarly = 48, kLate = 96;  // draws looked at, from the first and from the last ones
constexpr size_t kPairs = 3;
constexpr size_t kHeadTokens = 240, kTailTokens = 120;  // shown of a long completion
constexpr size_t kPromptCharacters = 400;

}  // namespace

std::string token_spans(const Sequence& s, const Tokenizer& tokenizer) {
  const std::vector<ShownToken> tokens = shown_tokens(s, tokenizer);
  const bool cut = tokens.size() > kHeadTokens + kTailTokens;
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (cut && i == kHeadTokens) {
      out += fmt::format("<span class=\"cut\"> … {} tokens … </span>", tokens.size() - kHeadTokens - kTailTokens);
      i = tokens.size() - kTailTokens;
    }
    const ShownToken& token = tokens[i];
    const double probability = token.probability.value_or(1);
    out += fmt::format("<span class=\"p{}\" title=\"{:.3g} %{}\">{}</span>", shade_of(probability), 100 * probability,
                       token.version < 0 ? "" : fmt::format(", version {}", token.version), escaped(token.text));
  }
  return out;
}

namespace {

struct Group {
  int64_t draw = 0;
  std::string outcome;  // "trained in batch 3", "dropped: equal rewards"
  std::vector<TrajectoryRow> rows;
  std::string prompt, shape;
};

// Prompts are alike when they differ only in numbers and in their later words' choice: digits are one sign, runs of the same
// sign one.
std::string shape_of(const std::string& prompt) {
  std::string out;
  for (const char c : prompt) {
    const char sign = c >= '0' && c <= '9' ? '#' : c;
    if (sign == ' ' && !out.empty() && out.back() == '#') continue;
    if (out.empty() || out.back() != sign || sign != '#') out += sign;
  }
  return out;
}

// The shape's first words: what kind of task it is.
std::string kind_of_prompt(const std::string& shape) { return shape.substr(0, shape.find('#')); }

std::optional<Group> read_group(const RunStore& store, const StageData& stage, const Resolution& r,
                                const Tokenizer& tokenizer) {
  Group group;
  group.draw = r.draw;
  group.outcome = r.batch >= 0 ? fmt::format("trained in batch {}", r.batch) : "dropped: " + r.reason;
  group.rows = store.trajectories(stage.row.id, r.draw);
  if (group.rows.empty()) return std::nullopt;
  const Sequence first = decode_sequence(group.rows[0].payload);
  const size_t length = prompt_length(first);
  group.prompt = tokenizer.decode({first.tokens.data(), length});
  group.shape = shape_of(group.prompt);
  return group;
}

// The completion of median reward: neither the best nor the worst of its group.
const TrajectoryRow& median(const Group& group) {
  std::vector<const TrajectoryRow*> rows;
  for (const TrajectoryRow& row : group.rows) rows.push_back(&row);
  std::stable_sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->reward < b->reward; });
  return *rows[rows.size() / 2];
}

std::string sample_card(const RunStore& store, const StageData& stage, const Group& group, const char* when,
                        const Tokenizer& tokenizer) {
  const TrajectoryRow& row = median(group);
  const Sequence s = decode_sequence(row.payload);
  double sum = 0, low = INFINITY, high = -INFINITY;
  size_t scored = 0;
  for (const TrajectoryRow& r : group.rows) {
    if (!r.reward) continue;
    ++scored;
    sum += *r.reward;
    low = std::min(low, *r.reward);
    high = std::max(high, *r.reward);
  }
  std::string of_group;
  if (scored > 0)
    of_group = fmt::format(": mean {}, from {} to {}", number(sum / static_cast<double>(scored)), number(low), number(high));
  if (scored < group.rows.size()) of_group += fmt::format("; {} without a reward", group.rows.size() - scored);
  std::string parts;
  const nlohmann::json scores = scores_in(store, stage.row.id, row);
  for (const auto& [name, value] : scores.items())
    if (value.is_number() && shown_metric(name, stage.asked))
      parts += fmt::format(" · {} {}", escaped(name), number(value.get<double>()));
  return fmt::format(
      "<div class=\"sample\"><div class=\"when\"><b>{}</b>: draw {}, {}</div><div class=\"tokens\"><span "
      "class=\"prompt\">{}</span>{}</div><div class=\"score\">reward <b>{}</b>{}<br>its group of {}{}</div></div>\n",
      when, group.draw, escaped(group.outcome), escaped(shortened(group.prompt, kPromptCharacters)), token_spans(s, tokenizer),
      row.reward ? number(*row.reward) : "–", parts, group.rows.size(), of_group);
}

}  // namespace

std::string samples_of(const StageData& stage, const RunStore& store, const Tokenizer* tokenizer) {
  if (tokenizer == nullptr || stage.kind != StageKind::rl) return "";
  std::vector<Resolution> ended = stage.resolutions;
  std::erase_if(ended, [](const Resolution& r) { return r.reason == "stage_ended"; });  // those were never sampled to their end
  std::vector<Group> early, late;
  const auto n = static_cast<int64_t>(ended.size());
  try {
    for (int64_t i = 0; i < std::min(kEarly, n / 2); ++i)
      if (auto group = read_group(store, stage, ended[i], *tokenizer)) early.push_back(std::move(*group));
    for (int64_t i = n - 1; i >= n - n / 2 && std::ssize(late) < kLate; --i)
      if (auto group = read_group(store, stage, ended[i], *tokenizer)) late.push_back(std::move(*group));
  } catch (const Error&) {
    return "";  // blobs of another version
  }
  std::string out;
  size_t pairs = 0;
  std::set<std::string> kinds;
  std::set<int64_t> used;
  // First kinds of prompts that were not shown yet, then any; the very shape before the mere kind.
  for (const bool fresh : {true, false}) {
    for (const Group& group : early) {
      if (pairs == kPairs) break;
      const std::string kind = kind_of_prompt(group.shape);
      if ((fresh && kinds.contains(kind)) || used.contains(group.draw)) continue;
      const Group* partner = nullptr;
      for (const Group& candidate : late) {
        if (used.contains(candidate.draw) || kind_of_prompt(candidate.shape) != kind) continue;
        if (partner == nullptr || (candidate.shape == group.shape && partner->shape != group.shape)) partner = &candidate;
      }
      if (partner == nullptr) continue;
      kinds.insert(kind);
      used.insert({group.draw, partner->draw});
      ++pairs;
      out += "<div class=\"pair\">" + sample_card(store, stage, group, "early", *tokenizer) +
             sample_card(store, stage, *partner, "late", *tokenizer) + "</div>\n";
    }
  }
  if (out.empty()) return "";
  constexpr const char* kLegend =
      "<p class=\"legend\">Each card: the completion of median reward of its group; prompts are the first ones of the stage "
      "that have a "
      "counterpart of the same kind among the last ones. Shade of a token = the probability it was sampled with: <span "
      "class=\"p0\">over "
      "90 %</span> <span class=\"p1\">60–90</span> <span class=\"p2\">30–60</span> <span class=\"p3\">10–30</span> <span "
      "class=\"p4\">under 10 %</span>.</p>\n";
  return "<h4>Samples, early and late</h4>\n" + std::string(kLegend) + out;
}

}  // namespace r1::report
