#include "runtime/shell/shell_client.h"

#include <fmt/format.h>
#include <signal.h>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace r1 {
namespace {

struct CafConfig : caf::actor_system_config {
  CafConfig() {
    load<caf::io::middleman>();
    set("scheduler.max-threads", 1);
  }
};

uint16_t parse_port(const std::string& text) {
  unsigned port = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && rest == text.data() + text.size() && port > 0 && port < 65536 ? static_cast<uint16_t>(port)
                                                                                               : 0;
}

}  // namespace

ShellAddress find_shell(const std::string& where) {
  namespace fs = std::filesystem;
  if (fs::is_directory(where)) {
    const fs::path file = fs::path(where) / "shell.json";
    if (!fs::exists(file)) throw bad_input("no run is going on here", {where, 0, 0}, "start it with r1-run");
    const auto json = nlohmann::json::parse(read_file(file), nullptr, false);
    if (json.is_discarded() || !json.value("port", nlohmann::json()).is_number_integer() ||
        !json.value("pid", nlohmann::json()).is_number_integer())
      throw bad_input("is damaged: no port and pid in it", {file.string(), 0, 0});
    if (::kill(json["pid"].get<pid_t>(), 0) != 0 && errno == ESRCH)
      throw bad_input("no run is going on here any more", {where, 0, 0}, "the same r1-run command continues it");
    return {"127.0.0.1", json["port"].get<uint16_t>()};
  }
  const size_t colon = where.rfind(':');
  const uint16_t port = parse_port(colon == std::string::npos ? where : where.substr(colon + 1));
  if (port == 0 || colon == 0)
    throw bad_input(fmt::format("'{}' is neither a run directory nor HOST:PORT", where), {}, "for example runs/r1_full");
  return {colon == std::string::npos ? "127.0.0.1" : where.substr(0, colon), port};
}

struct ShellClient::Impl {
  CafConfig config;
  caf::actor_system system{config};
  caf::actor shell;
};

ShellClient::ShellClient(const ShellAddress& address) : impl_(std::make_unique<Impl>()) {
  auto shell = impl_->system.middleman().remote_actor(address.host, address.port);
  if (!shell)
    throw failure(fmt::format("no run answers at {}:{}: {}", address.host, address.port, impl_->system.render(shell.error())));
  impl_->shell = *shell;
}

ShellClient::~ShellClient() = default;

std::string ShellClient::ask(const std::string& line, double timeout_s) {
  caf::scoped_actor self(impl_->system);
  std::string answer, problem;
  self->request(impl_->shell, std::chrono::milliseconds(static_cast<int64_t>(timeout_s * 1000)), line)
      .receive([&](std::string& text) { answer = std::move(text); },
               [&](const caf::error& error) { problem = impl_->system.render(error); });
  if (!problem.empty()) throw failure("the run does not answer: " + problem);
  return answer;
}

}  // namespace r1
