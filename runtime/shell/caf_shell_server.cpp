#include "runtime/shell/caf_shell_server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <caf/io/all.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/log.h"

namespace r1 {

CafShellServer::CafShellServer(caf::actor_system& system, ShellSources sources, const std::filesystem::path& run_dir)
    : system_(system), file_(run_dir / "shell.json") {
  // As an argument, not a capture: without arguments CAF 0.17 dereferences a null pointer to them (undefined behaviour
  // sanitizer).
  const auto behaviour = [](caf::event_based_actor*, const ShellSources& from) -> caf::behavior {
    return {[from](const std::string& line) { return handle_command(line, from); }};
  };
  actor_ = system_.spawn<caf::detached>(behaviour, std::move(sources));
  const auto port = system_.middleman().publish(actor_, 0, "127.0.0.1");
  if (!port) {
    log_warn(fmt::format("r1-shell cannot connect to this run: {}", system_.render(port.error())));
    return;
  }
  port_ = *port;
  write_file_atomically(file_, nlohmann::json{{"port", port_}, {"pid", ::getpid()}}.dump() + "\n");
}

CafShellServer::~CafShellServer() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
  if (port_ > 0) system_.middleman().unpublish(actor_, static_cast<uint16_t>(port_));
  caf::anon_send_exit(actor_, caf::exit_reason::kill);
  caf::scoped_actor self(system_);
  self->wait_for(actor_);
}

}  // namespace r1
