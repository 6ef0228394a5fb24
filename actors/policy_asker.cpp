#include "actors/policy_asker.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "actors/generator_role.h"
#include "actors/messages.h"
#include "actors/model_chat.h"
#include "actors/stop_attribute.h"
#include "base/rng.h"
#include "models/generation/generator_engine.h"
#include "runtime/flow/executor.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kAtOnce = 4, kWaiting = 16;
constexpr int64_t kDefaultTokens = 256;  // of a stage without a generator

// One completion under way.
class Answering {
 public:
  Answering(const RunEnv& env, const GraphView& graph, PolicyQuestion question, uint64_t number)
      : question_(std::move(question)), stage_(graph.stages[static_cast<size_t>(question_.stage)].name) {
    const NodePlan* const generator = stage_node(graph, question_.stage, "generator");
    const NodePlan* const trainer = stage_trainer(graph, question_.stage);
    const NodePlan* const node = question_.weights ? trainer : generator;
    if (node == nullptr) throw bad_input(fmt::format("stage {} has no model that speaks", stage_));
    tokenizer_ = node_tokenizer(env, graph, *node);
    std::shared_ptr<const WeightSet> weights;
    if (const auto* message = dynamic_cast<const WeightsMessage*>(question_.weights.get())) {
      weights = message->weights;
      version_ = message->version;
    } else {
      weights = load_start_weights(env, graph, *node, env.precision);
    }
    if (weights->config().scalar_head)
      throw bad_input(fmt::format("stage {} trains a reward model, which writes nothing", stage_), {},
                      "ask when a stage of a language model is running");

    GenRequest request;
    if (generator != nullptr) {
      configure(request_table(), generator->attrs, request);
      request.stop_texts = node_stop_texts(*generator, *tokenizer_);
    } else {
      request.max_new_tokens = kDefaultTokens;
    }
    request.samples = 1;
    request.rng_key = rng_key(env.seed, "ask", number);
    request.prompt = tokenizer_->encode(rendered(env, graph, *node), false);
    request.stop_ids = end_ids_ = weights->config().eos_ids;
    prompt_tokens_ = request.prompt.size();
    if (const int64_t most = weights->config().max_positions; static_cast<int64_t>(prompt_tokens_) >= most)
      throw bad_input(fmt::format("a prompt of {} tokens, the model takes {}", prompt_tokens_, most));
    GeneratorConfig config;
    config.max_running = 1;
    engine_ = std::make_unique<GeneratorEngine>(*env.device, config, weights, version_);
    engine_->submit(std::move(request));
  }

  // False: it is answered, or nobody listens.
  bool step() {
    const std::vector<GenResult> results = engine_->step();
    if (results.empty()) return say(engine_->sampled(0, 0));
    const std::vector<int32_t>& tokens = results[0].samples[0].tokens;
    say(std::span<const int32_t>(tokens).subspan(prompt_tokens_));
    question_.reply->answer(Json{
        {"text", text_},
        {"stage", stage_},
        {"version", version_},
        {"tokens", tokens.size() - prompt_tokens_},
        {"finished", results[0].finished[0] !=
                         0}}.dump(-1, ' ', false, Json::error_handler_t::replace));
    return false;
  }
  void fail() { question_.reply->fail(std::current_exception()); }

 private:
  std::string rendered(const RunEnv& env, const GraphView& graph, const NodePlan& node) const {
    const auto chat = node_chat(env, graph, node, tokenizer_);
    return chat->is_none() ? question_.prompt : chat->prompt(Conversation::of_user(question_.prompt));
  }

  bool say(std::span<const int32_t> tokens) {
    std::vector<int32_t> shown(tokens.begin(), tokens.end());
    if (!shown.empty() && std::count(end_ids_.begin(), end_ids_.end(), shown.back()) > 0) shown.pop_back();
    std::string text = tokenizer_->decode(shown, false);
    // A character may not be complete yet.
    for (const std::string_view broken = "\xEF\xBF\xBD"; text.ends_with(broken);) text.resize(text.size() - broken.size());
    if (text.size() <= text_.size() || !text.starts_with(text_)) return true;
    const Json part = {{"part", text.substr(text_.size())}};
    text_ = std::move(text);
    return question_.reply->part(part.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  PolicyQuestion question_;
  std::string stage_, text_;
  int64_t version_ = 0;
  size_t prompt_tokens_ = 0;
  std::vector<int32_t> end_ids_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<GeneratorEngine> engine_;
};

}  // namespace

struct PolicyAsker::Impl {
  const RunEnv& env;
  const GraphView& graph;
  std::list<Answering> answering;  // of the executor, as `number`
  uint64_t number = 0;
  std::mutex mutex;
  std::deque<PolicyQuestion> waiting;
  bool at_work = false, ending = false;  // a round is submitted; none is any more. Under mutex
  std::unique_ptr<Executor> executor = make_thread_executor("r1-shell ask");

  void begin_rounds() {
    executor->submit({[this] { round(); }, [](std::exception_ptr) {}});
  }
  void round();
};

// A step of each answer at hand; then the next round.
void PolicyAsker::Impl::round() {
  std::deque<PolicyQuestion> begun;
  {
    const std::lock_guard lock(mutex);
    for (; !waiting.empty() && answering.size() + begun.size() < kAtOnce; waiting.pop_front())
      begun.push_back(std::move(waiting.front()));
  }
  for (PolicyQuestion& question : begun) {
    const ShellReplyPtr reply = question.reply;
    try {
      answering.emplace_back(env, graph, std::move(question), number++);
    } catch (const std::exception&) {
      reply->fail(std::current_exception());
    }
  }
  for (auto a = answering.begin(); a != answering.end();) {
    bool going_on = false;
    try {
      going_on = a->step();
    } catch (const std::exception&) {
      a->fail();
    }
    a = going_on ? std::next(a) : answering.erase(a);
  }
  const std::lock_guard lock(mutex);
  at_work = !ending && (!answering.empty() || !waiting.empty());
  if (at_work) begin_rounds();
}

PolicyAsker::PolicyAsker(const RunEnv& env, const GraphView& graph) : impl_(new Impl{env, graph}) {}

PolicyAsker::~PolicyAsker() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ending = true;
  }
  impl_->executor.reset();
}

void PolicyAsker::ask(PolicyQuestion question) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->waiting.size() < kWaiting) {
      impl_->waiting.push_back(std::move(question));
      if (!std::exchange(impl_->at_work, true)) impl_->begin_rounds();
      return;
    }
  }
  question.reply->fail(std::make_exception_ptr(
      failure(fmt::format("{} questions wait already", kWaiting), {}, "ask again when they are answered")));
}

}  // namespace r1
