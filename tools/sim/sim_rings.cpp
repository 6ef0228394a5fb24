#include "tools/sim/sim_rings.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace r1 {

// Where one rank listens for the next one.
struct SimRings::Door {
  int number = 0;
  std::optional<MemoryNet> net;
  std::string key, next_key;  // of who listens, and of whom that lets in
  int listener = -2, dialler = -2;
  Links *listens = nullptr, *dials = nullptr;
  int damage = 0;  // messages that are still to be damaged, or lost where it is negative
};

// An end of a link, which its door knows of as long as it is there.
class SimRings::End final : public Links {
 public:
  End(std::shared_ptr<Door> door, bool listens, std::unique_ptr<Links> links)
      : door_(std::move(door)), listens_(listens), links_(std::move(links)) {
    (listens_ ? door_->listens : door_->dials) = links_.get();
  }
  ~End() override { (listens_ ? door_->listens : door_->dials) = nullptr; }
  void send(PeerId peer, LinkPacket packet) override { links_->send(peer, std::move(packet)); }
  void drop(PeerId peer, const std::string& why) override { links_->drop(peer, why); }

 private:
  const std::shared_ptr<Door> door_;
  const bool listens_;
  const std::unique_ptr<Links> links_;
};

class SimRings::Doors final : public RingDoors {
 public:
  Doors(SimRings& rings, int process) : rings_(rings), process_(process) {}

  std::unique_ptr<Links> listen(const RingInvitation& told, LinkSink& sink, std::string& address) const override {
    const std::shared_ptr<Door> door = rings_.new_door();
    door->key = told.keys.public_key;
    door->next_key = told.next_key;
    door->listener = process_;
    address = fmt::format("door {}", door->number);
    return std::make_unique<End>(door, true, door->net->listen(terms(told), sink));
  }
  std::string dialled(const RingInvitation&, const std::string& previous) const override { return previous; }
  std::unique_ptr<Links> dial(const RingInvitation& told, const std::string& address, LinkSink& sink) const override {
    std::shared_ptr<Door> door;
    for (const auto& open : rings_.doors_)
      if (const auto there = open.lock(); there && address == fmt::format("door {}", there->number)) door = there;
    // To nobody: where none listens, or another than is meant, or one that knows no such key.
    if (!door || door->key != told.previous_key || door->next_key != told.keys.public_key || door->dialler != -2)
      door = rings_.new_door();
    door->dialler = process_;
    return std::make_unique<End>(door, false, door->net->dial(fmt::format("node:rank{}", told.rank), terms(told), sink));
  }

 private:
  static LinkTerms terms(const RingInvitation& told) {
    LinkTerms t;
    t.self.build = "r1 simulated";
    t.self.host = told.name;
    t.self.nonce = told.keys.public_key;
    t.any_fingerprint = true;
    return t;
  }

  SimRings& rings_;
  const int process_;
};

SimRings::SimRings(StepWorld& world, Options options)
    : world_(world), options_(std::move(options)), rng_(options_.seed, "rings"), life_(world.new_life()) {}

SimRings::~SimRings() { world_.forget(life_); }

MakeRankRing SimRings::of(int process) {
  return [doors = std::make_shared<Doors>(*this, process)](const RingInvitation& told) { return link_ring(told, doors); };
}

std::shared_ptr<SimRings::Door> SimRings::new_door() {
  MemoryNet::Options options;
  const int number = ++made_;
  options.carry = [this, number](MemoryNet::Way way, std::function<void()> step) {
    const int64_t delay_ns =
        options_.message_ns > 0 ? static_cast<int64_t>(rng_.below(static_cast<uint64_t>(options_.message_ns))) : 0;
    world_.push({life_, number, way.wire * 16 + static_cast<int>(way.kind)}, world_.clock().now_ns() + delay_ns,
                std::move(step));
  };
  auto door = std::make_shared<Door>();
  options.tamper = [this, at = std::weak_ptr(door)](MemoryNet::Way, WireMessage& message) {
    const auto here = at.lock();
    if (!here || here->damage == 0 || message.header.empty()) return true;
    const bool lost = std::exchange(here->damage, 0) < 0;
    if (!lost) message.header[rng_.below(message.header.size())] ^= static_cast<char>(1 << rng_.below(8));
    return !lost;
  };
  door->net.emplace(world_.clock(), std::move(options));
  door->number = number;
  std::erase_if(doors_, [](const std::weak_ptr<Door>& d) { return d.expired(); });
  doors_.push_back(door);
  return door;
}

void SimRings::for_each(int process, const std::function<void(Door&, bool)>& call) {
  for (const auto& open : doors_)
    if (const auto door = open.lock()) {
      if (door->listens != nullptr && door->listener == process) call(*door, true);
      if (door->dials != nullptr && door->dialler == process) call(*door, false);
    }
}

void SimRings::crash(int process) {
  stop(process, false);
  for_each(process, [](Door& door, bool listens) { door.net->crash(listens ? *door.listens : *door.dials); });
}

void SimRings::stop(int process, bool stopped) {
  for_each(process, [&](Door& door, bool listens) {
    if (listens)
      door.net->stop_head(stopped);
    else
      door.net->stop(0, stopped);
  });
}

void SimRings::cut(int process, bool to_next) {
  // A rank speaks to the next one where it listens itself.
  for_each(process, [&](Door& door, bool listens) {
    if (listens == to_next && door.net->wires() > 0) door.net->cut(0, !listens);
  });
}

void SimRings::heal(int process) {
  for_each(process, [](Door& door, bool) {
    if (door.net->wires() > 0) door.net->heal(0);
  });
}

void SimRings::reset(int process) {
  for_each(process, [](Door& door, bool) {
    if (door.net->wires() > 0) door.net->reset(0);
  });
}

void SimRings::damage(int process, bool lose) {
  for_each(process, [&](Door& door, bool) { door.damage = lose ? -1 : 1; });
}

void SimRings::tick() {
  for (const auto& open : doors_)
    if (const auto door = open.lock()) door->net->tick();
}

int64_t SimRings::next_tick_ns() const {
  int64_t next = INT64_MAX;
  for (const auto& open : doors_)
    if (const auto door = open.lock()) next = std::min(next, door->net->next_tick_ns());
  return next;
}

}  // namespace r1
