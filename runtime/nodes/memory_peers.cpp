#include "runtime/nodes/memory_peers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/net/link_address.h"

namespace r1 {

namespace {
MemoryNet::Options net_options(const MemoryPeers::Options& all, int door) {
  MemoryNet::Options options;
  options.link = all.link;
  if (all.carry)
    options.carry = [&all, door](MemoryNet::Way way, std::function<void()> step) { all.carry(door, way, std::move(step)); };
  options.tamper = [&all, door](MemoryNet::Way way, WireMessage& m) { return !all.tamper || all.tamper(door, way, m); };
  return options;
}
}  // namespace

class MemoryPeers::Net final : public PeerNet {
 public:
  Net(MemoryPeers& all, int process) : all_(all), process_(process) {}
  // What it let in is not asked for any more: nobody is let in by a process that is gone.
  ~Net() override {
    for (MemoryPeers::Door& door : all_.doors_)
      if (door.process == process_) door.let_in = nullptr;
  }
  PeerNet::Door listen(const CurveKeys& keys, const KeyRing& let_in, LinkSink& sink) override {
    const int number = all_.doors();
    MemoryPeers::Door& door = all_.doors_.emplace_back();
    door.process = process_;
    door.key = keys.public_key;
    door.let_in = &let_in;
    door.net = std::make_unique<MemoryNet>(all_.clock_, net_options(all_.options_, number));
    return {door.net->listen(terms(), sink), fmt::format("127.0.0.1:{}", number + 1)};
  }
  std::unique_ptr<Links> dial(const std::string& address, const std::string& door_key, const CurveKeys& keys,
                              LinkSink& sink) override {
    const int number = parse_link_address(address).port - 1;
    if (number < 0 || number >= all_.doors()) return all_.nowhere_.dial("node:stranger", terms(), sink);
    MemoryPeers::Door& door = all_.doors_[static_cast<size_t>(number)];
    const std::string principal = door.let_in != nullptr ? door.let_in->principal_of(keys.public_key) : "";
    if (door.key != door_key || principal.empty()) return all_.nowhere_.dial("node:stranger", terms(), sink);
    door.dialled[door.net->wires()] = process_;
    return door.net->dial(principal, terms(), sink);
  }

 private:
  LinkTerms terms() const {
    LinkTerms terms = all_.options_.terms ? all_.options_.terms(fmt::format("process {}", process_)) : LinkTerms{};
    terms.any_fingerprint = true;
    return terms;
  }
  MemoryPeers& all_;
  const int process_;
};

MemoryPeers::MemoryPeers(const Clock& clock, Options options)
    : clock_(clock), options_(std::move(options)), nowhere_(clock, net_options(options_, -1)) {}

std::unique_ptr<PeerNet> MemoryPeers::of(int process) { return std::make_unique<Net>(*this, process); }

void MemoryPeers::tick() {
  for (Door& door : doors_) door.net->tick();
  nowhere_.tick();
}

int64_t MemoryPeers::next_tick_ns() const {
  int64_t next = nowhere_.next_tick_ns();
  for (const Door& door : doors_) next = std::min(next, door.net->next_tick_ns());
  return next;
}

void MemoryPeers::stop(int process, bool stopped) {
  for (Door& door : doors_)
    for (const auto& [wire, by] : door.dialled) {
      if (by == process) door.net->stop(wire, stopped);
      if (door.process != process) continue;
      if (!stopped) {
        door.net->heal(wire);
        continue;
      }
      door.net->cut(wire, true);
      door.net->cut(wire, false);
    }
}

int MemoryPeers::wires() const {
  int wires = 0;
  for (const Door& door : doors_) wires += door.net->wires();
  return wires;
}

}  // namespace r1
