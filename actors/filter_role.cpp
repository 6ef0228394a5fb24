#include "actors/filter_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "actors/batch_layout.h"
#include "actors/dataset.h"
#include "actors/graph_checks.h"
#include "actors/messages.h"
#include "actors/metric_table.h"
#include "actors/model_chat.h"
#include "actors/reward_errors.h"
#include "rewards/expression.h"
#include "rewards/program_calls.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Scored = std::shared_ptr<const ScoredMessage>;

// What both kinds of filter share: draws arrive in any order and leave in windows of B draws: consecutive ones (order=draw), or
// as they arrived (order=arrival).
class FilterRole : public Role {
 public:
  explicit FilterRole(const RunEnv& env) : env_(env) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    window_ = stage_window(context.graph(), context.node().stage);
    by_arrival_ = context.node().attrs.text("order") == "arrival";
    next_ = context.recovered().batches;
    begin(context);
    pump(context);
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    auto scored = std::dynamic_pointer_cast<const ScoredMessage>(payload);
    const int64_t draw = scored->group->prompt->draw;
    // Admission bounds how many draws can be here, so the channel is freed at once.
    R1_CHECK(by_arrival_ || draw >= first_draw(), fmt::format("draw {} came after its window", draw));
    const int64_t place = by_arrival_ ? arrivals_++ : draw;
    R1_CHECK(held_.emplace(place, std::move(scored)).second, fmt::format("draw {} came twice", draw));
    context.release(edge);
    pump(context);
  }
  void on_room(RoleContext& context, int) override { pump(context); }
  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    if (!busy_) context.finish();
  }
  std::string inspect() const override { return fmt::format(R"({{"window":{},"held":{}}})", next_, held_.size()); }

 protected:
  virtual void begin(RoleContext&) {}
  virtual bool can_take(RoleContext&) = 0;
  virtual void take(RoleContext&, std::vector<Scored> window) = 0;
  virtual int64_t window_end() const { return (next_ + 1) * window_; }

  // The first draw that is not in a window yet (order=draw).
  virtual int64_t first_draw() const { return next_ * window_; }

  // The draws of the next window, taken out of held_; empty while some are still on their way.
  virtual std::vector<Scored> next_window(RoleContext&) {
    std::vector<Scored> window;
    const int64_t size = window_end() - next_ * window_;
    const auto end = by_arrival_ ? held_.end() : held_.lower_bound(window_end());
    if (std::distance(held_.begin(), end) < size) return window;
    while (static_cast<int64_t>(window.size()) < size) {
      window.push_back(held_.begin()->second);
      held_.erase(held_.begin());
    }
    return window;
  }

  void pump(RoleContext& context) {
    while (!busy_ && !ended_ && !complete_ && can_take(context)) {
      std::vector<Scored> window = next_window(context);
      if (window.empty()) break;
      take(context, std::move(window));
    }
    if (!ended_ && !busy_ && !complete_)
      context.wait_for("window", fmt::format("for the draws of batch {}, {} so far", next_, held_.size()), judge(context));
    if (ended_ && !busy_) context.finish();
  }

  static std::string judge(RoleContext& context) {
    const NodePlan* node = stage_node(context.graph(), context.node().stage, "judge");
    return node != nullptr ? node->id : "";
  }

  RunEnv env_;
  int64_t window_ = 1;
  int64_t next_ = 0;  // the window being collected
  bool busy_ = false, ended_ = false, complete_ = false;
  bool by_arrival_ = false;
  int64_t arrivals_ = 0;
  std::map<int64_t, Scored> held_;  // by draw, or by arrival
};

// For reinforcement learning: groups whose rewards are all equal teach nothing. They leave their batch smaller (fill=shrink),
// or draws go on until N groups are kept, at most max_draws (fill=resample; DAPO, Yu et al. 2025, section 3.2).
class GroupFilterRole final : public FilterRole {
 public:
  using FilterRole::FilterRole;

