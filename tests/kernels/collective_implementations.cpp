// collective_implementations.h for test_kernels: threads, a ring of channels, and one rank by NCCL on each card that
// R1_TEST_DEVICES names (two on one card NCCL refuses).
#include "tests/kernels/collective_implementations.h"

#include <thread>

#include "base/error.h"
#include "kernels/ring_ranks.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

std::vector<std::string> on_threads(Device& device, int64_t ranks, const RankBody& body) {
  std::vector<std::unique_ptr<Collective>> all = thread_ranks(ranks);
  return run_rank_threads(
      device, ranks, [&](int64_t r) { return std::move(all[static_cast<size_t>(r)]); }, body);
}

std::vector<std::string> in_a_ring(Device& device, int64_t ranks, const RankBody& body) {
  if (ranks == 1) return on_threads(device, 1, body);
  std::vector<ChannelEnds> from(static_cast<size_t>(ranks));  // from rank r (one) to the next (other)
  for (ChannelEnds& ends : from) ends = channel_in_memory();
  return run_rank_threads(
      device, ranks,
      [&](int64_t r) {
        return ring_rank(std::move(from[static_cast<size_t>((r + ranks - 1) % ranks)].other),
                         std::move(from[static_cast<size_t>(r)].one), r, ranks);
      },
      body);
}

}  // namespace

const std::vector<CollectiveImplementation>& collective_implementations() {
  static const std::vector<CollectiveImplementation> all = [] {
    std::vector<CollectiveImplementation> list;
    for (const char* device : {"cpu", "fake"})
      list.push_back({.name = std::string("threads_on_") + device, .device = device, .run = on_threads});
    for (const char* device : {"cpu", "fake"})
      list.push_back({.name = std::string("ring_on_") + device, .device = device, .run = in_a_ring});
    for (const std::string& device : test_devices())
      if (device.rfind("gpu:", 0) == 0)
        list.push_back({"nccl_on_" + device_test_name(device), device, 1, false, run_card_ranks});
    return list;
  }();
  return all;
}

}  // namespace r1::test
