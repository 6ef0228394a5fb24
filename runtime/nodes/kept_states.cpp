#include "runtime/nodes/kept_states.h"

#include <algorithm>
#include <utility>

#include "runtime/flow/msgpack.h"
#include "runtime/net/link.h"

namespace r1 {

namespace {
constexpr size_t kMostKept = 64, kMostContent = 128;
}

void KeptStates::put(const OpenRole& open, int node, PayloadPtr state) {
  forget(open, node);
  if (state == nullptr || state->content().empty() || state->content().size() > kMostContent || kept_.size() == kMostKept)
    return;
  kept_.push_back({open.stage, node, std::move(state)});
}

PayloadPtr KeptStates::take(const std::string& content) {
  const auto at = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.state->content() == content; });
  if (at == kept_.end()) return nullptr;
  const PayloadPtr state = at->state;
  kept_.erase(at);
  return state;
}

void KeptStates::forget(const OpenRole& open, int node) {
  std::erase_if(kept_, [&](const Kept& k) { return k.stage == open.stage && k.node == node; });
}

std::string KeptStates::greeting() const {
  if (kept_.empty()) return "";
  static_assert(kMostKept * (kMostContent + 8) < kMaxHelloExtra);
  msgpack::sbuffer out;
  msgpack::packer<msgpack::sbuffer> pack(out);
  pack.pack_array(static_cast<uint32_t>(kept_.size()));
  for (const Kept& k : kept_) pack.pack(k.state->content());
  return {out.data(), out.size()};
}

std::vector<std::string> kept_contents(const std::string& greeting) {
  std::vector<std::string> contents;
  if (greeting.empty()) return contents;
  const Unpacked unpacked(greeting);
  for (Items items(unpacked.root()); items.size() > 0;) contents.push_back(items.next_as<std::string>());
  return contents;
}

}  // namespace r1
