// One table of tests for all implementations of Collective (kernels/collective.h): a new one is a line of
// collective_implementations().
#include "kernels/collective.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "base/stop.h"
#include "base/wait_note.h"
#include "kernels/card_ranks.h"
#include "kernels/ops.h"
#include "tests/kernels/collective_implementations.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

class CollectiveTest : public ::testing::TestWithParam<CollectiveImplementation> {
 protected:
  Device& device = open_device(GetParam().device);
  void SetUp() override {
    if (!GetParam().names_the_absent) try {
        static_cast<void>(new_card_ranks_id(device));
      } catch (const Error& e) {
        GTEST_SKIP() << e.what();
      }
  }
  bool can(int64_t ranks) const { return ranks <= GetParam().most_ranks; }
  void run_ranks(int64_t ranks, const RankBody& body) {
    if (!can(ranks)) return;
    for (const std::string& e : GetParam().run(device, ranks, body)) EXPECT_EQ(e, "");
  }
  Tensor tensor(const std::vector<float>& host) {
    return tensor_from(device, DType::f32, {static_cast<int64_t>(host.size())}, host.data());
  }
};

// Of very different sizes, so that another order of addition gives other bits.
std::vector<float> values_of(int64_t rank, int64_t n) {
  Rng rng(static_cast<uint64_t>(rank), "collective");
  std::vector<float> x(static_cast<size_t>(n));
  for (float& e : x) e = static_cast<float>(rng.normal() * std::exp(3 * rng.normal()));
  return x;
}
// In the order of a ring that ends at the rank whose range it is.
std::vector<float> sum_in_order(int64_t ranks, int64_t n, const std::vector<ElementRange>& ranges) {
  std::vector<std::vector<float>> of;
  for (int64_t r = 0; r < ranks; ++r) of.push_back(values_of(r, n));
  std::vector<float> sum(static_cast<size_t>(n));
  for (int64_t s = 0; s < ranks; ++s)
    for (int64_t e = ranges[static_cast<size_t>(s)].begin; e < ranges[static_cast<size_t>(s)].end; ++e) {
      const auto term = [&](int64_t i) { return of[static_cast<size_t>((s + i) % ranks)][static_cast<size_t>(e)]; };
      float& x = sum[static_cast<size_t>(e)] = term(1);
      for (int64_t i = 2; i <= ranks; ++i) x += term(i);
    }
  return sum;
}

