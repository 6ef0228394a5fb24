// The fake device: the host cannot read its memory, its ops run when they are waited for and give the inner device's bits, and
// a breach of the contract of kernels/device.h is a CHECK.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "base/error.h"
#include "kernels/fake/fake_device.h"
#include "tests/kernels/op_cases.h"

namespace r1::test {
namespace {

TEST(FakeDevice, host_access_to_its_memory_crashes) {
  const Tensor t(open_device("fake"), DType::f32, {4});
  Context ctx(open_device("fake"));
  run(ctx, Fill{t, 2.0f});
  EXPECT_EQ(download_as<float>(t), std::vector<float>(4, 2.0f));
  EXPECT_DEATH(
      {
        volatile float x = *reinterpret_cast<const volatile float*>(t.view().data);
        (void)x;
      },
      "");
  EXPECT_DEATH(*reinterpret_cast<volatile float*>(t.view().slice(2, 3).data) = 1.0f, "");
}

TEST(FakeDevice, its_arena_traps_too) {
  Context ctx(open_device("fake"));
  const View v = ctx.arena.alloc(DType::i32, {3});
  EXPECT_DEATH(*reinterpret_cast<volatile int*>(v.data) = 1, "");
}

TEST(FakeDevice, refuses_host_addresses_and_views_of_other_devices) {
  Device& fake = open_device("fake");
  float host[4];
  EXPECT_DEATH(fake.copy_to_host(host, reinterpret_cast<std::byte*>(host), 4), "host address");
  Context ctx(fake);
  const Tensor t(open_device("cpu"), DType::f32, {4});
  EXPECT_DEATH(run(ctx, Fill{t, 1}), "v.device == ctx.device");
}

TEST(FakeDevice, gives_the_bits_of_the_device_inside) {
  Device& fake = open_device("fake");
  Device& inner = static_cast<FakeDevice&>(fake).inner();
  int n = 0;
  for (const OpCase& c : op_cases()) {
    if (n++ % 5 != 0) continue;
    EXPECT_EQ(bit_difference(run_case(c, fake), run_case(c, inner)), "") << c.name;
  }
}

// On a device of its own, so that nothing of another test is queued.
class FakeQueue : public ::testing::Test {
 protected:
  FakeDevice fake{open_device("cpu")};
  Context ctx{fake};
  void on_another_thread(const std::function<void(Context&)>& f) {
    std::thread([&] {
      Context other(fake);
      f(other);
    }).join();
  }
};

TEST_F(FakeQueue, ops_and_uploads_wait_until_their_thread_waits) {
  const Tensor t(fake, DType::f32, {3}), u(fake, DType::f32, {3});
  std::vector<float> host = {1, 2, 3};
  upload(t, host);
  host = {7, 7, 7};  // the device has what was there
  run(ctx, Copy{t, u});
  EXPECT_EQ(fake.queued(), 2);
  const std::vector<float> out = download_as<float>(u);
  EXPECT_EQ(fake.queued(), 0) << "a download completes what came before it";
  EXPECT_EQ(out, (std::vector<float>{1, 2, 3}));
  run(ctx, Fill{t, 5});
  on_another_thread([&](Context&) { EXPECT_EQ(fake.queued(), 0) << "every thread has a queue of its own"; });
  EXPECT_EQ(fake.queued(), 1);
  fake.finish();
  EXPECT_EQ(fake.queued(), 0);
  on_another_thread([&](Context&) { EXPECT_EQ(download_as<float>(t), std::vector<float>(3, 5)); });
}

TEST_F(FakeQueue, another_thread_must_not_touch_what_was_not_finished) {
  const Tensor t(fake, DType::f32, {8}), u(fake, DType::f32, {8});
  run(ctx, Fill{t.view().slice(0, 4), 1});
  EXPECT_DEATH(on_another_thread([&](Context& c) { run(c, Copy{t, u}); }), "Copy reads what Fill of another thread writes");
  EXPECT_DEATH(on_another_thread([&](Context&) { download_as<float>(t); }), "a download reads what Fill of another thread");
  EXPECT_DEATH(on_another_thread([&](Context&) { upload(t, std::vector<float>(8)); }), "an upload writes what Fill");
  on_another_thread([&](Context& c) {
    run(c, Fill{t.view().slice(4, 8), 2});  // another part
    fake.finish();
  });
  fake.finish();
  run(ctx, Copy{t, u});
  EXPECT_DEATH(on_another_thread([&](Context& c) { run(c, Fill{t, 1}); }), "Fill writes what Copy of another thread reads");
  on_another_thread([&](Context&) { EXPECT_EQ(download_as<float>(t)[4], 2) << "two may read"; });
  fake.finish();
}

TEST_F(FakeQueue, a_kv_page_pool_is_written_by_several_threads) {
  const Tensor k(fake, DType::f32, {2, 1, 4}), table(fake, DType::i32, {2, 1});
  const Tensor pages(fake, DType::f32, {2, 1, 4, kKeyBlock}), v_pages(fake, DType::f32, {2, 1, kKeyBlock, 4});
  upload(table, std::vector<int32_t>{0, 1});
  upload(k, std::vector<float>(8, 1));
  fake.finish();
  const auto write = [&](Context& c, int64_t row) {
    const Tensor seq(fake, DType::i32, {1}), pos(fake, DType::i32, {1});
    upload(seq, std::vector<int32_t>{static_cast<int32_t>(row)});
    run(c, Fill{pos, 0});
    const View r = k.view().slice(row, row + 1);
    run(c, KvWrite{r, r, pages, v_pages, table, seq, pos});
  };
  write(ctx, 0);
  on_another_thread([&](Context& c) {
    write(c, 1);
    fake.finish();
  });
  EXPECT_DEATH(on_another_thread([&](Context& c) { run(c, Fill{pages, 0}); }), "KvWrite");
  fake.finish();
}

TEST_F(FakeQueue, freed_memory_lives_until_its_queue_has_run_and_nobody_else_may_touch_it) {
  const Tensor out(fake, DType::f32, {4});
  View gone;
  {
    const Tensor t(fake, DType::f32, {4});
    gone = t.view();
    run(ctx, Fill{t, 3});
    run(ctx, Copy{t, out});
  }
  EXPECT_DEATH(run(ctx, Fill{gone, 1}), "not allocated");
  EXPECT_EQ(download_as<float>(out), std::vector<float>(4, 3)) << "it was freed after what was queued";
  EXPECT_DEATH(download_as<float>(gone), "not allocated");
  View beyond = out.view();
  beyond.shape[0] = 1 << 20;
  EXPECT_DEATH(run(ctx, Fill{beyond.slice(1 << 19, 1 << 20), 1}), "not allocated");
}

TEST_F(FakeQueue, fresh_memory_holds_nan) {
  uint32_t word = 0;
  const std::vector<float> fresh = download_as<float>(Tensor(fake, DType::f32, {1}));
  std::memcpy(&word, fresh.data(), sizeof word);
  EXPECT_EQ(word, 0xFFFFFFFFu);
}

TEST_F(FakeQueue, a_recording_issues_its_ops_again_on_what_the_memory_holds_then) {
  const Tensor x(fake, DType::f32, {2}), y(fake, DType::f32, {2});
  upload(x, std::vector<float>{1, 2});
  upload(y, std::vector<float>{0, 0});
  const std::unique_ptr<Recording> twice = fake.record(ctx, [&] {
    run(ctx, Axpby{x, y, 1, 1});
    run(ctx, Axpby{x, y, 1, 1});
  });
  ASSERT_NE(twice, nullptr);
  EXPECT_EQ(download_as<float>(y), (std::vector<float>{2, 4})) << "it ran while it was recorded";
  upload(x, std::vector<float>{10, 20});
  twice->run();
  EXPECT_EQ(fake.queued(), 3) << "its ops queue like any others";
  EXPECT_EQ(download_as<float>(y), (std::vector<float>{22, 44}));
  EXPECT_DEATH(fake.record(ctx, [&] { download_as<float>(y); }), "a download inside a recording");
  // A device that does not record has run the ops.
  Device& cpu = open_device("cpu");
  Context host(cpu);
  const Tensor z(cpu, DType::f32, {2});
  EXPECT_EQ(cpu.record(host, [&] { run(host, Fill{z, 4}); }), nullptr);
  EXPECT_EQ(download_as<float>(z)[1], 4);
}

TEST_F(FakeQueue, device_tasks_begin_and_end_with_finished_work) {
  constexpr int64_t kTasks = 16;
  const Tensor x(fake, DType::f32, {kTasks}), y(fake, DType::f32, {kTasks});
  run(ctx, Fill{x, 2});
  device_tasks(fake, kTasks, [&](int64_t i) {
    Context c(fake);
    run(c, Copy{x.view().slice(i, i + 1), y.view().slice(i, i + 1)});
  });
  run(ctx, Axpby{x, y, 1, 1});
  EXPECT_EQ(download_as<float>(y), std::vector<float>(kTasks, 4));
  EXPECT_THROW(device_tasks(fake, 2,
                            [&](int64_t i) {
                              Context c(fake);
                              run(c, Fill{x.view().slice(i, i + 1), 1});
                              throw failure("a task fails");
                            }),
               Error);
  EXPECT_EQ(download_as<float>(x)[0], 1) << "what it had issued is done";
}

}  // namespace
}  // namespace r1::test
