#include "runtime/nodes/content_tree.h"

#include <algorithm>

namespace r1 {

std::vector<PeerId> ContentTree::join(const std::string& hash, PeerId who, const std::string& host) {
  std::vector<Place>& places = places_[hash];
  if (std::any_of(places.begin(), places.end(), [&](const Place& p) { return p.peer == who; })) return {};
  std::vector<Place*> order;
  for (Place& place : places)
    if (barred_.count(place.peer) == 0) order.push_back(&place);
  const auto by = [&](const Place* p) { return std::make_pair(p->children >= kChildren, p->host != host); };
  std::stable_sort(order.begin(), order.end(), [&](const Place* a, const Place* b) { return by(a) < by(b); });
  std::vector<PeerId> parents;
  Place own{who, host};
  if (!order.empty() && order[0]->children < kChildren) {
    ++order[0]->children;
    own.parent = order[0]->peer;
    for (size_t i = 0; i < order.size() && i < kParents; ++i) parents.push_back(order[i]->peer);
  }
  places.push_back(std::move(own));
  return parents;
}

void ContentTree::holds(const std::string& hash, PeerId who, const std::string& host) {
  std::vector<Place>& places = places_[hash];
  const auto at = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.peer == who; });
  if (at == places.end()) return places.push_back({who, host});
  // It fetches no more: who it fetched from may serve another one.
  const auto parent = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.peer == at->parent; });
  if (at->parent != 0 && parent != places.end()) --parent->children;
  at->parent = 0;
}

void ContentTree::lost(PeerId who) {
  for (auto at = places_.begin(); at != places_.end();) {
    std::vector<Place>& places = at->second;
    const auto gone = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.peer == who; });
    if (gone != places.end()) {
      for (Place& place : places) {
        if (place.peer == gone->parent) --place.children;
        if (place.parent == who) place.parent = 0;
      }
      places.erase(gone);
    }
    at = places.empty() ? places_.erase(at) : std::next(at);
  }
  barred_.erase(who);
}

void ContentTree::bar(PeerId who) { barred_.insert(who); }

void ContentTree::forget(const std::string& hash) { places_.erase(hash); }

std::vector<PeerId> ContentTree::members(const std::string& hash) const {
  std::vector<PeerId> all;
  if (const auto at = places_.find(hash); at != places_.end())
    for (const Place& place : at->second) all.push_back(place.peer);
  return all;
}

}  // namespace r1
