// r1-node: a process that does work of a run for its head, r1-run. Started by the launcher of r1-run, which tells it on its
// stdin whom to dial and with which key; the end of its stdin is its end. See docs/operations.md.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "actors/node_roles.h"
#include "actors/wire.h"
#include "base/deadline.h"
#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "kernels/device.h"
#include "runtime/net/zmq_links.h"
#include "runtime/nodes/launcher.h"
#include "runtime/nodes/node.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/node_hello.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr double kEnds_s = 10;  // for jobs at hand, when it is told to end

constexpr const char* kExamples = R"(Started by r1-run --hostfile FILE; there is no need to start it by hand.)";

struct Told {
  std::string name, head, head_key, device;
  CurveKeys keys;
  int threads = 0, share = 1;
};

Told read_line() {
  std::string line;
  if (!std::getline(std::cin, line)) throw bad_input("nothing came on stdin", {}, "r1-run --hostfile FILE starts it");
  return with_json_errors({"stdin"}, "r1-run --hostfile FILE says it", [&] {
    const nlohmann::json json = parse_json(line, {"stdin"});
    Told told;
    told.name = json.at("name");
    told.head = json.at("head");
    told.head_key = json.at("head_key");
    told.keys = {json.at("public_key"), json.at("secret_key")};
    told.threads = json.at("threads");
    told.share = std::max(1, json.at("share").get<int>());
    told.device = json.at("device");
    return told;
  });
}

// A tree of this process's own; those of processes that are gone are removed.
fs::path make_tree(const fs::path& cache) {
  const fs::path trees = cache.parent_path() / "trees";
  fs::create_directories(trees);
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(trees, none)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    std::from_chars(name.data(), name.data() + name.size(), pid);
    if (pid <= 0 || (::kill(pid, 0) != 0 && errno == ESRCH)) fs::remove_all(entry.path(), none);
  }
  const fs::path tree = trees / std::to_string(::getpid());
  fs::remove_all(tree, none);
  fs::create_directories(tree);
  return tree;
}

int run_node() {
  const Told told = read_line();
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = told.threads > 0 ? told.threads : std::max(1, cores / told.share);
  set_cpu_threads(threads);
  const Device& device = open_device(told.device.empty() ? "cpu" : told.device);
  fmt::print("{}{}\n", kLaunchMarker, nlohmann::json{{"build", version()}, {"pid", ::getpid()}}.dump());
  std::fflush(stdout);

  const fs::path cache = default_file_cache();
  const fs::path tree = make_tree(cache);
  NodeLoop loop;
  std::string why;
  const auto once = std::make_shared<ReadOnce>();
  Node::Options options;
  options.tree = tree;
  options.cache = cache;
  options.prepare = [once](const OpenRole& open, const fs::path& in) { return node_graph(open, in, once); };
  options.cpu_ns = compute_cpu_ns;
  options.ended = [&](const std::string& reason) {
    why = reason;
    loop.stop();
  };
  Node node(loop, message_codec(), options);
  ZmqNodeOptions dial;
  dial.head = parse_link_address(told.head);
  dial.head_key = told.head_key;
  dial.keys = told.keys;
  LinkTerms terms;
  terms.self = node_hello(device, threads);
  const auto links = zmq_dial(std::move(dial), std::move(terms), node);
  node.use(links.get());
  Deadline deadline;
  // The launcher holds the other end: when it closes, or is gone by kill -9, this process ends.
  std::thread([&loop, &node, &deadline] {
    char bytes[256];
    while (::read(STDIN_FILENO, bytes, sizeof bytes) > 0) {
    }
    loop.post([&node, &deadline] {
      deadline.step("the jobs at hand", kEnds_s, ExitCode::failed);
      node.leave("its stdin was closed");
    });
  }).detach();
  loop.run();
  if (!why.empty()) log_warn(fmt::format("{} ends: {}", told.name, why));
  std::error_code none;
  fs::remove_all(tree, none);
  log_flush();
  // The thread at stdin and jobs that do not stop still use what unwinding would destroy.
  std::_Exit(why.empty() ? 0 : static_cast<int>(ExitCode::failed));
}

int main_checked(int argc, char** argv) {
  bool from_stdin = false;
  CLI::App app("Does work of a run for its head; started by r1-run --hostfile.", "r1-node");
  add_common_flags(app, kExamples);
  app.add_flag("--stdin", from_stdin, "read one line from stdin: whom to dial, with which key");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (!from_stdin) throw bad_input("r1-node is started by r1-run", {}, "r1-run --hostfile FILE GRAPH");
  log_open({}, LogLevel::info, LogLevel::info);
  return run_node();
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) {
  mallopt(M_ARENA_MAX, 2);
  ::umask(077);
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the head, which ends its nodes
  return r1::guarded_main("r1-node", argc, argv, r1::main_checked);
}
