// collective_implementations.h for test_kernels: threads, ranks behind relays, and one rank by NCCL on each card that
// R1_TEST_DEVICES names (two on one card NCCL refuses).
#include "tests/kernels/collective_implementations.h"

#include <thread>

#include "base/error.h"
#include "kernels/relayed_ranks.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

std::vector<std::string> on_threads(Device& device, int64_t ranks, double patience_s, const RankBody& body) {
  std::vector<std::unique_ptr<Collective>> all = thread_ranks(ranks, patience_s);
  return run_rank_threads(
      device, ranks, [&](int64_t r) { return std::move(all[static_cast<size_t>(r)]); }, body);
}

// All ranks but the first have their arrays behind a channel.
std::vector<std::string> behind_relays(Device& device, int64_t ranks, double patience_s, const RankBody& body) {
  std::vector<std::unique_ptr<Collective>> all = thread_ranks(ranks, patience_s);
  std::vector<ChannelEnds> channels(static_cast<size_t>(ranks));
  std::vector<std::thread> relays;
  for (int64_t r = 1; r < ranks; ++r) {
    ChannelEnds& ends = channels[static_cast<size_t>(r)] = channel_in_memory();
    relays.emplace_back([&device, here = std::move(all[static_cast<size_t>(r)]), channel = std::move(ends.other)]() mutable {
      RankRelay relay(device, std::move(here), int64_t{1} << 20);
      try {
        while (relay.relay(channel->receive(), *channel)) {
        }
      } catch (const Error&) {  // the rank was told, or is gone
      }
    });
  }
  const auto errors = run_rank_threads(
      device, ranks,
      [&](int64_t r) {
        const auto at = static_cast<size_t>(r);
        return r == 0 ? std::move(all[0]) : relayed_rank(*channels[at].one, r, ranks);
      },
      body);
  channels.clear();
  for (std::thread& t : relays) t.join();
  return errors;
}

}  // namespace

const std::vector<CollectiveImplementation>& collective_implementations() {
  static const std::vector<CollectiveImplementation> all = [] {
    std::vector<CollectiveImplementation> list;
    for (const char* device : {"cpu", "fake"})
      list.push_back({.name = std::string("threads_on_") + device, .device = device, .run = on_threads});
    for (const char* device : {"cpu", "fake"})
      list.push_back({.name = std::string("relayed_on_") + device, .device = device, .run = behind_relays});
    for (const std::string& device : test_devices())
      if (device.rfind("gpu:", 0) == 0)
        list.push_back({"nccl_on_" + device_test_name(device), device, 1, false, run_card_ranks});
    return list;
  }();
  return all;
}

}  // namespace r1::test
