// Who may look at a run's dashboard. Whoever shows the run's token may: as ?token= in the address, as the cookie that the page
// sets, or as "Authorization: Bearer". On loopback the user of the run may without: the kernel says whose the other end of a
// connection is. Nobody else, and no page of another site that the user's browser has open (DNS rebinding, requests across
// sites). Nothing behind it changes a run. docs/security.md.
// Thread rule: allows() on one thread.
#pragma once

#include <filesystem>
#include <string>

#include "tools/dashboard/http_server.h"

namespace r1::dashboard {

class Gate {
 public:
  // `loopback`: the server listens on this machine alone. `port`: of the cookie's name.
  Gate(std::string token, bool loopback, int port);
  bool allows(const HttpRequest& request, const HttpPeer& peer) const;
  // A line for the answer that shows the page; "" where the request carried no token in its address.
  std::string cookie(const HttpRequest& request) const;

 private:
  bool has_token(const HttpRequest& request) const;
  const std::string token_, cookie_;
  const bool loopback_;
};

// RUN/keys/dashboard: read, or made where there is none. 40 characters, mode 0600. Throws bad_input when others may read it.
std::string dashboard_token(const std::filesystem::path& run_dir);

// As many random bytes as hexadecimal digits, two each. Throws failure.
std::string random_hex(size_t bytes);

// "localhost", an address of 127.0.0.0/8, "[::1]"; with or without a port.
bool names_loopback(const std::string& host);

// Whether the kernel says that the other end of a TCP connection of this machine belongs to this process's user. False where it
// cannot say.
bool peer_is_own_user(int socket);

}  // namespace r1::dashboard
