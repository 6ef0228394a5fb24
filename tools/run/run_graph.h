// r1-run GRAPH: from a graph file to a finished run, or to a reason why not. Thread rule: main()'s thread.
#pragma once

#include "tools/run/arguments.h"

namespace r1 {

// Runs, continues, checks, draws or simulates, as the arguments say. The exit code; throws bad_input and failure.
int run_graph(RunArguments args);

}  // namespace r1
