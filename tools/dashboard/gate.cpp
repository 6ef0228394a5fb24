#include "tools/dashboard/gate.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/directories.h"
#include "base/error.h"
#include "base/files.h"

namespace r1::dashboard {

namespace {

namespace fs = std::filesystem;

constexpr size_t kTokenCharacters = 40;
constexpr const char* kHex = "0123456789abcdef";

bool equal_in_constant_time(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

// The value of a cookie in a Cookie header; "" when it is not there.
std::string cookie_in(const std::string& header, const std::string& name) {
  for (size_t at = 0; at < header.size();) {
    const size_t end = std::min(header.find(';', at), header.size());
    const size_t begin = std::min(header.find_first_not_of(' ', at), end);
    if (header.compare(begin, name.size() + 1, name + "=") == 0)
      return header.substr(begin + name.size() + 1, end - begin - name.size() - 1);
    at = end + 1;
  }
  return "";
}

// One end of a connection as the kernel's tables have it: addresses in network order, of IPv6 sockets that speak IPv4 too.
void put(const sockaddr_storage& from, __be16& port, __be32 (&address)[4]) {
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    port = v4.sin_port;
    address[0] = v4.sin_addr.s_addr;
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    port = v6.sin6_port;
    std::memcpy(address, &v6.sin6_addr, sizeof address);
  }
}

}  // namespace

bool peer_is_own_user(int socket) {
  sockaddr_storage mine{}, theirs{};
  socklen_t size = sizeof mine, other_size = sizeof theirs;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&mine), &size) != 0 ||
      ::getpeername(socket, reinterpret_cast<sockaddr*>(&theirs), &other_size) != 0)
    return false;
  struct {
    nlmsghdr header{};
    inet_diag_req_v2 question{};
  } ask;
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  ask.question.sdiag_family = static_cast<__u8>(theirs.ss_family);
  ask.question.sdiag_protocol = IPPROTO_TCP;
  ask.question.idiag_states = ~0u;
  ask.question.id.idiag_cookie[0] = ask.question.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  // Seen from the other end: what is mine is its destination.
  put(theirs, ask.question.id.idiag_sport, ask.question.id.idiag_src);
  put(mine, ask.question.id.idiag_dport, ask.question.id.idiag_dst);
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return false;
  const timeval limit{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  alignas(nlmsghdr) char buffer[4096];
  const ssize_t n = ::send(fd, &ask, sizeof ask, 0) == sizeof ask ? ::recv(fd, buffer, sizeof buffer, 0) : -1;
  ::close(fd);
  if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(inet_diag_msg)))) return false;
  const auto* header = reinterpret_cast<const nlmsghdr*>(buffer);
  if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return false;
  const auto* found = reinterpret_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  // The kernel may answer with a socket that listens there.
  return found->id.idiag_sport == ask.question.id.idiag_sport && found->id.idiag_dport == ask.question.id.idiag_dport &&
         found->idiag_uid == ::geteuid();
}

bool names_loopback(const std::string& host) {
  std::string name = host;
  if (name.starts_with('[')) {
    const size_t end = name.find(']');
    if (end == name.npos || (end + 1 < name.size() && name[end + 1] != ':')) return false;
    return name.substr(0, end + 1) == "[::1]";
  }
  name = name.substr(0, name.find(':'));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (name == "localhost") return true;
  in_addr address{};
  return ::inet_pton(AF_INET, name.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

Gate::Gate(std::string token, bool loopback, int port)
    : token_(std::move(token)), cookie_(fmt::format("r1_dashboard_{}", port)), loopback_(loopback) {}

bool Gate::has_token(const HttpRequest& request) const {
  constexpr const char* kBearer = "Bearer ";
  const std::string& authorization = request.header("authorization");
  for (const std::string& shown : {request.argument("token"), cookie_in(request.header("cookie"), cookie_),
                                   authorization.starts_with(kBearer) ? authorization.substr(std::strlen(kBearer)) : ""})
    if (!shown.empty() && equal_in_constant_time(shown, token_)) return true;
  return false;
}

bool Gate::allows(const HttpRequest& request, const HttpPeer& peer) const {
  // A page of another site may lead here, and load nothing from here.
  const std::string& site = request.header("sec-fetch-site");
  if ((site == "cross-site" || site == "same-site") && request.path != "/") return false;
  if (has_token(request)) return true;
  return loopback_ && names_loopback(request.header("host")) && peer_is_own_user(peer.socket);
}

std::string Gate::cookie(const HttpRequest& request) const {
  if (request.argument("token") != token_) return "";
  return fmt::format("Set-Cookie: {}={}; Path=/; HttpOnly; SameSite=Strict", cookie_, token_);
}

std::string random_hex(size_t bytes) {
  std::vector<unsigned char> random(bytes);
  if (::getrandom(random.data(), bytes, 0) != static_cast<ssize_t>(bytes)) throw failure("no random numbers");
  std::string text;
  for (const unsigned char b : random) text += fmt::format("{:02x}", b);
  return text;
}

std::string dashboard_token(const fs::path& run_dir) {
  const fs::path dir = run_dir / "keys", file = dir / "dashboard";
  if (fs::exists(file)) {
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0 && (info.st_mode & 077) != 0)
      throw bad_input(fmt::format("others may read the dashboard's token (mode {:04o})", info.st_mode & 07777), {file.string()},
                      "they may know it; remove the file, and a new one is made");
    std::string token = read_file(file);
    while (!token.empty() && (token.back() == '\n' || token.back() == ' ')) token.pop_back();
    if (token.size() == kTokenCharacters && token.find_first_not_of(kHex) == token.npos) return token;
    throw bad_input("not a token: 40 hexadecimal digits are expected", {file.string()},
                    "remove the file, and a new one is made");
  }
  const std::string token = random_hex(kTokenCharacters / 2);
  const mode_t before = ::umask(077);
  try {
    make_directories(dir);
    write_file_atomically(file, token + "\n");
  } catch (...) {
    ::umask(before);
    throw;
  }
  ::umask(before);
  return token;
}

}  // namespace r1::dashboard
