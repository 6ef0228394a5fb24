#include "runtime/net/link_address.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <system_error>

#include "base/clipped.h"
#include "base/descriptor.h"
#include "base/error.h"

namespace r1 {

std::string LinkAddress::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

namespace {

using Resolved = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

// Null, with the reason, where there is none.
Resolved resolve(const std::string& host, int port, std::string& why) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_DGRAM;
  if (const int e = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found); e != 0) why = ::gai_strerror(e);
  return {found, ::freeaddrinfo};
}

std::string numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST] = "";
  return ::getnameinfo(address, size, host, sizeof host, nullptr, 0, NI_NUMERICHOST) == 0 ? host : "";
}

}  // namespace

std::string PortRange::text() const { return fmt::format("{}-{}", first, last); }

std::string host_towards(const LinkAddress& peer) {
  std::string why = "no address";
  const Resolved all = resolve(peer.host, peer.port, why);
  for (const addrinfo* at = all.get(); at != nullptr; at = at->ai_next) {
    const Descriptor fd(::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    // Of datagrams: to connect one sends nothing.
    if (fd.get() >= 0 && ::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0 &&
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0)
      if (std::string host = numeric(reinterpret_cast<const sockaddr*>(&own), size); !host.empty()) return host;
    why = std::generic_category().message(errno);
  }
  throw failure(fmt::format("this machine has no address from which {} is reached: {}", peer.host, why));
}

std::string host_to_listen_on(const std::string& address, const LinkAddress& peer) {
  std::string why;
  const Resolved all = address.empty() ? Resolved(nullptr, ::freeaddrinfo) : resolve(address, 0, why);
  for (const addrinfo* at = all.get(); at != nullptr; at = at->ai_next) {
    const Descriptor fd(::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd.get() >= 0 && ::bind(fd.get(), at->ai_addr, at->ai_addrlen) == 0)
      if (std::string host = numeric(at->ai_addr, at->ai_addrlen); !host.empty()) return host;
  }
  return host_towards(peer);
}

PortRange parse_port_range(std::string_view text) {
  PortRange range;
  const size_t dash = std::min(text.find('-'), text.size());
  const auto number = [](std::string_view digits, int& port) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return error == std::errc() && end == digits.data() + digits.size() && port >= 1 && port <= 65535;
  };
  if (dash == text.size() || !number(text.substr(0, dash), range.first) || !number(text.substr(dash + 1), range.last) ||
      range.last <= range.first)
    throw bad_input(fmt::format("'{}' is no range of at least two ports from 1 to 65535", clipped(text)), {},
                    "such as 4000-4009");
  return range;
}

LinkAddress parse_link_address(const std::string& text) {
  const auto bad = [&] {
    return bad_input(fmt::format("'{}' is no HOST:PORT", text.substr(0, 100)), {}, "such as 10.0.0.1:4000 or [fe80::1]:4000");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.size() > 300) throw bad();
  LinkAddress address;
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  else if (address.host.find(':') != std::string::npos)
    throw bad();
  const std::string port = text.substr(colon + 1);
  const bool digits =
      !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  const bool plain = !address.host.empty() && std::all_of(address.host.begin(), address.host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           c == ':' || c == '%';
  });
  if (!digits || !plain) throw bad();
  std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (address.port < 1 || address.port > 65534) throw bad();  // bulk is on the one after it
  return address;
}

}  // namespace r1
