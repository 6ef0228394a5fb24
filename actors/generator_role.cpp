#include "actors/generator_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <exception>
#include <map>
#include <set>

#include "actors/broken_promise.h"
#include "actors/graph_checks.h"
#include "actors/learning_rate_hint.h"
#include "actors/messages.h"
#include "actors/model_checks.h"
#include "actors/placed_attrs.h"
#include "actors/size_checks.h"
#include "actors/stop_attribute.h"
#include "actors/weight_receiver.h"
#include "base/rng.h"
#include "models/engines.h"
#include "runtime/fault.h"

namespace r1 {

namespace {

// Decode steps between two looks at the mailbox: a flip waits at most this long.
constexpr int kStepsPerJob = 8;
// Tokens of an RL stage that are compared with the training forward pass before their version is given up, whatever the trainer
// compares (P2 is never vacuous).
constexpr int64_t kAuditTokens = 1500;

class GeneratorRole final : public Role {
 public:
  explicit GeneratorRole(const RunEnv& env) : env_(env), weights_(*env.device) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    const NodePlan& node = context.node();
    out_ = context.outputs("trajectories").at(0);
    has_trainer_ = !context.inputs("weights").empty();
    resamples_ = !context.inputs("credits").empty();
    staleness_ = stage_staleness(context.graph(), node.stage);
    window_ = stage_window(context.graph(), node.stage);
    samples_ = node.attrs.integer("samples");
    temperature_ = node.attrs.number("temperature");
    node_id_ = node.id;
    stage_name_ = context.graph().stages[node.stage].name;
    const auto audited = context.recovered().metrics.find("logprob_audit_tokens");
    if (audited != context.recovered().metrics.end()) audited_tokens_ = static_cast<int64_t>(audited->second.sum);
    if (has_trainer_) {
      ready_ = true;
      context.wait_for("weights", "for the first weights", stage_trainer(context.graph(), node.stage)->id);
      return;
    }
    context.submit(
        "load the model", "",
        [this, &context] {
          weights_.hold(load_start_weights(env_, context.graph(), context.node(), env_.precision), 0);
          make_engine(context);
        },
        [this, &context] {
          ready_ = true;
          pump(context);
        });
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    if (auto prompt = std::dynamic_pointer_cast<const PromptMessage>(payload)) {
      prompt_edge_ = edge;
      const int64_t draw = prompt->draw;
      waiting_[draw] = std::move(prompt);
    } else if (auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload)) {
      context.release(edge);
      weights_edge_ = edge;
      new_weights_.push_back(std::move(weights));
      weights_arrived_ = true;
    } else if (auto credits = std::dynamic_pointer_cast<const CreditsMessage>(payload)) {
      context.release(edge);
      credits_ = std::move(credits);
    }
    pump(context);
  }

