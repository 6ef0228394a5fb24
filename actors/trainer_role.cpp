#include "actors/trainer_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>

#include "actors/batch_layout.h"
#include "actors/batch_statistics.h"
#include "actors/broken_promise.h"
#include "actors/changed_run.h"
#include "actors/checkpoint_files.h"
#include "actors/continued_run.h"
#include "actors/example_collector.h"
#include "actors/graph_checks.h"
#include "actors/learning_rate_hint.h"
#include "actors/messages.h"
#include "actors/progress_line.h"
#include "actors/publisher.h"
#include "actors/reward_errors.h"
#include "actors/snapshots.h"
#include "actors/stage_verdict.h"
#include "actors/steering.h"
#include "actors/stored_rows.h"
#include "actors/trainer_checks.h"
#include "actors/training_attrs.h"
#include "actors/training_plan.h"
#include "actors/training_progress.h"
#include "actors/version_log.h"
#include "base/log.h"
#include "base/stop.h"
#include "runtime/fault.h"
#include "runtime/flow/steered_role.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TrainerRole final : public Role, public SteeredRole {
 public:
  explicit TrainerRole(const RunEnv& env) : env_(env) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    const NodePlan& node = context.node();
    stage_ = context.graph().stages[node.stage].name;
    until_.emplace(parse_until(context.graph(), node));
    batch_size_ = node.attrs.integer("batch");
    epochs_ = node.attrs.integer("epochs");
    rules_ = layout_rules(node);
    errors_ = RewardErrors(context.graph(), node.stage);
    measures_.mtp = node.attrs.flag("mtp");
    publisher_ = Publisher(context.graph(), context.outputs("weights"));
    snapshots_ = Snapshots(env_.run_dir, stage_, node.attrs.number("snapshot_s"), node.attrs.number("snapshot_share"),
                           context.now_s(), context.recovered().snapshots);
    log_ = VersionLog(env_, stage_, node.attrs.integer("keep_versions"));
    if (epochs_ == 0) return restore(context, drawn_batches(context));
    examples_ =
        std::make_unique<ExampleCollector>(env_, lengths_, context, rules_.stride, [this, &context] { collected(context); });
    examples_->start(context);
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    if (auto batch = std::dynamic_pointer_cast<const BatchMessage>(payload)) {
      batch_edge_ = edge;
      batches_.push_back(std::move(batch));
      pump(context);
    } else if (auto examples = std::dynamic_pointer_cast<const ExamplesMessage>(payload)) {
      if (epochs_ > 0) {
        examples_->receive(context, edge, std::move(examples));
      } else {
        example_edge_ = edge;
        chunks_.push_back(std::move(examples));
        pump(context);
      }
    } else if (auto metrics = std::dynamic_pointer_cast<const MetricsMessage>(payload)) {
      context.release(edge);
      steering_.check_decides(metrics->node, metrics->metrics);
      steering_.note(metrics->node, metrics->version, metrics->metrics);
      if (metrics->version == version_ && --asked_ == 0) evaluated(context);
    }
  }

  void on_stage_end(RoleContext&) override {}

  void order(RoleContext& context, RoleOrder order) override {
    if (!restored_) return orders_.push_back(std::move(order));
    if (ending_)
      return order.answer({"", nullptr,
                           std::make_exception_ptr(bad_input(fmt::format("stage {} is ending", stage_), {},
                                                             "'stages' shows when the next one begins"))});
    switch (order.kind) {
      case RoleOrder::Kind::set:
        return change(context, order);
      case RoleOrder::Kind::checkpoint:
        return checkpoint_now(context, order);
      case RoleOrder::Kind::weights:
        return give_weights(order);
    }
  }

  std::string inspect() const override {
    return fmt::format(R"({{"version":{},"queued_batches":{}}})", version_, batches_.size() + chunks_.size());
  }

 private:
  void collected(RoleContext& context) {
    const int64_t n = examples_->set().size();
    if (n == 0) throw failure("stage '" + stage_ + "' has no examples to learn from", context.node().where);
    const int64_t batches = (n * epochs_ + batch_size_ - 1) / batch_size_;
    context.submit_io(
        "note the size of the set", [&context, batches] { remember_batches(context.journal(), batches); },
        [this, &context, batches] { restore(context, batches); });
  }

  // Batches that a prompter with count= draws in all; 0 when it is endless.
  int64_t drawn_batches(RoleContext& context) const {
    const NodePlan* prompter = stage_node(context.graph(), context.node().stage, "prompter");
    if (prompter == nullptr || context.inputs("groups").empty()) return 0;
    return prompter->attrs.integer("count") / prompter->attrs.integer("groups_per_batch");
  }

  // ---- recovery

  void restore(RoleContext& context, int64_t batches) {
    batches_planned_ = batches;
    progress_.plan(batches, epochs_);
    done_before_ = context.recovered().artifacts.count("checkpoint") != 0;
    context.submit(
        "restore the trainer", "", [this, &context] { restore_work(context); },
        [this, &context] {
          restored_ = true;
          first_version_ = version_;
          read_until(context);
          begin_s_ = context.now_s();
          progress_.note_held_out(steering_.series());
          publish(context);
          for (RoleOrder& early : std::exchange(orders_, {})) order(context, std::move(early));
          if (done_before_) return end(context);
          log_.keep(context, publisher_.current());
          if (!ask_evaluators(context, /*last=*/false)) evaluated(context);
        });
  }

  void restore_work(RoleContext& context) {
    StageJournal& journal = context.journal();
    const GraphView& graph = context.graph();
    changes_ = journal.changes();
    errors_.restore(context.recovered());
    const TrainerConfig config = config_at(context, 0);
    warn_of_warmup(context, config);
    measures_.objective = config.objective;
    engine_ = env_.engines->learner(context.node().id, config, *trainer_start_weights(env_, graph, context.node()));
    const int64_t committed = context.recovered().batches;
    snapshots_.load(context, *engine_);
    if (engine_->version() == 0) remember_start(journal, engine_->masters_hash());
    engine_->change(config_at(context, engine_->version()));
    if (engine_->version() < committed) context.event("replay", json{{"from", engine_->version()}, {"to", committed}}.dump());
    // What was sampled by other arithmetic has other log-probabilities.
    const bool same_arithmetic = !context.recovered().other_arithmetic;
    while (engine_->version() < committed) {
      next_unit();
      const int64_t version = engine_->version();
      if (changes_at(changes_, version)) engine_->change(config_at(context, version));
      const TrainBatch batch = stored_batch(journal, version);
      const TrainStats stats = trained_on(context, batch);
      if (same_arithmetic) check_promise(stats, decode_batch(journal.batch(version).payload));
      // What training adds to a batch's row is buffered, so a crash may have lost it: it is the same again.
      const json before = batch_stats_in(journal, version, journal.batch(version).stats_json);
      context.records().stats(version, merged(before, stats, batch).dump());
    }
    version_ = engine_->version();
    engine_->change(config_at(context, version_));
    publisher_.make(*engine_);
    for (const auto& [version, text] : journal.batch_stats()) progress_.note(batch_stats_in(journal, version, text));
    steering_ = Steering(graph, context.node().stage);
    steering_.restore(journal);
  }

  TrainerConfig config_at(RoleContext& context, int64_t version) const {
    return trainer_config_at(env_, context.graph(), context.node(), batches_planned_, changes_, version);
  }

  // ---- one version

  bool over(const RoleContext& context) const {
    return progress_.epochs_over() || until_->reached(progress_.until_input()) || (inputs_over_ && chunks_.empty()) ||
           too_idle(context.node(), progress_.idle());
  }

  void read_until(const RoleContext& context) {
    until_.emplace(parse_until(context.graph(), changed_node(context.node(), changes_, version_)));
  }

  void wait_for_batch(RoleContext& context) {
    if (epochs_ > 0) return;
    const NodePlan* from = nullptr;
    for (const char* kind : {"groups", "examples", "pairs"})
      for (int e : context.inputs(kind)) from = &context.graph().nodes[context.graph().edges[e].from];
    context.wait_for("batch", fmt::format("for batch {}", version_), from ? from->id : "");
  }

  void pump(RoleContext& context) {
    if (!restored_ || busy_ || ending_) return;
    auto plan = std::make_shared<Plan>();
    if (epochs_ > 0) {
      plan->first = version_ * batch_size_;
      plan->end = std::min(plan->first + batch_size_, examples_->set().size() * epochs_);
    } else if (!chunks_.empty()) {
      plan->chunk = chunks_.front();
      chunks_.pop_front();
      inputs_over_ = plan->chunk->last;
      if (plan->chunk->sequences.empty()) {  // "nothing follows", to a stage that was stopped behind its last batch
        context.release(example_edge_);
        if (over(context)) end(context);
        return;
      }
    } else if (!batches_.empty()) {
      plan->batch = batches_.front();
      batches_.pop_front();
      R1_CHECK(plan->batch->version == version_, fmt::format("batch {} at version {}", plan->batch->version, version_));
    } else {
      return;
    }
    busy_ = true;
    context.wait_over("batch");
    context.submit_io(
        fmt::format("commit batch {}", version_), [this, &context, plan] { commit(context, *plan); },
        [this, &context, plan] { train(context, plan); });
  }

  // One version's batch: groups, a chunk of examples, or examples [first, end) of the set.
  struct Plan {
    std::shared_ptr<const BatchMessage> batch;
    std::shared_ptr<const ExamplesMessage> chunk;
    int64_t first = 0, end = 0;
    BatchLayout layout;
    TrainStats result;
    double seconds = 0;
  };

  void commit(RoleContext& context, Plan& plan) {
    plan.layout = plan.batch ? laid_out(context, *plan.batch) : lay_out_examples(examples_of(context, plan), rules_);
    const GroupRows rows = std::exchange(plan.layout.rows, {});
    BatchRow row;
    row.version = version_;
    row.skipped = plan.layout.content.items.empty();
    row.payload = encode_batch(plan.layout.content);
    row.stats_json = plan.layout.stats.dump();
    context.journal().commit(row, rows.resolutions, rows.trajectories);
    errors_.add(rows.resolutions);
    errors_.check();
  }

  BatchLayout laid_out(RoleContext& context, const BatchMessage& batch) {
    for (const BatchMessage::Group& group : batch.groups) errors_.show_first(context.records(), *group.scored);
    return lay_out_groups(batch, rules_);
  }

  std::vector<Sequence> examples_of(RoleContext& context, const Plan& plan) {
    if (!plan.chunk) return examples_->set().read(plan.first, plan.end);
    for (const Sequence& s : plan.chunk->sequences) lengths_.check(context, s);
    return plan.chunk->sequences;
  }

  void train(RoleContext& context, const std::shared_ptr<Plan>& plan) {
    std::optional<TrainerConfig> changed;
    if (changes_at(changes_, version_)) changed = config_at(context, version_);
    context.submit(
        fmt::format("train batch {}", version_), "trainer",
        [this, &context, plan, changed] {
          const double begin = context.now_s();
          if (changed) engine_->change(*changed);
          plan->result = trained_on(context, plan->layout.train);
          check_promise(plan->result, plan->layout.content);
          fault_point("after_optimizer_step");
          if (publisher_.wanted(engine_->version()) || log_.keeps()) publisher_.make(*engine_);
          plan->seconds = context.now_s() - begin;
        },
        [this, &context, plan] { trained(context, *plan); });
  }

  // P2: an item of the batch whose token was given another log-probability by the sampler ends the run.
  void check_promise(const TrainStats& r, const BatchContent& content) const {
    if (!(r.logprob_gap.max > 0)) return;
    const auto& item = content.items.at(static_cast<size_t>(r.logprob_gap.sequence));
    throw logprob_gap_error(stage_, engine_->version() - 1, item.draw, item.sample, r.logprob_gap);
  }

  // A batch is stored before it is trained on, so one that cannot be trained on fails again and again: what to type is said.
  TrainStats trained_on(const RoleContext& context, const TrainBatch& batch) {
    try {
      return engine_->train(batch);
    } catch (const NotFinite& e) {
      throw with_smaller_rate(e, context.graph(), context.node());
    }
  }

  json merged(json stats, const TrainStats& result, const TrainBatch& batch) const {
    TrainingMeasures measures = measures_;
    measures.reference = !batch.sequences.empty() && !batch.sequences[0].reference_logp.empty();
    return with_training(std::move(stats), result, measures);
  }

  void trained(RoleContext& context, const Plan& plan) {
    if (plan.batch) context.release(batch_edge_);
    if (plan.chunk) context.release(example_edge_);
    const json measured = merged(plan.layout.stats, plan.result, plan.layout.train);
    context.records().stats(version_, measured.dump());
    progress_.note(measured);
    warn_of_idle_ranks(context, plan.result);
    version_ = engine_->version();
    if (changes_at(changes_, version_)) read_until(context);  // one that was set before a restart, for a batch after it
    busy_ = false;
    publish(context);
    fault_point("after_publish");
    log_.keep(context, publisher_.current());
    context.progress(progress_line(progress_facts(context, plan), measured));
    if (!ask_evaluators(context, /*last=*/false)) go_on(context);
  }

  static void warn_of_warmup(const RoleContext& context, const TrainerConfig& c) {
    if (c.total_steps == 0 || c.warmup_steps <= c.total_steps) return;
    log_warn(
        fmt::format("{}: warmup={} is more than the stage's {} optimizer step{}, so the learning rate comes to {:.3g} and not "
                    "to lr={:g}; lower warmup, or train for longer",
                    context.node().id, c.warmup_steps, c.total_steps, c.total_steps == 1 ? "" : "s",
                    c.lr * static_cast<double>(c.total_steps) / static_cast<double>(c.warmup_steps), c.lr));
  }

  void warn_of_idle_ranks(const RoleContext& context, const TrainStats& r) {
    const int64_t ranks = context.node().attrs.integer("ranks");
    if (r.micro_batches == 0 || std::exchange(looked_for_idle_ranks_, true) || r.micro_batches >= ranks) return;
    log_warn(
        fmt::format("{}: a mini-batch has {} micro-batch{}, so {} of {} ranks have no work; lower micro_batch_tokens={}, "
                    "raise the batch, or ranks={}",
                    context.node().id, r.micro_batches, r.micro_batches == 1 ? "" : "es", ranks - r.micro_batches, ranks,
                    context.node().attrs.integer("micro_batch_tokens"), r.micro_batches));
  }

  void go_on(RoleContext& context) {
    if (over(context)) return end(context);
    wait_for_batch(context);
    if (version_ > first_version_ && !recording_ && snapshots_.due(context.now_s())) return snapshot(context);
    pump(context);
  }

  // ---- evaluations on the way

  // Whether there is something to wait for; then evaluated() comes next, and no batch before it.
  bool ask_evaluators(RoleContext& context, bool last) {
    const std::vector<const SteeringEvaluator*> due = steering_.due(version_, last);
    if (due.empty()) return false;
    busy_ = true;
    asked_ = static_cast<int64_t>(due.size());
    context.wait_for("evaluation", fmt::format("for the evaluation of version {}", version_), due[0]->node->id);
    std::vector<int> edges;
    for (const SteeringEvaluator* e : due) edges.push_back(e->edge);
    context.submit(
        fmt::format("weights of version {} for its evaluation", version_), "", [this] { publisher_.make(*engine_); },
        [this, &context, edges] {
          for (const int e : edges) context.send(e, publisher_.current());
        });
    return true;
  }

  // All of them have answered, or none was asked after a restart, when the best version's checkpoint may still be missing.
  void evaluated(RoleContext& context) {
    busy_ = true;
    context.wait_over("evaluation");
    progress_.note_held_out(steering_.series());
    if (steering_.any()) steering_.check_names(context.node(), until_->metrics());
    const auto best = steering_.best();
    if (!best || best->version != version_) {
      busy_ = false;
      return go_on(context);
    }
    auto written = std::make_shared<Checkpoint>();
    context.submit(
        fmt::format("write the checkpoint of version {}, the best so far", version_), "",
        [this, &context, written] { *written = write_checkpoint(context, stage_ + "-best"); },
        [this, &context, written] {
          context.submit_io(
              "record the best checkpoint",
              [&context, written] {
                context.journal().artifact("best", {written->path, written->hash}, written->files);
              },
              [this, &context] {
                busy_ = false;
                go_on(context);
              });
        });
  }

  ProgressFacts progress_facts(const RoleContext& context, const Plan& plan) const {
    ProgressFacts facts;
    facts.batch = version_;
    facts.limit = batches_planned_ > 0 ? batches_planned_ : until_->batch_limit();
    facts.groups = plan.batch != nullptr;
    facts.pairs = rules_.stride == 2;
    facts.incomplete = progress_.incomplete();
    if (plan.seconds > 0) facts.tokens_per_s = static_cast<double>(plan.result.tokens) / plan.seconds;
    if (facts.limit > version_ && version_ > first_version_)
      facts.left_s = (context.now_s() - begin_s_) / static_cast<double>(version_ - first_version_) *
                     static_cast<double>(facts.limit - version_);
    return facts;
  }

  void snapshot(RoleContext& context) {
    busy_ = true;
    recording_ = true;
    auto begun = std::make_shared<Snapshots::Begun>();
    const double begin_s = context.now_s();
    context.submit(
        fmt::format("snapshot version {}", version_), "", [this, begun] { *begun = snapshots_.begin(*engine_); },
        [this, &context, begun, begin_s] {
          snapshots_.wrote(context.now_s() - begin_s, context.now_s());
          context.submit_io(
              "record snapshot", [this, &context, begun] { snapshots_.record(context.journal(), *begun); },
              [this] { recording_ = false; });
          busy_ = false;
          pump(context);
        });
  }

  // ---- orders of the shell

  void publish(RoleContext& context) {
    publisher_.publish(context);
    published_ = publisher_.current();
  }

  // From the next batch on that is not committed yet; its row is written before that batch's.
  void change(RoleContext& context, const RoleOrder& order) {
    const std::string name = context.node().id + "." + order.attr;
    const ChangeRow row{busy_ ? version_ + 1 : version_, name, value_after(context.node(), changes_, order.attr), order.value};
    if (row.before == row.after) return order.answer({fmt::format("{} is {} already", name, row.after), nullptr, nullptr});
    std::vector<ChangeRow> changes = changes_;
    changes.push_back(row);
    try {
      until_.emplace(parse_until(context.graph(), changed_node(context.node(), changes, row.version)));
    } catch (const Error&) {
      return order.answer({"", nullptr, std::current_exception()});
    }
    changes_ = std::move(changes);
    order.submit_io(
        "note that " + name + " changes", [order, row] { order.journal(row); },
        [this, &context, order, row] {
          order.answer({fmt::format("{}: {} -> {}, from batch {} on", row.attribute, row.before.empty() ? "(none)" : row.before,
                                    row.after, row.version),
                        nullptr, nullptr});
          if (!busy_ && !ending_ && over(context)) end(context);
        });
  }

  void checkpoint_now(RoleContext& context, const RoleOrder& order) {
    auto begun = std::make_shared<Snapshots::Begun>();
    order.submit(
        "write a checkpoint for r1-shell",
        [this, &context, begun] {
          *begun = snapshots_.begin(*engine_);
          save_checkpoint(env_, context.graph(), context.node(), at_version(begun->row.version), engine_->masters());
        },
        [this, &context, order, begun] {
          order.submit_io(
              "record the checkpoint for r1-shell",
              [this, &context, begun] {
                snapshots_.record(context.journal(), *begun);
                context.records().event("r1-shell", "checkpoint", json{{"version", begun->row.version}}.dump());
              },
              [this, order, begun] {
                order.answer(
                    {fmt::format("version {} of stage {}: {} holds the model, and nothing before it is trained again",
                                 begun->row.version, stage_, checkpoint_dir(env_, at_version(begun->row.version)).string()),
                     nullptr, nullptr});
              });
        });
  }
  std::string at_version(int64_t version) const { return fmt::format("{}-v{}", stage_, version); }

  void give_weights(const RoleOrder& order) {
    if (published_ && published_->version == version_) return order.answer({"", published_, nullptr});
    auto made = std::make_shared<WeightsMessage>();
    order.submit(
        "weights for r1-shell",
        [this, made] {
          made->version = engine_->version();
          made->weights = engine_->weights();
        },
        [order, made] {
          order.answer({"", made, nullptr});
        });
  }

  // ---- the end of the stage

  struct Checkpoint {
    std::string path, hash;
    std::vector<ArtifactFile> files;
  };

  // On the executor.
  Checkpoint write_checkpoint(RoleContext& context, const std::string& name) {
    save_checkpoint(env_, context.graph(), context.node(), name, engine_->masters());
    return {"checkpoints/" + name, engine_->masters_hash().hex(), fingerprint_directory(env_, "checkpoints/" + name)};
  }

  void end(RoleContext& context) {
    if (!done_before_ && ask_evaluators(context, /*last=*/true)) return;  // which comes back here
    ending_ = true;
    context.wait_over("batch");
    auto written = std::make_shared<Checkpoint>();
    context.submit(
        "write the checkpoint", "",
        [this, &context, written] {
          publisher_.make(*engine_);
          *written = write_checkpoint(context, stage_);
        },
        [this, &context, written] {
          context.submit_io(
              "record the checkpoint",
              [this, &context, written] {
                context.journal().artifact("checkpoint", {written->path, written->hash}, written->files);
                snapshots_.remove_all(context.journal());
              },
              [this, &context] {
                publisher_.publish_last(context);
                dynamic_cast<StageControl&>(context).end_stage();
                context.finish();
              });
        });
  }

  RunEnv env_;
  std::string stage_;
  LayoutRules rules_;
  std::optional<Until> until_;
  Steering steering_;
  int64_t asked_ = 0;  // evaluators that have not answered
  int64_t batch_size_ = 1, epochs_ = 0, batches_planned_ = 0, version_ = 0, first_version_ = 0;
  int batch_edge_ = -1, example_edge_ = -1;
  bool restored_ = false, busy_ = false, ending_ = false, inputs_over_ = false, done_before_ = false, recording_ = false;
  bool looked_for_idle_ranks_ = false;
  double begin_s_ = 0;
  ExampleLengths lengths_{env_};
  std::unique_ptr<ExampleCollector> examples_;  // epochs: of everything
  std::deque<std::shared_ptr<const BatchMessage>> batches_;
  std::deque<std::shared_ptr<const ExamplesMessage>> chunks_;
  std::deque<RoleOrder> orders_;  // came before the trainer was restored
  std::shared_ptr<const WeightsMessage> published_;
  TrainingProgress progress_;  // of committed batches
  RewardErrors errors_;
  TrainingMeasures measures_;

  // Of this stage's attributes, by r1-shell and the commands that continued the run. Read by the job that restores, which no
  // order precedes; then the role's own.
  std::vector<ChangeRow> changes_;

  // Touched by jobs only while one is running.
  std::unique_ptr<Learner> engine_;
  Publisher publisher_;
  Snapshots snapshots_;
  VersionLog log_;
};

}  // namespace

RoleKind trainer_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "trainer";
  r.spec.doc = "learns: commits a batch, takes optimizer steps, publishes a version";
  r.spec.attrs = training_attrs();
  r.spec.edge_attrs = {capacity(), model_name()};
  r.spec.ports = {
      takes("groups"),         takes("examples", false, true), takes("pairs", false, true), takes_finished("dataset", true),
      takes_finished("model"), gives("weights", true),         gives_finished("model"),     takes("metrics", false, true)};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) { check_trainer(graph_dir, graph, node); };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<TrainerRole>(env); };
  return r;
}

RoleKind distiller_kind(const std::filesystem::path& graph_dir) {
  RoleKind r = trainer_kind(graph_dir);
  r.spec.name = "distiller";
  r.spec.doc = "trains a student on a teacher's curated answers (supervised, as in the paper)";
  r.spec.attrs = distilling_attrs();
  return r;
}

}  // namespace r1
