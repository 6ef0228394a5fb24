// r1-node: a process that does work of a run for its head, r1-run. Started by the launcher of r1-run, which tells it on its
// stdin whom to dial and with which key; the end of its stdin is its end. Or by hand, with an invitation: then it leaves when
// it is told to (SIGTERM, Ctrl-C), and comes back to a head that was started again. See docs/operations.md.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <atomic>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "actors/node_roles.h"
#include "actors/wire.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "kernels/device.h"
#include "runtime/net/keys.h"
#include "runtime/net/zmq_links.h"
#include "runtime/nodes/launcher.h"
#include "runtime/nodes/node.h"
#include "runtime/nodes/ring_links.h"
#include "runtime/nodes/zmq_peers.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/interrupts.h"
#include "tools/node_hello.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr double kEnds_s = 10;  // for jobs at hand, when it is told to end

constexpr double kBetweenDials_s = 1;

constexpr const char* kExamples = R"(Started by r1-run --hostfile FILE. By hand, to help a run that goes on:
  r1-run --hostfile hosts --invite 1 --listen 10.0.0.1:4000 GRAPH      at the head; makes RUN/keys/join1.join
  r1-node --join 10.0.0.1:4000 --key join1.join --threads 8            elsewhere, with that file

Ctrl-C or SIGTERM: it ends what it has at hand and leaves; a second one ends it at once.
Exit codes: 0 it left or the run is over, 1 it lost its head, 2 bad input or it was refused.)";

struct Told {
  std::string name, head, head_key, device;
  CurveKeys keys;
  int threads = 0, share = 1;
  std::string address;  // by which other nodes reach this one; "": the one from which it reaches the head
  PortRange ports;      // that it may listen on
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
    told.address = json.at("address");
    if (const std::string ports = json.at("ports"); !ports.empty()) told.ports = parse_port_range(ports);
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

class NodeProcess {
 public:
  // `told.keys` and the rest are what the head, or an invitation, says.
  explicit NodeProcess(Told told) : told_(std::move(told)), cache_(default_file_cache()) {
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    threads_ = told_.threads > 0 ? told_.threads : std::max(1, cores / told_.share);
    set_cpu_threads(threads_);
    device_ = &open_device(told_.device.empty() ? "cpu" : told_.device);
    FileCache(cache_).prune();
  }

  // Until the link is over; what is left of the process's files is removed. Why; "": the head said stop, or it left.
  struct End {
    std::string why;
    bool joined = false, refused = false;
  };
  End serve() {
    const fs::path tree = make_tree(cache_);
    NodeLoop loop;
    End end;
    Node::Options options;
    options.tree = tree;
    options.cache = cache_;
    options.prepare = [this](const OpenRole& open, const fs::path& in) {
      return node_graph(open, in, once_, nullptr, device_->name(), [this](const RingInvitation& told) { return ring(told); });
    };
    options.cpu_ns = compute_cpu_ns;
    options.kept = &kept_;
    const std::unique_ptr<PeerNet> peers = zmq_peers(doors());
    options.peers = peers.get();
    options.ended = [&](const std::string& reason) {
      end.why = reason;
      loop.stop();
    };
    Node node(loop, message_codec(), options);
    ZmqNodeOptions dial;
    dial.head = parse_link_address(told_.head);
    dial.head_key = told_.head_key;
    dial.keys = told_.keys;
    LinkTerms terms;
    terms.self = node_hello(*device_, threads_);
    terms.self.extra = kept_.greeting();
    terms.resident_bytes = resident_bytes;
    auto links = zmq_dial(std::move(dial), std::move(terms), node);
    node.use(links.get());
    {
      const std::lock_guard lock(mutex_);
      loop_ = &loop;
      node_ = &node;
    }
    loop.run();
    {
      const std::lock_guard lock(mutex_);
      loop_ = nullptr;
      node_ = nullptr;
    }
    end.joined = node.joined();
    end.refused = node.refused();
    links.reset();
    std::error_code none;
    fs::remove_all(tree, none);
    return end;
  }

  // From any thread. The jobs at hand end, and the link with them.
  void end(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return;
    loop_->post([this, node = node_, why] {
      deadline_.step("the jobs at hand", kEnds_s, ExitCode::failed);
      node->leave(why);
    });
  }
  void ask_to_leave() {
    const std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return;
    loop_->post([node = node_] {
      if (!node->ask_to_leave()) node->leave("");
    });
  }

 private:
  // A rank of a trainer, and who serves other nodes, listens where others reach this machine, and on no other address.
  ZmqPeersOptions doors() const {
    ZmqPeersOptions options;
    options.listen = [this] { return host_to_listen_on(told_.address, parse_link_address(told_.head)); };
    options.address = told_.address;
    options.ports = told_.ports;
    options.self = node_hello(*device_, threads_);
    return options;
  }
  std::unique_ptr<RankRing> ring(const RingInvitation& told) const {
    return ring_links(told, {doors(), parse_link_address(told_.head)});
  }

