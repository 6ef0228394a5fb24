#include "models/generation/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "models/generation/stop_texts.h"

namespace r1 {

namespace {

int64_t blocks(int64_t positions) { return (positions + kKeyBlock - 1) / kKeyBlock; }

bool older(const GenSample* a, const GenSample* b) {
  return a->group->order != b->group->order ? a->group->order < b->group->order : a->index < b->index;
}

}  // namespace

bool GenSample::has_output() const { return length() > group->prompt_length(); }

int64_t GenSample::longest() const { return group->prompt_length() + group->request.max_new_tokens; }

bool GenSample::stops_at(int32_t token) const {
  const auto& stops = group->request.stop_ids;
  return std::find(stops.begin(), stops.end(), token) != stops.end();
}

bool GenSample::stops_now() const {
  if (stops_at(sequence->tokens.back())) return true;
  const auto& texts = group->request.stop_texts;
  return texts && texts->end(std::span(sequence->tokens).subspan(static_cast<size_t>(group->prompt_length())));
}

bool StepPlan::Batch::draft_holds(size_t i, const std::vector<SampledToken>& tokens) const {
  return tokens[i - 1].token == drafts[i];  // plan_draft() saw to it that the sample does not end there
}

Scheduler::Scheduler(const GeneratorConfig& config, int64_t max_positions, int64_t version)
    : config_(config), max_positions_(max_positions), versions_{version}, pool_(config.page_shuffle_seed) {
  R1_CHECK(config.max_rows >= 1 && config.max_running >= 1 && config.kv_pages >= 0,
           fmt::format("max_rows={} max_running={} kv_pages={}", config.max_rows, config.max_running, config.kv_pages));
  if (config.kv_pages > 0) pool_.raise_limit(config.kv_pages);
}

void Scheduler::submit(GenRequest request) {
  R1_CHECK(
      !request.prompt.empty() && request.samples >= 1 && request.max_new_tokens >= 1,
      fmt::format("prompt={} samples={} max_new_tokens={}", request.prompt.size(), request.samples, request.max_new_tokens));
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt >= max_positions_)
    throw failure(fmt::format("a prompt of {} tokens leaves no room in a model of {} positions", prompt, max_positions_));
  request.max_new_tokens = std::min(request.max_new_tokens, max_positions_ - prompt);
  const int64_t longest = prompt + request.max_new_tokens - 1;  // the last token is sampled but not computed
  if (config_.kv_pages == 0) {
    // Some prefixes live beside the running samples.
    pool_.raise_limit((config_.max_running + 8) * (blocks(longest) + 1));
  } else if (blocks(longest) > pool_.limit()) {
    throw failure(
        fmt::format("a request of {} tokens needs {} KV pages, there are {}", longest, blocks(longest), pool_.limit()), {},
        "raise kv_pages or lower max_tokens");
  }
  if (blocks(longest) > width_) {
    const int64_t slots = static_cast<int64_t>(dirty_.size()), width = blocks(longest);
    std::vector<int32_t> wider(static_cast<size_t>(slots * width), 0);
    for (int64_t s = 0; s < slots; ++s) std::copy_n(table_.begin() + s * width_, width_, wider.begin() + s * width);
    table_ = std::move(wider);
    width_ = width;
  }

  auto group = std::make_unique<GenGroup>();
  group->order = next_order_++;
  group->result.id = request.id;
  group->result.samples.resize(static_cast<size_t>(request.samples));
  group->result.finished.resize(static_cast<size_t>(request.samples), 0);
  group->samples.resize(static_cast<size_t>(request.samples));
  group->waiting = group->unfinished = request.samples;
  for (int s = 0; s < request.samples; ++s) {
    GenSample& sample = group->samples[static_cast<size_t>(s)];
    sample.group = group.get();
    sample.index = s;
    sample.key = static_cast<int64_t>(rng_key(request.rng_key, "sample", static_cast<uint64_t>(s)));
    sample.sequence = &group->result.samples[static_cast<size_t>(s)];
    Sequence& q = *sample.sequence;
    q.tokens = request.prompt;
    q.trainable.assign(request.prompt.size(), 0);
    q.behaviour_logp.assign(request.prompt.size(), 0);
    q.version.assign(request.prompt.size(), -1);
    q.exact.assign(request.prompt.size(), 0);
  }
  group->request = std::move(request);
  groups_.push_back(std::move(group));
}

