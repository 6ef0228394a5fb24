#include "models/training/ranked_learner.h"

#include <fmt/format.h>

#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stop.h"
#include "base/turns.h"
#include "base/wait_note.h"
#include "models/finite.h"

namespace r1 {

void obey(RankLearner& engine, const RankOrder& order) {
  switch (order.kind) {
    case RankOrder::Kind::train:
      engine.train(*order.batch);
      return;
    case RankOrder::Kind::change:
      return engine.change(*order.config);
    case RankOrder::Kind::gather:
      return engine.gather_masters();
    case RankOrder::Kind::save:
      return engine.give_state();
    case RankOrder::Kind::load:
      return engine.take_state();
  }
}

RankedLearner::RankedLearner(std::unique_ptr<RankLearner> first, std::unique_ptr<OtherRanks> others)
    : others_(std::move(others)), first_(std::move(first)) {}
RankedLearner::~RankedLearner() { first_->leave(); }

template <class F>
auto RankedLearner::together(const RankOrder& order, F&& own) const {
  others_->tell(order);
  const auto abandon = [this](const std::string& why) { others_->abandon([&] { first_->leave(why); }); };
  try {
    if constexpr (std::is_void_v<decltype(own())>) {
      own();
      others_->settle();
    } else {
      auto result = own();
      others_->settle();
      return result;
    }
  } catch (const NotFinite& e) {
    try {
      abandon(e.message());
    } catch (const Error&) {  // of the same numbers
    }
    throw;
  } catch (const Error& e) {
    abandon(e.message());
    throw;
  } catch (...) {
    abandon("");
    throw;
  }
}

int64_t RankedLearner::version() const { return first_->version(); }
TrainStats RankedLearner::train(const TrainBatch& batch) {
  return together({RankOrder::Kind::train, &batch, nullptr}, [&] { return first_->train(batch); });
}
std::shared_ptr<const WeightSet> RankedLearner::weights() const { return first_->weights(); }
const WeightSet& RankedLearner::masters() const {
  if (gathered_ != version()) together({RankOrder::Kind::gather, nullptr, nullptr}, [&] { first_->gather_masters(); });
  gathered_ = version();
  return first_->masters();
}
Hash128 RankedLearner::masters_hash() const { return masters().hash(); }
void RankedLearner::change(const TrainerConfig& config) {
  together({RankOrder::Kind::change, nullptr, &config}, [&] { first_->change(config); });
}
std::function<void()> RankedLearner::begin_save(const std::filesystem::path& file) const {
  std::exception_ptr refused;  // by the disk, or by values: the ranks have done their part and go on
  std::function<void()> finish;
  together({RankOrder::Kind::save, nullptr, nullptr}, [&] {
    try {
      finish = first_->begin_save(file);
    } catch (const Error&) {
      refused = std::current_exception();
    }
  });
  if (refused) std::rethrow_exception(refused);
  return finish;
}
void RankedLearner::load(const std::filesystem::path& file) {
  const std::function<void()> own = first_->begin_load(file);
  together({RankOrder::Kind::load, nullptr, nullptr}, [&] { own(); });
  gathered_ = -1;
}

namespace {

class RankThreads final : public OtherRanks {
 public:
  explicit RankThreads(std::vector<std::unique_ptr<ServedRank>> ranks) : ranks_(std::move(ranks)) {
    for (size_t i = 0; i < ranks_.size(); ++i) threads_.emplace_back([this, i] { serve(i); });
  }
  ~RankThreads() override {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    threads_.clear();
  }

  void tell(const RankOrder& order) override {
    {
      std::lock_guard lock(mutex_);
      if (failed_) std::rethrow_exception(failed_);
      order_ = order;
      stop_ = current_stop();
      waits_ = current_waits();
      for (size_t i = 0; i < ranks_.size(); ++i) working_.insert(i);
      ++orders_;
    }
    changed_.notify_all();
  }
  void settle() override {
    std::unique_lock lock(mutex_);
    const auto done = [this] { return working_.empty(); };
    WaitNote note("rank 0");
    if (!changed_.wait_or_stop(lock, kSaysNothing_s, done)) {
      std::string who;
      for (const size_t i : working_) who += fmt::format("{}{}", who.empty() ? "" : ", ", i + 1);
      note.say("for what rank " + who + " was told");
      changed_.wait(lock, done);
    }
    if (failed_) std::rethrow_exception(failed_);
  }
  void abandon(const std::function<void()>& leave) override {
    std::exception_ptr before;
    {
      std::lock_guard lock(mutex_);
      before = failed_;
      if (!failed_) failed_ = std::make_exception_ptr(failure("a rank of the trainer has failed"));
    }
    leave();
    for (auto& rank : ranks_) rank->give_up();
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return working_.empty(); });
    }
    check_stop();
    if (before) std::rethrow_exception(before);
  }

 private:
  void serve(size_t index) {
    ServedRank& rank = *ranks_[index];
    for (int64_t done = 0;;) {
      RankOrder order;
      StopSource stop;
      const WaitSink* waits = nullptr;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return over_ || orders_ > done; });
        if (over_) return;
        done = orders_;
        order = order_;
        stop = stop_;
        waits = waits_;
      }
      std::exception_ptr failed;
      try {
        const StopScope scope(stop);
        const WaitScope looked_at(waits);
        rank.obey(order);
      } catch (...) {
        failed = std::current_exception();
      }
      {
        std::lock_guard lock(mutex_);
        if (failed && !failed_) failed_ = failed;
      }
      if (failed) rank.leave();  // the first of all is written down before anybody fails of it
      {
        std::lock_guard lock(mutex_);
        working_.erase(index);
      }
      changed_.notify_all();
    }
  }

  std::vector<std::unique_ptr<ServedRank>> ranks_;
  std::deque<WaitingThread> threads_;
  std::mutex mutex_;
  Condition changed_;
  RankOrder order_;
  StopSource stop_;
  const WaitSink* waits_ = nullptr;
  int64_t orders_ = 0;
  std::set<size_t> working_;  // threads that have not done the last order
  std::exception_ptr failed_;
  bool over_ = false;
};

class RankHere final : public ServedRank {
 public:
  RankHere(Device& device, const TrainerConfig& config, const WeightSet& start, std::unique_ptr<Collective> together)
      : engine_(device, config, start, 0, std::move(together)) {}
  void obey(const RankOrder& order) override { r1::obey(engine_, order); }
  void leave() override { engine_.leave(); }

 private:
  TrainerEngine engine_;
};

}  // namespace

std::unique_ptr<Learner> ranked_learner(std::unique_ptr<RankLearner> first, std::vector<std::unique_ptr<ServedRank>> others) {
  return std::make_unique<RankedLearner>(std::move(first), std::make_unique<RankThreads>(std::move(others)));
}

std::unique_ptr<Learner> thread_ranked_learner(Device& device, const TrainerConfig& config, const WeightSet& start) {
  std::vector<std::unique_ptr<Collective>> places = thread_ranks(config.ranks);
  std::vector<std::unique_ptr<ServedRank>> others;
  for (size_t r = 1; r < places.size(); ++r)
    others.push_back(std::make_unique<RankHere>(device, config, start, std::move(places[r])));
  return ranked_learner(std::make_unique<TrainerEngine>(device, config, start, 0, std::move(places[0])), std::move(others));
}

}  // namespace r1
