// Ctrl-C, a request to end (SIGTERM) and a closed terminal (SIGHUP), for programs whose work takes a while. Before
// begin_gently() one of them ends the process at once, with exit code 130: nothing is held then that a kill could harm. From
// then on the first one sets the flag, and a second one ends the process. A SIGHUP that the parent ignores (nohup) stays
// ignored. Thread rule: main() calls; the flag may be read anywhere.
#pragma once

#include <atomic>

namespace r1 {

void catch_interrupts();
std::atomic<bool>& begin_gently();

// For work whose product is not its output: from here on a write to a pipe that nobody reads any more fails (EPIPE), and does
// not end the process. Programs that it starts are not told.
void outlive_readers();

}  // namespace r1
