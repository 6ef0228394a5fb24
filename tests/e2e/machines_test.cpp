// A run over machines of its own: each has a network, mounts, a host name, processes and an sshd that no other sees -
// namespaces of Linux, joined by a bridge -, so nothing is shared but the cable, which can be pulled. The head is this
// process's end of it. Root only; skipped, with the reason, where the kernel or a program does not let them be made.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/process.h"
#include "tests/e2e/nodes_fixture.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string link_of(pid_t pid) {
  std::error_code error;
  return fs::read_symlink(fmt::format("/proc/{}/ns/net", pid), error).string();
}

bool goes(const std::vector<std::string>& words) { return Process::start({words, "", {}}).ended(20) == "exit code 0"; }

struct Machines : RankNodes {
  static constexpr int kMachines = 3;
  std::vector<Process> machines;

  void SetUp() override {
    RankNodes::SetUp();
    if (const std::string missing = make(); !missing.empty()) GTEST_SKIP() << missing;
  }

  static std::string address(int machine) { return fmt::format("10.77.0.{}", 11 + machine); }
  std::string key(const std::string& name) const { return (top / "ssh" / name).string(); }

  // Why there are none; "": they are there, and answer to ssh.
  std::string make() {
    if (::geteuid() != 0) return "machines of their own need root";
    for (const char* program : {"ip", "unshare", "ssh", "ssh-keygen", "/usr/sbin/sshd"})
      if (find_program(program, ".").empty()) return std::string(program) + " is not here";
    // Of this process and those that it starts from now on: nothing outlives them.
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return "namespaces cannot be made here";
    if (!goes({"mount", "--make-rprivate", "/"}) || !goes({"ip", "link", "set", "lo", "up"}) ||
        !goes({"ip", "link", "add", "bridge", "type", "bridge"}) ||
        !goes({"ip", "addr", "add", "10.77.0.1/24", "dev", "bridge"}) || !goes({"ip", "link", "set", "bridge", "up"}))
      return "no bridge can be made here";
    fs::create_directories(top / "ssh");
    for (const char* name : {"host", "user"})
      if (!goes({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key(name)})) return "ssh-keygen makes no key";
    std::ofstream(top / "ssh/known_hosts") << "10.77.0.* " << read_file(key("host.pub"));
    std::ofstream(top / "ssh/config") << "Host 10.77.0.*\n  User root\n  IdentitiesOnly yes\n  IdentityFile " << key("user")
                                      << "\n  UserKnownHostsFile " << key("known_hosts") << "\n  StrictHostKeyChecking yes\n";
    fs::create_directories(top / "path");
    std::ofstream(top / "path/ssh") << "#!/bin/sh\nexec /usr/bin/ssh -F " << key("config") << " \"$@\"\n";
    fs::permissions(top / "path/ssh", fs::perms::owner_all);
    std::ofstream file(hosts);
    for (int i = 0; i < kMachines; ++i) {
      if (const std::string missing = start(i); !missing.empty()) return missing;
      file << address(i) << " slots=1\n";
    }
    return "";
  }

