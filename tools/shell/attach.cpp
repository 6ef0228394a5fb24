#include "tools/shell/attach.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iostream>
#include <optional>
#include <utility>

#include "base/error.h"
#include "runtime/net/link_address.h"
#include "runtime/shell/shell_caller.h"
#include "runtime/shell/shell_client.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"
#include "tools/program_version.h"
#include "tools/shell/ssh_run.h"
#include "tools/terminal/trajectories.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string first_word(const std::string& line) {
  const size_t begin = line.find_first_not_of(" \t");
  return begin == line.npos ? "" : line.substr(begin, line.find_first_of(" \t", begin) - begin);
}

// `traj` reads the store of a run directory that is here itself, so that it costs the run nothing.
class InDirectory : public Attached {
 public:
  explicit InDirectory(fs::path run_dir) : run_dir_(std::move(run_dir)) {}
  std::string ask(const std::string& line, const ShellPart& part) final {
    if (first_word(line) != "traj") return others(line, part);
    const size_t rest = line.find_first_not_of(" \t", line.find("traj") + 4);
    return terminal::trajectories_answer(run_dir_, rest == line.npos ? "" : line.substr(rest));
  }

 protected:
  virtual std::string others(const std::string& line, const ShellPart& part) = 0;
  const fs::path run_dir_;
};

class RunHere final : public InDirectory {
 public:
  explicit RunHere(const fs::path& run_dir) : InDirectory(run_dir), client_(run_dir) {}

 private:
  std::string others(const std::string& line, const ShellPart& part) override {
    return client_.ask(line, answer_limit_s(line), part);
  }
  ShellClient client_;
};

class StoreHere final : public InDirectory {
 public:
  explicit StoreHere(const fs::path& run_dir) : InDirectory(run_dir), store_(RunStore::open_read_only(run_dir)) {}

 private:
  std::string others(const std::string& line, const ShellPart&) override {
    ShellSources sources;
    sources.run_dir = run_dir_;
    sources.store = store_.get();
    return handle_command(line, sources);
  }
  std::unique_ptr<RunStore> store_;
};

class RunElsewhere final : public Attached {
 public:
  RunElsewhere(const LinkAddress& run, const ShellKey& key) : caller_(run, key, hello_of_this_process(program_version("r1"))) {}
  std::string ask(const std::string& line, const ShellPart& part) override {
    return caller_.ask(line, answer_limit_s(line), part);
  }

 private:
  ShellCaller caller_;
};

}  // namespace

double answer_limit_s(const std::string& line) {
  const std::string command = first_word(line);
  for (const char* order : {"set", "checkpoint", "ask", "kill", "pause", "resume", "drain", "undrain", "scale"})
    if (command == order) return 600;
  return 10;
}

std::unique_ptr<Attached> attach_directory(const fs::path& run_dir) {
  if (!fs::is_directory(run_dir)) throw bad_input("no such run directory", {run_dir.string()}, "for example runs/r1_full");
  if (!fs::exists(run_dir / "run.db"))
    throw bad_input("holds no run", {run_dir.string()}, "give the directory of a run: runs/r1_full");
  try {
    return std::make_unique<RunHere>(run_dir);
  } catch (const Error&) {  // no run is going on: what it left can be read
    return std::make_unique<StoreHere>(run_dir);
  }
}

SshPlace parse_ssh_place(const std::string& where) {
  const auto bad = [&](const char* what) {
    return bad_input(fmt::format("'{}' {}", where.substr(0, 200), what), {},
                     "ssh://gpu07/runs/r1_full, or ssh://me@gpu07:2222//data/run");
  };
  std::string rest = where.substr(std::string("ssh://").size());
  const size_t slash = rest.find('/');
  if (slash == rest.npos || slash + 1 == rest.size()) throw bad("names no run directory");
  SshPlace place;
  place.run = rest.substr(slash + 1);
  rest.resize(slash);
  if (const size_t at = rest.find('@'); at != rest.npos) {
    place.user = rest.substr(0, at);
    rest.erase(0, at + 1);
  }
  const bool v6 = rest.starts_with('[');
  const size_t colon = v6 ? rest.find("]:") : rest.find(':');
  if (colon != rest.npos) {
    const std::string port = rest.substr(colon + (v6 ? 2 : 1));
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), place.port);
    if (error != std::errc() || end != port.data() + port.size() || place.port < 1 || place.port > 65535)
      throw bad("has a port that is none");
    rest.resize(colon + (v6 ? 1 : 0));
  }
  if (v6) rest = rest.ends_with(']') ? rest.substr(1, rest.size() - 2) : std::string();
  place.host = rest;
  const auto plain = [](const std::string& text) {
    return !text.starts_with('-') && std::none_of(text.begin(), text.end(), [](unsigned char c) {
      return c <= ' ' || c == 0x7f || c == '\'' || c == '"' || c == '\\' || c == '$' || c == '`' || c == ';' || c == '&';
    });
  };
  if (place.host.empty() || !plain(place.host) || !plain(place.user)) throw bad("names no host");
  if (place.run.find('\n') != place.run.npos) throw bad("is more than one line");
  return place;
}

std::unique_ptr<Attached> attach(const std::string& where, const fs::path& key) {
  const bool ssh = where.starts_with("ssh://");
  if (ssh) {
    if (!key.empty()) throw bad_input("over ssh no key is needed", {}, "leave --key out");
    return std::make_unique<SshRun>(parse_ssh_place(where));
  }
  // A directory of that name is meant before an address is.
  std::optional<LinkAddress> address;
  if (!fs::exists(where) && where.find('/') == where.npos) {
    try {
      address = parse_link_address(where);
    } catch (const Error&) {
    }
  }
  if (address && key.empty())
    throw bad_input("a run elsewhere is asked with a key", {where},
                    "--key FILE: RUN/keys/control.key or RUN/keys/read.key of it");
  if (address) return std::make_unique<RunElsewhere>(*address, read_shell_key(key));
  if (!key.empty()) throw bad_input("a key is for HOST:PORT", {where}, "a run directory needs none");
  return attach_directory(where);
}

int serve_standard_input() {
  std::cout << kSshMarker << R"({"build":")" << program_version("r1") << "\"}" << std::endl;
  std::unique_ptr<Attached> run;
  for (std::string line; std::getline(std::cin, line);) {
    std::string answer;
    try {
      if (run) {
        answer = run->ask(line, [](const std::string& part) { std::cout << part << std::endl; });
      } else {
        run = attach_directory(line);
        answer = R"({"text":"attached"})";
      }
    } catch (const std::exception&) {
      answer = error_answer(std::current_exception());
    }
    std::cout << answer << std::endl;
  }
  return 0;
}

}  // namespace r1
