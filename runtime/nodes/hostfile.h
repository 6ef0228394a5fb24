// Hostfiles: on which machines a run has nodes. One line, one node (a process); a machine may have several. Not how nodes are
// started (runtime/nodes/launcher.h) and not what runs on them.
//
//   hostfile := line*
//   line     := [host (blank key '=' value)*] ['#' text] newline
//   host     := [user '@'] (name | IPv4 | '[' IPv6 ']')
//   key      := slots | gpus | tags | user | port | device | address | ports
//
//   localhost slots=4                    # started directly: no ssh
//   gpu07 gpus=2 tags=big,fast           # by ssh, as its configuration says
//   me@10.0.0.7 port=2222 device=cpu
//   gpu08 address=192.168.7.8 ports=4000-4009
// Thread rule: pure functions but for reading a file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "runtime/net/link_address.h"

namespace r1 {

struct HostEntry {
  std::string name;          // "node1", by its place among the entries: in logs, keys and messages
  std::string host;          // as written, without brackets and user
  std::string user;          // "": as ssh's configuration says
  int port = 0;              // of sshd; 0: as ssh's configuration says
  std::optional<int> slots;  // threads of the node
  std::optional<int> gpus;
  std::vector<std::string> tags;
  std::string device;   // "": the run's
  std::string address;  // by which other nodes reach it; "": the one from which it reaches the head
  PortRange ports;      // that it may listen on
  Where where;
  // This machine without a user or port: no ssh.
  bool is_local() const;
  // Its machine, as entries that share one have it: this one has several names.
  std::string machine() const { return is_local() ? "localhost" : host; }
};

constexpr size_t kMaxHostfileBytes = size_t{1} << 20;
constexpr size_t kMaxHosts = 1024;

// Throws bad_input with line and column for the first thing that is wrong; at least one entry comes back. `file`: for messages.
std::vector<HostEntry> parse_hostfile(std::string_view text, const std::string& file);
// Throws bad_input also when it is not a regular file of at most kMaxHostfileBytes.
std::vector<HostEntry> read_hostfile(const std::filesystem::path& file);

// Threads of a node on a machine with `cores`: its slots, else an equal share of what the slots of the machine's other nodes
// leave; at least 1.
int threads_of(const HostEntry& entry, const std::vector<HostEntry>& all, int cores);

}  // namespace r1
