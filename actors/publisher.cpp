#include "actors/publisher.h"

#include <algorithm>
#include <utility>

#include "models/version_delta.h"

namespace r1 {

Publisher::Publisher(const GraphView& graph, const std::vector<int>& edges) {
  for (const int e : edges) {
    const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
    receivers_.push_back({e, edge.versions, edge.versions == Versions::every ? edge.attrs.integer("every") : 0});
  }
}

bool Publisher::wants(const Receiver& receiver, int64_t version) {
  switch (receiver.wants) {
    case Versions::each:
      return true;
    case Versions::every:
      return receiver.every > 0 && version > 0 && version % receiver.every == 0;
    case Versions::last:
      return false;
  }
  return false;
}

bool Publisher::wanted(int64_t version) const {
  return std::any_of(receivers_.begin(), receivers_.end(), [&](const Receiver& r) { return wants(r, version); });
}

void Publisher::make(const Learner& engine) {
  const int64_t version = engine.version();
  if (current_ && current_->version == version) return;
  auto next = std::make_shared<WeightsMessage>();
  next->version = version;
  next->weights = engine.weights();
  const bool unchanged = current_ && current_->weights == next->weights;
  next->hash = unchanged ? current_->hash : published_hash(*next->weights, version);
  current_ = std::move(next);
}

void Publisher::publish(RoleContext& context) {
  if (current_->version == sent_) return;
  for (const Receiver& receiver : receivers_)
    if (wants(receiver, current_->version)) context.send(receiver.edge, current_);
  record(context);
}

void Publisher::publish_last(RoleContext& context) {
  auto last = std::make_shared<WeightsMessage>(*current_);
  last->final = true;
  for (const Receiver& receiver : receivers_)
    if (receiver.wants == Versions::last) context.send(receiver.edge, last);
  if (current_->version != sent_) record(context);
}

void Publisher::record(RoleContext& context) {
  context.records().version({current_->version, current_->hash.hex()});
  sent_ = current_->version;
}

}  // namespace r1
