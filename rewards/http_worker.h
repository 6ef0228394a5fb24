// One connection to a reward server: the protocol of score_protocol.h as the bodies of POST and its answer. Not a proxy's
// client, not a browser: no proxies, no redirects, no cookies. Thread rule: one thread.
#pragma once

#include <string>

#include "rewards/program_calls.h"
#include "rewards/worker_pool.h"

namespace r1 {

std::unique_ptr<ScoreWorker> make_http_worker(const ProgramCall& call, const ProgramOptions& options);

// Why nothing can be posted to the address, or "": it does not resolve, nothing listens. Connects, sends nothing.
std::string connection_problem(const std::string& url, double seconds);

}  // namespace r1
