// The user's side of r1-shell: connects to a run on its loopback port, sends a line, gets JSON back. No CAF in this header.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace r1 {

struct ShellAddress {
  std::string host;
  uint16_t port = 0;
};

// "HOST:PORT", "PORT", or a run directory (its shell.json). Throws bad_input when it is neither or no run is going on there.
ShellAddress find_shell(const std::string& address_or_run_dir);

class ShellClient {
 public:
  // Throws failure when nobody answers there.
  explicit ShellClient(const ShellAddress& address);
  ~ShellClient();
  // Throws failure when the run ends or does not answer within `timeout_s`.
  std::string ask(const std::string& line, double timeout_s = 10);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
