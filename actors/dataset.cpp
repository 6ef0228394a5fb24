#include "actors/dataset.h"

#include <nlohmann/json.hpp>

#include "actors/examples.h"
#include "base/stop.h"

namespace r1 {

std::string dataset_line(const std::string& prompt, const std::string& completion) {
  return nlohmann::json{{"prompt", prompt}, {"completion", completion}}.dump() + "\n";
}

void read_dataset(const RunEnv& env, const std::filesystem::path& file, const Tokenizer& tokenizer,
                  const std::function<void(const Sequence&)>& each) {
  const auto source = open_data(env, "jsonl:" + file.string(), 0, {RecordKind::example, false});
  for (uint64_t i = 0; i < source->size().value(); ++i) {
    check_stop();
    each(tokenise_example(tokenizer, source->example(i)));
  }
}

std::filesystem::path dataset_path(const RunEnv& env, const GraphView& graph, const EdgePlan& edge) {
  const NodePlan& from = graph.nodes[edge.from];
  return from.artifact ? resolve_path(env, from.attrs.text("path")) : dataset_file(env, graph.stages[from.stage].name);
}

}  // namespace r1