// ---- contexts ---------------------------------------------------------------------------------------------------------

int32_t Scheduler::take_slot() {
  if (free_slots_.empty()) {
    const size_t old = dirty_.size(), size = std::max<size_t>(16, 2 * old);
    dirty_.resize(size, 1);
    table_.resize(size * static_cast<size_t>(width_), 0);
    for (size_t s = size; s > old; --s) free_slots_.push_back(static_cast<int32_t>(s - 1));
  }
  const int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Scheduler::put_page(PagedContext& c, size_t block, int32_t page) {
  if (c.slot < 0) c.slot = take_slot();
  if (block == c.pages.size())
    c.pages.push_back(page);
  else
    c.pages[block] = page;
  table_[static_cast<size_t>(c.slot) * static_cast<size_t>(width_) + block] = page;
  dirty_[static_cast<size_t>(c.slot)] = 1;
}

bool Scheduler::grow(PagedContext& c, int64_t positions) {
  while (static_cast<int64_t>(c.pages.size()) < blocks(positions)) {
    const auto page = pool_.alloc();
    if (!page) return false;
    put_page(c, c.pages.size(), *page);
  }
  return true;
}

int64_t Scheduler::affordable(const PagedContext& c, int64_t rows) const {
  const int64_t room = (static_cast<int64_t>(c.pages.size()) + pool_.available()) * kKeyBlock - c.computed;
  return std::min(rows, room);
}

void Scheduler::release(PagedContext& c) {
  for (const int32_t page : c.pages) pool_.unref(page);
  if (c.slot >= 0) free_slots_.push_back(c.slot);
  c = {};
}

void Scheduler::drop_prefix(GenGroup& g) { release(g.prefix); }

// ---- planning ---------------------------------------------------------------------------------------------------------

StepPlan::Batch& Scheduler::batch(int64_t epoch) {
  for (StepPlan::Batch& b : plan_.batches)
    if (b.epoch == epoch) return b;
  plan_.batches.emplace_back().epoch = epoch;
  return plan_.batches.back();
}

void Scheduler::emit(StepPlan::Batch& b, GenSample& s, int32_t row, int32_t draft) {
  b.logit_rows.push_back(row);
  b.emits.push_back(&s);
  b.drafts.push_back(draft);
}

int32_t Scheduler::plan_rows(PagedContext& c, int64_t epoch, const std::vector<int32_t>& tokens, int64_t n, int64_t& high,
                             int64_t prompt) {
  R1_CHECK(grow(c, c.computed + n), "rows were planned beyond the pages");
  StepPlan::Batch& b = batch(epoch);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t position = c.computed + i;
    b.ids.push_back(tokens[static_cast<size_t>(position)]);
    b.positions.push_back(static_cast<int32_t>(position));
    b.slots.push_back(c.slot);
    if (config_.draft) {
      const auto next = static_cast<size_t>(position) + 1;
      b.next_ids.push_back(next < tokens.size() ? tokens[next] : -1);
    }
    if (position < high)
      ++stats_.tokens_recomputed;
    else if (position < prompt)
      ++stats_.tokens_prefilled;
  }
  c.computed += n;
  high = std::max(high, c.computed);
  plan_.rows += n;
  return static_cast<int32_t>(b.ids.size()) - 1;
}

bool Scheduler::plan_sample(GenSample& s) {
  const int64_t n = affordable(s.context, std::min(s.missing(), budget()));
  if (n <= 0) return false;
  const int32_t row = plan_rows(s.context, s.epoch, s.sequence->tokens, n, s.high, s.group->prompt_length());
  if (s.missing() == 0) emit(batch(s.epoch), s, row);
  return true;
}

