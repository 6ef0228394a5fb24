// Where a head listens, as text. Thread rule: values.
#pragma once

#include <string>

namespace r1 {

// Where a head listens: control on `port`, bulk on the next one.
struct LinkAddress {
  std::string host = "127.0.0.1";  // a name or address; IPv6 without brackets
  int port = 0;                    // of a head that is to listen: 0: any two that are free
  std::string text() const;        // "127.0.0.1:4000", "[::1]:4000"
};
// The address of this machine from which `peer` is reached: what others of that network reach this machine by. Nothing is sent.
// Throws failure where there is no way to it.
std::string host_towards(const LinkAddress& peer);
// Throws bad_input for what is no HOST:PORT.
LinkAddress parse_link_address(const std::string& text);

}  // namespace r1