constexpr int64_t kRanks[] = {1, 2, 3, 5};
constexpr int64_t kSizes[] = {0, 1, 2, 7, 33, 1000, 40'003};

TEST_P(CollectiveTest, all_reduce_gives_every_rank_the_sum_in_the_order_of_a_ring) {
  for (const int64_t ranks : kRanks)
    run_ranks(ranks, [&](Collective& c, Context& ctx) {
      for (const int64_t n : kSizes) {
        const Tensor x = tensor(values_of(c.rank(), n));
        c.all_reduce(ctx, x);
        EXPECT_EQ(download_as<float>(x), sum_in_order(ranks, n, all_reduce_ranges(n, ranks)))
            << ranks << " ranks, n " << n << ", rank " << c.rank();
      }
    });
}

TEST_P(CollectiveTest, reduce_scatter_sums_a_ranks_own_range_and_leaves_the_rest) {
  for (const int64_t ranks : kRanks)
    run_ranks(ranks, [&](Collective& c, Context& ctx) {
      for (const int64_t n : kSizes) {
        const std::vector<ElementRange> ranges = equal_ranges(n, ranks, 32);
        const ElementRange mine = ranges[static_cast<size_t>(c.rank())];
        std::vector<float> want = values_of(c.rank(), n);
        const std::vector<float> sum = sum_in_order(ranks, n, ranges);
        std::copy(sum.begin() + mine.begin, sum.begin() + mine.end, want.begin() + mine.begin);
        const Tensor x = tensor(values_of(c.rank(), n));
        c.reduce_scatter(ctx, x, ranges);
        EXPECT_EQ(download_as<float>(x), want) << ranks << " ranks, n " << n << ", rank " << c.rank();
      }
    });
}

TEST_P(CollectiveTest, all_gather_brings_every_ranks_range_to_all_whatever_the_type_and_the_ranges) {
  for (const int64_t ranks : kRanks)
    run_ranks(ranks, [&](Collective& c, Context& ctx) {
      for (const DType t : {DType::f32, DType::bf16, DType::i32, DType::i64}) {
        // In the reverse order of ranks, with a gap of 5 elements that nobody owns, rank 0's empty.
        std::vector<ElementRange> ranges(static_cast<size_t>(ranks));
        int64_t n = 5;
        for (int64_t r = ranks - 1; r >= 0; --r) {
          ranges[static_cast<size_t>(r)] = {n, n + 3 * r};
          n += 3 * r;
        }
        const Tensor x(device, t, {n});
        run(ctx, Fill{x, static_cast<float>(10 + c.rank())});
        c.all_gather(ctx, x, ranges);
        const Tensor back(device, DType::i32, {n});
        std::vector<int64_t> got(static_cast<size_t>(n));
        if (t == DType::i64) got = download_as<int64_t>(x);
        if (t == DType::i32)
          for (size_t i = 0; i < got.size(); ++i) got[i] = download_as<int32_t>(x)[i];
        if (t == DType::f32 || t == DType::bf16) {
          const Tensor f32(device, DType::f32, {n});
          run(ctx, Copy{x, f32});
          const std::vector<float> host = download_as<float>(f32);
          for (size_t i = 0; i < got.size(); ++i) got[i] = static_cast<int64_t>(host[i]);
        }
        std::vector<int64_t> want(static_cast<size_t>(n), 10 + c.rank());
        for (int64_t r = 0; r < ranks; ++r)
          for (int64_t i = ranges[static_cast<size_t>(r)].begin; i < ranges[static_cast<size_t>(r)].end; ++i)
            want[static_cast<size_t>(i)] = 10 + r;
        EXPECT_EQ(got, want) << ranks << " ranks, " << dtype_name(t) << ", rank " << c.rank();
      }
    });
}

TEST_P(CollectiveTest, broadcast_brings_the_roots_values_to_all) {
  for (const int64_t ranks : kRanks)
    run_ranks(ranks, [&](Collective& c, Context& ctx) {
      for (int64_t root = 0; root < ranks; ++root)
        for (const int64_t n : kSizes) {
          const Tensor x = tensor(values_of(c.rank(), n));
          c.broadcast(ctx, x, root);
          EXPECT_EQ(download_as<float>(x), values_of(root, n)) << ranks << " ranks, root " << root;
        }
    });
}

TEST_P(CollectiveTest, scattered_and_gathered_is_reduced) {
  run_ranks(3, [&](Collective& c, Context& ctx) {
    const Tensor x = tensor(values_of(c.rank(), 1000)), y = tensor(values_of(c.rank(), 1000));
    const std::vector<ElementRange> ranges = equal_ranges(1000, 3, 32);
    c.reduce_scatter(ctx, x, ranges);
    c.all_gather(ctx, x, ranges);
    c.all_reduce(ctx, y);
    EXPECT_EQ(download_as<float>(x), download_as<float>(y));
  });
}

TEST_P(CollectiveTest, results_do_not_depend_on_who_is_late_and_may_be_changed_at_once) {
  run_ranks(4, [&](Collective& c, Context& ctx) {
    Rng rng(static_cast<uint64_t>(c.rank()), "late");
    const size_t n = emulated(device) ? 1'000 : 50'000;
    const Tensor x = tensor(std::vector<float>(n, 1)), y = tensor(std::vector<float>(n));
    for (int round = 0; round < 20; ++round) {
      std::this_thread::sleep_for(std::chrono::microseconds(rng.below(400)));
      run(ctx, Fill{x, static_cast<float>(c.rank() + round)});
      c.all_reduce(ctx, x);
      run(ctx, Copy{x, y});
      run(ctx, Fill{x, -1});  // nobody reads it any more
      EXPECT_EQ(download_as<float>(y), std::vector<float>(n, static_cast<float>(4 * round + 6))) << round;
    }
  });
}

TEST_P(CollectiveTest, ranks_that_disagree_all_fail_and_say_how) {
  if (!can(3)) GTEST_SKIP() << "two ranks need two cards";
  const auto errors_of = [&](const RankBody& body) { return GetParam().run(device, 3, body); };
  // Who is compared with whom is the implementation's business.
  const auto expect_all = [](const std::vector<std::string>& errors, const std::string& one, const std::string& others) {
    for (const std::string& e : errors) {
      EXPECT_NE(e.find(one), std::string::npos) << e;
      EXPECT_NE(e.find(others), std::string::npos) << e;
    }
  };
  expect_all(errors_of([&](Collective& c, Context& ctx) {
               const Tensor x = tensor(std::vector<float>(c.rank() == 2 ? 8 : 9));
               c.all_reduce(ctx, x);
             }),
             "rank 2 called all_reduce of f32[8]", " called all_reduce of f32[9]");
  expect_all(errors_of([&](Collective& c, Context& ctx) {
               const Tensor x = tensor(std::vector<float>(9));
               c.rank() == 1 ? c.all_reduce(ctx, x) : c.broadcast(ctx, x, 0);
             }),
             "rank 1 called all_reduce of f32[9]", " called broadcast of f32[9] from rank 0");
  expect_all(errors_of([&](Collective& c, Context& ctx) {
               const Tensor x = tensor(std::vector<float>(9));
               c.all_gather(ctx, x, equal_ranges(9, 3, c.rank() == 1 ? 2 : 1));
             }),
             "rank 1 called all_gather of f32[9] [0, 2) [2, 6) [6, 9)", " called all_gather of f32[9] [0, 3) [3, 6) [6, 9)");
}

TEST_P(CollectiveTest, a_rank_that_fails_or_leaves_takes_the_others_along) {
  if (!GetParam().names_the_absent) GTEST_SKIP() << "NCCL does not say who has left";
  const auto errors = GetParam().run(device, 4, [&](Collective& c, Context& ctx) {
    const Tensor x = tensor(std::vector<float>(100, 1));
    c.all_reduce(ctx, x);
    if (c.rank() == 2) throw failure("no power");
    c.all_reduce(ctx, x);
    ADD_FAILURE() << "rank " << c.rank() << " went on";
  });
  for (size_t r = 0; r < 4; ++r)
    EXPECT_NE(errors[r].find(r == 2 ? "no power" : "rank 2 has left"), std::string::npos) << errors[r];
}

TEST_P(CollectiveTest, a_rank_that_does_not_come_is_waited_for_and_named_until_somebody_stops_that) {
  if (!GetParam().names_the_absent) GTEST_SKIP() << "NCCL does not say who is missing";
  std::mutex mutex;
  std::map<int64_t, std::string> said;
  std::atomic<bool> stop{false};
  std::atomic<int> over{0}, stopped{0};
  GetParam().run(device, 3, [&](Collective& c, Context& ctx) {
    if (c.rank() == 1) {
      for (int i = 0; i < 2000 && over < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      EXPECT_EQ(over, 2);
      return;
    }
    const WaitSink sink = [&](const std::string& who, const std::string& reason) {
      const std::lock_guard lock(mutex);
      if (!reason.empty()) said[c.rank()] = who + " " + reason;
      stop = said.size() == 2;
    };
    const WaitScope looked_at(&sink);
    const StopScope scope(&stop);
    try {
      c.all_reduce(ctx, tensor(std::vector<float>(4)));
    } catch (const Stopped&) {
      ++stopped;
    } catch (const Error&) {  // who was stopped has left
    }
    ++over;
  });
  EXPECT_GE(stopped, 1);
  EXPECT_EQ(said[2], "rank 2 in all_reduce for rank 1");
  EXPECT_EQ(said[0].substr(0, 29), "rank 0 in all_reduce for rank") << "1, or who waits for it";
}

INSTANTIATE_TEST_SUITE_P(All, CollectiveTest, ::testing::ValuesIn(collective_implementations()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(EqualRanges, cover_all_elements_in_order_and_begin_at_units) {
  for (const int64_t n : {0, 1, 31, 32, 33, 1000})
    for (const int64_t ranks : {1, 2, 7})
      for (const int64_t unit : {1, 32}) {
        const std::vector<ElementRange> ranges = equal_ranges(n, ranks, unit);
        ASSERT_EQ(ranges.size(), static_cast<size_t>(ranks));
        int64_t at = 0, least = n, most = 0;
        for (const ElementRange& r : ranges) {
          EXPECT_EQ(r.begin, at);
          EXPECT_TRUE(r.begin == n || r.begin % unit == 0) << r.begin;
          least = std::min(least, r.end - r.begin), most = std::max(most, r.end - r.begin);
          at = r.end;
        }
        EXPECT_EQ(at, n);
        EXPECT_LE(most - least, 2 * unit) << n << " in " << ranks;
      }
}

}  // namespace
}  // namespace r1::test
