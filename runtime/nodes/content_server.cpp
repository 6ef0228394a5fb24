#include "runtime/nodes/content_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace r1 {
namespace {

constexpr uint64_t kHashedAtOnce = 64 * kLeafBytes;  // so that what a node asks meanwhile is answered

// [offset, offset + bytes) of a file as leaves; fewer bytes where it cannot be read.
std::vector<WireFrame> read_leaves(const std::filesystem::path& path, uint64_t offset, uint64_t bytes) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = in.tellg();
  if (size < 0 || offset >= static_cast<uint64_t>(size) || !in.seekg(static_cast<std::streamoff>(offset))) return {};
  std::string read(std::min(bytes, static_cast<uint64_t>(size) - offset), '\0');
  in.read(read.data(), static_cast<std::streamsize>(read.size()));
  read.resize(static_cast<size_t>(in.gcount()));
  return in_leaves(std::move(read));
}

uint64_t bytes_of(const std::vector<WireFrame>& frames) {
  uint64_t bytes = 0;
  for (const WireFrame& frame : frames) bytes += frame.size();
  return bytes;
}

}  // namespace

ContentServer::ContentServer(Options options) : options_(std::move(options)), self_(std::make_shared<ContentServer*>(this)) {}

void ContentServer::post(Mail mail) {
  for (auto& [peer, packet] : mail) options_.send(peer, std::move(packet));
}

void ContentServer::add_file(const std::string& hash, const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  files_[hash] = path;
}

std::shared_ptr<const ContentServer::Offer> ContentServer::offer(Packet packet) {
  auto content = std::make_shared<const Content>(content_of(std::move(packet)));
  const std::lock_guard lock(mutex_);
  Offered& offered = offered_[content->hash];
  if (offered.offers++ == 0) offered.content = std::move(content);
  return std::make_shared<const Offer>(self_, offered.content);
}

void ContentServer::withdraw(const std::string& hash) {
  Mail mail;
  {
    const std::lock_guard lock(mutex_);
    const auto at = offered_.find(hash);
    if (--at->second.offers > 0) return;
    offered_.erase(at);
    leaves_.erase(hash);
    for (const PeerId peer : tree_.members(hash))
      mail.emplace_back(peer, link_word(PacketKind::forget, encode(ForgetOrder{hash, ""})));
    tree_.forget(hash);
    for (Wish& wish : wishes_)
      if (wish.hash == hash) wish.parents.clear();
    settle(mail);
  }
  post(std::move(mail));
}

void ContentServer::joined(PeerId peer, const std::string& name, const std::string& host) {
  const std::lock_guard lock(mutex_);
  Peer& p = peers_[peer];
  p.name = name;
  p.host = host;
}

void ContentServer::lost(PeerId peer) {
  Mail mail;
  {
    const std::lock_guard lock(mutex_);
    const auto gone = peers_.find(peer);
    if (gone == peers_.end()) return;
    const std::string key = gone->second.keys.public_key;
    peers_.erase(gone);
    tree_.lost(peer);
    for (auto& [other, p] : peers_)
      if (p.is_to_let_in.erase(peer) > 0) {
        p.lets_in.erase(peer);
        mail.emplace_back(other, link_word(PacketKind::forget, encode(ForgetOrder{"", key})));
      }
    wishes_.remove_if([&](const Wish& wish) { return wish.child == peer; });
    for (Wish& wish : wishes_) std::erase(wish.parents, peer);
    settle(mail);
  }
  post(std::move(mail));
}

int64_t ContentServer::bytes_sent() const {
  const std::lock_guard lock(mutex_);
  return bytes_sent_;
}

bool ContentServer::heard(PeerId peer, const LinkPacket& packet) {
  Mail mail;
  try {
    switch (packet.kind) {
      case PacketKind::get:
        get(peer, packet);
        return true;
      case PacketKind::want: {
        const std::string hash = decode_content_name(packet.body).first;
        Source source;
        bool hashes = false;
        {
          const std::lock_guard lock(mutex_);
          source = source_of(hash);
          hashes = want(peer, hash, source.there(), mail);
        }
        if (hashes) hash_leaves(hash, source, std::make_shared<std::string>());
        break;
      }
      case PacketKind::have: {
        const std::string hash = decode_content_name(packet.body).first;
        const std::lock_guard lock(mutex_);
        const auto at = peers_.find(peer);
        if (at != peers_.end() && source_of(hash).there()) tree_.holds(hash, peer, at->second.host);
        break;
      }
      case PacketKind::listens: {
        const DoorAnswer answer = decode_door_answer(packet.body);
        const std::lock_guard lock(mutex_);
        const auto at = peers_.find(peer);
        if (at == peers_.end() || at->second.is_to_let_in.count(answer.child) == 0) break;
        if (answer.address.empty()) {
          tree_.bar(peer);
          for (Wish& wish : wishes_) std::erase(wish.parents, peer);
        } else {
          at->second.address = answer.address;
          at->second.lets_in.insert(answer.child);
        }
        settle(mail);
        break;
      }
      default:
        return false;
    }
  } catch (const Error& e) {
    options_.drop(peer, e.what());
  }
  post(std::move(mail));
  return true;
}

