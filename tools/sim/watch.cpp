#include "tools/sim/watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/messages.h"
#include "actors/run_env.h"
#include "actors/training_plan.h"
#include "runtime/flow/role_host.h"

namespace r1 {

void Watch::violated(const std::string& what) {
  if (what_.empty()) what_ = what;
}

void Watch::process_begins() {
  links_.clear();
  causes_.clear();
}

void Watch::stage_begins(const std::string& stage) {
  for (size_t e = 0; e < graph_.edges.size(); ++e)
    if (const int at = graph_.nodes[graph_.edges[e].from].stage; at >= 0 && graph_.stages[at].name == stage)
      links_.erase(static_cast<int>(e));
  causes_.erase(stage);
}

// P9: never more on a link than its capacity.
void Watch::sent(const StagePlan& stage, int, int to, const Envelope& envelope) {
  if (envelope.kind != Envelope::Kind::payload) return;
  const EdgePlan& edge = graph_.edges[envelope.edge];
  Link& link = links_[envelope.edge];
  ++link.sent;
  const int64_t capacity = conflates(edge) ? 1 : edge.attrs.has("capacity") ? edge.attrs.integer("capacity") : kDefaultCapacity;
  if (link.sent - link.released > capacity)
    violated(fmt::format("P9: {} holds {} messages, its capacity is {}", graph_.edge_name(edge), link.sent - link.released,
                         capacity));
  if (const auto* weights = dynamic_cast<const WeightsMessage*>(envelope.payload.get())) {
    // P7: a version is one set of weights, whoever says it and however often the run was continued.
    const std::string hash = weights->hash.hex();
    const auto [known, fresh] = published_.emplace(std::make_pair(stage.name, weights->version), hash);
    if (!fresh && known->second != hash)
      violated(fmt::format("P7: version {} of stage {} is published as {} and was {}", weights->version, stage.name, hash,
                           known->second));
  }
  (void)to;
}

void Watch::arrived(const StagePlan&, int, int, const Envelope& envelope) {
  if (envelope.kind == Envelope::Kind::credit) {
    Link& link = links_[envelope.edge];
    link.released = std::max(link.released, envelope.number);
  }
}

void Watch::holds(const std::string& node, int64_t version, const Hash128& hash) {
  for (const NodePlan& plan : graph_.nodes) {
    if (plan.id != node || plan.role != "generator" || stage_trainer(graph_, plan.stage) == nullptr) continue;
    const std::string& stage = graph_.stages[plan.stage].name;
    const auto known = published_.find({stage, version});
    if (known == published_.end())
      violated(fmt::format("P7: {} samples with version {}, which nobody published", node, version));
    else if (known->second != hash.hex())
      violated(fmt::format("P7: {} samples with {} as version {}, which was published as {}", node, hash.hex(), version,
                           known->second));
  }
}

void Watch::injected(const std::string& stage, std::vector<std::string> names) {
  auto& causes = causes_[stage];
  causes.insert(causes.end(), names.begin(), names.end());
}

// P8: a stage that failed or stood still says why, and nothing fails that nobody disturbed.
void Watch::failed(const std::string& stage, const std::string& why) {
  const auto& causes = causes_[stage];
  if (std::none_of(causes.begin(), causes.end(), [&](const std::string& name) { return why.find(name) != why.npos; })) {
    std::string all;
    for (const std::string& name : causes) all += (all.empty() ? "" : " | ") + name;
    violated(fmt::format("P8: stage {} failed and names none of its causes ({}): {}", stage, all.empty() ? "none" : all, why));
  }
  stage_begins(stage);
}

void Watch::look_at_batch(const RunStore& store, int64_t id, int index, int64_t version) {
  ++batches_seen_;
  const std::string& stage = graph_.stages[index].name;
  const std::string hash = store.batch(id, version).payload_hash;
  const auto [known, fresh] = committed_.emplace(std::make_pair(stage, version), hash);
  if (!fresh && known->second != hash) known->second = hash;  // it was never durable: what was published decides (P7)
  const NodePlan* generator = stage_node(graph_, index, "generator");
  if (generator == nullptr || stage_trainer(graph_, index) == nullptr) return;
  const int64_t bound = stage_staleness(graph_, index);
  for (const Sequence& s : stored_batch(store, id, version).sequences)
    for (size_t i = 0; i < s.tokens.size(); ++i)
      if (s.trainable[i] && (version - s.version[i] > bound || s.version[i] > version))
        return violated(fmt::format("P6: batch {} of stage {} has a token of version {}, the bound is {}", version, stage,
                                    s.version[i], bound));
}

void Watch::look(const RunStore& store) {
  for (const StageRow& row : store.stages()) {
    if (row.status == StageStatus::waiting) continue;
    const int64_t batches = store.batch_count(row.id);
    int64_t& seen = batches_[row.name];
    if (batches == seen) continue;
    const StagePlan* plan = graph_.stage(row.name);
    const auto index = static_cast<int>(plan - graph_.stages.data());
    // After a loss of what was not durable the count is smaller: it is looked at anew.
    seen = std::min(seen, batches);
    for (; seen < batches; ++seen) look_at_batch(store, row.id, index, seen);
    if (const std::string wrong = store.check_ledger(row.id, row.status == StageStatus::running); !wrong.empty())
      violated(fmt::format("P3: stage {}: {}", row.name, wrong));
    if (const NodePlan* filter = stage_node(graph_, index, "filter");
        filter != nullptr && filter->attrs.text("order") == "draw" && store.ledger(row.id).dropped.count("stale") != 0)
      violated(
          fmt::format("P6: in the order of draws a group of stage {} was admitted too early and dropped as stale", row.name));
  }
}

void Watch::look_at_end(const RunStore& store) {
  look(store);
  for (const StageRow& row : store.stages()) {
    if (row.status != StageStatus::done) violated(fmt::format("stage {} has not been completed", row.name));
    if (const std::string wrong = store.check_ledger(row.id, false); !wrong.empty())
      violated(fmt::format("P3: stage {}: {}", row.name, wrong));
  }
}

}  // namespace r1