// `others`: samples that are still to get the one row they miss. The row of a draft may be in vain, so it must leave budget and
// pages for theirs.
void Scheduler::plan_draft(GenSample& s, int64_t others) {
  PagedContext& c = s.context;
  if (s.draft < 0 || s.stops_at(s.draft) || s.length() + 2 > s.longest()) return;  // nothing may follow the guess
  if (budget() <= others) return;
  if (static_cast<int64_t>(c.pages.size()) < blocks(c.computed + 1) && pool_.available() <= others) return;
  R1_CHECK(grow(c, c.computed + 1), "a page is free");
  StepPlan::Batch& b = batch(s.epoch);
  b.ids.push_back(s.draft);
  b.positions.push_back(static_cast<int32_t>(c.computed));
  b.slots.push_back(c.slot);
  b.next_ids.push_back(-1);
  emit(b, s, static_cast<int32_t>(b.ids.size()) - 1, s.draft);
  ++c.computed;
  ++plan_.rows;
  ++stats_.tokens_drafted;
}

std::span<const int32_t> Scheduler::sampled(uint64_t id, size_t sample) const {
  for (const auto& group : groups_)
    if (group->request.id == id && sample < group->result.samples.size()) {
      const std::span<const int32_t> tokens = group->result.samples[sample].tokens;
      return tokens.subspan(std::min(group->request.prompt.size(), tokens.size()));
    }
  return {};
}

const StepPlan& Scheduler::plan() {
  plan_.rows = 0;
  plan_.copies_before.clear();
  plan_.copies_after.clear();
  // Epochs come and go; the memory of the current one's batch is worth keeping.
  std::erase_if(plan_.batches, [&](const StepPlan::Batch& b) { return b.epoch != epoch(); });
  for (StepPlan::Batch& b : plan_.batches) {
    b.ids.clear();
    b.positions.clear();
    b.slots.clear();
    b.logit_rows.clear();
    b.emits.clear();
    b.drafts.clear();
    b.next_ids.clear();
  }
  evicted_ = false;
  decode_running();
  fill_running();
  if (!evicted_) admit();
  if (plan_.rows == 0 && !groups_.empty()) make_way();
  stats_.peak_pages = pool_.peak();
  if (plan_.rows > 0) ++stats_.steps;
  return plan_;
}

void Scheduler::decode_running() {
  int64_t others = 0;
  if (config_.draft) others = std::count_if(running_.begin(), running_.end(), [](auto* s) { return s->missing() == 1; });
  for (GenSample* s : running_) {
    if (budget() <= 0) break;
    if (s->state != GenSample::State::running || s->missing() != 1) continue;
    --others;
    bool has_page = true;
    while (has_page && !grow(s->context, s->length())) has_page = evict_for(*s);
    if (has_page && plan_sample(*s)) plan_draft(*s, others);
  }
  remove_stopped();
}

void Scheduler::fill_running() {
  for (GenSample* s : running_) {
    if (budget() <= 0) break;
    if (s->missing() > 0) plan_sample(*s);
  }
}

void Scheduler::admit() {
  for (const auto& group : groups_) {
    if (group->waiting == 0) continue;
    if (budget() <= 0 || static_cast<int64_t>(running_.size()) >= config_.max_running) return;
    if (!admit_group(*group)) return;
  }
}

bool Scheduler::admit_group(GenGroup& g) {
  for (GenSample& s : g.samples) {
    if (s.state != GenSample::State::waiting || !alone(s)) continue;
    if (static_cast<int64_t>(running_.size()) >= config_.max_running || budget() <= 0) return false;
    if (pool_.available() < blocks(s.length()) + page_reserve()) return false;
    start(s);
    plan_sample(s);
  }
  if (waiting_for_prefix(g) == 0) return true;
  int32_t last_row = -1;
  const int64_t missing = g.prompt_length() - g.prefix.computed;
  if (missing > 0) {
    const bool idle = running_.empty() && plan_.rows == 0;
    if (g.prefix.slot < 0 && !idle && pool_.available() < blocks(g.prompt_length()) + 1 + page_reserve()) return false;
    const int64_t n = affordable(g.prefix, std::min(missing, budget()));
    if (n <= 0) return false;
    last_row = plan_rows(g.prefix, epoch(), g.request.prompt, n, g.prefix_high, g.prompt_length());
    if (n < missing) return false;
  }
  return fork_waiting(g, last_row);
}