 private:
  void begin(RoleContext& context) override {
    out_ = context.outputs("groups").at(0);
    staleness_ = stage_staleness(context.graph(), context.node().stage);
    const NodePlan* trainer = stage_trainer(context.graph(), context.node().stage);
    masks_truncated_ = trainer != nullptr && trainer->attrs.flag("mask_truncated");
    resamples_ = context.node().attrs.text("fill") == "resample";
    if (!resamples_) return;
    max_draws_ = max_draws_of(context.node(), window_);
    credits_edge_ = context.outputs("credits").at(0);
    // Batches are committed in draw order, so what is resolved is a prefix of the draws.
    const LedgerCounts& ledger = context.recovered().ledger;
    int64_t dropped = 0;
    for (const auto& [why, n] : ledger.dropped) dropped += n;
    cursor_ = batch_begin_ = ledger.trained + dropped;
    spare_ = dropped - (next_ * window_ - ledger.trained);
    give_credits(context);
  }
  bool can_take(RoleContext& context) override {
    if (credits_due_) give_credits(context);
    return context.room(out_) > 0;
  }
  int64_t first_draw() const override { return resamples_ ? cursor_ : FilterRole::first_draw(); }

  std::vector<Scored> next_window(RoleContext& context) override {
    if (!resamples_) return FilterRole::next_window(context);
    while (!held_.empty() && held_.begin()->first == cursor_) {
      Scored scored = held_.begin()->second;
      held_.erase(held_.begin());
      ++cursor_;
      const bool keep = reason(*scored).empty();
      collected_.push_back(std::move(scored));
      kept_ += keep;
      if (!keep) {
        ++spare_;
        give_credits(context);
      }
      if (kept_ < window_ && static_cast<int64_t>(collected_.size()) < max_draws_) continue;
      spare_ -= window_ - kept_;
      return std::exchange(collected_, {});
    }
    return {};
  }

  void give_credits(RoleContext& context) {
    credits_due_ = context.room(credits_edge_) <= 0;
    if (credits_due_) return;  // the next room brings it: what is sent then is newer
    auto m = std::make_shared<CreditsMessage>();
    m->spare = spare_;
    m->batch = next_;
    m->first_draw = batch_begin_;
    m->max_draws = max_draws_;
    context.send(credits_edge_, m);
  }

  void take(RoleContext& context, std::vector<Scored> window) override {
    busy_ = true;
    auto batch = std::make_shared<BatchMessage>();
    batch->version = next_;
    auto held = std::make_shared<std::vector<Scored>>(std::move(window));
    context.submit(
        "form " + batch->describe(), "",
        [this, batch, held] {
          for (Scored& scored : *held) batch->groups.push_back({scored, reason(*scored), {}});
        },
        [this, &context, batch] {
          busy_ = false;
          ++next_;
          if (!ended_) give(context, batch);
          pump(context);
        });
  }

  void give(RoleContext& context, const std::shared_ptr<const BatchMessage>& batch) {
    context.send(out_, batch);
    if (!resamples_) return;
    kept_ = 0;
    batch_begin_ = cursor_;
    give_credits(context);
  }

  std::string reason(const ScoredMessage& scored) const {
    if (const std::string& dropped = scored.group->prompt->dropped; !dropped.empty()) return dropped;
    if (scored.failed_sample() >= 0) return "reward_error";
    // In draw order admission rules this out; in order of arrival a draw can be overtaken.
    const std::vector<Sequence>& samples = scored.group->samples;
    if (std::any_of(samples.begin(), samples.end(), [&](const Sequence& s) { return sample_age(s, next_) > staleness_; }))
      return "stale";
    const std::optional<double> first = scored.scores.at(0).reward;
    const bool spread =
        std::any_of(scored.scores.begin(), scored.scores.end(), [&](const SampleScore& s) { return s.reward != first; });
    if (!spread) return "equal_rewards";
    // The trainer would leave out every sample.
    const std::vector<uint8_t>& finished = scored.group->finished;
    return masks_truncated_ && std::count(finished.begin(), finished.end(), 0) == static_cast<int64_t>(finished.size())
               ? "truncated"
               : "";
  }

