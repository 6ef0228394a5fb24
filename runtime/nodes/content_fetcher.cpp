#include "runtime/nodes/content_fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"

namespace r1 {
namespace {

constexpr double kWhom_s = 10;                 // that it waits for the head to say whom to ask,
constexpr double kHashedBytesPerSecond = 1e8;  // which hashes it before
constexpr double kIdle_s = 30;                 // of a link to a parent
// How long a parent is done without,
constexpr double kNotReached_s = 600;  // as hosts that do not reach each other will not soon
constexpr double kLost_s = 5;          // it may come back, with another key
constexpr double kSilent_s = 60;
constexpr double kLied_s = 1e9;
constexpr uint64_t kWorthALine = uint64_t{1} << 20;

// The leaves of a piece, and no other frames.
bool is_piece(const std::vector<WireFrame>& frames, uint64_t bytes) {
  for (const WireFrame& frame : frames) {
    if (frame.size() != std::min(kLeafBytes, bytes)) return false;
    bytes -= frame.size();
  }
  return bytes == 0;
}

}  // namespace

// What a link of this node's to another one says, on the node's thread. `key`: of the door that was dialled; "": its own door.
class ContentFetcher::Ear final : public LinkSink {
 public:
  Ear(NodeWorld& world, ContentFetcher& fetcher, std::string key)
      : world_(world), key_(std::move(key)), fetcher_(std::make_shared<ContentFetcher*>(&fetcher)) {}
  ~Ear() override { *fetcher_ = nullptr; }

  void peer_up(PeerId peer, const PeerHello&) override {
    post([key = key_, peer](ContentFetcher& f) {
      if (key.empty())
        f.children_[peer] = 0;
      else
        f.dialled_up(key, peer);
    });
  }
  void received(PeerId peer, LinkPacket packet) override {
    post([key = key_, peer, shared = std::make_shared<const LinkPacket>(std::move(packet))](ContentFetcher& f) {
      if (key.empty())
        f.asked(peer, *shared);
      else
        f.came(key, *shared);
    });
  }
  void peer_lost(PeerId peer, const std::string& why) override {
    post([key = key_, peer, why](ContentFetcher& f) {
      if (key.empty())
        f.children_.erase(peer);
      else
        f.dialled_over(key, "is lost: " + why, kLost_s);
    });
  }
  void not_joined(const std::string& why, bool) override {
    post([key = key_, why](ContentFetcher& f) { f.dialled_over(key, "is not reached: " + why, kNotReached_s); });
  }