  const Told told_;
  const fs::path cache_;
  int threads_ = 1;
  const Device* device_ = nullptr;
  const std::shared_ptr<ReadOnce> once_ = std::make_shared<ReadOnce>();
  Deadline deadline_;
  KeptStates kept_;  // from link to link
  std::mutex mutex_;
  NodeLoop* loop_ = nullptr;
  Node* node_ = nullptr;
};

// Ends without unwinding: threads that wait at stdin or for a signal, and jobs that do not stop, use what it would destroy.
[[noreturn]] void leave_process(ExitCode code) {
  log_flush();
  std::_Exit(static_cast<int>(code));
}

int run_node(const Told& told) {
  NodeProcess process(told);
  fmt::print("{}{}\n", kLaunchMarker, nlohmann::json{{"build", version()}, {"pid", ::getpid()}}.dump());
  std::fflush(stdout);
  // The launcher holds the other end: when it closes, or is gone by kill -9, this process ends.
  std::thread([&process] {
    char bytes[256];
    while (::read(STDIN_FILENO, bytes, sizeof bytes) > 0) {
    }
    process.end("its stdin was closed");
  }).detach();
  const NodeProcess::End end = process.serve();
  if (!end.why.empty()) log_warn(fmt::format("{} ends: {}", told.name, end.why));
  leave_process(end.why.empty() ? ExitCode::done : ExitCode::failed);
}

struct Join {
  std::string head;
  fs::path key;
  std::string device, address, ports;
  int threads = 0;
  double rejoin_s = 600;
};

int join(const Join& args) {
  outlive_readers();
  const Invitation invitation = read_invitation(args.key);
  parse_link_address(args.head);
  NodeProcess process({invitation.name, args.head, invitation.head_key, args.device, invitation.keys, args.threads, 1,
                       args.address, args.ports.empty() ? PortRange{} : parse_port_range(args.ports)});
  std::atomic<bool> leaves{false};
  sigset_t asked;
  ::sigemptyset(&asked);
  ::sigaddset(&asked, SIGTERM);
  ::sigaddset(&asked, SIGINT);
  std::thread([&process, &leaves, asked] {
    for (int signal = 0; ::sigwait(&asked, &signal) == 0;) {
      if (leaves.exchange(true)) std::_Exit(static_cast<int>(ExitCode::interrupted));
      log_info("leaves, when what it has at hand is done; once more, and it ends at once");
      process.ask_to_leave();
    }
  }).detach();
  const SystemClock clock;
  double seen_s = clock.now_s();
  for (;;) {
    log_info(fmt::format("{} dials {}", invitation.name, args.head));
    const NodeProcess::End end = process.serve();
    if (end.joined) seen_s = clock.now_s();
    if (end.why.empty() || leaves) leave_process(ExitCode::done);
    log_warn(fmt::format("{}: {}", invitation.name, end.why));
    if (end.refused) leave_process(ExitCode::bad_input);
    if (clock.now_s() - seen_s >= args.rejoin_s) leave_process(ExitCode::failed);
    std::this_thread::sleep_for(std::chrono::duration<double>(kBetweenDials_s));
  }
}

int main_checked(int argc, char** argv) {
  bool from_stdin = false;
  Join args;
  CLI::App app("Does work of a run for its head; started by r1-run --hostfile, or by hand with an invitation.", "r1-node");
  add_common_flags(app, kExamples);
  CLI::Option* const by_stdin = app.add_flag("--stdin", from_stdin, "read one line from stdin: whom to dial, with which key");
  CLI::Option* const by_hand =
      app.add_option("--join", args.head, "the head's --listen address")->type_name("HOST:PORT")->excludes(by_stdin);
  CLI::Option* const key = app.add_option("--key", args.key, "the invitation: a copy of RUN/keys/joinN.join, mode 0600");
  key->type_name("FILE")->needs(by_hand);
  by_hand->needs(key);
  app.add_option("--threads", args.threads, "of its CPU ops; default: all cores")
      ->type_name("N")
      ->check(CLI::Range(1, 4096).description(""))
      ->needs(by_hand);
  app.add_option("--device", args.device, "where ops run; default: cpu")->type_name("DEVICE")->needs(by_hand);
  app.add_option("--address", args.address,
                 "by which other nodes reach this one; default: the one from which it reaches the head")
      ->type_name("HOST")
      ->needs(by_hand);
  app.add_option("--ports", args.ports,
                 "that it may listen on, for ranks of a trainer and nodes that fetch from it; default: any")
      ->type_name("FROM-TO")
      ->needs(by_hand);
  app.add_option("--rejoin", args.rejoin_s, "how long it dials a head that is gone; default 600")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->needs(by_hand);
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  log_open({}, LogLevel::info, LogLevel::info);
  if (from_stdin) return run_node(read_line());
  if (args.head.empty())
    throw bad_input("r1-node is told nothing", {}, "r1-run --hostfile FILE GRAPH starts it; by hand: --join and --key");
  return join(args);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) {
  mallopt(M_ARENA_MAX, 2);
  ::umask(077);
  // Ctrl-C reaches the head, which ends its nodes; a node that was started by hand waits for it (join()).
  sigset_t asked;
  ::sigemptyset(&asked);
  ::sigaddset(&asked, SIGINT);
  ::sigaddset(&asked, SIGTERM);
  const std::vector<std::string> words(argv, argv + argc);
  const bool by_hand = std::any_of(words.begin(), words.end(), [](const std::string& w) { return w.starts_with("--join"); });
  if (by_hand)
    ::pthread_sigmask(SIG_BLOCK, &asked, nullptr);
  else
    ::signal(SIGINT, SIG_IGN);
  return r1::guarded_main("r1-node", argc, argv, r1::main_checked);
}