  void on_room(RoleContext& context, int) override { pump(context); }

  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    weights_arrived_ = true;  // ends the job at hand early
    if (!busy_) audit_last(context);
  }

  std::string inspect() const override {
    return fmt::format(R"({{"version":{},"waiting":{},"running":{},"tokens_generated":{}}})", version_, waiting_.size(),
                       running_.size(), reported_tokens_);
  }

  PayloadPtr state() override { return has_trainer_ ? weights_.published() : nullptr; }

 private:
  // ---- on the role

  void pump(RoleContext& context) {
    if (busy_ || !ready_) return;
    if (ended_) return audit_last(context);
    give(context);
    if (!outbox_.empty()) return;  // a slow judge slows generation: nothing is sampled that cannot be given on
    if (version_ < 0 && new_weights_.empty()) return;
    if (engine_ && !weights_.usable() && new_weights_.empty())
      return context.wait_for("weights", fmt::format("for all of the weights: those at hand are not version {}", version_),
                              stage_trainer(context.graph(), context.node().stage)->id);

    auto flips = std::make_shared<std::deque<std::shared_ptr<const WeightsMessage>>>(std::exchange(new_weights_, {}));
    const int64_t version = flips->empty() ? version_ : flips->back()->version;
    auto admitted = std::make_shared<std::vector<std::shared_ptr<const PromptMessage>>>();
    while (!waiting_.empty() && admits(version, waiting_.begin()->first) &&
           static_cast<int64_t>(running_.size()) * samples_ < 2 * context.node().attrs.integer("max_running")) {
      const auto& [draw, prompt] = *waiting_.begin();
      if (prompt->dropped.empty()) {
        running_[draw] = prompt;
        admitted->push_back(prompt);
      } else {  // goes on as it is, so that batches form in draw order
        auto unsampled = std::make_shared<TrajectoriesMessage>();
        unsampled->prompt = prompt;
        outbox_.push_back(std::move(unsampled));
      }
      if (put_back_.erase(draw) == 0) context.release(prompt_edge_);
      waiting_.erase(waiting_.begin());
    }
    give(context);
    if (running_.empty() && flips->empty()) {
      if (weights_.unverified()) verify(context);
      if (!waiting_.empty())
        context.wait_for("weights",
                         fmt::format("for newer weights than version {} to start draw {} (staleness {})", version,
                                     waiting_.begin()->first, staleness_),
                         stage_trainer(context.graph(), context.node().stage)->id);
      return;
    }
    context.wait_over("weights");
    busy_ = true;
    weights_arrived_ = false;
    auto results = std::make_shared<std::vector<GenResult>>();
    context.submit(
        fmt::format("sample under version {}", version), "generator",
        [this, &context, flips, admitted, results] { work(context, *flips, *admitted, *results); },
        [this, &context, admitted, results] {
          if (weights_.ask_again(context, weights_edge_)) put_back(*admitted);
          collect(context, *results);
        });
  }

  // The version under which they were to start is not there.
  void put_back(const std::vector<std::shared_ptr<const PromptMessage>>& prompts) {
    for (const auto& prompt : prompts) {
      running_.erase(prompt->draw);
      waiting_[prompt->draw] = prompt;
      put_back_.insert(prompt->draw);
    }
  }

  // There is nothing to sample: the weights, which were compared by what changed in them, are compared as a whole.
  void verify(RoleContext& context) {
    busy_ = true;
    context.submit(
        fmt::format("verify version {}", version_), "", [this] { weights_.stands(); },
        [this, &context] {
          weights_.ask_again(context, weights_edge_);
          busy_ = false;
          pump(context);
        });
  }

  void give(RoleContext& context) {
    while (!outbox_.empty() && context.room(out_) > 0) {
      context.send(out_, outbox_.front());
      outbox_.pop_front();
    }
  }

  bool admits(int64_t version, int64_t draw) const {
    if (!has_trainer_) return true;
    const int64_t batches = staleness_ + version + 1;  // that may be started
    if (!resamples_) return draw < batches * window_;
    return credits_ && draw < batches * window_ + credits_->spare &&
           draw < credits_->first_draw + (batches - credits_->batch) * credits_->max_draws;
  }

  void collect(RoleContext& context, std::vector<GenResult>& results) {
    busy_ = false;
    const GeneratorStats& stats = engine_->stats();
    version_ = engine_->version();
    for (GenResult& result : results) {
      auto m = std::make_shared<TrajectoriesMessage>();
      m->prompt = running_.at(static_cast<int64_t>(result.id));
      running_.erase(static_cast<int64_t>(result.id));
      m->samples = std::move(result.samples);
      m->finished = std::move(result.finished);
      outbox_.push_back(std::move(m));
    }
    if (stats.tokens_generated - reported_tokens_ >= 4096 || ended_) {
      report_tokens(context);
    }
    report_audit(context);
    pump(context);
  }

  void report_audit(RoleContext& context) {
    if (audit_tokens_new_ == 0) return;
    context.records().tally("logprob_audit_tokens", static_cast<double>(std::exchange(audit_tokens_new_, 0)));
    context.records().tally("logprob_audit_gap", 0);
  }

  // What the last version sampled is audited too: no flip comes after it.
  void audit_last(RoleContext& context) {
    if ((audit_.empty() && !weights_.unverified()) || finished_) return finish(context);
    busy_ = true;
    context.submit(
        "audit the last samples", "generator",
        [this] {
          audit();
          weights_.verify();
        },
        [this, &context] {
          busy_ = false;
          report_audit(context);
          finish(context);
        });
  }

  void finish(RoleContext& context) {
    if (finished_) return;
    finished_ = true;
    if (engine_) {
      engine_->cancel_all();
      report_tokens(context);
    }
    context.finish();
  }

  // Summed over the stage by the summary.
  void report_tokens(RoleContext& context) {
    const int64_t total = engine_->stats().tokens_generated;
    const int64_t drafted = engine_->stats().tokens_drafted, accepted = engine_->stats().tokens_accepted;
    if (drafted > reported_drafted_)
      context.records().tally("draft_accepted", static_cast<double>(accepted - reported_accepted_) /
                                                    static_cast<double>(drafted - reported_drafted_));
    context.records().tally("tokens_generated", static_cast<double>(total - reported_tokens_));
    reported_tokens_ = total;
    reported_drafted_ = drafted;
    reported_accepted_ = accepted;
  }

  // ---- on the executor

  void make_engine(RoleContext& context) {
    GeneratorConfig config;
    configure(generator_table(), context.node().attrs, config);
    if (config.on_flip != OnFlip::finish) weights_.take_in_place();
    config.max_rows = std::max<int64_t>((config.draft ? 2 : 1) * config.max_running, 256);
    stop_texts_ = node_stop_texts(context.node(), *node_tokenizer(env_, context.graph(), context.node()));
    engine_ = env_.engines->sampler(context.node().id, config, weights_.held(), weights_.version());
    version_ = weights_.version();
  }

  void work(RoleContext& context, const std::deque<std::shared_ptr<const WeightsMessage>>& flips,
            const std::vector<std::shared_ptr<const PromptMessage>>& admitted, std::vector<GenResult>& results) {
    for (const auto& m : flips) flip(context, *m);
    if (!weights_.usable()) return;
    if (!weights_.refused())
      for (const auto& p : admitted) engine_->submit(request(context, *p));
    for (int i = 0; i < kStepsPerJob && engine_->pending() > 0; ++i) {
      for (GenResult& r : stepped(context)) {
        falsify(context, r);
        remember_for_audit(r);
        results.push_back(std::move(r));
      }
      if (weights_arrived_) break;
    }
  }

  // Logits that are not finite come of what was learned.
  std::vector<GenResult> stepped(const RoleContext& context) {
    const NodePlan* trainer = stage_trainer(context.graph(), context.node().stage);
    if (trainer == nullptr) return engine_->step();
    try {
      return engine_->step();
    } catch (const NotFinite& e) {
      throw with_smaller_rate(e, context.graph(), *trainer);
    }
  }

  // A published version takes effect, compared with what was published before anything is sampled with it (P7). One that cannot
  // be used is asked for again, as a whole. Until that comes, sampling goes on under the version at hand, if it still is that.
  void flip(RoleContext& context, const WeightsMessage& m) {
    if (engine_ && m.version == engine_->version() && weights_.usable()) return;
    if (engine_) audit();
    if (!weights_.accept(m)) return;
    if (!engine_) return make_engine(context);
    engine_->set_weights(weights_.held(), m.version);
    weights_.catch_up();
  }

  GenRequest request(RoleContext& context, const PromptMessage& prompt) const {
    GenRequest r;
    configure(request_table(), context.node().attrs, r);
    r.id = static_cast<uint64_t>(prompt.draw);
    r.rng_key = rng_key(env_.seed, "sample " + stage_name_, r.id);
    r.prompt = prompt.tokens;
    r.stop_ids = weights_.held()->config().eos_ids;
    r.stop_texts = stop_texts_;
    return r;
  }

  void remember_for_audit(const GenResult& r) {
    if (!has_trainer_ || audited_tokens_ >= kAuditTokens) return;
    for (size_t n = 0; n < r.samples.size() && audit_.size() < 64; ++n) {
      const Sequence& s = r.samples[n];
      const int64_t version = engine_->version();
      bool whole = true;
      for (size_t i = 0; i < s.tokens.size(); ++i)
        whole = whole && (!s.trainable[i] || (s.exact[i] && s.version[i] == version));
      if (!whole) continue;
      audit_.push_back(s);
      audit_places_.push_back({static_cast<int64_t>(r.id), static_cast<int64_t>(n)});
    }
  }

  // A fault that tests inject: the last bit of one log-probability of a draw.
  void falsify(RoleContext& context, GenResult& r) {
    if (!process_faults().gap(context.node().id, static_cast<int64_t>(r.id))) return;
    for (Sequence& s : r.samples)
      for (size_t i = 0; i < s.tokens.size(); ++i)
        if (s.trainable[i]) {
          s.behaviour_logp[i] = std::nextafter(s.behaviour_logp[i], -1e30f);
          return;
        }
  }

  // Compares recorded log-probabilities with the training forward pass under the version that is about to be given up. A
  // difference ends the run.
  void audit() {
    if (!weights_.usable()) {  // nothing is there to compare with
      audit_.clear();
      audit_places_.clear();
    }
    if (audit_.empty()) return;
    const auto logp = env_.engines->frozen(node_id_, weights_.held())->logprobs(audit_, temperature_);
    LogprobGap gap;
    for (size_t s = 0; s < audit_.size(); ++s)
      for (size_t i = 0; i < audit_[s].tokens.size(); ++i)
        if (audit_[s].trainable[i])
          gap.compare(logp[s][i], audit_[s].behaviour_logp[i], static_cast<int64_t>(s), static_cast<int64_t>(i));
    audit_version_ = engine_->version();
    if (gap.max > 0) {
      const auto& [draw, sample] = audit_places_[static_cast<size_t>(gap.sequence)];
      throw logprob_gap_error(stage_name_, audit_version_, draw, sample, gap);
    }
    audit_tokens_new_ += gap.tokens;
    audited_tokens_ += gap.tokens;
    audit_.clear();
    audit_places_.clear();
  }

  RunEnv env_;
  int out_ = -1, prompt_edge_ = -1, weights_edge_ = -1;
  bool has_trainer_ = false, resamples_ = false, ready_ = false, busy_ = false, ended_ = false, finished_ = false;
  int64_t staleness_ = 0, window_ = 1, samples_ = 1, version_ = -1, reported_tokens_ = 0;
  int64_t reported_drafted_ = 0, reported_accepted_ = 0;
  double temperature_ = 1;
  std::string stage_name_, node_id_;
  // Not admitted yet, by draw: one that is issued again may come behind those that wait for newer weights.
  std::map<int64_t, std::shared_ptr<const PromptMessage>> waiting_;
  std::map<int64_t, std::shared_ptr<const PromptMessage>> running_;  // in the engine
  std::set<int64_t> put_back_;  // of those that wait: the prompter has its room back already
  std::deque<PayloadPtr> outbox_;
  std::deque<std::shared_ptr<const WeightsMessage>> new_weights_;
  std::shared_ptr<const CreditsMessage> credits_;  // fill=resample: the newest
  std::atomic<bool> weights_arrived_{false};

  // Touched by jobs only while one is running, by the role only in between.
  std::unique_ptr<Sampler> engine_;
  WeightReceiver weights_;  // the engine's
  std::shared_ptr<const StopTexts> stop_texts_;
  std::vector<Sequence> audit_;
  std::vector<std::pair<int64_t, int64_t>> audit_places_;  // (draw, sample) of each
  int64_t audited_tokens_ = 0, audit_tokens_new_ = 0, audit_version_ = 0;
};

