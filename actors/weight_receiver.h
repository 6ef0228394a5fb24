// What a role holds of its stage's weights, and how it comes to hold the next version: the values that the message's hash
// names, whichever way they came. For every role that is fed with weights. Not how versions are sent (actors/publisher.h) nor
// coded (models/version_delta.h), nor what is done with them.
//
// A difference is applied to the set that was held before, which is one version behind when nobody else reads it any more: so
// the cost follows what changed, and not the size of the model. Or it is applied to what is held, where that is read by nobody
// while versions are taken in: one set instead of two, and half the work; but what was begun and cannot be ended leaves
// nothing to go on with (usable()). It is compared by its change sum before it takes effect, and as a whole when there is time
// (verify(), stands()), at the latest with the kUnverified-th difference in a row.
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>

#include "actors/messages.h"
#include "runtime/flow/role.h"

namespace r1 {

class WeightReceiver {
 public:
  static constexpr int kUnverified = 16;

  // `device`: that the weights are on; outlives this.
  explicit WeightReceiver(Device& device) : device_(&device) {}

  // From now on differences are applied to what is held, if that was made here. For a role that never reads it during take(),
  // and has no use for the version before.
  void take_in_place() { in_place_ = true; }

  // Null before anything is held; version() is -1 then, and for weights that are no version of the stage's.
  const std::shared_ptr<const WeightSet>& held() const { return held_; }
  int64_t version() const { return version_; }
  // False: what is held turned out to be no published version, or is half one and half another: nothing may be computed with
  // it. Until a whole version comes.
  bool usable() const { return usable_; }
  // What the role starts from.
  void hold(std::shared_ptr<const WeightSet> weights, int64_t version);

  // The message's version is held, and returned: the set itself inside a process (copied where it is on another
  // device); from another one the whole set, or the difference applied to what is held. Throws failure when the result is not
  // what was published, and for a difference to weights that are not held; then all stays as it was (what is held, unless
  // usable() says otherwise), and the whole version may be asked for.
  const std::shared_ptr<const WeightSet>& take(const WeightsMessage& message);

  // As take(), for what may have come from another process: a difference that cannot be used is refused (false) where weights
  // are held, and all others with it until a whole version comes. `whole`: it is compared as a whole at once.
  bool accept(const WeightsMessage& message, bool whole = false);
  bool refused() const { return refused_ != nullptr; }
  // As verify(), but refuses what is held (false) instead of throwing.
  bool stands();
  // Behind every job that called accept() or stands(): what was refused is asked for again, as a whole, and once; until that is
  // held the role waits for it, and says so. Throws what was wrong with it where that cannot be. False: nothing was refused.
  bool ask_again(RoleContext& context, int edge);

  // The set that was held before becomes what is held, if nobody reads it any more: the next difference then finds it so. Worth
  // a call when what was held is used no longer; without one, take() does it.
  void catch_up();

  // Whether what is held has only been compared by its changes.
  bool unverified() const { return unverified_ > 0; }
  // What is held as the message that brought it, with the set; null where it is no published version.
  std::shared_ptr<const WeightsMessage> published();
  // Compares all of it with the published hash. Throws failure when it is something else; then it is not usable().
  void verify();

 private:
  std::shared_ptr<WeightSet> another();
  void keep(std::shared_ptr<WeightSet> own, const WeightsMessage& message);
  void give_up();

  Device* device_;
  std::shared_ptr<const WeightSet> held_;
  int64_t version_ = -1;
  Hash128 hash_;  // that held_ was published under
  int unverified_ = 0;
  bool in_place_ = false, usable_ = true;
  std::exception_ptr refused_;  // why the last difference was
  bool asked_ = false;          // for a whole version, which has not come yet

  std::shared_ptr<WeightSet> own_;    // held_, when it was made here
  std::shared_ptr<WeightSet> spare_;  // what was held before it, when that was made here
  VersionDelta last_;                 // from spare_ to own_; whole: spare_ is anything, or has caught up
  bool caught_up_ = false;            // spare_ is what is held
};

}  // namespace r1
