// The card as a device (kernels/device.h's contract), over the emulated runtime, which runs what is queued as late as it may;
// on a real card where R1_CUDA_PLUGIN names the plugin (tools/gpu/run).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "kernels/ops.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

class CudaDevice : public testing::Test {
 protected:
  Device& gpu = open_device(test_devices().front());
  Context ctx{gpu};

  static std::vector<float> counted(size_t n, float from) {
    std::vector<float> x(n);
    std::iota(x.begin(), x.end(), from);
    return x;
  }
};

TEST_F(CudaDevice, has_a_kernel_of_its_own_for_every_op) {
  const OpTable &table = gpu.ops(), &cpu = open_device("cpu").ops();
#define R1_EXPECT_OWN(Struct, field) EXPECT_TRUE(table.field != nullptr && table.field != cpu.field) << #Struct;
  R1_OPS(R1_EXPECT_OWN)
#undef R1_EXPECT_OWN
}

TEST_F(CudaDevice, an_upload_takes_what_was_there_when_it_was_issued) {
  const Tensor a(gpu, DType::f32, {3}), b(gpu, DType::f32, {3});
  std::vector<float> host = {1, 2, 3};
  upload(a, host);
  host = {7, 7, 7};
  run(ctx, Copy{a, b});
  upload(a, host);
  EXPECT_EQ(download_as<float>(b), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(download_as<float>(a), (std::vector<float>{7, 7, 7}));
}

// The ring of pinned memory is 8 MiB in parts of 2.
TEST_F(CudaDevice, copies_larger_than_the_staging_memory_arrive_whole) {
  for (const size_t n : {size_t{1}, size_t{1} << 19, (size_t{1} << 19) + 1, size_t{5'000'003}}) {
    const Tensor t(gpu, DType::f32, {static_cast<int64_t>(n)});
    const std::vector<float> host = counted(n, 1);
    upload(t, host);
    EXPECT_EQ(download_as<float>(t), host) << n;
  }
}

TEST_F(CudaDevice, many_small_copies_do_not_overwrite_each_other_while_they_wait) {
  constexpr int64_t kCopies = 50, kSize = 100'000;  // 20 MB
  const Tensor t(gpu, DType::f32, {kCopies, kSize});
  for (int64_t i = 0; i < kCopies; ++i) upload(t.view().slice(i, i + 1), counted(kSize, static_cast<float>(i)));
  for (int64_t i = 0; i < kCopies; ++i) ASSERT_EQ(download_as<float>(t.view().slice(i, i + 1))[0], static_cast<float>(i));
}

TEST_F(CudaDevice, memory_that_queued_work_uses_is_not_given_to_others) {
  const Tensor out(gpu, DType::f32, {1000});
  gpu.finish();
  {
    const Tensor t(gpu, DType::f32, {1000});
    run(ctx, Fill{t, 3});
    run(ctx, Copy{t, out});
  }
  Tensor other;
  std::thread([&] {
    other = Tensor(gpu, DType::f32, {1000});
    Context c(gpu);
    run(c, Fill{other, 5});
    gpu.finish();  // before the first thread's work
  }).join();
  EXPECT_EQ(download_as<float>(out), std::vector<float>(1000, 3));
  EXPECT_EQ(download_as<float>(other), std::vector<float>(1000, 5)) << "the first thread's work came upon it";
}

TEST_F(CudaDevice, memory_is_reused_when_the_work_on_it_has_ended) {
  gpu.finish();
  std::byte* first = nullptr;
  {
    const Tensor t(gpu, DType::f32, {12'345});
    first = t.view().data;
    run(ctx, Fill{t, 3});
  }
  gpu.finish();
  const size_t available = gpu.memory().available;
  const Tensor again(gpu, DType::f32, {12'345});
  EXPECT_EQ(again.view().data, first);
  EXPECT_LT(gpu.memory().available, available);
}

TEST_F(CudaDevice, too_much_memory_is_a_failure_that_names_size_device_and_what_there_is) {
  try {
    const Tensor t(gpu, DType::f32, {int64_t{1} << 40});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::failed);
    EXPECT_NE(std::string(e.what()).find("no memory for 4194304.0 MiB on device gpu:0 ("), std::string::npos) << e.what();
  }
  // What lies idle in the pool is given back to the card before that.
  if (!emulated(gpu)) return;  // not for others on a real card
  { const Tensor t(gpu, DType::f32, {static_cast<int64_t>(gpu.memory().available / 8)}); }
  gpu.finish();
  const Tensor large(gpu, DType::f32, {static_cast<int64_t>(gpu.memory().available / 4 - 1000)});
}

TEST_F(CudaDevice, every_thread_has_an_order_of_its_own) {
  const Tensor x(gpu, DType::f32, {4, 50});
  gpu.finish();
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      Context c(gpu);
      const View part = x.view().slice(i, i + 1);
      run(c, Fill{part, static_cast<float>(i)});
      const Tensor own(gpu, DType::f32, {1, 50});
      for (int n = 0; n < 5; ++n) run(c, Copy{part, own}), run(c, Copy{own, part});
      gpu.finish();
    });
  for (std::thread& t : threads) t.join();
  const std::vector<float> got = download_as<float>(x);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], static_cast<float>(i / 50));
}

