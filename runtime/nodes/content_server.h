// The head's side of what nodes fetch by content: serves files and contents in memory, and tells each node that wants one from
// which others it may fetch it (content_tree.h). Makes the keys with which nodes dial each other, and tells each whom to let
// in. A node is told of its parents when each has said that it lets it in, and when the leaves are hashed; it waits a bounded
// time for that and asks here instead. Not the node's side (content_fetcher.h). Thread rule: thread-safe; calls `send` and
// `drop` without a lock of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/flow/executor.h"
#include "runtime/net/keys.h"
#include "runtime/nodes/content.h"
#include "runtime/nodes/content_tree.h"
#include "runtime/nodes/node_words.h"

namespace r1 {

class ContentServer {
 public:
  struct Options {
    Executor* files = nullptr;  // reads and hashes; outlives it
    std::function<void(PeerId, LinkPacket)> send;
    std::function<void(PeerId, const std::string& why)> drop;
  };
  explicit ContentServer(Options options);
  ~ContentServer() { *self_ = nullptr; }

  void add_file(const std::string& hash, const std::filesystem::path& path);
  // A content in memory: served for as long as one of its offers lives; then the nodes that have it are told to forget it.
  class Offer {
   public:
    Offer(std::shared_ptr<ContentServer*> server, std::shared_ptr<const Content> content)
        : server_(std::move(server)), content_(std::move(content)) {}
    ~Offer() {
      if (*server_ != nullptr) (*server_)->withdraw(content_->hash);
    }
    Offer(const Offer&) = delete;
    Offer& operator=(const Offer&) = delete;
    const Content& content() const { return *content_; }

   private:
    const std::shared_ptr<ContentServer*> server_;
    const std::shared_ptr<const Content> content_;
  };
  // Its end and this one's are not at the same time.
  std::shared_ptr<const Offer> offer(Packet packet);

  // `name`: "node2/4711", `host`: of its machine.
  void joined(PeerId peer, const std::string& name, const std::string& host);
  void lost(PeerId peer);
  // Whether it is a word about contents; it is answered then, maybe later.
  bool heard(PeerId peer, const LinkPacket& packet);

  int64_t bytes_sent() const;  // of contents, to all

 private:
  struct Peer {
    std::string name, host, address;
    CurveKeys keys;  // with which it dials and is dialled; made when they are needed
    std::set<PeerId> lets_in, is_to_let_in;
  };
  // A node that is to be told of its parents.
  struct Wish {
    PeerId child = 0;
    std::string hash;
    std::vector<PeerId> parents;
  };
  struct Source {
    std::filesystem::path path;              // of a file
    std::shared_ptr<const Content> content;  // or in memory
    bool there() const { return content || !path.empty(); }
  };
  using Mail = std::vector<std::pair<PeerId, LinkPacket>>;

  void get(PeerId peer, const LinkPacket& packet);
  bool want(PeerId peer, const std::string& hash, bool there, Mail& mail);
  void settle(Mail& mail);
  void hash_leaves(const std::string& hash, const Source& source, std::shared_ptr<std::string> leaves);
  void withdraw(const std::string& hash);
  const CurveKeys& keys_of(Peer& peer);
  Source source_of(const std::string& hash) const;  // under mutex_
  void post(Mail mail);

  const Options options_;
  const std::shared_ptr<ContentServer*> self_;
  mutable std::mutex mutex_;
  std::map<PeerId, Peer> peers_;
  std::map<std::string, std::filesystem::path> files_;
  struct Offered {
    std::shared_ptr<const Content> content;
    int offers = 0;
  };
  std::map<std::string, Offered> offered_;
  std::map<std::string, std::string> leaves_;
  std::set<std::string> hashing_;
  std::list<Wish> wishes_;
  ContentTree tree_;
  int64_t bytes_sent_ = 0;
};

}  // namespace r1