bool Scheduler::fork_waiting(GenGroup& g, int32_t prefix_row) {
  for (GenSample& s : g.samples) {
    if (s.state != GenSample::State::waiting || alone(s)) continue;
    if (static_cast<int64_t>(running_.size()) >= config_.max_running) return false;
    if (prefix_row >= 0) {
      if (!fork(g, s, g.prompt_length(), plan_.copies_after, false)) return false;
      StepPlan::Batch& b = batch(epoch());
      if (!s.has_output())
        emit(b, s, prefix_row);
      else if (config_.draft && b.next_ids[static_cast<size_t>(prefix_row)] < 0)
        b.next_ids[static_cast<size_t>(prefix_row)] = s.sequence->tokens[static_cast<size_t>(g.prompt_length())];
    } else {
      // The logits of the prompt's last position are gone: a sample without output computes that row again.
      if (!fork(g, s, g.prompt_length() - (s.has_output() ? 0 : 1), plan_.copies_before, false)) return false;
      plan_sample(s);
    }
  }
  return true;
}

bool Scheduler::fork(GenGroup& g, GenSample& s, int64_t computed, std::vector<PageCopy>& copies, bool steal) {
  const bool last = steal || waiting_for_prefix(g) == 1;
  const size_t block = static_cast<size_t>(computed / kKeyBlock);
  const bool writes_shared = block < g.prefix.pages.size() && !(last && pool_.refs(g.prefix.pages[block]) == 1);
  std::optional<int32_t> own;
  if (writes_shared && !(own = pool_.alloc())) return false;
  if (last) {
    s.context = std::move(g.prefix);
    g.prefix = {};
  } else {
    for (size_t i = 0; i < g.prefix.pages.size(); ++i) {
      pool_.ref(g.prefix.pages[i]);
      put_page(s.context, i, g.prefix.pages[i]);
    }
  }
  if (own) {
    const int32_t shared = s.context.pages[block];
    copies.push_back({shared, *own});
    put_page(s.context, block, *own);
    pool_.unref(shared);
  }
  s.context.computed = computed;
  start(s);
  s.high = std::max(s.high, g.prompt_length());
  return true;
}

// Nothing could be planned because pages are held by contexts that are not finished: one of them gets what it needs.
void Scheduler::make_way() {
  GenSample* keep = running_.empty() ? nullptr : running_.front();
  GenGroup* group = keep != nullptr ? keep->group : nullptr;
  if (group == nullptr)
    for (const auto& g : groups_)
      if (group == nullptr && g->waiting > 0) group = g.get();
  R1_CHECK(group != nullptr, "pending groups have neither running nor waiting samples");
  for (GenSample* s : running_)
    if (s != keep) preempt(*s);
  remove_stopped();
  for (const auto& g : groups_)
    if (g.get() != group || keep != nullptr || waiting_for_prefix(*g) != g->waiting) drop_prefix(*g);
  if (keep != nullptr) {
    plan_sample(*keep);
  } else if (group->prefix.computed == group->prompt_length()) {
    for (GenSample& s : group->samples) {
      if (s.state != GenSample::State::waiting || alone(s)) continue;
      const int64_t computed = group->prompt_length() - (s.has_output() ? 0 : 1);
      R1_CHECK(fork(*group, s, computed, plan_.copies_before, true), "the prefix is free");
      plan_sample(s);
      break;
    }
  } else {
    admit_group(*group);
  }
  R1_CHECK(plan_.rows > 0, fmt::format("no row fits: {} of {} pages used", pool_.used(), pool_.limit()));
}

// ---- samples ------------------------------------------------------------------------------------------------------------

bool Scheduler::alone(const GenSample& s) const { return s.epoch >= 0 && s.epoch != epoch(); }

int64_t Scheduler::waiting_for_prefix(const GenGroup& g) const {
  if (g.waiting == 0) return 0;
  return std::count_if(g.samples.begin(), g.samples.end(),
                       [&](const GenSample& s) { return s.state == GenSample::State::waiting && !alone(s); });
}

void Scheduler::start(GenSample& s) {
  s.state = GenSample::State::running;
  --s.group->waiting;
  if (s.epoch < 0) s.epoch = epoch();
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &s, older), &s);
}

void Scheduler::reset(GenSample& s) {
  release(s.context);
  s.state = GenSample::State::waiting;
  s.mixed = false;
  s.draft = -1;
  ++s.group->waiting;
}

