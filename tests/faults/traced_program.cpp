#include "tests/faults/traced_program.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cerrno>
#include <functional>
#include <map>
#include <thread>

namespace r1 {
namespace {

namespace fs = std::filesystem;

enum class Names { descriptor, path, none };
struct Call {
  long number;
  const char* name;
  Names names;  // what its first argument (second, for the calls that end in "at") says about the file
};

const std::vector<Call>& file_calls() {
  static const std::vector<Call> calls = {{SYS_openat, "openat", Names::path},
                                          {SYS_write, "write", Names::descriptor},
                                          {SYS_pwrite64, "pwrite64", Names::descriptor},
                                          {SYS_writev, "writev", Names::descriptor},
                                          {SYS_ftruncate, "ftruncate", Names::descriptor},
                                          {SYS_fallocate, "fallocate", Names::descriptor},
                                          {SYS_fsync, "fsync", Names::descriptor},
                                          {SYS_fdatasync, "fdatasync", Names::descriptor},
                                          {SYS_rename, "rename", Names::path},
                                          {SYS_renameat2, "renameat2", Names::path},
                                          {SYS_unlink, "unlink", Names::path},
                                          {SYS_unlinkat, "unlinkat", Names::none},
                                          {SYS_mkdir, "mkdir", Names::path},
                                          {SYS_rmdir, "rmdir", Names::path}};
  return calls;
}

bool install_filter(const std::vector<long>& traced, bool deny_clone3) {
  std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
  for (const long number : traced) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  if (deny_clone3) {  // its flags lie in memory, where the tracer would have to read them; clone() is what libc falls back to
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

std::string text_of(pid_t pid, unsigned long long address) {
  std::string text(4096, '\0');
  const int fd = ::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t n = fd < 0 ? 0 : ::pread(fd, text.data(), 256, static_cast<off_t>(address));
  if (fd >= 0) ::close(fd);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text.substr(0, text.find('\0'));
}

bool below(const std::string& file, const std::string& dir) { return file.rfind(dir, 0) == 0; }

// The call changes something below `dir`. The paths of the run are absolute here.
bool changes(pid_t pid, const Call& call, const user_regs_struct& regs, const std::string& dir) {
  if (call.names == Names::none) return true;
  if (call.names == Names::descriptor) {
    std::error_code gone;
    const fs::path file = fs::read_symlink("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(regs.rdi), gone);
    return !gone && below(file, dir);
  }
  const bool at = call.number == SYS_openat || call.number == SYS_renameat2;
  if (call.number == SYS_openat && (regs.rdx & (O_CREAT | O_TRUNC)) == 0) return false;
  return below(text_of(pid, at ? regs.rsi : regs.rdi), dir);
}

// Starts the program; `at_call` sees every call of `traced`, and may change the registers (true) or kill the process.
TracedRun trace(const std::vector<std::string>& arguments, const fs::path& errors, const std::vector<long>& traced,
                bool deny_clone3, double seconds, const std::function<bool(pid_t, pid_t, user_regs_struct&)>& at_call) {
  std::vector<std::string> words = {R1_RUN};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(::open("/dev/null", O_RDWR), 0);
    ::dup2(0, 1);
    ::dup2(errors.empty() ? 0 : ::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(126);
    ::raise(SIGSTOP);
    if (!install_filter(traced, deny_clone3)) ::_exit(126);
    ::execv(R1_RUN, argv.data());
    ::_exit(127);
  }
  TracedRun run;
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFSTOPPED(status)) return run;
  const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC;
  if (::ptrace(PTRACE_SETOPTIONS, pid, nullptr, options) != 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return run;
  }
  ::ptrace(PTRACE_CONT, pid, nullptr, nullptr);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    // Threads of the program and nothing else: other children of the test are not waited for.
    const pid_t thread = ::waitpid(-1, &status, __WALL | WNOHANG);
    if (thread == 0) {
      if (std::chrono::steady_clock::now() > end) {
        run.killed = true;
        ::kill(pid, SIGKILL);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      continue;
    }
    if (thread < 0) break;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (thread != pid) continue;
      run.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      run.traced = run.code != 126;
      break;
    }
    if (!WIFSTOPPED(status)) continue;
    int deliver = WSTOPSIG(status);
    if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_SECCOMP << 8))) {
      user_regs_struct regs{};
      ::ptrace(PTRACE_GETREGS, thread, nullptr, &regs);
      if (at_call(pid, thread, regs)) ::ptrace(PTRACE_SETREGS, thread, nullptr, &regs);
      deliver = 0;
    } else if (deliver == SIGTRAP || deliver == SIGSTOP) {
      deliver = 0;  // an event of the tracer, or a new thread's first stop
    }
    ::ptrace(PTRACE_CONT, thread, nullptr, static_cast<long>(deliver));
  }
  return run;
}

}  // namespace

TracedRun run_killed_at(const std::vector<std::string>& arguments, const fs::path& dir, int64_t kill_at) {
  std::vector<long> traced;
  for (const Call& call : file_calls()) traced.push_back(call.number);
  int64_t calls = 0;
  std::string last;
  bool killed = false;
  TracedRun run = trace(arguments, {}, traced, false, 120, [&](pid_t pid, pid_t thread, user_regs_struct& regs) {
    for (const Call& call : file_calls()) {
      if (call.number != static_cast<long>(regs.orig_rax) || killed) continue;
      if (!changes(thread, call, regs, dir.string())) return false;
      ++calls;
      last = call.name;
      if (calls != kill_at) return false;
      killed = true;
      ::kill(pid, SIGKILL);
    }
    return false;
  });
  run.killed = killed;
  run.calls = calls;
  run.last = last;
  return run;
}

TracedRun run_short_of_threads(const std::vector<std::string>& arguments, int64_t threads, const fs::path& errors,
                               double seconds) {
  int64_t clones = 0;
  TracedRun run = trace(arguments, errors, {SYS_clone}, true, seconds, [&](pid_t, pid_t, user_regs_struct& regs) {
    if (++clones <= threads) return false;
    regs.orig_rax = ~0ULL;  // the call is skipped
    regs.rax = static_cast<unsigned long long>(-EAGAIN);
    return true;
  });
  run.calls = clones;
  return run;
}

}  // namespace r1
