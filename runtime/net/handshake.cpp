#include "runtime/net/handshake.h"

#include "base/error.h"
#include "runtime/flow/msgpack.h"

namespace r1 {
namespace {

constexpr size_t kMaxText = 1024;
constexpr size_t kMaxDevices = 64;
constexpr size_t kMaxReason = 2000;
constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kDay = int64_t{86'400} * 1'000'000'000;

using Packer = msgpack::packer<msgpack::sbuffer>;

template <class Body>
std::string packed(const Body& body) {
  msgpack::sbuffer out;
  Packer pack(out);
  body(pack);
  return {out.data(), out.size()};
}

std::string text(Items& items, size_t most = kMaxText) {
  const std::string_view bytes = items.next_bytes();
  if (bytes.size() > most) throw malformed_message("a text is too long");
  return std::string(bytes);
}

// Goes into logs and tables: no escapes, no line ends.
std::string plain_text(Items& items) {
  std::string plain = text(items);
  for (const char c : plain)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) throw malformed_message("a text has control characters");
  return plain;
}

void pack_hello(Packer& pack, const PeerHello& hello) {
  R1_CHECK(hello.extra.size() <= kMaxHelloExtra, std::to_string(hello.extra.size()));
  pack.pack_array(10);
  pack.pack(hello.wire);
  pack.pack(hello.build);
  pack.pack(hello.host);
  pack.pack(hello.pid);
  pack.pack(hello.cores);
  pack.pack(hello.memory_bytes);
  pack.pack(hello.devices);
  pack.pack(hello.fingerprint);
  pack.pack(hello.nonce);
  pack.pack_bin(static_cast<uint32_t>(hello.extra.size()));
  pack.pack_bin_body(hello.extra.data(), static_cast<uint32_t>(hello.extra.size()));
}

PeerHello unpack_hello(const msgpack::object& object, const std::string& principal) {
  Items items(object, 10);
  PeerHello hello;
  hello.principal = principal;
  hello.wire = items.next_as<uint32_t>();
  hello.build = plain_text(items);
  hello.host = plain_text(items);
  hello.pid = items.next_as<int64_t>();
  hello.cores = items.next_as<int32_t>();
  hello.memory_bytes = items.next_as<int64_t>();
  Items devices(items.next());
  if (devices.size() > kMaxDevices) throw malformed_message("too many devices");
  while (devices.size() > 0) hello.devices.push_back(plain_text(devices));
  hello.fingerprint = plain_text(items);
  hello.nonce = plain_text(items);
  hello.extra = text(items, kMaxHelloExtra);
  return hello;
}

int64_t time_within(Items& items) {
  const auto ns = items.next_as<int64_t>();
  if (ns < kMillisecond || ns > kDay) throw malformed_message("a time is out of bounds");
  return ns;
}

}  // namespace

std::string encode_hello(const PeerHello& hello) {
  return packed([&](Packer& pack) { pack_hello(pack, hello); });
}

PeerHello decode_hello(const std::string& body, const std::string& principal) {
  const Unpacked unpacked(body);
  return unpack_hello(unpacked.root(), principal);
}

std::string encode_welcome(const Welcome& welcome) {
  return packed([&](Packer& pack) {
    pack.pack_array(4);
    pack_hello(pack, welcome.hello);
    pack.pack(welcome.beat_ns);
    pack.pack(welcome.lease_ns);
    pack.pack(welcome.window_bytes);
  });
}

Welcome decode_welcome(const std::string& body, const std::string& principal) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 4);
  Welcome welcome;
  welcome.hello = unpack_hello(items.next(), principal);
  welcome.beat_ns = time_within(items);
  welcome.lease_ns = time_within(items);
  welcome.window_bytes = items.next_as<uint64_t>();
  if (welcome.window_bytes == 0) throw malformed_message("a window of no bytes");
  return welcome;
}

std::string encode_reason(const std::string& why) {
  return packed([&](Packer& pack) { pack.pack(why.substr(0, kMaxReason)); });
}

std::string decode_reason(const std::string& body) {
  const Unpacked unpacked(body);
  const msgpack::object& root = unpacked.root();
  if (root.type != msgpack::type::STR || root.via.str.size > kMaxReason) throw malformed_message("a reason is no text");
  return {root.via.str.ptr, root.via.str.size};
}

std::string encode_beat(const Beat& beat) {
  return packed([&](Packer& pack) {
    pack.pack_array(5);
    pack.pack(beat.now_ns);
    pack.pack(beat.echo_ns);
    pack.pack(beat.held_ns);
    pack.pack(beat.sent);
    pack.pack(beat.resident_bytes);
  });
}

Beat decode_beat(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 5);
  Beat beat;
  beat.now_ns = items.next_as<int64_t>();
  beat.echo_ns = items.next_as<int64_t>();
  beat.held_ns = items.next_as<int64_t>();
  beat.sent = items.next_as<uint64_t>();
  beat.resident_bytes = items.next_as<uint64_t>();
  return beat;
}

}  // namespace r1
