// What a process has in memory. For tests of what does not grow.
#pragma once

#include <unistd.h>

#include <fstream>
#include <string>

namespace r1::test {

// VmRSS of a process; 0 when it is gone.
inline long resident_kib(pid_t pid = ::getpid()) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("VmRSS:", 0) == 0) return std::stol(line.substr(6));
  return 0;
}

}  // namespace r1::test
