#include "tools/dashboard/trajectories.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "actors/codec.h"
#include "actors/stored_rows.h"
#include "base/error.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"
#include "tools/report/shown_tokens.h"

namespace r1::dashboard {

using report::escaped;

namespace {

constexpr size_t kPromptCharacters = 90, kWholePromptCharacters = 4000;
constexpr size_t kMostCompletions = 64;  // shown of one draw

struct Group {
  Resolution draw;
  std::vector<TrajectoryRow> rows;
  size_t scored = 0;
  double mean = NAN, low = INFINITY, high = -INFINITY, tokens = 0;
  std::string prompt;
};

std::string outcome_of(const Resolution& r) {
  return r.batch >= 0 ? fmt::format("trained in batch {}", r.batch) : "dropped: " + r.reason;
}

std::string prompt_of(const Sequence& s, const Tokenizer* tokenizer) {
  return tokenizer == nullptr ? "" : tokenizer->decode({s.tokens.data(), report::prompt_length(s)});
}

Group read_group(const RunStore& store, int64_t stage, const Resolution& draw, const Tokenizer* tokenizer) {
  Group group;
  group.draw = draw;
  group.rows = store.trajectories(stage, draw.draw);
  double sum = 0;
  for (size_t i = 0; i < group.rows.size(); ++i) {
    const Sequence s = decode_sequence(group.rows[i].payload);
    group.tokens += static_cast<double>(s.tokens.size() - report::prompt_length(s)) / static_cast<double>(group.rows.size());
    if (i == 0) group.prompt = prompt_of(s, tokenizer);
    if (!group.rows[i].reward) continue;
    ++group.scored;
    sum += *group.rows[i].reward;
    group.low = std::min(group.low, *group.rows[i].reward);
    group.high = std::max(group.high, *group.rows[i].reward);
  }
  if (group.scored > 0) group.mean = sum / static_cast<double>(group.scored);
  return group;
}

std::string row_of(const Group& g) {
  const std::string reward = g.scored == 0 ? "" : report::number(g.mean);
  const std::string range =
      g.scored == 0 || g.low == g.high ? "" : fmt::format("{} to {}", report::number(g.low), report::number(g.high));
  return fmt::format(
      "<tr><td class=\"n\"><button class=\"draw\" data-draw=\"{0}\">{0}</button></td><td class=\"fixed\">{1}</td><td "
      "class=\"n\">{2}</td><td class=\"n\">{3}</td><td class=\"fixed\">{4}</td><td class=\"n\">{5:.0f}</td><td "
      "class=\"text\">{6}</td></tr>\n",
      g.draw.draw, escaped(outcome_of(g.draw)), g.rows.size(), reward, range, g.tokens,
      escaped(report::shortened(g.prompt, kPromptCharacters)));
}

}  // namespace

std::string trajectory_list(const RunStore& store, int64_t stage, const TrajectoryQuestion& q, const Tokenizer* tokenizer) {
  using enum TrajectoryQuestion::Order;
  std::vector<Resolution> draws = store.resolutions(stage);
  std::set<std::string> outcomes;
  for (const Resolution& r : draws) outcomes.insert(r.batch >= 0 ? "trained" : r.reason);
  std::erase_if(draws,
                [&](const Resolution& r) { return !q.outcome.empty() && (r.batch >= 0 ? "trained" : r.reason) != q.outcome; });
  const size_t all = draws.size();
  if (q.order != first) std::reverse(draws.begin(), draws.end());
  if (q.beyond >= 0)
    std::erase_if(draws, [&](const Resolution& r) {
      return (q.order == last && r.draw >= q.beyond) || (q.order == first && r.draw <= q.beyond);
    });
  const auto limit = static_cast<size_t>(std::clamp<int64_t>(q.limit, 1, 100));
  std::vector<Group> groups;
  int64_t looked_at = 0;
  size_t next = 0;
  for (; next < draws.size() && looked_at < kMostLookedAt; ++next, ++looked_at) {
    if ((q.order == last || q.order == first) && groups.size() == limit) break;
    Group group = read_group(store, stage, draws[next], tokenizer);
    if (!group.rows.empty()) groups.push_back(std::move(group));  // what was dropped before it was sampled has none
  }
  if (q.order == best || q.order == worst) {
    std::erase_if(groups, [](const Group& g) { return g.scored == 0; });
    std::stable_sort(groups.begin(), groups.end(),
                     [&](const Group& a, const Group& b) { return q.order == best ? a.mean > b.mean : a.mean < b.mean; });
    if (groups.size() > limit) groups.resize(limit);
  }
  std::string out = fmt::format("<p class=\"sub\">{} of {} that have ended", report::plural(std::ssize(groups), "draw"), all);
  if ((q.order == best || q.order == worst) && all > static_cast<size_t>(kMostLookedAt))
    out += fmt::format("; of the last {}", kMostLookedAt);
  out += ".</p>\n";
  std::string options;
  for (const std::string& outcome : outcomes) options += fmt::format("{}{}", options.empty() ? "" : "\n", outcome);
  out += fmt::format("<span hidden class=\"outcomes\" data-outcomes=\"{}\"", escaped(options));
  if ((q.order == last || q.order == first) && next < draws.size() && !groups.empty())
    out += fmt::format(" data-next=\"{}\"", groups.back().draw.draw);
  out += "></span>\n";
  if (groups.empty()) return out;
  out +=
      "<div class=\"scroll\"><table class=\"filled\"><thead><tr><th class=\"n\">draw</th><th>what became of it</th><th "
      "class=\"n\">completions</th><th class=\"n\">mean reward</th><th>from, to</th><th class=\"n\">tokens</th><th>prompt</th>"
      "</tr></thead><tbody>\n";
  for (const Group& group : groups) out += row_of(group);
  return out + "</tbody></table></div>\n";
}

std::string trajectory_group(const RunStore& store, int64_t stage, int64_t draw, const Tokenizer* tokenizer) {
  const auto ended = store.resolution(stage, draw);
  const std::vector<TrajectoryRow> rows = store.trajectories(stage, draw);
  if (rows.empty()) return fmt::format("<p class=\"note\">Of draw {} there is nothing {}.</p>\n", draw, ended ? "kept" : "yet");
  std::string out = fmt::format("<h4>Draw {}{}{}</h4>\n", draw, ended ? ": " : "", ended ? escaped(outcome_of(*ended)) : "");
  std::string cards;
  for (size_t i = 0; i < rows.size() && i < kMostCompletions; ++i) {
    const Sequence s = decode_sequence(rows[i].payload);
    if (i == 0)
      out += fmt::format("<div class=\"sample tokens\"><span class=\"prompt\">{}</span></div>\n",
                         escaped(report::shortened(prompt_of(s, tokenizer), kWholePromptCharacters)));
    const auto [oldest, newest] = report::versions_of(s);
    std::string parts;
    const nlohmann::json scores = scores_in(store, stage, rows[i]);
    for (const auto& [name, value] : scores.items())
      if (value.is_number()) parts += fmt::format(" · {} {}", escaped(name), report::number(value.get<double>()));
    const std::string versions = newest < 0         ? ""
                                 : oldest == newest ? fmt::format(", version {}", oldest)
                                                    : fmt::format(", versions {} to {}", oldest, newest);
    cards += fmt::format(
        "<div class=\"sample\"><div class=\"when\"><b>{}</b>: {} tokens{}</div><div class=\"tokens\">{}</div><div "
        "class=\"score\">reward <b>{}</b>{}</div></div>\n",
        rows[i].sample, s.tokens.size() - report::prompt_length(s), versions,
        tokenizer == nullptr ? "" : report::token_spans(s, *tokenizer), rows[i].reward ? report::number(*rows[i].reward) : "–",
        parts);
  }
  out += "<div class=\"pair group\">" + cards + "</div>\n";
  if (rows.size() > kMostCompletions) out += fmt::format("<p class=\"note\">… of {} completions.</p>\n", rows.size());
  return out;
}

}  // namespace r1::dashboard
