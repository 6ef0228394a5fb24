// Ranks of a trainer behind channels, in a ring, all in this process: each served by a thread of its own, as another process
// would. Real in everything but processes and links.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "actors/far_ranks.h"
#include "base/error.h"
#include "models/engines.h"
#include "models/weights.h"

namespace r1::test {

class MemoryRankChannel final : public RankChannel {
 public:
  // `patience_s`: becomes the least that a word was waited for.
  MemoryRankChannel(std::unique_ptr<MessageChannel> end, std::atomic<double>& patience_s)
      : end_(std::move(end)), patience_s_(patience_s) {}
  void send(ChannelMessage message) override { end_->send(std::move(message)); }
  ChannelMessage receive(double patience_s) override {
    double least = patience_s_;
    while (patience_s < least && !patience_s_.compare_exchange_weak(least, patience_s)) {
    }
    return end_->receive(patience_s);
  }
  void give_up() override {}

 private:
  std::unique_ptr<MessageChannel> end_;
  std::atomic<double>& patience_s_;
};

// Where the ranks of one ring find their channels.
class MemoryRing {
 public:
  MakeRankRing make() {
    return [this](const RingInvitation& told) { return std::make_unique<Place>(*this, told); };
  }

 private:
  // A channel that can be given up.
  class Ended final : public MessageChannel {
   public:
    Ended(std::unique_ptr<MessageChannel> end, std::shared_ptr<std::atomic<bool>> over)
        : end_(std::move(end)), over_(std::move(over)) {}
    void send(ChannelMessage message) override { end_->send(std::move(message)); }
    ChannelMessage receive(double patience_s) override {
      for (double waited_s = 0;; waited_s += 0.1) try {
          return end_->receive(0.1);
        } catch (const NothingSaid&) {
          if (*over_) throw failure("it was given up");
          if (waited_s > patience_s) throw;
        }
    }

   private:
    std::unique_ptr<MessageChannel> end_;
    std::shared_ptr<std::atomic<bool>> over_;
  };
  class Place final : public RankRing {
   public:
    Place(MemoryRing& ring, const RingInvitation& told) : ring_(ring), told_(told) {}
    std::string address() const override { return told_.listens() ? told_.keys.public_key : ""; }
    void join(const std::string& previous) override {
      if (told_.dials() && previous != told_.previous_key) throw failure("the head names another neighbour");
    }
    std::unique_ptr<MessageChannel> to_previous() override {
      const auto ranks = told_.ranks;
      return std::make_unique<Ended>(ring_.take((told_.rank + ranks - 1) % ranks, false), over_);
    }
    std::unique_ptr<MessageChannel> to_next() override { return std::make_unique<Ended>(ring_.take(told_.rank, true), over_); }
    void give_up(std::exception_ptr) override { *over_ = true; }

   private:
    MemoryRing& ring_;
    const RingInvitation told_;
    const std::shared_ptr<std::atomic<bool>> over_ = std::make_shared<std::atomic<bool>>(false);
  };
  std::unique_ptr<MessageChannel> take(int64_t from, bool sender) {
    const std::lock_guard lock(mutex_);
    ChannelEnds& ends = from_.try_emplace(from).first->second;
    if (!ends.one && !ends.other) ends = channel_in_memory();
    return std::move(sender ? ends.one : ends.other);
  }
  std::mutex mutex_;
  std::map<int64_t, ChannelEnds> from_;  // rank r to the next
};

// Makes trainers of such ranks. It outlives them.
class MemoryRanks {
 public:
  ~MemoryRanks() { join(); }
  void join() {
    for (std::thread& t : threads_) t.join();
    threads_.clear();
    rings_.clear();
  }
  // What the ranks do in the place of serve_rank. `serve`: does that.
  std::function<void(int64_t rank, const std::function<void()>& serve)> around =
      [](int64_t, const std::function<void()>& serve) { serve(); };
  std::atomic<double> patience_s = MessageChannel::kForEver;  // the least that the head has had with a rank
  std::function<void(int64_t rank)> loads = [](int64_t) {};   // before it has its weights
  std::unique_ptr<Learner> learner(Device& device, const TrainerConfig& config, std::shared_ptr<WeightSet> start) {
    rings_.push_back(std::make_unique<MemoryRing>());
    const MakeRankRing make = rings_.back()->make();
    std::vector<FarRank> far;
    for (int64_t rank = 1; rank < config.ranks; ++rank) {
      ChannelEnds ends = channel_in_memory();
      far.push_back({"rank " + std::to_string(rank), std::make_unique<MemoryRankChannel>(std::move(ends.one), patience_s)});
      threads_.emplace_back(
          [this, &device, rank, start, make, channel = std::shared_ptr<MessageChannel>(std::move(ends.other))] {
            try {
              around(rank, [&] {
                serve_rank(
                    *device_engines(device), "trainer", *channel, [&] { return loads(rank), start; }, make);
              });
            } catch (const Error&) {  // its trainer is gone, or what it computes is no number
            }
          });
    }
    return far_ranked_learner(*device_engines(device), "trainer", config, *start, rings_.size(), "rank 0", std::move(far),
                              make);
  }

 private:
  std::vector<std::unique_ptr<MemoryRing>> rings_;
  std::vector<std::thread> threads_;
};

}  // namespace r1::test
