// r1-run --dashboard: a page that shows a run while it goes on, and /metrics for Prometheus. Read-only: nothing that is asked
// here changes a run, and however it is asked the run does not wait for it (http_server.h). Who may look: gate.h.
// Thread rule: one thread (main()'s); what it shows is looked up on a thread of its own.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/graph/graph.h"
#include "runtime/shell/shell_command.h"
#include "tools/dashboard/run_picture.h"

namespace r1::dashboard {

struct Address {
  std::string host = "127.0.0.1";
  int port = 0;  // 0: one that is free
};
// "8080", "0.0.0.0:8080", "[::1]:8080". Throws bad_input.
Address parse_address(const std::string& text);

class Dashboard {
 public:
  // Listens, and answers once it is shown a run. Throws bad_input where it cannot.
  Dashboard(const Address& address, const std::filesystem::path& run_dir);
  ~Dashboard();
  // Where a browser finds it; with the token where it is needed to get in. Of all addresses of the machine ("0.0.0.0", "::")
  // one from elsewhere, by its name, and the one from here.
  std::string url() const;
  // From now on until the result is destroyed it shows this run, once. What cannot be shown is a line in the log, and the
  // result is null: a run never fails for want of a picture. The graph and what `sources` refers to outlive the result.
  std::shared_ptr<void> show(const GraphView& graph, std::filesystem::path run_dir, const std::filesystem::path& graph_dir,
                             RunLabels labels, ShellSources sources);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1::dashboard
