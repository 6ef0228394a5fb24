// The head's side of r1-shell: an actor published on loopback that answers one line with JSON, on a thread of its own.
// run_dir/shell.json holds {"port": ..., "pid": ...} while it listens. A port that cannot be opened is logged; the run goes on.
// Thread rule: construct and destroy in one thread.
#pragma once

#include <caf/all.hpp>
#include <filesystem>

#include "runtime/shell/shell_command.h"

namespace r1 {

class CafShellServer {
 public:
  // `system` has CAF's I/O module loaded.
  CafShellServer(caf::actor_system& system, ShellSources sources, const std::filesystem::path& run_dir);
  ~CafShellServer();
  CafShellServer(const CafShellServer&) = delete;
  CafShellServer& operator=(const CafShellServer&) = delete;
  int port() const { return port_; }  // 0: not listening

 private:
  caf::actor_system& system_;
  std::filesystem::path file_;
  caf::actor actor_;
  int port_ = 0;
};

}  // namespace r1