  int out_ = -1;
  int64_t staleness_ = 0;
  bool masks_truncated_ = false;
  // fill=resample
  bool resamples_ = false, credits_due_ = false;
  int credits_edge_ = -1;
  int64_t max_draws_ = 0, cursor_ = 0, batch_begin_ = 0, kept_ = 0, spare_ = 0;
  std::vector<Scored> collected_;  // of the batch being filled, dropped ones included
};

// In front of a dataset: keeps completions for which `keep` is true, at most max_per_prompt distinct ones of a prompt. Each
// window is committed like a batch, so that a restart goes on behind the last one.
class DatasetFilterRole final : public FilterRole {
 public:
  using FilterRole::FilterRole;

 private:
  void begin(RoleContext& context) override {
    const NodePlan& node = context.node();
    keep_ = RewardExpression::parse(node.attrs.text("keep"), node.attrs.where("keep"));
    per_prompt_ = node.attrs.integer("max_per_prompt");
    if (const NodePlan* judge = stage_node(context.graph(), node.stage, "judge"))
      models_ = reward_model_names(context.graph(), *judge);
    errors_ = RewardErrors(context.graph(), node.stage);
    errors_.restore(context.recovered());
    total_ = stage_node(context.graph(), node.stage, "prompter")->attrs.integer("count");
    if (next_ * window_ >= total_) write(context);
  }
  bool can_take(RoleContext&) override { return true; }
  int64_t window_end() const override { return std::min((next_ + 1) * window_, total_); }

  void take(RoleContext& context, std::vector<Scored> window) override {
    busy_ = true;
    auto held = std::make_shared<std::vector<Scored>>(std::move(window));
    context.submit_io(
        fmt::format("commit window {}", next_), [this, &context, held] { commit(context, *held); },
        [this, &context] {
          busy_ = false;
          ++next_;
          context.progress(fmt::format("prompts {}/{}  kept {} completions", std::min(next_ * window_, total_), total_, kept_));
          if (next_ * window_ >= total_) return write(context);
          pump(context);
        });
  }

  void commit(RoleContext& context, const std::vector<Scored>& window) {
    GroupRows rows;
    std::string lines;
    int64_t kept = 0;
    for (const Scored& scored : window) {
      const PromptMessage& prompt = *scored->group->prompt;
      const Choice choice = chosen(*scored, prompts_chat(context));
      if (choice.failed >= 0) errors_.show_first(context.records(), *scored, choice.failed, choice.error);
      for (const auto& [written, i] : choice.responses)
        lines += dataset_line(prompt, scored->responses[i], scored->group->finished[i] != 0, prompts_chat(context));
      kept += static_cast<int64_t>(choice.responses.size());
      rows.add(*scored, next_,
               !prompt.dropped.empty()    ? prompt.dropped
               : choice.failed >= 0       ? "reward_error"
               : choice.responses.empty() ? "rejected"
                                          : "");
    }
    BatchRow row;
    row.version = next_;
    row.skipped = lines.empty();
    row.payload = std::move(lines);
    json stats = rows.statistics.json();
    stats["kept"] = kept;  // completions here, not groups
    row.stats_json = stats.dump();
    context.journal().commit(row, rows.resolutions, rows.trajectories);
    kept_ += kept;
    errors_.add(rows.resolutions);
    errors_.check();
  }

  // What is kept of a group, or the sample for which neither the judge nor `keep` could say.
  struct Choice {
    std::map<std::string, size_t> responses;  // what was written, end token included, and the first sample that did
    int failed = -1;
    std::string error;
  };
  Choice chosen(const ScoredMessage& scored, const ChatTemplate& chat) const {
    Choice choice;
    choice.failed = scored.failed_sample();
    if (choice.failed >= 0) {
      choice.error = scored.scores[static_cast<size_t>(choice.failed)].error;
      return choice;
    }
    for (size_t i = 0; i < scored.scores.size(); ++i) {
      if (static_cast<int64_t>(choice.responses.size()) >= per_prompt_) break;
      try {
        const auto& [response, end] = scored.responses[i];
        // A reply of blanks is no example: who reads the dataset refuses it.
        const PromptMessage& prompt = *scored.group->prompt;
        const std::string said = prompt.conversation.empty() ? response : chat.reply(prompt.text, response);
        if (said.find_first_not_of(" \t\r\n\v\f") == said.npos) continue;
        if (wanted(scored, i)) choice.responses.emplace(response + end, i);
      } catch (const Error& e) {
        return {{}, static_cast<int>(i), "keep: " + e.message()};
      }
    }
    return choice;
  }

