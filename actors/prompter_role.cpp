#include "actors/prompter_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "actors/decontamination.h"
#include "actors/examples.h"
#include "actors/graph_checks.h"
#include "actors/messages.h"
#include "actors/model_chat.h"
#include "base/stop.h"
#include "tasks/source.h"

namespace r1 {

namespace {

class PrompterRole final : public Role {
 public:
  explicit PrompterRole(const RunEnv& env) : env_(env) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    const NodePlan& node = context.node();
    kind_ = source_kind(located_source(node.attrs.text("source"), env_.graph_dir));
    const char* carries = kind_ == RecordKind::prompt ? "prompts" : kind_ == RecordKind::example ? "examples" : "pairs";
    edge_ = context.outputs(carries).at(0);
    limit_ = node.attrs.integer("count");
    const Recovery& before = context.recovered();
    if (kind_ == RecordKind::prompt) {
      if (draws_in_windows(context.graph(), node.stage))
        next_ = before.batches * node.attrs.integer("groups_per_batch");
      else
        issued_before_ = before.next_draw;
    } else {
      const NodePlan& trainer = context.graph().nodes[context.graph().edges[edge_].to];
      const bool whole_set = trainer.attrs.integer("epochs") > 0;
      chunk_ = whole_set ? 64 : trainer.attrs.integer("batch");
      next_ = whole_set ? 0 : before.batches * chunk_;
      sees_answer_ = trainer.attrs.text("sees") == "answer";
    }
    // Opening a source may read a file, parsing a tokenizer takes a moment: off the actor.
    context.submit(
        "open " + node.attrs.text("source"), "",
        [this, &context] {
          tokenizer_ = node_tokenizer(env_, context.graph(), context.node());
          open(context);
          positions_ = origin_config(env_, model_root(context.graph(), context.node())).max_positions;
          drops_too_long_ = context.node().attrs.text("too_long") == "drop";
          if (kind_ != RecordKind::prompt && source_->size() && limit_ == 0) limit_ = static_cast<int64_t>(*source_->size());
          opened_ = true;
        },
        [this, &context] { pump(context); });
  }

  void receive(RoleContext&, int, PayloadPtr) override {}
  void on_room(RoleContext& context, int) override { pump(context); }
  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    finish(context);
  }

 private:
  bool exhausted() const { return limit_ > 0 && next_ >= limit_; }

  void pump(RoleContext& context) {
    if (busy_ || ended_ || !opened_) return;
    if (exhausted() && (kind_ == RecordKind::prompt || said_last_)) return finish(context);
    const int64_t room = context.room(edge_);
    if (room <= 0) return;
    busy_ = true;
    auto made = std::make_shared<std::vector<PayloadPtr>>();
    const int64_t first = next_;
    if (kind_ == RecordKind::prompt) {
      std::vector<int64_t> draws;
      for (; static_cast<int64_t>(draws.size()) < std::min<int64_t>(room, 32) && !exhausted(); ++next_)
        if (next_ >= issued_before_ || context.recovered().open_draws.count(next_) != 0) draws.push_back(next_);
      context.submit(
          fmt::format("draw prompts from {}", first), "",
          [this, made, draws] {
            for (int64_t d : draws) made->push_back(make_prompt(d));
          },
          [this, &context, made] { give(context, *made); });
    } else {
      const int64_t n = limit_ > 0 ? std::min(chunk_, limit_ - next_) : chunk_;
      next_ += n;
      context.submit(
          fmt::format("make examples {}..{}", first, first + n - 1), "",
          [this, made, first, n] { made->push_back(make_examples(first, n)); },
          [this, &context, made] { give(context, *made); });
    }
  }

  void give(RoleContext& context, const std::vector<PayloadPtr>& made) {
    busy_ = false;
    if (ended_) return;
    for (const PayloadPtr& payload : made) {
      if (const auto* prompt = dynamic_cast<const PromptMessage*>(payload.get()))
        context.records().draw(prompt->draw, prompt->prompt_index);
      context.send(edge_, payload);
    }
    pump(context);
  }

  PayloadPtr make_prompt(int64_t draw) {
    auto m = std::make_shared<PromptMessage>();
    m->draw = draw;
    m->prompt_index = draw;
    Prompt p = source_->prompt(static_cast<uint64_t>(m->prompt_index));
    m->tokens = tokenizer_->encode(p.text, false);
    if (contaminated_ && contaminated_(source_->texts(static_cast<uint64_t>(m->prompt_index)))) {
      m->dropped = "contaminated";
      m->tokens.clear();
    } else if (static_cast<int64_t>(m->tokens.size()) >= positions_) {
      if (!drops_too_long_)
        throw bad_input(fmt::format("a prompt of {} tokens, the model takes {}", m->tokens.size(), positions_),
                        source_->place(static_cast<uint64_t>(m->prompt_index)), "too_long=drop leaves such prompts out");
      m->dropped = "too_long";
      m->tokens.clear();
    }
    m->text = std::move(p.text);
    m->facts = std::move(p.facts);
    m->conversation = std::move(p.conversation);
    return m;
  }

