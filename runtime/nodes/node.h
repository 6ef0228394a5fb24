// A node: what a process other than the head is to a run. Opens roles and ranks for its head, after it has got the files that
// they read (content_fetcher.h), and closes them. When the link is lost, or the head says stop, all ends. Not the process
// around it (tools/r1_node.cpp). Thread rule: a LinkSink; everything else on the thread of its NodeWorld.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/net/link.h"
#include "runtime/nodes/content_fetcher.h"
#include "runtime/nodes/kept_states.h"
#include "runtime/nodes/node_world.h"
#include "runtime/nodes/opened_work.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

class Node final : public LinkSink {
 public:
  struct Options {
    std::filesystem::path tree;   // of the files of this run, by name: the process's own, and it removes it
    std::filesystem::path cache;  // of files by content
    // In a job: reads the graph and makes what makes its roles. `tree` as above.
    std::function<std::shared_ptr<const NodeGraph>(const OpenRole& open, const std::filesystem::path& tree)> prepare;
    std::function<int64_t()> cpu_ns;
    // What is here from an earlier link, and what this one leaves for the next; outlives the node. Null: nothing is kept.
    KeptStates* kept = nullptr;
    // How it comes to other nodes, from which it fetches what they hold; outlives the node. Null: it does not.
    PeerNet* peers = nullptr;
    uint64_t small = 64 * 1024;  // as ContentFetcher::Options
    // It is over: the head said so (""), or why the link is. Once; nothing of this node runs any more.
    std::function<void(const std::string& why)> ended;
  };
  // `world` and `codec` outlive it.
  Node(NodeWorld& world, const PayloadCodec& codec, Options options);
  ~Node() override;
  // The link to the head; before anything comes over it. Outlives it, or null.
  void use(Links* links) { links_ = links; }

  // On the node's thread: asks the head to be let go: it gets no new work, and stops when what it has is done. False: there is
  // no head.
  bool ask_to_leave();
  bool joined() const { return head_ != 0; }  // ever
  bool refused() const { return refused_; }   // by the head: it is of no use to dial again
  // On the node's thread: all ends, as when the link is lost; Options::ended follows.
  void leave(const std::string& why) { end(why); }

  void peer_up(PeerId peer, const PeerHello& hello) override;
  void received(PeerId peer, LinkPacket packet) override;
  void peer_lost(PeerId peer, const std::string& why) override;
  void not_joined(const std::string& why, bool refused) override;

 private:
  void heard(const LinkPacket& packet);
  void obey(const LinkPacket& packet);
  void open(const LinkPacket& packet);
  std::unique_ptr<OpenedWork> opened(const LinkPacket& packet);
  void close(Incarnation incarnation);
  void end(const std::string& why);
  void end_if_closed();
  void tick();
  void send(LinkPacket packet);

  void prepare(Incarnation incarnation);
  void whole(const LinkPacket& packet);

  NodeWorld& world_;
  const PayloadCodec& codec_;
  const Options options_;
  Links* links_ = nullptr;
  PeerId head_ = 0;
  std::map<Incarnation, std::unique_ptr<OpenedWork>> roles_;
  std::map<Incarnation, std::unique_ptr<OpenedWork>> closing_;
  std::map<Incarnation, int> node_of_;  // of the graph
  bool ending_ = false, ended_ = false, refused_ = false;
  std::string why_;
  std::shared_ptr<Node*> self_;
  ContentFetcher contents_;
};

}  // namespace r1
