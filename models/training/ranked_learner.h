// A trainer's engine whose work several ranks share (`ranks=`): it is the first of them, tells the others what to do, and is
// one Learner to its role. Data parallel: every rank computes the gradients of its share of a mini-batch's micro-batches, sums
// of gradients go to the rank whose shard of the optimizer they are (ZeRO-1: moments, and masters apart from the weights, are
// at their rank alone), and the new weights go to all.
//
// Which ranks there are is not known to it: they compute on threads of this process, or in others (actors/far_ranks.h).
// Determinism: a function of (state, batch, config), ranks=N among them; who is late changes no bit.
// Thread rule: as Learner. An error of any rank ends them all, and is thrown by the call that was going on.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "models/training/trainer_engine.h"

namespace r1 {

// What the ranks do together; the first does it too. `batch` and `config` are borrowed until OtherRanks::settle().
struct RankOrder {
  enum class Kind { train, change, gather, save, load };
  Kind kind = Kind::train;
  const TrainBatch* batch = nullptr;      // train
  const TrainerConfig* config = nullptr;  // change
};
// What a rank behind the first does.
void obey(RankLearner&, const RankOrder&);

// All ranks but the first.
class OtherRanks {
 public:
  virtual ~OtherRanks() = default;  // ends them
  // They begin; one order at a time.
  virtual void tell(const RankOrder&) = 0;
  // The first rank's part is done: returns when that of all is, or throws what one of them failed with.
  virtual void settle() = 0;
  // The first rank's part has failed, and it leaves by `leave`: returns when nobody works any more. Throws what a rank had
  // failed with before.
  virtual void abandon(const std::function<void()>& leave) = 0;
};

class RankedLearner final : public Learner {
 public:
  RankedLearner(std::unique_ptr<RankLearner> first, std::unique_ptr<OtherRanks> others);
  ~RankedLearner() override;
  int64_t version() const override;
  TrainStats train(const TrainBatch&) override;
  std::shared_ptr<const WeightSet> weights() const override;
  const WeightSet& masters() const override;
  Hash128 masters_hash() const override;
  void change(const TrainerConfig&) override;
  std::function<void()> begin_save(const std::filesystem::path&) const override;
  void load(const std::filesystem::path&) override;

 private:
  template <class F>
  auto together(const RankOrder&, F&& own) const;
  std::unique_ptr<OtherRanks> others_;
  std::unique_ptr<RankLearner> first_;  // goes first: the others may be waiting for it
  mutable int64_t gathered_ = -1;       // version whose masters the first rank has
};

// A rank behind the first, as the thread has it that serves it here.
class ServedRank {
 public:
  virtual ~ServedRank() = default;
  virtual void obey(const RankOrder&) = 0;  // returns when its part is done
  // Its obey() has failed: the others fail in what they do together.
  virtual void leave() = 0;
  // Another rank has failed. From any thread: an obey() that waits for somebody elsewhere ends soon, by an error.
  virtual void give_up() {}
};

// `first` and `others` meet in what their engines do together; each of the others is served by a thread of its own, wherever it
// computes.
std::unique_ptr<Learner> ranked_learner(std::unique_ptr<RankLearner> first, std::vector<std::unique_ptr<ServedRank>> others);
// All of them compute here.
std::unique_ptr<Learner> thread_ranked_learner(Device&, const TrainerConfig&, const WeightSet& start);

}  // namespace r1