TEST_F(CudaDevice, a_recording_issues_its_ops_again_on_what_the_memory_holds_then) {
  const Tensor x(gpu, DType::f32, {2}), y(gpu, DType::f32, {2});
  upload(x, std::vector<float>{1, 2});
  upload(y, std::vector<float>{0, 0});
  {
    const Tensor used(gpu, DType::f32, {7});  // what waits in the pool for queued work may not be asked after meanwhile
    run(ctx, Fill{used, 3});
  }
  const std::unique_ptr<Recording> twice = gpu.record(ctx, [&] {
    const Tensor gone(gpu, DType::f32, {7});  // memory that comes and goes meanwhile
    run(ctx, Axpby{x, y, 1, 1});
    run(ctx, Axpby{x, y, 1, 1});
  });
  ASSERT_NE(twice, nullptr);
  EXPECT_EQ(download_as<float>(y), (std::vector<float>{2, 4})) << "it ran while it was recorded";
  upload(x, std::vector<float>{10, 20});
  twice->run();
  EXPECT_EQ(download_as<float>(y), (std::vector<float>{22, 44}));
  // A child that is forked has no card.
  if (emulated(gpu)) {
    EXPECT_DEATH(gpu.record(ctx, [&] { download_as<float>(y); }), "a download inside a recording");
  }
}

TEST_F(CudaDevice, a_recording_that_fails_leaves_its_stream_as_it_was) {
  const Tensor y(gpu, DType::f32, {2});
  const std::function<void()> fails[] = {[] { throw failure("in the middle"); },
                                         [&] { gpu.finish(); }};  // not allowed there: it spoils the recording
  for (const auto& issue : fails) {
    EXPECT_THROW(gpu.record(ctx, issue), Error);
    run(ctx, Fill{y, 6});
    EXPECT_EQ(download_as<float>(y)[1], 6);
    run(ctx, Fill{y, 0});
  }
}

// test_kernels_cuda.by_cutlass and .by_cudnn see the second half. Before the tests that open the second card.
TEST_F(CudaDevice, products_and_cudnn_are_named_and_those_for_sm_90_are_refused_on_another_card) {
  const char *const products = std::getenv("R1_CUDA_PRODUCTS"), *const backward = std::getenv("R1_CUDA_ATTENTION_BACKWARD");
  const bool cutlass = products != nullptr && std::string(products) == "cutlass";
  const bool cudnn = backward != nullptr && std::string(backward) == "cudnn";
  const std::string named =
      fmt::format(", {} products{}", products != nullptr ? products : "mma", cudnn ? ", attention's backward by cuDNN " : "");
  EXPECT_NE(gpu.fingerprint().find(named), std::string::npos) << gpu.fingerprint();
  EXPECT_EQ(gpu.fingerprint().find("cuDNN") != std::string::npos, cudnn) << gpu.fingerprint();
  if (!emulated(gpu) || (!cutlass && !cudnn)) return;
  setenv("R1_CUDA_EMULATED_FAULT", "older", 1);
  try {
    open_device("gpu:1");
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    const std::string what = cutlass ? "R1_CUDA_PRODUCTS is 'cutlass'" : "R1_CUDA_ATTENTION_BACKWARD is 'cudnn'";
    EXPECT_NE(std::string(e.what()).find(what + ", which is for sm_90 (H100, H200), and 'gpu:1' is sm_80"), std::string::npos)
        << e.what();
  }
  unsetenv("R1_CUDA_EMULATED_FAULT");
}

TEST_F(CudaDevice, a_machine_without_a_driver_or_without_that_card_says_so) {
  if (!emulated(gpu)) GTEST_SKIP() << "a fault of the emulated card";
  const auto refusal = [](const char* name) -> std::string {
    try {
      open_device(name);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(refusal("gpu:5").find("there is no device 'gpu:5': this machine has 2 GPUs (gpu:0 to gpu:1)"), std::string::npos)
      << refusal("gpu:5");
  setenv("R1_CUDA_EMULATED_FAULT", "no_driver", 1);
  EXPECT_NE(refusal("gpu:1").find("device 'gpu:1' cannot be used: CUDA driver version is insufficient"), std::string::npos)
      << refusal("gpu:1");
  unsetenv("R1_CUDA_EMULATED_FAULT");
  EXPECT_EQ(open_device("gpu:1").name(), "gpu:1");
  EXPECT_EQ(&open_device("gpu"), &open_device("gpu:0"));
}

TEST_F(CudaDevice, a_lost_card_is_a_failure_where_the_work_is_waited_for) {
  if (!emulated(gpu)) GTEST_SKIP() << "a fault of the emulated card";
  const Tensor t(gpu, DType::f32, {4});
  run(ctx, Fill{t, 1});
  setenv("R1_CUDA_EMULATED_FAULT", "lost", 1);
  for (const bool by_download : {false, true}) try {
      if (by_download)
        download_as<float>(t);
      else
        gpu.finish();
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::failed);
      EXPECT_NE(std::string(e.what()).find("unspecified launch failure"), std::string::npos) << e.what();
    }
  unsetenv("R1_CUDA_EMULATED_FAULT");
}

TEST_F(CudaDevice, memory_of_one_card_may_be_given_back_by_a_thread_of_another) {
  if (!emulated(gpu)) GTEST_SKIP() << "it needs two cards";
  Device& second = open_device("gpu:1");
  Context on_second(second);
  const Tensor out(second, DType::f32, {1000});
  auto t = std::make_unique<Tensor>(second, DType::f32, std::initializer_list<int64_t>{1000});
  run(on_second, Fill{*t, 3});
  run(on_second, Copy{*t, out});
  gpu.finish();  // this thread's calls are the first card's now
  t = nullptr;
  Tensor other;
  std::thread([&] {
    other = Tensor(second, DType::f32, {1000});
    Context c(second);
    run(c, Fill{other, 5});
    second.finish();  // before the first thread's work
  }).join();
  EXPECT_EQ(download_as<float>(out), std::vector<float>(1000, 3));
  EXPECT_EQ(download_as<float>(other), std::vector<float>(1000, 5)) << "the first thread's work came upon it";
}

}  // namespace
}  // namespace r1::test