void check_generator(const GraphView& graph, const NodePlan& node) {
  model_root(graph, node);
  check_taken(graph, node, {"trajectories"}, "an edge to a judge");
  bool fed = false;
  for (int e : node.in_edges) fed = fed || graph.edges[e].carries == "weights";
  if (!fed) refuse_without_effect(node, "on_flip", "on a generator that gets no new weights", "remove it");
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  const bool truncated = node.attrs.number("top_p") < 1 || node.attrs.integer("top_k") > 0;
  if (trainer != nullptr && trainer->attrs.text("objective") == "grpo") {
    if (truncated && !node.attrs.flag("allow_truncated"))
      throw bad_input(
          fmt::format("generator '{}' truncates the distribution (top_p, top_k) that '{}' learns from", node.id, trainer->id),
          node.attrs.where(node.attrs.number("top_p") < 1 ? "top_p" : "top_k"),
          "remove top_p and top_k, or say allow_truncated=true");
    if (node.attrs.number("temperature") <= 0)
      throw bad_input(fmt::format("generator '{}' is greedy: grpo needs samples that differ", node.id),
                      node.attrs.where("temperature"), "temperature=1");
    if (!fed)
      throw bad_input(fmt::format("generator '{}' gets no weights from '{}'", node.id, trainer->id), node.where,
                      fmt::format("add: {} -> {} [carries=weights, staleness=1];", trainer->id, node.id));
    if (node.attrs.integer("samples") < 2)
      throw bad_input("grpo compares the samples of a group: one is not enough", node.attrs.where("samples"), "samples=8");
  }
}

}  // namespace

