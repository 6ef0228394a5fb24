// Where a head listens, as text. Thread rule: values.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// Where a head listens: control on `port`, bulk on the next one.
struct LinkAddress {
  std::string host = "127.0.0.1";  // a name or address; IPv6 without brackets
  int port = 0;                    // of a head that is to listen: 0: any two that are free
  std::string text() const;        // "127.0.0.1:4000", "[::1]:4000"
};
// Ports that may be listened on, for whoever opens them in a firewall: two for each that listens, from the first on.
struct PortRange {
  int first = 0, last = 0;  // 0: any that are free
  bool any() const { return first == 0; }
  std::string text() const;  // "4000-4010"
};
// The address of this machine from which `peer` is reached: what others of that network reach this machine by. Nothing is sent.
// Throws failure where there is no way to it.
std::string host_towards(const LinkAddress& peer);
// Where a process listens that others reach by `address`: on that, where it is an address of this machine; else - behind
// address translation, or "" - on the one from which `peer` is reached. Throws failure as host_towards() does.
std::string host_to_listen_on(const std::string& address, const LinkAddress& peer);
// Throws bad_input for what is no HOST:PORT.
LinkAddress parse_link_address(const std::string& text);
// "4000-4010": at least two of 1 to 65535. Throws bad_input.
PortRange parse_port_range(std::string_view text);

}  // namespace r1
