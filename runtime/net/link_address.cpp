#include "runtime/net/link_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace r1 {

std::string LinkAddress::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
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