const ConfigTable<GenRequest>& request_table() {
  using C = GenRequest;
  using namespace spec;
  static const ConfigTable<C> kTable = {
      sets(integer("samples", "8", 1, 65536, "completions per prompt (G)"), &C::samples),
      sets(temperature("of sampling; 0: greedy"), &C::temperature),
      sets(integer("max_tokens", "96", 1, 1 << 24, "longest completion, tokens"), &C::max_new_tokens),
      sets(integer("top_k", "0", 0, 1 << 22, "0: off"), &C::top_k), sets(top_p(), &C::top_p)};
  return kTable;
}

const ConfigTable<GeneratorConfig>& generator_table() {
  using C = GeneratorConfig;
  using namespace spec;
  static const ConfigTable<C> kTable = {
      chooses(choice("on_flip", "recompute", {"recompute", "keep", "finish"},
                     "what happens to running samples when new weights arrive"),
              &C::on_flip, {OnFlip::recompute, OnFlip::keep, OnFlip::finish}),
      sets(changeable(integer("max_running", "256", 1, 65536, "sequences decoded at once")), &C::max_running),
      sets(changeable(flag("draft", "false",
                           "the model's multi-token prediction module guesses ahead: the same tokens in fewer decode steps")),
           &C::draft)};
  return kTable;
}

RoleKind generator_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "generator";
  r.spec.doc = "samples groups of completions with continuous batching";
  add_specs(request_table(), r.spec.attrs);
  add_specs(generator_table(), r.spec.attrs);
  r.spec.attrs.push_back(stop());
  r.spec.attrs.push_back(on());
  for (AttrSpec& attr : placed()) r.spec.attrs.push_back(std::move(attr));
  r.spec.attrs.push_back(
      flag("allow_truncated", "false", "train on samples of a truncated distribution (top_k, top_p) all the same"));
  r.spec.edge_attrs = {capacity(),
                       carried(integer("staleness", "0", 0, 1024, "versions a trained token may be old"), {"weights"})};
  r.spec.ports = {takes("prompts", true), takes_weights(Versions::each), takes("credits"), takes_finished("model"),
                  gives("trajectories")};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_generator(graph, node);
    parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
    check_model_use(graph_dir, graph, node);
    if (node.attrs.flag("draft")) need_mtp_module(graph_dir, graph, node, "draft");
    check_batch_fits(graph, node);
  };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<GeneratorRole>(env); };
  return r;
}

}  // namespace r1
