// The fake device: the host cannot read its memory, and its ops give the inner device's bits.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace r1::test