  // What the stage's prompts were rendered with.
  const ChatTemplate& prompts_chat(RoleContext& context) {
    const NodePlan& prompter = *stage_node(context.graph(), context.node().stage, "prompter");
    if (!chat_) chat_ = source_chat(prompter.attrs.text("source"), node_chat(env_, context.graph(), prompter));
    return *chat_;
  }

  bool wanted(const ScoredMessage& scored, size_t i) const {
    RewardInput in;
    in.prompt = scored.group->prompt->text;
    in.response = scored.responses[i].text;
    in.facts = &scored.group->prompt->facts;
    in.finished = scored.group->finished[i] != 0;
    in.tokens = scored.group->sampled_tokens(i);
    return keep_->evaluate([&](const std::string& name) {
      const SampleScore& score = scored.scores[i];
      if (name == "reward") return *score.reward;
      if (std::find(models_.begin(), models_.end(), name) == models_.end() && !is_program_call(name))
        return rule_or_flag(name, in);
      const auto part = score.parts.find(name);
      if (part == score.parts.end()) throw failure("'" + name + "' did not score this completion: the judge did not ask it");
      return part->second;
    }) != 0;
  }

  void write(RoleContext& context) {
    complete_ = busy_ = true;
    context.wait_over("window");
    const std::string stage = context.graph().stages[context.node().stage].name;
    context.submit_io(
        "write the dataset", [this, &context, stage] { write_dataset(env_, stage, context.journal()); },
        [this, &context] {
          busy_ = false;
          dynamic_cast<StageControl&>(context).end_stage();
        });
  }

  std::optional<RewardExpression> keep_;
  std::vector<std::string> models_;  // of the judge
  std::shared_ptr<const ChatTemplate> chat_;
  RewardErrors errors_;
  int64_t per_prompt_ = 1, total_ = 0, kept_ = 0;
};

// Which of the two a node is follows from what leaves it.
class FilterByEdge final : public Role {
 public:
  explicit FilterByEdge(const RunEnv& env) : env_(env) {}
  bool recalls() const override { return true; }
  void start(RoleContext& context) override {
    if (context.outputs("groups").empty())
      role_ = std::make_unique<DatasetFilterRole>(env_);
    else
      role_ = std::make_unique<GroupFilterRole>(env_);
    role_->start(context);
  }
  void receive(RoleContext& c, int edge, PayloadPtr p) override { role_->receive(c, edge, std::move(p)); }
  void on_room(RoleContext& c, int edge) override { role_->on_room(c, edge); }
  void on_stage_end(RoleContext& c) override { role_->on_stage_end(c); }
  std::string inspect() const override { return role_ ? role_->inspect() : "{}"; }

 private:
  RunEnv env_;
  std::unique_ptr<Role> role_;
};

// A filter asks no program: it knows what the judge's said.
void check_kept_programs(const GraphView& graph, const NodePlan& filter, const RewardExpression& keep) {
  const NodePlan* judge = stage_node(graph, filter.stage, "judge");
  const std::vector<std::string> scored = judge != nullptr ? scored_names(graph, filter.stage) : std::vector<std::string>();
  for (const std::string& name : keep.variables())
    if (is_program_call(name) && std::find(scored.begin(), scored.end(), name) == scored.end())
      throw bad_input(fmt::format("keep uses {}, which the judge's rewards do not ask", name), attr_place(filter, "keep"),
                      "use it in rewards too, or keep by reward");
}

void refuse_choice_for_batches(const NodePlan& node) {
  for (const char* name : {"keep", "max_per_prompt"})
    refuse_without_effect(
        node, name, "on a filter that forms batches",
        "remove it: it chooses completions for a dataset; of a batch, the judge's rewards say what is learned");
}

