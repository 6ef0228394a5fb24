// Who belongs to a run: the nodes that are linked to its head, as the pools of remote roles see them
// (runtime/nodes/pool_role.h). Passes on what comes over the links to the pool of the role that it is about, gives incarnations
// that are never used again. What they fetch by content is content_server.h's. Not the links (runtime/net) and not what starts
// processes (runtime/nodes/launcher.h). Thread rule: thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/flow/executor.h"
#include "runtime/net/link.h"
#include "runtime/nodes/content_server.h"
#include "runtime/nodes/node_words.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

struct Member {
  PeerId peer = 0;
  PeerHello hello;
  std::vector<std::string> kept;  // contents of states that it holds from an earlier link
  std::string node() const;       // "node3", as its key and the table of nodes have it
  std::string name() const;       // "node3/4711": with its process
};

// One pool: what it hears. Called on the thread of the links: only hands the news over.
class PoolEar {
 public:
  virtual ~PoolEar() = default;
  virtual void joined(const Member& member) = 0;
  virtual void left(const Member& member, const std::string& why) = 0;
  virtual void received(const Member& member, LinkPacket packet) = 0;
  // It is to have no new work; what it has at hand it may end.
  virtual void leaves(const Member& member) = 0;
  // So many workers from now on; 0: all there are.
  virtual void scaled(int64_t workers) = 0;
  // Nobody who may do its work is here, and nobody will come.
  virtual void deserted(const std::string& why) = 0;
};

// What a pool ends with that is deserted: final, since nobody comes in a second attempt either. `work`: "its work".
Error deserted_error(const std::string& work, const std::string& why);

class Members final : public LinkSink {
 public:
  struct Options {
    // In meta of the run store, counted up at each start of a head on it: what an earlier head opened is never taken for one of
    // this head's roles.
    uint64_t epoch = 1;
    // Which graph node may run at which member; absent: all at all.
    std::function<bool(int node, const Member& member)> places;
    // Told of joins and losses, for logs and launchers; on the thread of the links. May be absent.
    std::function<void(const Member& member, bool up, const std::string& why)> told;
    // Who is to have no work: it is told that the run is over for it as soon as it has joined. On the thread of the links;
    // absent: nobody.
    std::function<bool(const Member& member)> unwanted;
    // Why nobody will ever come who may do the work of a graph node; "" while somebody may. Absent: somebody always may.
    std::function<std::string(int node)> nobody_comes;
    Executor* files = nullptr;  // reads and hashes what nodes fetch; outlives it
  };
  explicit Members(Options options);
  ~Members() override;

  // Before anything joins; null at the end. They outlive what uses them.
  void use(Links* links);

  // ---- for pools
  // Hears of the members that are there, then of all that happens until remove(), which waits for a call at hand.
  void add(int node, PoolEar& ear);
  void remove(int node, PoolEar& ear);
  ContentServer& contents() { return contents_; }
  // Sends `open`; its files are served from now on. `rank`: of a trainer; 0: the role itself.
  Incarnation open(PeerId peer, int node, const OpenRole& role, uint64_t rank = 0);
  void send(PeerId peer, LinkPacket packet);
  void drop(PeerId peer, const std::string& why);
  size_t roles_at(PeerId peer) const;  // open there
  // Whether a member has a state of that content from an earlier link; it has it no more then.
  bool take_kept(PeerId peer, const std::string& content);

  // ---- for programs
  std::vector<Member> list() const;
  bool may_run(int node, const Member& member) const;
  // A member gets no new work, and is told that the run is over for it when the last of its roles is closed. Ranks of trainers
  // there end now: their trainer may wait for what only this process could do again.
  void drain(PeerId peer);
  struct Part {
    int node = 0;       // of the graph
    uint64_t rank = 0;  // of that trainer; 0: the role itself
    auto operator<=>(const Part&) const = default;
  };
  std::vector<Part> parts_at(PeerId peer) const;  // what is open there, each once, in order
  bool drains(PeerId peer) const;
  // How many members do the work of a graph node from now on, in this stage and whenever it begins again; 0: all there are.
  void scale(int node, int64_t workers);
  int64_t cpu_ns() const;  // inside ops, of all members that are or were here
  void stop_all();         // tells every node that the run is over
  void fewer_may_come();   // what Options::nobody_comes says may have changed
  // An op count of a member that a pool heard of.
  void note_cpu(PeerId peer, int64_t cpu_ns);

  void peer_up(PeerId peer, const PeerHello& hello) override;
  void received(PeerId peer, LinkPacket packet) override;
  void peer_lost(PeerId peer, const std::string& why) override;
  void not_joined(const std::string& why, bool refused) override;

 private:
  void stop(PeerId peer);                            // under mutex_
  void look_for_hope(int node, PoolEar& ear) const;  // under mutex_

  const Options options_;
  mutable std::mutex mutex_;
  Links* links_ = nullptr;
  std::map<PeerId, Member> members_;
  std::multimap<int, PoolEar*> pools_;
  std::map<PeerId, int64_t> cpu_ns_;
  std::map<PeerId, std::map<Incarnation, Part>> open_;
  std::set<PeerId> draining_;
  std::map<int, int64_t> scaled_;  // by graph node
  uint64_t opened_ = 0;
  ContentServer contents_;
};

}  // namespace r1
