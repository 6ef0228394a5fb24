// A node's side of what is fetched by content (content.h): asks its head for what it needs and does not hold - whom to ask
// first, and then its parents, one after the other, and the head when they fail: when one is not reached, is lost, says nothing
// for kPatience_s, does not have it, or gives what does not hash to what the head said. Nothing is kept that was not checked.
// Serves other nodes what it holds, or as far as it holds it: so a content flows through a tree of nodes while it comes.
//
// Files are in the cache, on disk; contents in memory stay until the head says that nobody needs them any more.
// Thread rule: that of the node; disk() runs what it says elsewhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/net/link.h"
#include "runtime/nodes/content.h"
#include "runtime/nodes/file_cache.h"
#include "runtime/nodes/node_words.h"
#include "runtime/nodes/node_world.h"
#include "runtime/nodes/peer_net.h"

namespace r1 {

class ContentFetcher {
 public:
  static constexpr double kPatience_s = 10;                      // with a parent that says nothing
  static constexpr uint64_t kWindow = 4 * kPieceBytesOfContent;  // asked and not there yet, of one content
  static constexpr size_t kMostAsked = 64;                       // questions of one node that wait here

  struct Options {
    std::filesystem::path cache;
    std::function<void(LinkPacket)> send;  // to the head
    PeerNet* peers = nullptr;              // outlives it; null: of the head alone, and nobody is served
    uint64_t small = 64 * 1024;            // what is not larger is asked of the head, without asking whom
  };
  using Then = std::function<void(std::exception_ptr)>;
  ContentFetcher(NodeWorld& world, Options options);
  ~ContentFetcher();

  // All of them into the cache.
  void want(const std::vector<NodeFile>& files, Then then);
  // Into memory: the frames of a packet, with that header.
  void want(const ContentPayload& payload, std::function<void(std::exception_ptr, std::shared_ptr<const Packet>)> then);
  void heard(const LinkPacket& packet);  // of the head: get's answers, parents, listen, forget
  void tick();                           // now and then
  // Whether something came, was read or stored since this was asked last, or the head is still to say whom to ask (for which
  // it has a time of its own): who waits for what is fetched here waits for no one that hangs.
  bool moved();
  // On the thread for files, behind what was given to it before; `then` on the node's.
  void disk(std::function<void()> work, Then then);
  const FileCache& cache() const { return cache_; }

 private:
  class Ear;
  // A link that this node dialled.
  struct PeerLink {
    uint64_t number = 0;  // of its dial
    std::string name;
    std::unique_ptr<Ear> ear;
    std::unique_ptr<Links> links;
    PeerId peer = 0;  // 0: not there yet
    std::vector<LinkPacket> early;
    int64_t used_ns = 0;
  };
  // From whom a fetch gets it at the moment.
  struct Source {
    std::string name;                  // "the head"
    std::string key;                   // of the door; "": the head
    std::atomic<bool> dropped{false};  // what still comes of it is not stored
  };
  // Frames as far as they came; touched on the thread for files.
  struct Filling {
    std::shared_ptr<Packet> packet;
    std::vector<uint64_t> sizes;
    size_t at = 0;  // frame
    void add(std::string_view bytes);
  };
  struct Asked {
    PeerId child = 0;
    FilePiece piece;
  };
  struct Fetch {
    NodeFile file;                           // its path is what errors call it
    std::shared_ptr<Filling> memory;         // null: a file
    uint64_t asked = 0, came = 0, done = 0;  // bytes: [0, done) are stored
    int storing = 0;                         // pieces that are being stored
    bool next = false;                       // another source is to be asked when those are
    ContentParents from;
    size_t parent = 0;               // the next one to be asked
    std::shared_ptr<Source> source;  // null: the head is to say whom to ask
    int64_t since_ns = 0;            // since when that is waited for
    std::map<std::string, uint64_t> bytes_from;
    bool worth_a_line = false;   // when it is here
    bool forgotten = false;      // who waits for it gets it, and it is not kept
    bool offered_again = false;  // since it was begun
    uint64_t stale = 0;          // answers of the head, to questions of before, that are still to come
    std::vector<Then> then;
    std::deque<Asked> waiting;  // for what has not come yet
  };
  struct Held {
    NodeFile file;
    std::shared_ptr<const Packet> memory;
  };

  void look_for(const NodeFile& file);
  void begin(Fetch& fetch);
  void ask(Fetch& fetch);
  void ask_next(Fetch& fetch);
  // The node that it is fetched from is asked for nothing during `shunned_s`, or each content would wait for it anew.
  void leave_source(Fetch& fetch, const std::string& why, double shunned_s);
  void finish(Fetch& fetch);
  void told(ContentParents parents);
  void open_door(const DoorOrder& order);
  void forget(const ForgetOrder& order);
  void came(const std::string& key, const LinkPacket& packet);
  void store(Fetch& fetch, FilePiece piece, std::vector<WireFrame> frames);
  void stored(Fetch& fetch, uint64_t bytes, bool kept, bool wrong);
  void over(const std::string& hash, std::exception_ptr error);

  PeerLink* dial(const ContentParents::Parent& parent, const CurveKeys& keys);
  // In the order in which they were dialled: keys are random, and what a simulation does is not.
  void end_links(const std::function<bool(const std::string& key, const PeerLink& link)>& which);
  void dialled_up(const std::string& key, PeerId peer);
  void dialled_over(const std::string& key, const std::string& why, double shunned_s);
  void let_go(const std::string& key, const std::string& why);
  void asked(PeerId child, const LinkPacket& packet);
  void answer(PeerId child, const FilePiece& piece, const Held& held);
  void refuse(PeerId child, const FilePiece& piece);

  NodeWorld& world_;
  const Options options_;
  FileCache cache_;
  std::map<std::string, Fetch> fetches_;     // by hash
  std::map<std::string, Held> held_;         // by hash
  std::map<std::string, PeerLink> dialled_;  // by the key of the door
  uint64_t dials_ = 0;
  std::map<std::string, int64_t> shunned_;  // keys of doors: until when
  KeyRing ring_;
  std::map<PeerId, size_t> children_;  // and how many of their questions are being answered
  std::unique_ptr<Ear> door_ear_;
  PeerNet::Door door_;
  std::shared_ptr<ContentFetcher*> self_;
  const std::shared_ptr<std::atomic<bool>> moved_;
  std::unique_ptr<Executor> disk_;
};

}  // namespace r1