// What does as fill=shrink where an edge asks for more draws: --set cannot remove it.
std::string as_shrink(const GraphView& graph, const NodePlan& filter) {
  const int64_t window = stage_window(graph, filter.stage);
  return fmt::format(
      "fill=resample, or remove the edge; --set {0}.fill=resample --set {0}.max_draws={1} draws {1} a batch and trains what is "
      "kept of them, as fill=shrink does",
      filter.id, window);
}

void check_filter(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  bool dataset = false, groups = false;
  for (int e : node.out_edges) {
    dataset = dataset || graph.edges[e].carries == "dataset";
    groups = groups || graph.edges[e].carries == "groups";
  }
  if (dataset == groups)
    throw bad_input(fmt::format("filter '{}' {}", node.id, dataset ? "gives both groups and a dataset" : "leads nowhere"),
                    node.where, "one filter forms batches or writes a dataset");
  const NodePlan* generator = stage_node(graph, node.stage, "generator");
  bool credits = false;
  for (int e : node.out_edges) credits = credits || graph.edges[e].carries == "credits";
  const bool resample = node.attrs.text("fill") == "resample";
  if (resample != credits && generator != nullptr)
    throw bad_input(resample ? "fill=resample has to tell the generator how many more draws it needs"
                             : fmt::format("'{}' has nothing to tell '{}'", node.id, generator->id),
                    resample ? attr_place(node, "fill") : node.where,
                    resample ? fmt::format("add: {} -> {};", node.id, generator->id) : as_shrink(graph, node));
  if (resample && node.attrs.text("order") != "draw")
    throw bad_input("fill=resample fills batches in draw order", attr_place(node, "order"), "order=draw");
  if (resample && (dataset || max_draws_of(node, stage_window(graph, node.stage)) < stage_window(graph, node.stage)))
    throw bad_input(dataset ? "fill=resample is for batches, not for datasets" : "max_draws is below groups_per_batch",
                    attr_place(node, dataset ? "fill" : "max_draws"));
  if (const NodePlan* prompter = stage_node(graph, node.stage, "prompter");
      resample && prompter != nullptr && prompter->attrs.integer("count") > 0)
    throw bad_input(fmt::format("fill=resample draws until its batches are full, but '{}' ends after count={}", prompter->id,
                                prompter->attrs.integer("count")),
                    attr_place(*prompter, "count"), "remove count, or say fill=shrink");
  if (!dataset) return refuse_choice_for_batches(node);
  refuse_without_effect(node, "order", "in front of a dataset", "remove it: it is about batches");
  const RewardExpression keep = check_expression(graph_dir, graph, node, "keep");
  check_kept_programs(graph, node, keep);
  if (keep.variables().empty())  // the same for every completion, and known now
    placed(node, "keep", [&] { return keep.evaluate([](const std::string&) { return 0.0; }); });
  const NodePlan* prompter = stage_node(graph, node.stage, "prompter");
  if (prompter == nullptr || prompter->attrs.integer("count") == 0)
    throw bad_input("a dataset needs an end: how many prompts are drawn for it",
                    prompter != nullptr ? prompter->where : node.where, "add count=1000 to the prompter");
}

}  // namespace

RoleKind filter_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "filter";
  r.spec.doc = "drops what teaches nothing and forms batches, or keeps the best completions as a dataset";
  r.spec.attrs = {
      choice("fill", "shrink", {"shrink", "resample"},
             "groups with equal rewards leave their batch smaller, or are drawn again (then add: filter -> generator)"),
      only_with("fill", {"resample"},
                integer("max_draws", "0", 0, 1'000'000'000, "draws that one batch may take; 0: 4 x groups_per_batch")),
      choice("order", "draw", {"draw", "arrival"},
             "batches form in draw order, or as groups arrive (late ones are dropped as stale)"),
      text("keep", "accuracy * format", "in front of a dataset: completions for which this is not 0 are kept"),
      integer("max_per_prompt", "2", 1, 65536, "in front of a dataset: distinct completions kept of a prompt")};
  r.spec.edge_attrs = {capacity()};
  r.spec.ports = {takes("scored", true), gives("groups"), gives("credits"), gives_finished("dataset")};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) { check_filter(graph_dir, graph, node); };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<FilterByEdge>(env); };
  return r;
}

}  // namespace r1