const CurveKeys& ContentServer::keys_of(Peer& peer) {
  if (peer.keys.public_key.empty()) peer.keys = new_curve_keys();
  return peer.keys;
}

ContentServer::Source ContentServer::source_of(const std::string& hash) const {
  Source source;
  if (const auto offered = offered_.find(hash); offered != offered_.end())
    source.content = offered->second.content;
  else if (const auto file = files_.find(hash); file != files_.end())
    source.path = file->second;
  return source;
}

// Whether its leaves are to be hashed.
bool ContentServer::want(PeerId peer, const std::string& hash, bool there, Mail& mail) {
  const auto child = peers_.find(peer);
  if (child == peers_.end()) return false;
  Wish wish{peer, hash, {}};
  if (there) wish.parents = tree_.join(hash, peer, child->second.host);
  for (const PeerId parent : wish.parents) {
    Peer& p = peers_.at(parent);
    if (p.is_to_let_in.insert(peer).second)
      mail.emplace_back(parent,
                        link_word(PacketKind::listen,
                                  encode(DoorOrder{peer, child->second.name, keys_of(child->second).public_key, keys_of(p)})));
  }
  const bool hashes = !wish.parents.empty() && leaves_.count(hash) == 0 && hashing_.insert(hash).second;
  wishes_.push_back(std::move(wish));
  settle(mail);
  return hashes;
}

// Who waits for nothing any more is told.
void ContentServer::settle(Mail& mail) {
  for (auto wish = wishes_.begin(); wish != wishes_.end();) {
    const bool ready =
        wish->parents.empty() ||
        (leaves_.count(wish->hash) != 0 && std::all_of(wish->parents.begin(), wish->parents.end(),
                                                       [&](PeerId p) { return peers_.at(p).lets_in.count(wish->child) != 0; }));
    if (!ready) {
      ++wish;
      continue;
    }
    ContentParents parents;
    parents.hash = wish->hash;
    for (const PeerId p : wish->parents) {
      const Peer& parent = peers_.at(p);
      parents.parents.push_back({parent.name, parent.address, parent.keys.public_key});
    }
    if (!parents.parents.empty()) {
      parents.leaves = leaves_.at(wish->hash);
      parents.keys = peers_.at(wish->child).keys;
    }
    mail.emplace_back(wish->child, link_word(PacketKind::parents, encode(parents)));
    wish = wishes_.erase(wish);
  }
}

void ContentServer::hash_leaves(const std::string& hash, const Source& source, std::shared_ptr<std::string> leaves) {
  Job job;
  job.work = [this, hash, source, leaves] {
    const uint64_t from = leaves->size() / kLeafHashBytes * kLeafBytes;
    const std::vector<WireFrame> frames =
        source.content ? leaves_at(source.content->packet, from, kHashedAtOnce) : read_leaves(source.path, from, kHashedAtOnce);
    for (const WireFrame& frame : frames) *leaves += leaf_hash(frame.bytes());
    if (bytes_of(frames) == kHashedAtOnce) return hash_leaves(hash, source, leaves);
    Mail mail;
    {
      const std::lock_guard lock(mutex_);
      hashing_.erase(hash);
      if (source_of(hash).there()) leaves_[hash] = *leaves;
      settle(mail);
    }
    post(std::move(mail));
  };
  job.finished = [](std::exception_ptr) {};
  options_.files->submit(std::move(job));
}

void ContentServer::get(PeerId peer, const LinkPacket& packet) {
  FilePiece piece = decode_file_piece(packet.body);
  piece.bytes = std::min(piece.bytes, kPieceBytesOfContent);
  Job job;
  job.work = [this, peer, piece] {
    Source source;  // of now: it may have been offered again since the question came
    {
      const std::lock_guard lock(mutex_);
      source = source_of(piece.hash);
    }
    LinkPacket answer = link_word(PacketKind::no_blob, encode(piece));
    if (source.content)
      answer.frames = leaves_at(source.content->packet, piece.offset, piece.bytes);
    else if (!source.path.empty())
      answer.frames = read_leaves(source.path, piece.offset, piece.bytes);
    if (source.there() && bytes_of(answer.frames) == piece.bytes) {
      answer.kind = PacketKind::blob;
      const std::lock_guard lock(mutex_);
      bytes_sent_ += static_cast<int64_t>(piece.bytes);
    } else {
      answer.frames.clear();
      log_warn(fmt::format("a node asks for {} bytes at {} of {} ({}): not there", piece.bytes, piece.offset, piece.hash,
                           source.path.string()));
    }
    options_.send(peer, std::move(answer));
  };
  job.finished = [](std::exception_ptr) {};
  options_.files->submit(std::move(job));
}

}  // namespace r1
