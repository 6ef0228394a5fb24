#include "actors/weight_receiver.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "models/weight_transfer.h"

namespace r1 {

namespace {

// Of another actor's device: the bytes on this one.
std::shared_ptr<const WeightSet> on_device(const std::shared_ptr<const WeightSet>& weights, Device& device) {
  if (&weights->device() == &device) return weights;
  return copy_to_device(*weights, device);
}

void check(const WeightSet& weights, int64_t version, const Hash128& published) {
  if (const Hash128 hash = weights.hash(); hash != published)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", version, hash.hex(), published.hex()));
}

}  // namespace

void WeightReceiver::hold(std::shared_ptr<const WeightSet> weights, int64_t version) {
  held_ = std::move(weights);
  version_ = version;
  hash_ = {};
  unverified_ = 0;
  usable_ = true;
  own_ = spare_ = nullptr;
  last_ = {};
  caught_up_ = false;
}

void WeightReceiver::keep(std::shared_ptr<WeightSet> own, const WeightsMessage& m) {
  spare_ = std::exchange(own_, std::move(own));
  if (in_place_) spare_ = nullptr;
  last_ = spare_ && !m.delta.full() ? m.delta : VersionDelta{};
  caught_up_ = false;
  usable_ = true;
  held_ = own_;
  version_ = m.version;
  hash_ = m.hash;
}

void WeightReceiver::catch_up() {
  if (caught_up_ || !spare_ || spare_.use_count() != 1 || last_.full()) return;
  try {
    apply_delta(*spare_, last_);
    caught_up_ = true;
  } catch (const Error& e) {
    log_warn(fmt::format("weights one version behind {} cannot be brought up to it: {}", version_, e.what()));
  }
  last_ = {};
}

// Nobody else's: what is held, again.
std::shared_ptr<WeightSet> WeightReceiver::another() {
  catch_up();
  std::shared_ptr<WeightSet> set = std::exchange(spare_, nullptr);
  if (std::exchange(caught_up_, false)) return set;
  if (!set || set.use_count() != 1) set = std::make_shared<WeightSet>(*device_, held_->config(), held_->dtype());
  copy_version(*held_, *set);
  return set;
}

const std::shared_ptr<const WeightSet>& WeightReceiver::take(const WeightsMessage& m) {
  if (held_ && version_ == m.version) {
    check(*held_, m.version, m.hash);
    unverified_ = 0;
  } else if (m.weights) {
    const std::shared_ptr<const WeightSet> here = on_device(m.weights, *device_);
    check(*here, m.version, m.hash);
    hold(here, m.version);
    hash_ = m.hash;
  } else if (m.delta.full()) {
    keep(apply_delta(nullptr, m.delta, *m.config, *device_, m.dtype), m);
    unverified_ = 0;
  } else if (held_ && version_ == m.delta.from) {
    if (unverified_ >= kUnverified) verify();
    const int unverified = unverified_;
    std::shared_ptr<WeightSet> next = in_place_ && own_ ? own_ : another();
    if (next == own_) give_up();
    apply_delta(*next, m.delta);
    keep(std::move(next), m);
    unverified_ = unverified + 1;
  } else {
    throw failure(fmt::format("version {} of the weights is the difference to version {}, and version {} is held", m.version,
                              m.delta.from, version_));
  }
  return held_;
}

bool WeightReceiver::accept(const WeightsMessage& m, bool whole) {
  const bool difference = !m.weights && !m.delta.full();
  if (refused_ && difference) return false;
  try {
    take(m);
    if (whole) verify();
    refused_ = nullptr;
    if (!difference) asked_ = false;
  } catch (const Error&) {
    if (!held_ || !difference) throw;
    refused_ = std::current_exception();
    if (version_ == m.version) give_up();  // it is held, and is not what was published
  }
  return !refused_;
}

bool WeightReceiver::stands() {
  try {
    verify();
  } catch (const Error&) {
    refused_ = std::current_exception();
  }
  return !refused_;
}

bool WeightReceiver::ask_again(RoleContext& context, int edge) {
  constexpr const char* kWait = "whole weights";
  const std::exception_ptr why = std::exchange(refused_, nullptr);
  if (why && !std::exchange(asked_, true) && !context.ask_whole(edge)) std::rethrow_exception(why);
  if (asked_)
    context.wait_for(kWait, "for all of the weights, which were asked for because a difference could not be used",
                     context.graph().nodes[context.graph().edges[edge].from].id);
  else
    context.wait_over(kWait);
  return why != nullptr;
}

std::shared_ptr<const WeightsMessage> WeightReceiver::published() {
  if (!held_ || !usable_ || version_ < 0 || hash_ == Hash128{}) return nullptr;
  try {
    verify();
  } catch (const Error&) {
    return nullptr;
  }
  auto message = std::make_shared<WeightsMessage>();
  message->version = version_;
  message->hash = hash_;
  message->weights = held_;
  return message;
}

// What is held is no version from now on, and nothing is a difference to it.
void WeightReceiver::give_up() {
  usable_ = false;
  version_ = -1;
  unverified_ = 0;
}

void WeightReceiver::verify() {
  if (unverified_ == 0) return;
  try {
    check(*held_, version_, hash_);
  } catch (const Error&) {
    give_up();
    throw;
  }
  unverified_ = 0;
}

}  // namespace r1
