#include "actors/example_collector.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/dataset.h"
#include "actors/decontamination.h"
#include "base/error.h"

namespace r1 {

void ExampleLengths::check(const RoleContext& context, const Sequence& s) {
  if (longest_ == 0) longest_ = start_config(env_, context.graph(), context.node()).max_positions;
  if (static_cast<int64_t>(s.tokens.size()) > longest_)
    throw bad_input(fmt::format("an example of stage '{}' has {} tokens, its model takes {}",
                                context.graph().stages[context.node().stage].name, s.tokens.size(), longest_),
                    context.node().where, "shorten the example, or raise max_position_embeddings in config.json");
}

ExampleCollector::ExampleCollector(const RunEnv& env, ExampleLengths& lengths, const RoleContext& context, int64_t stride,
                                   std::function<void()> collected)
    : env_(env),
      lengths_(lengths),
      set_(env.run_dir / "snapshots" / (context.graph().stages[context.node().stage].name + "-examples"),
           context.graph().stages[context.node().stage].name, env.seed, stride),
      collected_(std::move(collected)) {
  for (const char* port : {"examples", "pairs"})
    for (int e : context.inputs(port)) open_inputs_.insert(e);
}

void ExampleCollector::start(RoleContext& context) {
  context.submit(
      "read datasets", "", [this, &context] { read_datasets(context); },
      [this, &context] {
        datasets_read_ = true;
        keep_next(context);
        maybe_collected();
      });
}

void ExampleCollector::receive(RoleContext& context, int edge, std::shared_ptr<const ExamplesMessage> examples) {
  arrived_.emplace_back(edge, std::move(examples));
  keep_next(context);
}

void ExampleCollector::read_datasets(RoleContext& context) {
  for (int e : context.node().in_edges) {
    const EdgePlan& edge = context.graph().edges[e];
    if (edge.carries != "dataset") continue;
    const auto tokenizer = node_tokenizer(env_, context.graph(), context.node());
    const NodePlan& from = context.graph().nodes[edge.from];
    const uint64_t left_out = read_dataset(
        env_, dataset_path(env_, context.graph(), edge), *tokenizer, dataset_chat(env_, context.graph(), edge),
        [&](const Sequence& s) { keep(context, ExampleSet::kDatasets, s); },
        from.artifact ? contaminated_texts(env_, context.graph(), from) : nullptr);
    if (left_out > 0) context.event("contaminated", nlohmann::json{{"node", from.id}, {"left_out", left_out}}.dump());
  }
}

void ExampleCollector::keep_next(RoleContext& context) {
  if (!datasets_read_ || keeping_ || arrived_.empty()) return;
  keeping_ = true;
  const auto [edge, examples] = arrived_.front();
  arrived_.pop_front();
  context.submit_io(
      "keep " + examples->describe(),
      [this, &context, edge = edge, examples = examples] {
        for (const Sequence& s : examples->sequences) keep(context, edge, s);
      },
      [this, &context, edge = edge, last = examples->last] {
        keeping_ = false;
        context.release(edge);
        if (last) open_inputs_.erase(edge);
        keep_next(context);
        maybe_collected();
      });
}

void ExampleCollector::keep(const RoleContext& context, int edge, const Sequence& sequence) {
  lengths_.check(context, sequence);
  set_.add(edge, sequence);
}

void ExampleCollector::maybe_collected() {
  if (!datasets_read_ || !open_inputs_.empty() || !collected_) return;
  set_.close();
  std::exchange(collected_, nullptr)();
}

}  // namespace r1
