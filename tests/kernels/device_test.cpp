// Tensors, views, arenas, copies and the naming of devices.
#include "kernels/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/kernels/test_devices.h"

namespace r1 {
namespace {

TEST(Bf16, rounds_to_nearest_even_and_keeps_nan_quiet) {
  EXPECT_EQ(bf16_from_f32(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f), 0x3f80) << "tie to even: down";
  EXPECT_EQ(bf16_from_f32(1.0f + 3 * 0x1p-8f), 0x3f82) << "tie to even: up";
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);
  EXPECT_EQ(bf16_from_f32(-0.0f), 0x8000);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7f80) << "rounds to infinity";
  EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(std::numeric_limits<float>::signaling_NaN()))));
  EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(-std::nanf("1")))));
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = f32_from_bf16(static_cast<uint16_t>(h));
    if (!std::isnan(f)) {
      ASSERT_EQ(bf16_from_f32(f), h);
    }
  }
}

TEST(View, slices_columns_heads_and_reshapes_address_the_same_memory) {
  Device& d = open_device("reference");
  const Tensor x(d, DType::f32, {6, 8});
  const View v = x;
  EXPECT_EQ(v.str(), "f32[6, 8]");
  EXPECT_EQ(v.slice(2, 5).data - v.data, 2 * 8 * 4);
  EXPECT_EQ(v.slice(2, 5).rows(), 3);
  EXPECT_TRUE(v.slice(2, 5).contiguous());
  const View c = v.columns(3, 7);
  EXPECT_EQ(c.data - v.data, 3 * 4);
  EXPECT_FALSE(c.contiguous());
  EXPECT_EQ(c.str(), "f32[6, 4] strides [8, 1]");
  EXPECT_TRUE(c.slice(1, 2).contiguous()) << "one row has no gaps";
  const View h = c.heads(2);
  EXPECT_EQ(h.shape, (std::array<int64_t, 4>{6, 2, 2, 0}));
  EXPECT_EQ(h.stride[0], 8);
  EXPECT_EQ(h.stride[1], 2);
  EXPECT_EQ(h.columns(1, 2).data - h.data, 4) << "the last dimension";
  EXPECT_EQ(v.reshape({4, 12}).shape[1], 12);
  EXPECT_TRUE(v.slice(6, 6).contiguous());
  EXPECT_EQ(v.slice(6, 6).size(), 0);
  EXPECT_EQ(View().size(), 0);
  EXPECT_FALSE(static_cast<bool>(View()));
}

TEST(View, misuse_is_a_check) {
  Device& d = open_device("reference");
  const Tensor x(d, DType::f32, {6, 8});
  const View v = x;
  EXPECT_DEATH(v.slice(2, 7), "slice \\[2, 7\\) of f32\\[6, 8\\]");
  EXPECT_DEATH(v.columns(-1, 3), "columns");
  EXPECT_DEATH(v.heads(3), "3 heads");
  EXPECT_DEATH(v.reshape({5, 5}), "reshape of f32\\[6, 8\\]");
  EXPECT_DEATH(v.columns(0, 4).reshape({24}), "reshape");
}

TEST(Tensor, shares_its_storage_and_starts_on_a_cache_line) {
  Device& d = open_device("reference");
  Tensor a(d, DType::bf16, {3, 5});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.view().data) % 64, 0u);
  EXPECT_EQ(a.bytes(), 30u);
  const Tensor b = a;
  EXPECT_EQ(a.view().data, b.view().data);
  Tensor empty(d, DType::f32, {0, 5});
  EXPECT_EQ(empty.bytes(), 0u);
  EXPECT_TRUE(static_cast<bool>(empty));
}

TEST(Tensor, too_large_is_a_failure_that_names_size_and_device) {
  try {
    Tensor(open_device("reference"), DType::f32, {int64_t{1} << 50});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::failed);
    EXPECT_NE(std::string(e.what()).find("MiB on device reference"), std::string::npos) << e.what();
  }
}

TEST(Copies, round_trip_on_every_device_and_check_sizes) {
  for (const std::string& name : test::every_test_device()) {
    Device& d = open_device(name);
    const std::vector<float> host = {1, 2, 3, 4, 5, 6};
    const Tensor t = tensor_from(d, DType::f32, {2, 3}, host.data());
    EXPECT_EQ(download_as<float>(t), host) << name;
    EXPECT_EQ(download_as<float>(t.view().slice(1, 2)), (std::vector<float>{4, 5, 6})) << name;
    upload(t.view().slice(0, 1), std::vector<float>{7, 8, 9});
    EXPECT_EQ(download_as<float>(t), (std::vector<float>{7, 8, 9, 4, 5, 6})) << name;
  }
  Tensor t(open_device("reference"), DType::f32, {2, 3});
  EXPECT_DEATH(upload(t, std::vector<float>{1, 2}), "upload of 8 bytes to f32\\[2, 3\\]");
  EXPECT_DEATH(download_as<uint16_t>(t), "download of 12 bytes");
  EXPECT_DEATH(download_as<float>(t.view().columns(0, 2)), "download");
}

