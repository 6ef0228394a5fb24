// SIGSTOP for a process of several threads.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace r1::test {

// Until all of its threads stand. kill() returns when one of them has been told, which tells the others when it is scheduled:
// on a busy machine they go on for milliseconds.
inline void stop_process(pid_t pid) {
  ::kill(pid, SIGSTOP);
  const auto runs = [](const std::filesystem::directory_entry& thread) {
    std::ifstream in(thread.path() / "stat");
    const std::string stat(std::istreambuf_iterator<char>(in), {});
    const size_t name_end = stat.rfind(") ");
    return name_end != std::string::npos && stat[name_end + 2] != 'T';
  };
  const std::filesystem::path threads = "/proc/" + std::to_string(pid) + "/task";
  while (std::any_of(std::filesystem::directory_iterator(threads), {}, runs))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace r1::test
