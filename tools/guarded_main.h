// What every program's main() does with what its body throws: one line on stderr, and the exit code (docs/architecture.md
// section 7).
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "base/say.h"

namespace r1 {

// A standard descriptor that came closed would be given to the next file that is opened, and what is said would go into that
// file. What takes its place fails to be read (stdin) or written (stdout), as a closed one does; nobody misses stderr.
inline void hold_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) [[maybe_unused]]
      const int held = ::open("/dev/null", fd == 1 ? O_RDONLY : O_WRONLY);
}

// Whether all that went to stdout, by either library, has been taken. An answer that nobody got is none.
inline bool output_arrived() {
  std::cout.flush();
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
}

// `body(argc, argv)` gives the exit code. 0 becomes 1 where the output could not be written (a full disk, a closed pipe).
template <class Body>
int guarded_main(const char* program, int argc, char** argv, Body body) {
  hold_standard_descriptors();
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error with a name, as a full disk is
  try {
    const int code = body(argc, argv);
    errno = 0;
    if (code != 0 || output_arrived()) return code;
    const int error = errno;
    say("{}: the output cannot be written{}{}\n", program, error != 0 ? ": " : "", error != 0 ? std::strerror(error) : "");
    return static_cast<int>(ExitCode::failed);
  } catch (const Error& e) {
    say("{}: {}\n", program, e.what());
    return static_cast<int>(e.code());
  } catch (const std::filesystem::filesystem_error& e) {
    say("{}: {}: {}\n", program, e.path1().string(), e.code().message());
    // Whoever names a file so says what no file can be called.
    const bool no_name = e.code() == std::errc::filename_too_long || e.code() == std::errc::too_many_symbolic_link_levels;
    return static_cast<int>(no_name ? ExitCode::bad_input : ExitCode::failed);
  } catch (const std::exception& e) {
    say("{}: {}\n", program, e.what());
    return static_cast<int>(ExitCode::failed);
  }
}

}  // namespace r1
