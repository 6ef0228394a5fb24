// Whether the system lets this process have the threads it needs: asked for before anything depends on them, because a library
// that fails to start its own tends to hang or abort. Thread rule: any thread.
#pragma once

namespace r1 {

// Starts `count` threads at once and ends them. Throws failure when the system refuses one (EAGAIN: ulimit -u or -v, a cgroup),
// or gives no addresses beside them (ulimit -v).
void require_threads(int count);

}  // namespace r1
