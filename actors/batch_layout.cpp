#include "actors/batch_layout.h"

#include <algorithm>
#include <map>
#include <utility>

#include "actors/training_plan.h"

namespace r1 {

using nlohmann::json;

namespace {

void count_tokens(BatchLayout& layout) {
  int64_t tokens = 0;
  for (const Sequence& s : layout.train.sequences) tokens += static_cast<int64_t>(s.tokens.size());
  layout.stats["tokens"] = tokens;
}

}  // namespace

int64_t sample_age(const Sequence& sample, int64_t version) {
  int64_t oldest = version;
  for (size_t i = 0; i < sample.tokens.size(); ++i)
    if (sample.trainable[i]) oldest = std::min(oldest, sample.version[i]);
  return version - oldest;
}

void GroupRows::add(const ScoredMessage& scored, int64_t version, const std::string& dropped) {
  const TrajectoriesMessage& group = *scored.group;
  const int64_t draw = group.prompt->draw;
  resolutions.push_back({draw, dropped.empty() ? version : -1, dropped});
  statistics.add_group(dropped);
  for (size_t i = 0; i < group.samples.size(); ++i) {
    const SampleScore& score = scored.scores[i];
    statistics.add(score, group.sampled_tokens(i));
    trajectories.push_back(
        {draw, static_cast<int>(i), score.reward, json(score.parts).dump(), encode_sequence(group.samples[i])});
  }
}

BatchLayout lay_out_groups(const BatchMessage& batch, const LayoutRules& rules) {
  BatchLayout out;
  std::map<std::pair<int64_t, int32_t>, const Sequence*> sampled;
  for (const BatchMessage::Group& group : batch.groups) {
    const TrajectoriesMessage& t = *group.scored->group;
    out.rows.add(*group.scored, batch.version, group.dropped);
    if (rules.mean_over_all && group.dropped == "equal_rewards")
      for (size_t i = 0; i < t.samples.size(); ++i) {
        ++out.content.silent_sequences;
        out.content.silent_tokens += t.sampled_tokens(i);
      }
    if (!group.dropped.empty()) continue;
    std::vector<double> rewards;
    for (const SampleScore& s : group.scored->scores) rewards.push_back(s.reward.value_or(0));
    const std::vector<float> advantages = group_advantages(rewards, rules.by_deviation);
    for (size_t i = 0; i < t.samples.size(); ++i) {
      if (rules.mask_truncated && t.finished[i] == 0) continue;
      out.rows.statistics.add_age(sample_age(t.samples[i], batch.version));
      BatchContent::Item& item = out.content.items.emplace_back();
      item.draw = t.prompt->draw;
      item.sample = static_cast<int32_t>(i);
      item.advantage = advantages[i];
      if (!group.reference_logp.empty()) item.reference_logp = group.reference_logp[i];
      sampled[{item.draw, item.sample}] = &t.samples[i];
    }
  }
  out.stats = out.rows.statistics.json();
  out.train = assemble_batch(out.content, [&](int64_t draw, int32_t sample) { return *sampled.at({draw, sample}); });
  count_tokens(out);
  return out;
}

BatchLayout lay_out_examples(std::vector<Sequence> examples, const LayoutRules& rules) {
  BatchLayout out;
  for (Sequence& s : examples) out.content.items.emplace_back().inline_sequence = std::move(s);
  out.train = assemble_batch(out.content, {});
  count_tokens(out);
  // How many examples have a token to learn; how many pairs have two sides.
  const std::vector<Sequence>& all = out.train.sequences;
  int64_t taught = 0;
  for (size_t i = 0; i < all.size(); i += static_cast<size_t>(rules.stride))
    taught += rules.stride == 2   ? all[i].tokens != all[i + 1].tokens
              : rules.every_token ? all[i].tokens.size() > 1
                                  : std::find(all[i].trainable.begin(), all[i].trainable.end(), 1) != all[i].trainable.end();
  out.stats["examples"] = static_cast<int64_t>(all.size()) / rules.stride;
  out.stats["examples_trained"] = taught;
  return out;
}

}  // namespace r1
