#include "actors/learning_rate_hint.h"

#include <fmt/format.h>

namespace r1 {

Error with_smaller_rate(const NotFinite& error, const GraphView& graph, const NodePlan& trainer) {
  return failure(error.message(), error.where(),
                 fmt::format("{}{}r1-run {} --set {}.lr={:.1g} --change", error.hint(), error.hint().empty() ? "" : ": ",
                             graph.file, trainer.id, trainer.attrs.number("lr") / 10));
}

}  // namespace r1
