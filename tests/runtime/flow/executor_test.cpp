#include "runtime/flow/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/flow/engine_times.h"

namespace r1 {
namespace {

const auto kIgnore = [](std::exception_ptr) {};

TEST(Executor, a_thread_runs_jobs_in_order_and_hands_exceptions_over) {
  std::vector<int> order;
  std::promise<std::string> problem;
  auto executor = make_thread_executor("test");
  for (int i = 0; i < 100; ++i) executor->submit({[&order, i] { order.push_back(i); }, kIgnore});
  executor->submit({[] { throw failure("no disk"); },
                    [&](std::exception_ptr error) {
                      try {
                        std::rethrow_exception(error);
                      } catch (const Error& e) {
                        problem.set_value(e.message());
                      }
                    }});
  EXPECT_EQ(problem.get_future().get(), "no disk");
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

// Blocks an executor until released; then `after` more jobs wait behind.
struct Blocked {
  std::promise<void> entered, go;
  std::shared_future<void> released{go.get_future()};
  std::atomic<bool> ended{false};
  std::atomic<int> later{0};
  void fill(Executor& executor) {
    executor.submit({[this] {
                       entered.set_value();
                       released.wait();
                       ended = true;
                     },
                     kIgnore});
    for (int i = 0; i < 5; ++i) executor.submit({[this] { ++later; }, kIgnore});
    entered.get_future().wait();
  }
};

TEST(Executor, destroying_a_thread_finishes_the_job_at_hand_and_drops_the_rest) {
  Blocked blocked;
  auto executor = make_thread_executor("test");
  blocked.fill(*executor);
  auto destroyed = std::async(std::launch::async, [&] { executor.reset(); });
  EXPECT_EQ(destroyed.wait_for(std::chrono::milliseconds(5)), std::future_status::timeout);
  blocked.go.set_value();
  destroyed.get();
  EXPECT_TRUE(blocked.ended);
  EXPECT_EQ(blocked.later, 0);
}

TEST(Executor, destroying_a_lane_leaves_the_shared_thread_to_others) {
  Blocked blocked;
  auto shared = make_thread_executor("test");
  auto lane = make_lane_executor(*shared), other = make_lane_executor(*shared);
  blocked.fill(*lane);
  std::promise<void> other_ran;
  other->submit({[&] { other_ran.set_value(); }, kIgnore});
  auto destroyed = std::async(std::launch::async, [&] { lane.reset(); });
  EXPECT_EQ(destroyed.wait_for(std::chrono::milliseconds(5)), std::future_status::timeout);
  blocked.go.set_value();
  destroyed.get();
  other_ran.get_future().get();
  EXPECT_TRUE(blocked.ended);
  EXPECT_EQ(blocked.later, 0);
}

TEST(EngineTimes, counts_the_union_of_jobs_the_overlap_of_generator_and_trainer_and_what_is_left) {
  VirtualClock clock;
  EngineTimes times(clock);
  const auto pass = [&](double s) { clock.advance_ns(static_cast<int64_t>(s * 1e9)); };
  times.begin("generator");
  pass(2);
  times.begin("trainer");
  times.begin("generator");
  pass(3);
  times.end("generator");
  pass(1);
  times.end("generator");
  pass(4);
  times.end("trainer");
  pass(10);
  EXPECT_DOUBLE_EQ(times.engine_s().at("generator"), 6);
  EXPECT_DOUBLE_EQ(times.engine_s().at("trainer"), 8);
  EXPECT_DOUBLE_EQ(times.overlap_s(), 4);
  EXPECT_DOUBLE_EQ(times.idle_s(), 10);
}

}  // namespace
}  // namespace r1
