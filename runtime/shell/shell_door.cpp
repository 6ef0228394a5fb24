#include "runtime/shell/shell_door.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "runtime/net/zmq_links.h"
#include "runtime/shell/shell_server.h"

namespace r1 {

struct ShellDoor::Impl final : LinkSink {
  struct Shell {
    ShellRight right = ShellRight::look;
    uint64_t question = 0;
    std::shared_ptr<ShellAnswer> coming;  // of the question at hand
  };
  // Where an answer's end rings while there may be no door any more.
  struct Way {
    std::mutex mutex;
    Impl* door = nullptr;
  };

  Impl(const ShellDoorLimits& l) : limits(l) { way->door = this; }

  void peer_up(PeerId peer, const PeerHello& hello) override {
    const std::lock_guard lock(mutex);
    if (shells.size() >= limits.shells)
      return head->drop(peer, fmt::format("{} shells look at this run already", limits.shells));
    shells[peer].right = hello.principal == "shell:control" ? ShellRight::steer : ShellRight::look;
    log_info(fmt::format("r1-shell: {} from {}, process {}", hello.principal, hello.host, hello.pid));
  }

  void received(PeerId peer, LinkPacket packet) override {
    std::unique_lock lock(mutex);
    const auto found = shells.find(peer);
    if (found == shells.end()) return;
    Shell& shell = found->second;
    if (packet.kind != PacketKind::command || shell.coming) return head->drop(peer, "a shell asks one question at a time");
    shell.question = packet.number;
    if (packet.body.size() > limits.question_bytes)
      return say(peer, packet.number, R"({"error":"the question is too long","hint":"try 'help'","bad_input":true})");
    const auto coming = std::make_shared<ShellAnswer>([way = way, peer] {
      const std::lock_guard there(way->mutex);
      if (way->door != nullptr) way->door->come(peer);
    });
    shell.coming = coming;
    const auto reply = std::make_shared<ShellReply>(coming);
    const bool taken = server != nullptr && server->ask(std::move(packet.body), shell.right, reply);
    lock.unlock();  // an answer comes back through come()
    if (!taken) reply->answer(R"({"error":"the run has no time for shells now","hint":"ask again in a moment"})");
  }

  void peer_lost(PeerId peer, const std::string&) override {
    const std::lock_guard lock(mutex);
    const auto found = shells.find(peer);
    if (found == shells.end()) return;
    if (found->second.coming) found->second.coming->abandon();
    shells.erase(found);
  }
  void not_joined(const std::string&, bool) override {}

  // Something of an answer is there.
  void come(PeerId peer) {
    const std::lock_guard lock(mutex);
    const auto found = shells.find(peer);
    if (found == shells.end() || !found->second.coming) return;
    Shell& shell = found->second;
    const bool done = shell.coming->done();
    const std::vector<std::string> lines = shell.coming->take();
    if (done) shell.coming = nullptr;
    for (size_t i = 0; i < lines.size(); ++i) {
      const bool last = done && i + 1 == lines.size();
      if (!last)
        send(peer, PacketKind::token, shell.question, lines[i]);
      else if (lines[i].size() <= limits.answer_bytes)
        say(peer, shell.question, lines[i]);
      else
        say(peer, shell.question, R"({"error":"the answer is too long to be sent","hint":"ask for less of it"})");
    }
  }
  void say(PeerId peer, uint64_t question, const std::string& answer) { send(peer, PacketKind::reply, question, answer); }
  void send(PeerId peer, PacketKind kind, uint64_t question, const std::string& text) {
    LinkPacket packet;
    packet.kind = kind;
    packet.number = question;
    packet.body = text;
    head->send(peer, std::move(packet));
  }

  const ShellDoorLimits limits;
  const std::shared_ptr<Way> way = std::make_shared<Way>();
  KeyRing ring;
  std::mutex mutex;
  ShellServer* server = nullptr;  // under mutex, as what follows
  std::map<PeerId, Shell> shells;
  ZmqHead* head = nullptr;  // also while it is being destroyed
  std::unique_ptr<ZmqHead> links;
};

ShellDoor::ShellDoor(const LinkAddress& listen, const RunKeys& keys, PeerHello self, ShellDoorLimits limits)
    : impl_(std::make_unique<Impl>(limits)) {
  keys.fill_shells(impl_->ring);
  ZmqHeadOptions options;
  options.listen = listen;
  options.keys = keys.head();
  options.link.lease_ns = limits.lease_ns;
  options.link.packet_bytes = 2 * limits.question_bytes;
  options.link.window_bytes = size_t{1} << 20;
  options.link.backlog_bytes = limits.answer_bytes + (size_t{1} << 20);
  LinkTerms terms;
  terms.self = std::move(self);
  // Nobody comes in before `head` is there to answer with.
  const std::lock_guard lock(impl_->mutex);
  impl_->links = zmq_listen(std::move(options), impl_->ring, std::move(terms), *impl_);
  impl_->head = impl_->links.get();
}

ShellDoor::~ShellDoor() {
  {
    const std::lock_guard lock(impl_->way->mutex);
    impl_->way->door = nullptr;
  }
  impl_->links.reset();  // joins its thread
}

const LinkAddress& ShellDoor::address() const { return impl_->head->address(); }

void ShellDoor::open(ShellServer& server) {
  const std::lock_guard lock(impl_->mutex);
  impl_->server = &server;
}

void ShellDoor::close() {
  const std::lock_guard lock(impl_->mutex);
  impl_->server = nullptr;
}

}  // namespace r1
