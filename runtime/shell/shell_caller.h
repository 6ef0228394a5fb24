// r1-shell's side of a link to a run (shell_door.h): HOST:PORT and a key file.
// Thread rule: one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "runtime/net/keys.h"
#include "runtime/net/link.h"
#include "runtime/net/link_address.h"

namespace r1 {

class ShellCaller {
 public:
  // Throws failure when nobody answers within `dial_s` or this key or build is refused.
  ShellCaller(const LinkAddress& run, const ShellKey& key, PeerHello self, double dial_s = 10);
  ~ShellCaller();
  ShellCaller(const ShellCaller&) = delete;
  ShellCaller& operator=(const ShellCaller&) = delete;

  // As ShellClient::ask.
  std::string ask(const std::string& line, double timeout_s = 10, const std::function<void(const std::string&)>& part = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
