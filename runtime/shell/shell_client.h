// The user's side of r1-shell: sends a line to a run through its socket (see shell_server.h), gets JSON back.
// Thread rule: one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace r1 {

class ShellClient {
 public:
  // Throws bad_input when no run is going on in `run_dir`, or one of another user.
  explicit ShellClient(const std::filesystem::path& run_dir);

  // A connection of its own for every question; tried again while the run has no room for it.
  // `part`: is given what comes before the answer; may be absent. Throws failure when the run ends or does not answer within
  // `timeout_s`.
  std::string ask(const std::string& line, double timeout_s = 10, const std::function<void(const std::string&)>& part = {});

 private:
  std::filesystem::path run_dir_;
};

}  // namespace r1
