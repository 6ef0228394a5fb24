// Who computes what in the next step of a generator: admission, prefix sharing, pages, preemption, weight flips.
// Pure bookkeeping on the host: no device, no model; weights are known by an epoch number.
//
// A sequence's context is its pages and how many positions of it are computed. A prompt is computed once per group (the
// prefix); samples fork from it: full pages are shared, the page that a sample will write is copied. Whatever takes a context
// away - preemption, a flip - leaves a sample waiting with its tokens, and the same admission brings it back. Oldest first
// everywhere, so the oldest sample always makes progress.
//
// Drafting: a sample of n tokens with a guess at the next one gets two rows, that of its last token and that of the guess. What
// the second row gives counts only if the first gives the guess; otherwise its keys are overwritten by the row that follows.
//
// Use: plan() -> run the plan on the device -> commit(). Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "models/generation/generator_engine.h"
#include "models/generation/kv_cache.h"
#include "models/generation/page_pool.h"

namespace r1 {

struct PagedContext {
  int32_t slot = -1;           // row of the page table; -1: holds nothing
  std::vector<int32_t> pages;  // page of each block of kKeyBlock positions
  int64_t computed = 0;        // keys and values of positions [0, computed) are in the pages
};

struct GenGroup;

struct GenSample {
  enum class State : uint8_t { waiting, running, done };
  GenGroup* group = nullptr;
  Sequence* sequence = nullptr;  // in the group's result
  int index = 0;
  int64_t key = 0;  // of its random numbers
  State state = State::waiting;
  int64_t epoch = -1;  // of its weights; -1: not begun
  bool mixed = false;  // its context was computed under several epochs (OnFlip::keep)
  int64_t high = 0;    // positions [0, high) were computed before: doing them again counts as recomputed
  int32_t draft = -1;  // a guess at its next token
  PagedContext context;

  int64_t length() const { return static_cast<int64_t>(sequence->tokens.size()); }
  int64_t missing() const { return length() - context.computed; }  // rows up to the next token
  bool has_output() const;
  int64_t longest() const;  // tokens, prompt included
  bool stops_at(int32_t token) const;
  bool stops_now() const;  // its last token ends it, by itself or by the text that it completes
};

struct GenGroup {
  uint64_t order = 0;
  GenRequest request;
  GenResult result;
  std::vector<GenSample> samples;
  PagedContext prefix;  // the prompt, under the current epoch, while samples wait for it
  int64_t prefix_high = 0;
  int waiting = 0, unfinished = 0;

  int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
};

struct SampledToken {
  int32_t token = 0;
  float logp = 0;
  int32_t draft = -1;  // a guess at the token after it
};

struct StepPlan {
  // Rows that run under the same weights.
  struct Batch {
    int64_t epoch = 0;
    std::vector<int32_t> ids, positions, slots;  // [R]
    std::vector<int32_t> logit_rows;             // rows whose logits are needed; a row may serve several samples
    std::vector<GenSample*> emits;               // who gets the token sampled from logit_rows[i]
    std::vector<int32_t> drafts;    // logit_rows[i] is the row of this draft, entry i-1 that of the token before; or -1
    std::vector<int32_t> next_ids;  // [R], when drafting: the token after each row; -1: not known, or sampled in this step

    // Whether what was sampled from the row of a draft (drafts[i] >= 0) is a token of its sample.
    bool draft_holds(size_t i, const std::vector<SampledToken>& tokens) const;
  };
  std::vector<PageCopy> copies_before, copies_after;  // of the forward
  std::vector<Batch> batches;                         // those without rows are idle
  int64_t rows = 0;
};

class Scheduler {
 public:
  Scheduler(const GeneratorConfig&, int64_t max_positions, int64_t version);

  void submit(GenRequest request);
  int64_t pending() const { return static_cast<int64_t>(groups_.size()); }
  std::span<const int32_t> sampled(uint64_t id, size_t sample) const;  // so far, behind the prompt

  const StepPlan& plan();
  // tokens[b][i] answers plan.batches[b].emits[i].  Returns the groups that are complete.
  std::vector<GenResult> commit(const std::vector<std::vector<SampledToken>>& tokens);

  // New weights from now on; returns their epoch.
  int64_t flip(int64_t version);
  int64_t epoch() const { return static_cast<int64_t>(versions_.size()) - 1; }
  bool epoch_in_use(int64_t epoch) const;
  std::vector<uint64_t> cancel_all();

  const PagePool& pool() const { return pool_; }
  std::span<const int32_t> page_table() const { return table_; }  // [slots, table_width()]
  int64_t table_width() const { return width_; }
  std::vector<uint8_t>& dirty_slots() { return dirty_; }
  const GeneratorStats& stats() const { return stats_; }
  GeneratorStats& stats() { return stats_; }

 private:
  // Contexts.
  int32_t take_slot();
  void put_page(PagedContext&, size_t block, int32_t page);
  bool grow(PagedContext&, int64_t positions);  // pages for [0, positions); false: out of pages, some may have been added
  int64_t affordable(const PagedContext&, int64_t rows) const;  // of so many further rows, how many its and the free pages hold
  void release(PagedContext&);
  void drop_prefix(GenGroup&);

  // Planning. A planned row counts as computed at once: a plan is always carried out.
  StepPlan::Batch& batch(int64_t epoch);
  static void emit(StepPlan::Batch&, GenSample&, int32_t row, int32_t draft = -1);
  int64_t budget() const { return config_.max_rows - plan_.rows; }
  // The next n rows of a context; returns the index of the last one in its batch.
  int32_t plan_rows(PagedContext&, int64_t epoch, const std::vector<int32_t>& tokens, int64_t n, int64_t& high, int64_t prompt);
  bool plan_sample(GenSample&);  // as many rows as budget and pages allow; false: none
  void plan_draft(GenSample&, int64_t others);
  void decode_running();
  void fill_running();
  void admit();
  bool admit_group(GenGroup&);                       // false: something of it must wait, and nobody younger may pass
  bool fork_waiting(GenGroup&, int32_t prefix_row);  // prefix_row: its last row, when that is in this plan, or -1
  bool fork(GenGroup&, GenSample&, int64_t computed, std::vector<PageCopy>& copies, bool steal);
  void make_way();

  // Samples.
  bool alone(const GenSample&) const;  // its weights are not the current ones, so it shares no prefix
  int64_t waiting_for_prefix(const GenGroup&) const;
  void start(GenSample&);
  void reset(GenSample&);  // takes its context; it waits again
  void preempt(GenSample&);
  bool evict_for(GenSample&);  // frees something; false: the sample itself was the youngest and waits now
  void remove_stopped();
  int64_t page_reserve() const { return static_cast<int64_t>(running_.size()) / 8; }

  GeneratorConfig config_;
  int64_t max_positions_;
  std::vector<int64_t> versions_;  // by epoch
  PagePool pool_;
  std::deque<std::unique_ptr<GenGroup>> groups_;  // in order of submission
  std::vector<GenSample*> running_;               // oldest first
  std::vector<int32_t> table_;
  std::vector<uint8_t> dirty_;
  std::vector<int32_t> free_slots_;
  int64_t width_ = 0;
  uint64_t next_order_ = 0;
  bool evicted_ = false;  // in this plan: no admissions then
  StepPlan plan_;
  GeneratorStats stats_;
};

}  // namespace r1