  PayloadPtr make_examples(int64_t first, int64_t n) {
    auto m = std::make_shared<ExamplesMessage>();
    m->first = first;
    m->pairs = kind_ == RecordKind::pair;
    for (int64_t i = first; i < first + n; ++i) {
      next_unit();
      if (m->pairs)
        append_pair(*tokenizer_, source_->pair(static_cast<uint64_t>(i)), sees_answer_, m->sequences);
      else
        m->sequences.push_back(tokenise_example(*tokenizer_, source_->example(static_cast<uint64_t>(i))));
    }
    m->last = limit_ > 0 && first + n >= limit_;
    said_last_ = m->last;
    return m;
  }

  // Contaminated prompts are drawn and dropped, so that the ledger has them; other records are not there at all.
  void open(RoleContext& context) {
    SourceUse use;
    use.chat = node_chat(env_, context.graph(), context.node(), tokenizer_);
    (kind_ == RecordKind::prompt ? contaminated_ : use.left_out) = contaminated_texts(env_, context.graph(), context.node());
    source_ = open_data(env_, located_source(context.node().attrs.text("source"), env_.graph_dir), env_.seed, use);
    if (const uint64_t n = source_->left_out(); n > 0)
      context.event("contaminated", nlohmann::json{{"node", context.node().id}, {"left_out", n}}.dump());
  }

  void finish(RoleContext& context) {
    if (!finished_) context.finish();
    finished_ = true;
  }

  RunEnv env_;
  RecordKind kind_ = RecordKind::prompt;
  int edge_ = -1;
  int64_t limit_ = 0, next_ = 0, chunk_ = 0;  // limit 0: endless
  int64_t issued_before_ = 0;                 // draws below may be resolved already
  int64_t positions_ = 0;                     // of the model
  bool drops_too_long_ = true;
  bool sees_answer_ = false;  // of pairs: what the reward model sees
  bool busy_ = false, ended_ = false, finished_ = false, said_last_ = false, opened_ = false;
  std::function<bool(const std::vector<std::string>&)> contaminated_;  // of prompts; empty: none is
  std::unique_ptr<Source> source_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

// What groups_per_batch was meant to say, at the trainer that can say it: not more than the prompter draws.
std::string batch_hint(const NodePlan& prompter, const NodePlan& trainer) {
  const int64_t wanted = prompter.attrs.integer("groups_per_batch"), count = prompter.attrs.integer("count"),
                batch = count > 0 ? std::min(wanted, count) : wanted;
  if (trainer.attrs.integer("batch") == batch) return fmt::format("remove it: '{}' says batch={} already", trainer.id, batch);
  return fmt::format("'{0}' says how many a batch has: batch={1} there, or --set {0}.batch={1}", trainer.id, batch);
}

}  // namespace

RoleKind prompter_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "prompter";
  r.spec.doc = "draws prompts, examples or pairs from a source";
  r.spec.attrs = {
      required_text("source",
                    "where they come from: a built-in source (tiny:reasoning, ...) or jsonl:PATH (relative to the graph file); "
                    "several, mixed: \"jsonl:A?weight=3, jsonl:B?weight=1\""),
      integer("groups_per_batch", "32", 1, 1 << 20, "prompts drawn for one batch"),
      integer("count", "0", 0, 1'000'000'000'000, "how many to draw; 0: endless, or the whole file"),
      choice("too_long", "drop", {"drop", "error"},
             "prompts that leave no room in the model: dropped as too_long, or an error (longer examples always are)"),
      decontaminate()};
  r.spec.edge_attrs = {capacity()};
  r.spec.ports = {gives("prompts"), gives("examples"), gives("pairs")};
  r.spec.ports_of = [graph_dir](const NodePlan& node) {
    return std::vector<PortSpec>{gives(record_kind_name(checked_source_kind(graph_dir, node, node.attrs.text("source"))))};
  };
  r.spec.how_to_give = [graph_dir](const NodePlan& node, const std::vector<std::string>& wanted) {
    std::vector<RecordKind> kinds;
    for (const RecordKind kind : {RecordKind::example, RecordKind::pair, RecordKind::prompt})
      if (std::find(wanted.begin(), wanted.end(), record_kind_name(kind)) != wanted.end()) kinds.push_back(kind);
    return how_to_read(located_source(node.attrs.text("source"), graph_dir), kinds);
  };
  r.spec.check = [](const GraphView& graph, const NodePlan& node) {
    check_taken(graph, node, {"prompts", "examples", "pairs"}, "an edge to a generator, or to a trainer");
    for (int e : node.out_edges)
      if (const EdgePlan& edge = graph.edges[static_cast<size_t>(e)]; edge.carries != "prompts")
        refuse_without_effect(node, "groups_per_batch", "on a prompter of " + edge.carries,
                              batch_hint(node, graph.nodes[static_cast<size_t>(edge.to)]));
  };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<PrompterRole>(env); };
  return r;
}

}  // namespace r1
