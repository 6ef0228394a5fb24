// r1-bench channel: what a link between two processes carries, beside memcpy and beside two bare ZeroMQ sockets, in one run.
// The other process is this program again, told what to be by its arguments. Links are always encrypted; so that the price of
// the protocol and that of CURVE can be told apart, bare sockets are measured with and without it, and the protocol in memory.
// Thread rule: one thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace r1::bench {

struct ChannelOptions {
  int mib = 512;            // of bulk, in packets of 64 MiB (bare: messages of 1 MiB)
  int messages = 20'000;    // of 4 KiB
  int round_trips = 2'000;  // of 64 bytes
  int repetitions = 3;      // the best counts; of round trips the median of all
};

struct ChannelCase {
  std::string name;  // "bare ZeroMQ, CURVE"
  std::optional<double> gb_per_s, messages_per_s, round_trip_us;
  bool verified = false;  // bytes, and the hash of them, were those that were sent
};

struct ChannelReport {
  std::string machine;
  double memcpy_gb_per_s = 0;  // 64 MiB, one thread
  std::vector<ChannelCase> cases;
  bool ok() const;
};

ChannelReport bench_channel(const ChannelOptions& options, const std::string& machine);
// The other process: `how` is what bench_channel gave as an argument.
int channel_peer(const std::string& how, const std::string& address);

std::string channel_table(const ChannelReport& report);
nlohmann::json channel_json(const ChannelReport& report);

}  // namespace r1::bench
