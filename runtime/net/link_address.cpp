#include "runtime/net/link_address.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"

namespace r1 {

std::string LinkAddress::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

std::string host_towards(const LinkAddress& peer) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_DGRAM;  // to connect one sends nothing
  const auto no_way = [&](const std::string& why) {
    return failure(fmt::format("this machine has no address from which {} is reached: {}", peer.host, why));
  };
  if (const int e = ::getaddrinfo(peer.host.c_str(), std::to_string(peer.port).c_str(), &wanted, &found); e != 0)
    throw no_way(::gai_strerror(e));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  std::string why = "no address";
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const Descriptor fd(::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    char host[NI_MAXHOST] = "";
    if (fd.get() >= 0 && ::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0 &&
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST) == 0)
      return host;
    why = std::generic_category().message(errno);
  }
  throw no_way(why);
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
