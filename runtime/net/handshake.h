// The bodies of what a link says for itself: hello, welcome, refuse, bye, beat (docs/formats.md, "Links"). Internal to
// runtime/net. Thread rule: pure functions.
#pragma once

#include <string>

#include "runtime/net/link_protocol.h"

namespace r1 {

std::string encode_hello(const PeerHello& hello);
// The principal is what its key says. Throws failure, also for text beyond the limits.
PeerHello decode_hello(const std::string& body, const std::string& principal);

struct Welcome {
  PeerHello hello;
  int64_t beat_ns = 0, lease_ns = 0;
  uint64_t window_bytes = 0;
};
std::string encode_welcome(const Welcome& welcome);
Welcome decode_welcome(const std::string& body, const std::string& principal);  // times and window within sane bounds

std::string encode_reason(const std::string& why);  // refuse and bye; cut at 2,000 bytes
std::string decode_reason(const std::string& body);

struct Beat {
  int64_t now_ns = 0;           // of its sender's clock
  int64_t echo_ns = 0;          // Beat::now_ns of the last beat heard; 0: none yet
  int64_t held_ns = 0;          // how long ago that was
  uint64_t sent = 0;            // seq of the last piece sent
  uint64_t resident_bytes = 0;  // memory of its sender's process; 0: it does not say
};
std::string encode_beat(const Beat& beat);
Beat decode_beat(const std::string& body);

}  // namespace r1
