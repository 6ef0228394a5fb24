// Threads that take turns in a StepWorld: what waits gives its turn away, in virtual time and by the seed, and comes to its end
// with its life.
#include "runtime/flow/step_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "base/message_channel.h"
#include "base/stop.h"
#include "base/turns.h"

namespace r1 {
namespace {

WorldOptions waiting(uint64_t seed = 1) {
  WorldOptions options;
  options.seed = seed;
  options.may_wait = [](const std::string& name) { return name == "waits"; };
  return options;
}

struct Worker {
  Worker(StepWorld& w, const std::string& name) : world(w), life(w.new_life()), executor(w.executor({life, 0, 0}, name)) {}
  ~Worker() { world.forget(life); }
  void submit(std::function<void()> work) {
    executor->submit({std::move(work), [this](std::exception_ptr error) { error ? ++failed : ++done; }});
  }
  StepWorld& world;
  const int64_t life;
  std::unique_ptr<Executor> executor;
  int done = 0, failed = 0;
};

TEST(StepThreads, a_job_that_waits_for_another_ones_word_gets_it_and_holds_up_the_jobs_behind_it_alone) {
  StepWorld world(waiting());
  ChannelEnds ends = channel_in_memory();
  Worker hears(world, "waits"), says(world, "waits");
  std::string order;
  hears.submit([&] { order += ends.one->receive().text; });
  hears.submit([&] { order += " behind"; });
  while (world.step()) {
  }
  EXPECT_EQ(hears.done, 0);
  says.submit([&] { ends.other->send(channel_message("word")); });
  while (world.step()) {
  }
  EXPECT_EQ(order, "word behind");
  EXPECT_EQ(hears.done + says.done, 3);
}

TEST(StepThreads, patience_is_virtual_time) {
  StepWorld world(waiting());
  ChannelEnds ends = channel_in_memory();
  Worker hears(world, "waits");
  double end_s = 0;
  hears.submit([&] {
    try {
      ends.one->receive(600);
    } catch (const NothingSaid&) {
      end_s = world.clock().now_s();
    }
  });
  while (world.step()) {
  }
  EXPECT_NEAR(end_s, 600, 1e-3);
  EXPECT_EQ(hears.done, 1);
}

TEST(StepThreads, the_order_of_turns_is_the_seeds_and_is_repeated) {
  const auto order_of = [](uint64_t seed) {
    StepWorld world(waiting(seed));
    std::string order;
    std::vector<ChannelEnds> ends;
    std::vector<std::unique_ptr<Worker>> workers;
    for (int i = 0; i < 6; ++i) ends.push_back(channel_in_memory());
    for (int i = 0; i < 6; ++i) {
      workers.push_back(std::make_unique<Worker>(world, "waits"));
      workers.back()->submit([&, i] {
        for (int n = 0; n < 5; ++n) order += std::to_string(i) + ends[i].one->receive().text;
      });
    }
    for (int n = 0; n < 5; ++n)
      for (ChannelEnds& e : ends) e.other->send(channel_message(" "));
    while (world.step()) {
    }
    return order;
  };
  EXPECT_EQ(order_of(1), order_of(1));
  EXPECT_NE(order_of(1), order_of(2));
  EXPECT_EQ(order_of(1).size(), 60u);
}

TEST(StepThreads, what_waits_when_its_life_ends_stops_and_so_do_the_threads_that_it_began) {
  StepWorld world(waiting());
  ChannelEnds ends = channel_in_memory(), others = channel_in_memory();
  std::atomic<bool> stop{false};
  int stopped = 0;
  {
    Worker hears(world, "waits");
    hears.submit([&] {
      const StopScope scope(&stop);
      const WaitingThread other([&] {
        const StopScope inner(&stop);
        try {
          others.one->receive();
        } catch (const Stopped&) {
          ++stopped;
        }
      });
      ends.one->receive();
    });
    hears.submit([&] { ADD_FAILURE() << "it begins after its life"; });
    while (world.step()) {
    }
    stop = true;
    hears.executor = nullptr;
    EXPECT_EQ(hears.failed, 1) << "Stopped";
  }
  EXPECT_EQ(stopped, 1);
}

TEST(StepThreads, nothing_of_a_life_that_is_held_happens_and_its_patience_goes_on) {
  StepWorld world(waiting());
  ChannelEnds ends = channel_in_memory();
  Worker hears(world, "waits");
  std::string heard;
  hears.submit([&] { heard = ends.one->receive(5).text; });
  while (world.step(1'000'000'000)) {
  }
  world.hold(hears.life, true);
  ends.other->send(channel_message("word"));
  while (world.step(3'000'000'000)) {
  }
  EXPECT_EQ(heard, "");
  world.hold(hears.life, false);
  while (world.step()) {
  }
  EXPECT_EQ(heard, "word");
}

}  // namespace
}  // namespace r1