TEST(Memory, says_how_much_a_device_has) {
  for (const std::string& name : test::every_test_device()) {
    const DeviceMemory m = open_device(name).memory();
    EXPECT_GT(m.available, size_t{1} << 20) << name;
    EXPECT_LE(m.available, m.total) << name;
  }
}

TEST(Arena, reuses_its_memory_after_release_and_reset) {
  Arena arena(open_device("reference"));
  const View a = arena.alloc(DType::f32, {10});
  const Arena::Mark mark = arena.mark();
  const View b = arena.alloc(DType::bf16, {3, 7});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 64, 0u);
  EXPECT_GE(b.data, a.data + 40);
  arena.release(mark);
  EXPECT_EQ(arena.alloc(DType::f32, {1}).data, b.data);
  arena.reset();
  EXPECT_EQ(arena.alloc(DType::f32, {1}).data, a.data);
}

TEST(Arena, allocations_never_overlap_while_alive) {
  Arena arena(open_device("reference"));
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<std::byte*, int64_t>> live;
    Arena::Mark middle;
    for (int i = 0; i < 60; ++i) {
      if (i == 30) middle = arena.mark();
      const int64_t bytes = (i * 7919 % 13) * 100'000 + (i == 20 + round ? 5'000'000 : 1);
      live.emplace_back(arena.alloc(DType::bf16, {bytes / 2 + 1}).data, bytes);
    }
    arena.release(middle);
    live.resize(30);
    for (int i = 0; i < 10; ++i) live.emplace_back(arena.alloc(DType::f32, {300'000}).data, 1'200'000);
    std::sort(live.begin(), live.end());
    for (size_t i = 1; i < live.size(); ++i) ASSERT_LE(live[i - 1].first + live[i - 1].second, live[i].first) << round;
    arena.reset();
  }
}

TEST(Arena, its_high_water_mark_stops_growing_when_steps_repeat) {
  Arena arena(open_device("reference"));
  size_t first = 0;
  for (int step = 0; step < 5; ++step) {
    for (int i = 0; i < 10; ++i) arena.alloc(DType::f32, {100'000 * (i + 1)});
    if (step == 0) first = arena.high_water_bytes();
    EXPECT_EQ(arena.high_water_bytes(), first);
    arena.reset();
  }
  EXPECT_GE(first, 22'000'000u);
}

TEST(OpenDevice, gives_the_same_device_for_the_same_name) {
  EXPECT_EQ(&open_device("cpu"), &open_device("cpu"));
  EXPECT_NE(&open_device("cpu"), &open_device("fake"));
  for (const std::string& name : test::every_test_device()) {
    EXPECT_EQ(open_device(name).name(), name);
    EXPECT_FALSE(open_device(name).fingerprint().empty());
  }
}

TEST(OpenDevice, unknown_names_are_bad_input_with_a_suggestion) {
  const auto error_of = [](const std::string& name) {
    try {
      open_device(name);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(error_of("cpuu").find("unknown device 'cpuu' (did you mean 'cpu'?)"), std::string::npos);
  EXPECT_NE(error_of("tpu-pod").find("known: cpu, reference, fake, gpu:N"), std::string::npos);
}

TEST(ParallelTasks, runs_each_task_once_and_propagates_exceptions) {
  std::vector<int> hits(1000);
  parallel_tasks(1000, [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
  EXPECT_EQ(hits, std::vector<int>(1000, 1));
  parallel_tasks(0, [](int64_t) { FAIL(); });
  EXPECT_THROW(parallel_tasks(8,
                              [](int64_t i) {
                                if (i == 5) throw failure("five");
                              }),
               Error);
}

TEST(ParallelTasks, count_as_compute_time) {
  const int64_t before = compute_cpu_ns();
  std::atomic<double> sink = 0;
  parallel_tasks(4, [&](int64_t) {
    double sum = 0;
    for (int i = 1; i < 200'000; ++i) sum += 1.0 / i;
    sink = sum;
  });
  EXPECT_GT(compute_cpu_ns(), before);
}

}  // namespace
}  // namespace r1
