// Hostfiles: what is taken names hosts that no shell and no ssh takes for anything else.
#include "runtime/nodes/hostfile.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  fuzz::taken([&] {
    const auto hosts = parse_hostfile(fuzz::text_of(data, size), "hosts");
    if (hosts.empty()) fuzz::finding("no host");
    for (const HostEntry& host : hosts) {
      for (const std::string* word : {&host.host, &host.user, &host.device, &host.address}) {
        if (word->starts_with('-')) fuzz::finding("a word that is an option");
        if (word->find_first_of(" \t\n'\"\\$`;&|<>(){}*?!~#=@/") != std::string::npos)
          fuzz::finding("a word that a shell reads");
      }
      if (host.host.empty() || threads_of(host, hosts, 8) < 1 || host.where.line < 1 ||
          (!host.ports.any() && (host.ports.first < 1 || host.ports.last <= host.ports.first || host.ports.last > 65535)))
        fuzz::finding("an entry that says nothing");
    }
  });
  return 0;
}
