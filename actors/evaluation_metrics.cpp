#include "actors/evaluation_metrics.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

#include "rewards/metrics.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

using Metrics = std::map<std::string, double>;
// A prompt with its responses and the label of its source.
struct Item {
  const EvaluatedPrompt* prompt;
  std::string label, domain;
  bool general() const { return domain == "general"; }
};
using ItemList = std::vector<Item>;

ItemList items_of(const std::vector<EvaluatedSource>& sources) {
  std::vector<std::string> names;
  for (const EvaluatedSource& s : sources) names.push_back(s.name);
  const std::vector<std::string> labels = source_labels(names);
  ItemList items;
  for (size_t i = 0; i < sources.size(); ++i)
    for (const EvaluatedPrompt& p : sources[i].prompts) {
      const auto domain = p.prompt.facts.find("domain");
      items.push_back({&p, labels[i], domain == p.prompt.facts.end() ? "" : domain->second});
    }
  return items;
}

ItemList chosen(const ItemList& items, const std::function<bool(const Item&)>& want) {
  ItemList out;
  std::copy_if(items.begin(), items.end(), std::back_inserter(out), want);
  return out;
}

std::vector<RewardInput> inputs_of(const ItemList& items) {
  std::vector<RewardInput> out;
  for (const Item& item : items)
    for (size_t i = 0; i < item.prompt->responses.size(); ++i) out.push_back(item.prompt->input(i));
  return out;
}

void put(Metrics& to, const std::string& name, const std::optional<double>& value) {
  if (value) to[name] = *value;
}

std::optional<double> consensus(const ItemList& items) {
  double right = 0, count = 0;
  for (const Item& item : items) {
    const std::vector<RewardInput> completions = inputs_of({item});
    if (completions.empty() || !has_answer(completions[0])) continue;
    right += consensus_accuracy(completions);
    count += 1;
  }
  return count > 0 ? std::optional(right / count) : std::nullopt;
}

void measure_rewards(const ItemList& items, const std::vector<std::string>& names, const std::string& suffix, Metrics& out) {
  double sum = 0, errors = 0;
  int64_t count = 0;
  std::map<std::string, std::pair<double, int64_t>> parts;
  for (const Item& item : items)
    for (const EvaluatedResponse& r : item.prompt->responses) {
      if (r.score.reward)
        sum += *r.score.reward, ++count;
      else if (!r.score.error.empty())
        errors += 1;
      for (const std::string& name : names)
        if (const auto part = r.score.parts.find(name); part != r.score.parts.end())
          parts[name].first += part->second, ++parts[name].second;
    }
  if (count > 0) out["reward" + suffix] = sum / static_cast<double>(count);
  if (errors > 0) out["reward_errors" + suffix] = errors;
  if (!suffix.empty()) return;
  for (const auto& [name, part] : parts)  // a rule that is measured anyway is measured where it applies
    out.emplace(name, part.first / static_cast<double>(part.second));
}

// Of prompts that are not general.
void measure_reasoning(const EvaluationSpec& spec, const std::vector<std::string>& names, const ItemList& sampled,
                       const ItemList& greedy, const std::string& prefix, Metrics& out) {
  Metrics here;
  if (!sampled.empty()) {
    const ResponseMetrics m = measure(inputs_of(sampled));
    put(here, "accuracy", m.accuracy);
    put(here, "format", m.format);
    put(here, "language", m.language);
    put(here, "length", m.length);
    here["problems"] = static_cast<double>(sampled.size());
  }
  if (!greedy.empty()) put(here, "accuracy_greedy", measure(inputs_of(greedy)).accuracy);
  if (!prefix.empty() && spec.samples > 1) put(here, "cons", consensus(sampled));
  if (!prefix.empty() && !names.empty()) measure_rewards(sampled, names, "", here);
  for (const auto& [name, value] : here) out[prefix + name] = value;
}

void measure_general(const ItemList& sampled, const ItemList& greedy, Metrics& out) {
  if (sampled.empty()) return;
  const std::vector<RewardInput> inputs = inputs_of(sampled);
  const ResponseMetrics m = measure(inputs);
  put(out, "general_accuracy", m.accuracy);
  put(out, "harmless", m.harmless);
  put(out, "courtesy", m.courtesy);
  put(out, "over_refusal", m.over_refusal);
  double right = 0, count = 0;
  for (const RewardInput& in : inputs) {
    if (in.fact("harm") == "1" || in.fact("courtesy").empty()) continue;
    right += accuracy_reward(in) * courtesy_reward(in) * format_reward(in);
    count += 1;
  }
  if (count > 0) out["helpful"] = right / count;
  if (!greedy.empty()) put(out, "general_accuracy_greedy", measure(inputs_of(greedy)).accuracy);
}

}  // namespace

std::vector<std::string> source_labels(const std::vector<std::string>& sources) {
  std::vector<std::string> labels;
  std::map<std::string, int> seen;
  for (const std::string& source : sources) {
    std::string name = source.substr(0, source.find('?'));
    if (const size_t colon = name.find(':'); colon != std::string::npos) name = name.substr(colon + 1);
    if (const size_t slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
    if (const size_t dot = name.find('.'); dot != std::string::npos && dot > 0) name = name.substr(0, dot);
    const int n = ++seen[name];
    labels.push_back(n == 1 ? name : name + "_" + std::to_string(n));
  }
  return labels;
}

std::map<std::string, double> prompt_metrics(const EvaluationSpec& spec, const std::vector<std::string>& names,
                                             const std::vector<EvaluatedSource>& sampled,
                                             const std::vector<EvaluatedSource>& greedy) {
  Metrics out;
  const ItemList all = items_of(sampled), all_greedy = items_of(greedy);
  const auto general = [](const Item& i) { return i.general(); };
  const auto other = [](const Item& i) { return !i.general(); };
  const ItemList reasoning = chosen(all, other), reasoning_greedy = chosen(all_greedy, other);
  measure_reasoning(spec, names, reasoning, reasoning_greedy, "", out);
  measure_general(chosen(all, general), chosen(all_greedy, general), out);
  const std::vector<RewardInput> inputs = inputs_of(all);
  for (const auto& [kind, m] : measure_by("kind", inputs))
    if (!kind.empty()) put(out, "accuracy_" + kind, m.accuracy);
  if (spec.samples > 1) put(out, "cons", consensus(all));
  double too_long = 0, truncated = 0;
  for (const EvaluatedSource& s : sampled) too_long += static_cast<double>(s.too_long);
  for (const RewardInput& in : inputs) truncated += in.finished ? 0 : 1;
  if (too_long > 0) out["too_long"] = too_long;
  if (!inputs.empty()) out["truncated"] = truncated / static_cast<double>(inputs.size());
  if (!names.empty()) {
    measure_rewards(all, names, "", out);
    if (!all_greedy.empty()) measure_rewards(all_greedy, names, "_greedy", out);
  }
  std::set<std::string> labels, domains;
  for (const Item& item : reasoning) labels.insert(item.label), domains.insert(item.domain);
  const auto break_down = [&](const std::set<std::string>& values, std::string Item::*by) {
    if (values.size() < 2) return;
    for (const std::string& value : values) {
      const auto here = [&](const Item& i) { return i.*by == value; };
      if (!value.empty())
        measure_reasoning(spec, names, chosen(reasoning, here), chosen(reasoning_greedy, here), value + "/", out);
    }
  };
  break_down(domains, &Item::domain);
  break_down(labels, &Item::label);
  return out;
}

}  // namespace r1