void Scheduler::preempt(GenSample& s) {
  reset(s);
  if (config_.on_flip != OnFlip::finish || !s.has_output()) s.epoch = -1;
  evicted_ = true;
}

bool Scheduler::evict_for(GenSample& s) {
  for (auto g = groups_.rbegin(); g != groups_.rend(); ++g) {
    if ((*g)->prefix.slot < 0) continue;
    drop_prefix(**g);
    evicted_ = true;
    return true;
  }
  for (auto r = running_.rbegin(); r != running_.rend(); ++r) {
    if ((*r)->state != GenSample::State::running) continue;
    preempt(**r);
    return *r != &s;
  }
  return false;
}

void Scheduler::remove_stopped() {
  std::erase_if(running_, [](const GenSample* s) { return s->state != GenSample::State::running; });
}

std::vector<GenResult> Scheduler::commit(const std::vector<std::vector<SampledToken>>& tokens) {
  bool stopped = false, complete = false;
  R1_CHECK(tokens.size() >= plan_.batches.size(), fmt::format("{} answers to {} batches", tokens.size(), plan_.batches.size()));
  for (size_t b = 0; b < plan_.batches.size(); ++b) {
    const StepPlan::Batch& batch = plan_.batches[b];
    R1_CHECK(tokens[b].size() == batch.emits.size(),
             fmt::format("{} tokens for {} rows", tokens[b].size(), batch.emits.size()));
    for (size_t i = 0; i < batch.emits.size(); ++i) {
      GenSample& s = *batch.emits[i];
      const SampledToken& t = tokens[b][i];
      if (batch.drafts[i] >= 0) {
        if (s.state == GenSample::State::done) continue;  // a stop text: no guess knows of it
        if (!batch.draft_holds(i, tokens[b])) {
          --s.context.computed;
          continue;
        }
        s.high = std::max(s.high, s.context.computed);
        ++stats_.tokens_accepted;
      }
      Sequence& q = *s.sequence;
      q.tokens.push_back(t.token);
      q.trainable.push_back(1);
      q.behaviour_logp.push_back(t.logp);
      q.version.push_back(versions_[static_cast<size_t>(s.epoch)]);
      q.exact.push_back(s.mixed ? 0 : 1);
      ++stats_.tokens_generated;
      s.draft = t.draft;
      const bool stop = s.stops_now();
      if (!stop && s.length() < s.longest()) continue;
      s.group->result.finished[static_cast<size_t>(s.index)] = stop ? 1 : 0;
      s.state = GenSample::State::done;
      release(s.context);
      stopped = true;
      complete = --s.group->unfinished == 0 || complete;
    }
  }
  if (stopped) remove_stopped();
  std::vector<GenResult> results;
  if (!complete) return results;
  for (const auto& g : groups_)
    if (g->unfinished == 0) results.push_back(std::move(g->result));
  std::erase_if(groups_, [](const auto& g) { return g->unfinished == 0; });
  return results;
}

int64_t Scheduler::flip(int64_t version) {
  versions_.push_back(version);
  ++stats_.flips;
  const bool keep = config_.on_flip == OnFlip::keep, finish = config_.on_flip == OnFlip::finish;
  for (const auto& g : groups_) {
    drop_prefix(*g);
    for (GenSample& s : g->samples) {
      if (s.state == GenSample::State::done || (finish && s.has_output())) continue;
      if (keep && s.has_output() && s.state == GenSample::State::running) {
        s.mixed = true;
        s.draft = -1;
        s.epoch = epoch();
        continue;
      }
      if (s.state == GenSample::State::running) reset(s);
      s.epoch = -1;
    }
  }
  remove_stopped();
  return epoch();
}

bool Scheduler::epoch_in_use(int64_t e) const {
  if (e == epoch()) return true;
  for (const auto& g : groups_)
    for (const GenSample& s : g->samples)
      if (s.state != GenSample::State::done && s.epoch == e) return true;
  return false;
}

std::vector<uint64_t> Scheduler::cancel_all() {
  std::vector<uint64_t> ids;
  for (const auto& g : groups_) {
    ids.push_back(g->request.id);
    drop_prefix(*g);
    for (GenSample& s : g->samples) release(s.context);
  }
  running_.clear();
  groups_.clear();
  return ids;
}

}  // namespace r1
