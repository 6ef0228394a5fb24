#include "actors/broken_promise.h"

#include <fmt/format.h>

namespace r1 {

Error logprob_gap_error(const std::string& stage, int64_t version, int64_t draw, int64_t sample, const LogprobGap& gap) {
  return final_failure(
      fmt::format("training and sampling disagree (P2): stage {}, version {}, draw {}, sample {}, token {}: log-probability "
                  "{:.9g} when trained, {:.9g} when sampled",
                  stage, version, draw, sample, gap.token, gap.trainer, gap.sampler),
      {}, "a fault of this program or of this machine, none of the graph: please report it with the run directory");
}

}  // namespace r1