 private:
  void post(std::function<void(ContentFetcher&)> call) {
    world_.post([fetcher = fetcher_, call = std::move(call)] {
      if (*fetcher != nullptr) call(**fetcher);
    });
  }
  NodeWorld& world_;
  const std::string key_;
  const std::shared_ptr<ContentFetcher*> fetcher_;
};

ContentFetcher::ContentFetcher(NodeWorld& world, Options options)
    : world_(world),
      options_(std::move(options)),
      cache_(options_.cache),
      self_(std::make_shared<ContentFetcher*>(this)),
      moved_(std::make_shared<std::atomic<bool>>(false)),
      disk_(world.executor("files")) {}

ContentFetcher::~ContentFetcher() {
  *self_ = nullptr;
  door_.links.reset();
  end_links([](const auto&, const auto&) { return true; });
}

void ContentFetcher::disk(std::function<void()> work, Then then) {
  const auto watched = [work = std::move(work), moved = moved_] {
    const std::function<void()> unit = [&moved] { *moved = true; };
    const StopScope scope({nullptr, &unit});
    work();
    unit();
  };
  disk_->submit({watched, [&world = world_, self = self_, then = std::move(then)](std::exception_ptr error) {
                   world.post([self, then, error] {
                     if (*self != nullptr) then(error);
                   });
                 }});
}

// ---- what this node needs ---------------------------------------------------------------------------------------------

void ContentFetcher::want(const std::vector<NodeFile>& files, Then then) {
  auto left = std::make_shared<size_t>(files.size());
  auto first = std::make_shared<std::exception_ptr>();
  const Then one = [left, first, then](std::exception_ptr error) {
    if (error && !*first) *first = error;
    if (--*left == 0) then(*first);
  };
  if (files.empty()) return then(nullptr);
  for (const NodeFile& file : files) {
    const auto [at, fresh] = fetches_.try_emplace(file.hash);
    at->second.then.push_back(one);
    if (!fresh) continue;
    at->second.file = file;
    at->second.worth_a_line = file.bytes >= kWorthALine;
    look_for(file);
  }
}

void ContentFetcher::want(const ContentPayload& payload,
                          std::function<void(std::exception_ptr, std::shared_ptr<const Packet>)> then) {
  const Then done = [this, then = std::move(then), header = payload.header, hash = payload.hash](std::exception_ptr error) {
    if (error) return then(error, nullptr);
    std::shared_ptr<const Packet> packet = held_.at(hash).memory;
    // The same frames for another role or message.
    if (packet->header != header) packet = std::make_shared<const Packet>(Packet{header, packet->frames});
    then(nullptr, packet);
  };
  if (const auto held = held_.find(payload.hash); held != held_.end() && held->second.memory) return done(nullptr);
  const auto [at, fresh] = fetches_.try_emplace(payload.hash);
  Fetch& f = at->second;
  f.then.push_back(done);
  f.forgotten = false;
  f.offered_again = !fresh;
  if (!fresh) return;
  f.file = {payload.name.empty() ? "a difference between versions" : payload.name, 0, payload.hash};
  f.worth_a_line = !payload.name.empty();
  for (const uint64_t bytes : payload.frames) f.file.bytes += bytes;
  f.memory = std::make_shared<Filling>();
  f.memory->packet = std::make_shared<Packet>(Packet{payload.header, std::vector<std::string>(payload.frames.size())});
  f.memory->sizes = payload.frames;
  begin(f);
}

void ContentFetcher::Filling::add(std::string_view bytes) {
  while (!bytes.empty()) {
    while (packet->frames.at(at).size() == sizes[at]) ++at;
    std::string& frame = packet->frames[at];
    if (frame.empty()) frame.reserve(sizes[at]);  // what was lent of it stays where it is
    const std::string_view fits = bytes.substr(0, sizes[at] - frame.size());
    frame += fits;
    bytes.remove_prefix(fits.size());
  }
}

void ContentFetcher::look_for(const NodeFile& file) {
  auto here = std::make_shared<bool>(false);
  disk([this, file, here] { *here = cache_.holds(file); },
       [this, file, here](std::exception_ptr error) {
         const auto at = fetches_.find(file.hash);
         if (at == fetches_.end()) return;
         if (!error && !*here) return begin(at->second);
         if (!error && held_.try_emplace(file.hash, Held{file, nullptr}).second && file.bytes > options_.small)
           options_.send(link_word(PacketKind::have, encode_content_name(file.hash, file.bytes)));
         over(file.hash, error);
       });
}

void ContentFetcher::begin(Fetch& f) {
  f.since_ns = world_.clock().now_ns();
  if (options_.peers == nullptr || f.file.bytes <= options_.small) return ask_next(f);
  options_.send(link_word(PacketKind::want, encode_content_name(f.file.hash, f.file.bytes)));
}

void ContentFetcher::told(ContentParents parents) {
  const auto at = fetches_.find(parents.hash);
  if (at == fetches_.end() || at->second.source) return;
  Fetch& f = at->second;
  f.from = std::move(parents);
  if (f.from.leaves.size() != leaves_of(f.file.bytes) * kLeafHashBytes) f.from.parents.clear();
  ask_next(f);
}

// Of the next parent, or the head, from what is stored on.
void ContentFetcher::ask_next(Fetch& f) {
  f.next = false;
  f.asked = f.came = f.done;
  f.source = std::make_shared<Source>();
  f.source->name = "the head";
  while (f.parent < f.from.parents.size()) {
    const ContentParents::Parent& parent = f.from.parents[f.parent++];
    const auto shunned = shunned_.find(parent.public_key);
    if (shunned != shunned_.end() && shunned->second > world_.clock().now_ns()) continue;
    if (dial(parent, f.from.keys) == nullptr) continue;
    f.source->name = parent.name;
    f.source->key = parent.public_key;
    break;
  }
  if (f.file.bytes == 0) return store(f, {f.file.hash, 0, 0}, {});
  ask(f);
}

void ContentFetcher::ask(Fetch& f) {
  if (f.came == f.asked) f.since_ns = world_.clock().now_ns();
  while (f.asked < f.file.bytes && f.asked - f.done < kWindow) {
    const FilePiece piece{f.file.hash, f.asked, piece_at(f.asked, f.file.bytes)};
    f.asked += piece.bytes;
    LinkPacket packet = link_word(PacketKind::get, encode(piece));
    if (f.source->key.empty()) {
      options_.send(std::move(packet));
      continue;
    }
    PeerLink& link = dialled_.at(f.source->key);
    link.used_ns = world_.clock().now_ns();
    if (link.peer == 0)
      link.early.push_back(std::move(packet));
    else
      link.links->send(link.peer, std::move(packet));
  }
}

void ContentFetcher::leave_source(Fetch& f, const std::string& why, double shunned_s) {
  if (f.next) return;
  if (shunned_s > 0) shunned_[f.source->key] = world_.clock().now_ns() + static_cast<int64_t>(shunned_s * 1e9);
  log_warn(fmt::format("'{}' is not fetched from {} any more, which {}", f.file.path, f.source->name, why));
  f.source->dropped = true;
  f.next = true;
  if (f.storing == 0) ask_next(f);
}

void ContentFetcher::heard(const LinkPacket& packet) {
  switch (packet.kind) {
    case PacketKind::blob:
    case PacketKind::no_blob:
      return came("", packet);
    case PacketKind::parents:
      return told(decode_content_parents(packet.body));
    case PacketKind::listen:
      return open_door(decode_door_order(packet.body));
    case PacketKind::forget:
      return forget(decode_forget_order(packet.body));
    default:
      return;
  }
}

void ContentFetcher::came(const std::string& key, const LinkPacket& packet) {
  FilePiece piece;
  try {
    if (packet.kind != PacketKind::blob && packet.kind != PacketKind::no_blob)
      throw failure(fmt::format("says '{}'", packet_kind_name(packet.kind)));
    piece = decode_file_piece(packet.body);
  } catch (const Error& e) {
    if (!key.empty()) let_go(key, e.message());
    return;
  }
  const auto at = fetches_.find(piece.hash);
  if (at == fetches_.end()) return;
  Fetch& f = at->second;
  if (!f.source || f.source->key != key || f.next) return;  // late
  if (key.empty() && f.stale > 0) {
    --f.stale;
    return;
  }
  if (packet.kind == PacketKind::no_blob) {
    if (!key.empty()) return leave_source(f, "does not have it any more", 0);
    // Who was offered it since then was offered it by the head: an answer of before is none.
    if (std::exchange(f.offered_again, false)) {
      f.stale = (f.asked - f.came + kPieceBytesOfContent - 1) / kPieceBytesOfContent - 1;
      return leave_source(f, "had it no more and offers it again", 0);
    }
    return over(piece.hash, std::make_exception_ptr(failure(fmt::format("the head has no '{}' any more", f.file.path), {},
                                                            "it was changed while the run reads it")));
  }
  const bool fits = piece.offset == f.came && f.came < f.asked && piece.bytes == piece_at(f.came, f.file.bytes) &&
                    is_piece(packet.frames, piece.bytes);
  if (!fits) {
    if (!key.empty()) return leave_source(f, "gave a piece that was not asked for", kLied_s);
    return over(piece.hash, std::make_exception_ptr(
                                failure(fmt::format("a piece of '{}' is not the one that was asked for", f.file.path))));
  }
  f.came += piece.bytes;
  f.since_ns = world_.clock().now_ns();
  store(f, std::move(piece), packet.frames);
}

void ContentFetcher::store(Fetch& f, FilePiece piece, std::vector<WireFrame> frames) {
  ++f.storing;
  struct Outcome {
    bool kept = false, wrong = false;
  };
  auto outcome = std::make_shared<Outcome>();
  std::string hashes;
  if (!f.source->key.empty())
    hashes = f.from.leaves.substr(piece.offset / kLeafBytes * kLeafHashBytes, frames.size() * kLeafHashBytes);
  disk(
      [this, file = f.file, memory = f.memory, source = f.source, piece, frames = std::move(frames), hashes, outcome] {
        if (source->dropped) return;
        if (!source->key.empty() && !are_leaves(frames, 0, hashes)) {
          source->dropped = outcome->wrong = true;
          return;
        }
        uint64_t at = piece.offset;
        for (const WireFrame& frame : frames) {
          if (memory)
            memory->add(frame.bytes());
          else
            cache_.add(file, at, frame.bytes());
          at += frame.size();
        }
        if (!memory && file.bytes == 0) cache_.add(file, 0, "");
        if (!memory && at == file.bytes) cache_.complete(file);
        outcome->kept = true;
      },
      [this, hash = piece.hash, bytes = piece.bytes, source = f.source, outcome](std::exception_ptr error) {
        const auto at = fetches_.find(hash);
        if (at == fetches_.end() || at->second.source != source) return;
        if (error) return over(hash, error);
        stored(at->second, bytes, outcome->kept, outcome->wrong);
      });
}

void ContentFetcher::stored(Fetch& f, uint64_t bytes, bool kept, bool wrong) {
  --f.storing;
  if (kept) {
    f.done += bytes;
    f.bytes_from[f.source->name] += bytes;
    if (f.done == f.file.bytes) return finish(f);
    for (auto asked = f.waiting.begin(); asked != f.waiting.end();) {
      if (asked->piece.offset + asked->piece.bytes > f.done) {
        ++asked;
        continue;
      }
      answer(asked->child, asked->piece, {f.file, f.memory ? f.memory->packet : nullptr});
      asked = f.waiting.erase(asked);
    }
  }
  if (wrong) return leave_source(f, "gave what does not hash to what the head says", kLied_s);
  if (!f.next) return ask(f);
  if (f.storing == 0) ask_next(f);
}

void ContentFetcher::finish(Fetch& f) {
  Held& held = held_[f.file.hash];
  held = {f.file, f.memory ? f.memory->packet : nullptr};
  if (f.file.bytes > options_.small) options_.send(link_word(PacketKind::have, encode_content_name(f.file.hash, f.file.bytes)));
  std::string from;
  for (const auto& [who, bytes] : f.bytes_from) from += fmt::format("{}{} bytes from {}", from.empty() ? "" : ", ", bytes, who);
  if (f.worth_a_line) log_info(fmt::format("'{}' is here: {}", f.file.path, from));
  for (const Asked& asked : std::exchange(f.waiting, {})) answer(asked.child, asked.piece, held);
  const std::string hash = f.file.hash;
  const bool forgotten = f.forgotten;
  over(hash, nullptr);
  if (forgotten) held_.erase(hash);
}

void ContentFetcher::over(const std::string& hash, std::exception_ptr error) {
  auto f = fetches_.extract(hash);
  if (f.empty()) return;
  if (f.mapped().source) f.mapped().source->dropped = true;
  for (const Asked& asked : f.mapped().waiting) refuse(asked.child, asked.piece);
  for (const Then& then : f.mapped().then) then(error);
}

void ContentFetcher::forget(const ForgetOrder& order) {
  if (!order.key.empty()) ring_.shut_out(order.key);
  if (order.hash.empty()) return;
  if (const auto held = held_.find(order.hash); held != held_.end() && held->second.memory) held_.erase(held);
  // The word may have passed the one by which it is needed again.
  if (const auto f = fetches_.find(order.hash); f != fetches_.end() && f->second.memory) f->second.forgotten = true;
}

bool ContentFetcher::moved() {
  return moved_->exchange(false) || std::any_of(fetches_.begin(), fetches_.end(), [](const auto& fetch) {
           return !fetch.second.source && fetch.second.since_ns != 0;
         });
}

void ContentFetcher::tick() {
  const int64_t now = world_.clock().now_ns();
  std::map<std::string, bool> used;
  for (auto& [hash, f] : fetches_) {
    const double silent_s = static_cast<double>(now - f.since_ns) * 1e-9;
    if (!f.source && f.since_ns != 0 && silent_s > kWhom_s + static_cast<double>(f.file.bytes) / kHashedBytesPerSecond) {
      log_warn(fmt::format("the head does not say whom to ask for '{}'; it is asked itself", f.file.path));
      ask_next(f);
    } else if (f.source && !f.source->key.empty() && !f.next && f.came < f.asked && silent_s > kPatience_s) {
      leave_source(f, fmt::format("has said nothing for {:g} s", kPatience_s), kSilent_s);
    }
    if (f.source) used[f.source->key] = true;
  }
  end_links([&](const std::string& key, const PeerLink& link) {
    return !used[key] && static_cast<double>(now - link.used_ns) * 1e-9 > kIdle_s;
  });
}

// ---- links to parents -------------------------------------------------------------------------------------------------

ContentFetcher::PeerLink* ContentFetcher::dial(const ContentParents::Parent& parent, const CurveKeys& keys) {
  const auto [at, fresh] = dialled_.try_emplace(parent.public_key);
  if (!fresh) return &at->second;
  PeerLink& link = at->second;
  link.number = ++dials_;
  link.name = parent.name;
  link.used_ns = world_.clock().now_ns();
  link.ear = std::make_unique<Ear>(world_, *this, parent.public_key);
  try {
    link.links = options_.peers->dial(parent.address, parent.public_key, keys, *link.ear);
    return &link;
  } catch (const Error& e) {
    log_warn(fmt::format("{} is not dialled: {}", parent.name, e.what()));
    dialled_.erase(at);
    return nullptr;
  }
}

void ContentFetcher::end_links(const std::function<bool(const std::string& key, const PeerLink& link)>& which) {
  std::map<uint64_t, std::string> in_order;
  for (const auto& [key, link] : dialled_)
    if (which(key, link)) in_order[link.number] = key;
  for (const auto& [number, key] : in_order) dialled_.erase(key);
}

void ContentFetcher::dialled_up(const std::string& key, PeerId peer) {
  const auto at = dialled_.find(key);
  if (at == dialled_.end()) return;
  at->second.peer = peer;
  for (LinkPacket& packet : std::exchange(at->second.early, {})) at->second.links->send(peer, std::move(packet));
}

void ContentFetcher::dialled_over(const std::string& key, const std::string& why, double shunned_s) {
  const auto link = dialled_.extract(key);
  if (link.empty()) return;
  for (auto& [hash, f] : fetches_)
    if (f.source && f.source->key == key) leave_source(f, why, shunned_s);
}

void ContentFetcher::let_go(const std::string& key, const std::string& why) {
  const auto at = dialled_.find(key);
  if (at == dialled_.end()) return;
  at->second.links->drop(at->second.peer, why);
  dialled_over(key, why, kLied_s);
}

// ---- what other nodes need --------------------------------------------------------------------------------------------

void ContentFetcher::open_door(const DoorOrder& order) {
  DoorAnswer answer{order.child, ""};
  if (options_.peers != nullptr) try {
      if (!door_.links) {
        door_ear_ = std::make_unique<Ear>(world_, *this, "");
        door_ = options_.peers->listen(order.keys, ring_, *door_ear_);
        log_info(fmt::format("listens on {} for nodes that fetch from it", door_.address));
      }
      ring_.let_in(fmt::format("node:{}", order.child), order.child_key);
      answer.address = door_.address;
    } catch (const Error& e) {
      log_warn(fmt::format("no node can fetch from it: {}", e.what()));
    }
  options_.send(link_word(PacketKind::listens, encode(answer)));
}

void ContentFetcher::asked(PeerId child, const LinkPacket& packet) {
  const auto at = children_.find(child);
  if (at == children_.end()) return;
  FilePiece piece;
  try {
    if (packet.kind != PacketKind::get) throw failure(fmt::format("says '{}'", packet_kind_name(packet.kind)));
    piece = decode_file_piece(packet.body);
    if (piece.bytes == 0 || piece.bytes > kPieceBytesOfContent || piece.offset % kLeafBytes != 0 ||
        piece.offset > kMostContentBytes || ++at->second > kMostAsked)
      throw failure("asks for what no node asks for");
  } catch (const Error& e) {
    log_warn(fmt::format("a node that fetches from it is let go: it {}", e.message()));
    children_.erase(at);
    return door_.links->drop(child, e.message());
  }
  if (const auto f = fetches_.find(piece.hash); f != fetches_.end()) {
    const Fetch& fetch = f->second;
    if (piece.offset + piece.bytes <= fetch.done)
      return answer(child, piece, {fetch.file, fetch.memory ? fetch.memory->packet : nullptr});
    if (piece.offset + piece.bytes > fetch.file.bytes) return refuse(child, piece);
    return f->second.waiting.push_back({child, piece});
  }
  const auto held = held_.find(piece.hash);
  if (held == held_.end()) return refuse(child, piece);
  answer(child, piece, held->second);
}

void ContentFetcher::answer(PeerId child, const FilePiece& piece, const Held& held) {
  auto leaves = std::make_shared<std::vector<WireFrame>>();
  disk(
      [this, piece, held, leaves] {
        *leaves = held.memory ? leaves_at(held.memory, piece.offset, piece.bytes)
                              : in_leaves(cache_.read(held.file, piece.offset, piece.bytes));
      },
      [this, child, piece, leaves](std::exception_ptr error) {
        if (error || !is_piece(*leaves, piece.bytes)) return refuse(child, piece);
        const auto at = children_.find(child);
        if (at == children_.end()) return;
        --at->second;
        LinkPacket packet = link_word(PacketKind::blob, encode(piece));
        packet.frames = *leaves;
        door_.links->send(child, std::move(packet));
      });
}

void ContentFetcher::refuse(PeerId child, const FilePiece& piece) {
  const auto at = children_.find(child);
  if (at == children_.end()) return;
  --at->second;
  door_.links->send(child, link_word(PacketKind::no_blob, encode(piece)));
}

}  // namespace r1