  // The tree, the run and the caches are hidden from it: it has the programs, its sshd's keys and the system.
  std::string start(int machine) {
    const std::string script = fmt::format(
        R"(set -e
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir /mnt/bin /mnt/ssh /mnt/cache
mount --bind {bin} /mnt/bin
cp {ssh}/host {ssh}/user.pub /mnt/ssh
for hidden in {source} {top} /tmp /run; do mount -t tmpfs none "$hidden"; done
mkdir /run/sshd
mount -t proc proc /proc
hostname machine{number}
until ip link show eth0 > /run/wait 2>&1; do sleep 0.02; done
ip link set lo up
ip addr add {address}/24 dev eth0
ip link set eth0 up
exec /usr/sbin/sshd -D -e -o Port=22 -o HostKey=/mnt/ssh/host -o AuthorizedKeysFile=/mnt/ssh/user.pub -o PidFile=none -o UsePAM=no \
  -o StrictModes=no -o PermitRootLogin=yes -o "SetEnv=PATH=/mnt/bin:/usr/bin:/bin XDG_CACHE_HOME=/mnt/cache")",
        fmt::arg("bin", fs::path(R1_NODE).parent_path().string()), fmt::arg("ssh", (top / "ssh").string()),
        fmt::arg("source", source_dir().string()), fmt::arg("top", top.string()), fmt::arg("number", machine + 1),
        fmt::arg("address", address(machine)));
    machines.push_back(Process::start({{"unshare", "-m", "-u", "-n", "-p", "-f", "--kill-child", "sh", "-c", script}, "", {}}));
    const pid_t pid = machines.back().pid();
    const std::string here = link_of(::getpid());
    for (int i = 0; i < 500 && link_of(pid) == here; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const std::string cable = cable_of(machine);
    if (!goes({"ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", std::to_string(pid)}) ||
        !goes({"ip", "link", "set", cable, "master", "bridge", "up"}))
      return "no cable can be made here";
    for (int i = 0; i < 100; ++i) {
      if (goes({key("../path/ssh"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", address(machine), "true"})) return "";
      if (machines.back().ended(0)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return "no sshd answers in a namespace here";
  }

  static std::string cable_of(int machine) { return fmt::format("cable{}", machine + 1); }
  static bool unplug(int machine) { return goes({"ip", "link", "set", cable_of(machine), "down"}); }
  static bool plug(int machine) { return goes({"ip", "link", "set", cable_of(machine), "up"}); }
  bool power_off(int machine) {
    machines[static_cast<size_t>(machine)].end();
    return true;
  }
  // Processes of a machine that are called so.
  int processes_of(int machine, const std::string& name) const {
    const std::string network = link_of(machines[static_cast<size_t>(machine)].pid());
    int count = 0;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos || link_of(std::stoi(pid)) != network) continue;
      std::string comm;
      std::getline(std::ifstream(entry.path() / "comm"), comm);
      count += comm == name;
    }
    return count;
  }

  std::vector<std::string> over_machines(const fs::path& run, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--listen", "10.77.0.1:4000"});
    return over_nodes(run, std::move(more));
  }
  std::vector<std::string> path() const { return {fmt::format("PATH={}:{}", (top / "path").string(), ::getenv("PATH"))}; }
};

TEST_F(Machines, give_the_weights_of_one_process_with_a_cable_pulled_a_machine_switched_off_and_the_head_killed) {
  ASSERT_EQ(run_program(arguments(top / "alone", ranked())).code, 0);
  const auto expected = summary_hashes(top / "alone");
  ASSERT_EQ(expected.size(), 7u);

  const fs::path run = top / "run";
  {
    Program head(over_machines(run, ranked()), path());
    EXPECT_EQ(at_batches(head, run, 6,
                         {[] { return unplug(1); },
                          [&] {
                            EXPECT_GE(processes_of(0, "r1-node"), 1);
                            head.send(SIGKILL);
                            return true;
                          }}),
              2)
        << read_file(run / "r1.log");
  }
  const std::string log = read_file(run / "r1.log");
  for (int i = 0; i < kMachines; ++i)
    EXPECT_NE(log.find(fmt::format("node node{} on machine{} joins", i + 1, i + 1)), std::string::npos) << log;
  EXPECT_NE(log.find("on machine2 is lost: nothing was heard of it for 3 s"), std::string::npos) << log;
  for (int i = 0; i < kMachines; ++i) {  // by their stdin, or by their lease where that was cut
    int left = 1;
    for (int n = 0; n < 200 && (left = processes_of(i, "r1-node")) > 0; ++n)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(left, 0) << "a node outlives its head on machine " << i + 1;
  }

  EXPECT_TRUE(plug(1));
  Program again(over_machines(run, ranked()), path());
  EXPECT_EQ(at_batches(again, run, 16, {[&] { return power_off(0); }}), 1);
  const ProgramResult r = again.result();
  ASSERT_EQ(r.code, 0) << r.err << read_file(run / "r1.log");
  EXPECT_NE(read_file(run / "r1.log").find("on machine1 is lost"), std::string::npos);
  EXPECT_EQ(summary_hashes(run), expected);
  EXPECT_EQ(ledger_complaints(run), "");
}

}  // namespace
}  // namespace r1
