#include "tools/node_hello.h"

#include <fmt/format.h>
#include <unistd.h>

#include <random>

#include "base/version.h"
#include "tools/program_version.h"

namespace r1 {

PeerHello node_hello(const Device& device, int threads) {
  PeerHello hello = hello_of_this_process(program_version("r1"));
  hello.cores = threads;
  hello.memory_bytes = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  hello.devices = {device.name()};
  hello.fingerprint = fmt::format("r1 {}; {}", version(), device.fingerprint());
  std::random_device random;
  hello.nonce = fmt::format("{:08x}{:08x}", random(), random());
  return hello;
}

}  // namespace r1
