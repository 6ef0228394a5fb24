#include "models/generation/generator_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <tuple>

#include "base/stop.h"
#include "base/error.h"
#include "kernels/ops.h"
#include "kernels/staging.h"
#include "models/finite.h"
#include "models/generation/kv_cache.h"
#include "models/generation/scheduler.h"
#include "models/generation/step_recordings.h"
#include "models/model.h"

namespace r1 {

namespace {

// At most this much memory for the logits of one call of the head.
constexpr int64_t kMaxLogitBytes = int64_t{256} << 20;
// A shard below so many rows costs more in ops than it saves.
constexpr int64_t kMinShardRows = 24;

// A range of rows of a batch and who waits for their logits.
struct ShardPlan {
  int64_t begin = 0, end = 0;
  std::vector<int32_t> emits;  // indices into batch.emits
};

// A token to be sampled for batch.emits[emit] from the logits of a row of the shard.
struct Draw {
  int32_t emit = 0, row = 0;
  int32_t position = 0;  // of the token
};

// The draws of a shard on their way to the device.
struct DrawSlots {
  Staging::Slot rows, positions, keys, temperatures;
};

// What one shard computes with. Reused from step to step.
struct Shard {
  explicit Shard(Device& device) : ctx(device) {}
  Context ctx;
  Staging staging;
  std::vector<Draw> draws;
  std::vector<SampledToken> drawn;  // of draws
  std::vector<int32_t> inputs, next_ids, rows, positions, sampled;
  std::vector<int64_t> keys;
  std::vector<float> temperatures;
};

// Rows that share it stand together: top_k and top_p are arguments of the whole op.
std::tuple<int, float> truncation(const StepPlan::Batch& batch, const Draw& d) {
  const GenRequest& request = batch.emits[static_cast<size_t>(d.emit)]->group->request;
  return {request.top_k, request.top_p};
}

// Cuts a batch into at most `n` ranges of about equal length, between sequences: rows of one sequence read what the others
// write.
std::vector<ShardPlan> cut_batch(const StepPlan::Batch& batch, int64_t n) {
  const auto rows = static_cast<int64_t>(batch.slots.size());
  std::vector<ShardPlan> plans;
  for (int64_t begin = 0; begin < rows;) {
    const int64_t left = n - static_cast<int64_t>(plans.size());
    int64_t end = left <= 1 ? rows : begin + (rows - begin + left - 1) / left;
    while (end < rows && batch.slots[static_cast<size_t>(end)] == batch.slots[static_cast<size_t>(end - 1)]) ++end;
    plans.push_back({begin, end, {}});
    begin = end;
  }
  for (size_t i = 0; i < batch.emits.size(); ++i) {
    const auto plan = std::find_if(plans.begin(), plans.end(), [&](const ShardPlan& p) { return batch.logit_rows[i] < p.end; });
    plan->emits.push_back(static_cast<int32_t>(i));
  }
  return plans;
}

[[noreturn]] void refuse(const GenSample& s, int32_t position) {
  throw NotFinite(
      fmt::format("the logits of draw {}, sample {}, token {} are not finite", s.group->request.id, s.index, position),
      "the weights are finite, so the forward pass overflows: a smaller learning rate, or precision=f32");
}

}  // namespace

struct GeneratorEngine::Impl {
  Impl(Device& d, const GeneratorConfig& c, std::shared_ptr<const WeightSet> w, int64_t version)
      : device(d),
        config(c),
        ctx(d),
        whole(d),
        model(d, w->config()),
        cache(d, w->config(), w->dtype(), w->config().layers + (c.draft ? 1 : 0)),
        scheduler(c, w->config().max_positions, version),
        version(version) {
    R1_CHECK(!w->config().scalar_head, "a model with a scalar head does not generate");
    R1_CHECK(!c.draft || w->config().has_mtp(), "a model without a multi-token prediction module has nothing to draft with");
    small = w->config().parameter_count() <= c.small_parameters;
    weights[scheduler.epoch()] = std::move(w);
  }

  void drop_unused_weights() {
    if (weights.size() > 1) std::erase_if(weights, [&](const auto& w) { return !scheduler.epoch_in_use(w.first); });
  }
  int64_t shard_count(int64_t rows) const {
    if (!device.concurrent_parts()) return 1;
    if (config.shards > 0) return config.shards;
    if (!small && !device.cheap_row_parts(weights.rbegin()->second->dtype())) return 1;
    return std::clamp<int64_t>(rows / kMinShardRows, 1, cpu_threads());
  }
  void run_batch(const StepPlan::Batch& batch, const View& page_table, std::vector<SampledToken>& out);
  // parts: shards of the rows of `plan` itself, which meet in every layer; or none.
  void run_shard(Shard&, const StepPlan::Batch& batch, const ShardPlan& plan, const View& page_table,
                 std::vector<SampledToken>& out, std::span<const RowShard> parts);
  // The next drafts, for the tokens that run_shard has just put into `out`.  x: trunk's result.
  void draft(Shard&, Pass& pass, const Value& x, const View& row_pos, const StepPlan::Batch& batch, const ShardPlan& plan,
             std::vector<SampledToken>& out);
  // Puts shard.draws, whose order changes, into its staging.
  DrawSlots add_draws(Shard&, const StepPlan::Batch& batch);
  // Issues shard.draws; returns where they will be, for read().  rows_of: the final rows of the rows of a view.
  template <class RowsOf>
  View sample(Shard&, Pass& pass, const StepPlan::Batch& batch, const DrawSlots& slots, const RowsOf& rows_of);
  // -> shard.drawn, of shard.draws.
  void read(Shard&, const View& result);
  // How many rows to fill a step up to that is to be a recording; 0: it is none.
  int64_t recorded_rows(const StepPlan::Batch& batch, const ShardPlan& plan, std::span<const RowShard> parts) const;

  Device& device;
  GeneratorConfig config;
  Context ctx;  // of what is not in a shard
  Shard whole;  // all rows, where they are cut inside the layers only
  Model model;
  KvCache cache;
  StepRecordings recordings;
  Scheduler scheduler;
  bool small = false;
  std::map<int64_t, std::shared_ptr<const WeightSet>> weights;  // by epoch
  int64_t version;
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<std::vector<SampledToken>> tokens;  // reused from step to step
};

void GeneratorEngine::Impl::run_batch(const StepPlan::Batch& batch, const View& page_table, std::vector<SampledToken>& out) {
  out.resize(batch.emits.size());
  const std::vector<ShardPlan> plans = cut_batch(batch, shard_count(static_cast<int64_t>(batch.slots.size())));
  while (shards.size() < plans.size()) shards.push_back(std::make_unique<Shard>(device));
  if (plans.size() > 1 && !small) {
    std::vector<RowShard> parts;
    for (size_t i = 0; i < plans.size(); ++i) {
      Context& part = shards[i]->ctx;
      part.parallel = false;
      part.arena.reset();
      parts.push_back({&part, plans[i].begin, plans[i].end});
    }
    return run_shard(whole, batch, cut_batch(batch, 1)[0], page_table, out, parts);
  }
  const auto one = [&](int64_t i) {
    Shard& shard = *shards[static_cast<size_t>(i)];
    shard.ctx.parallel = plans.size() == 1;
    run_shard(shard, batch, plans[static_cast<size_t>(i)], page_table, out, {});
  };
  if (plans.size() == 1)
    one(0);
  else
    device_tasks(device, static_cast<int64_t>(plans.size()), one);
}

void GeneratorEngine::Impl::run_shard(Shard& shard, const StepPlan::Batch& batch, const ShardPlan& plan, const View& page_table,
                                      std::vector<SampledToken>& out, std::span<const RowShard> parts) {
  Context& context = shard.ctx;
  context.arena.reset();
  Staging& staging = shard.staging;
  staging.clear();
  const int64_t filled = recorded_rows(batch, plan, parts);
  const auto add = [&](const std::vector<int32_t>& all) {
    if (filled == 0) return staging.add(all.data() + plan.begin, static_cast<size_t>(plan.end - plan.begin));
    shard.inputs = all;
    shard.inputs.resize(static_cast<size_t>(filled), all.back());
    return staging.add(shard.inputs);
  };
  const Staging::Slot ids_at = add(batch.ids), positions_at = add(batch.positions), slots_at = add(batch.slots);
  shard.draws.clear();
  for (const int32_t emit : plan.emits) {
    const int32_t row = batch.logit_rows[static_cast<size_t>(emit)];
    shard.draws.push_back({emit, row - static_cast<int32_t>(plan.begin), batch.positions[static_cast<size_t>(row)] + 1});
  }
  if (filled > 0) shard.draws.resize(static_cast<size_t>(filled), shard.draws.back());
  const DrawSlots draws_at = add_draws(shard, batch);
  staging.send(context.arena);
  const View ids = staging.view(ids_at), row_pos = staging.view(positions_at);
  const AttentionContext attention = PagedAttention{cache.layers(), page_table, staging.view(slots_at), row_pos};
  Pass pass{context, *weights.at(batch.epoch), attention};
  pass.shards = parts;
  Value x;
  const auto issue = [&] {
    x = model.trunk(pass, ids, row_pos);
    return sample(shard, pass, batch, draws_at, [&](const View& rows) { return model.final_rows(pass, x, rows); });
  };
  if (filled > 0) {
    const auto [top_k, top_p] = truncation(batch, shard.draws[0]);
    read(shard, recordings.run(context, {filled, pass.weights.flat().data, ids.data, cache.generation(), top_k, top_p}, issue));
  } else {
    read(shard, issue());
  }
  for (size_t i = 0; i < shard.draws.size(); ++i) {
    const Draw& d = shard.draws[i];
    const SampledToken& token = shard.drawn[i];
    if (!std::isfinite(token.logp)) refuse(*batch.emits[static_cast<size_t>(d.emit)], d.position);
    out[static_cast<size_t>(d.emit)] = token;
  }
  if (config.draft) draft(shard, pass, x, row_pos, batch, plan, out);
}

// Nothing but the number of steps depends on what is guessed here, so the module's keys may be wrong: the last row of a prompt
// has those of one of its samples, whatever the others sampled, and pages that were computed under other weights are kept.
void GeneratorEngine::Impl::draft(Shard& shard, Pass& pass, const Value& x, const View& row_pos, const StepPlan::Batch& batch,
                                  const ShardPlan& plan, std::vector<SampledToken>& out) {
  const auto row_of = [&](int32_t emit) {
    return batch.logit_rows[static_cast<size_t>(emit)] - static_cast<int32_t>(plan.begin);
  };
  std::vector<int32_t>& next = shard.next_ids;
  next.assign(batch.next_ids.begin() + plan.begin, batch.next_ids.begin() + plan.end);
  for (const int32_t emit : plan.emits) {
    int32_t& id = next[static_cast<size_t>(row_of(emit))];
    if (id < 0) id = out[static_cast<size_t>(emit)].token;
  }
  for (int32_t& id : next) id = std::max(id, 0);  // a prompt's end that nobody samples from now
  shard.staging.clear();
  const Staging::Slot next_at = shard.staging.add(next);

  shard.draws.clear();
  for (size_t k = 0; k < plan.emits.size(); ++k) {
    const int32_t emit = plan.emits[k];
    const auto i = static_cast<size_t>(emit);
    const GenSample& s = *batch.emits[i];
    if (batch.drafts[i] >= 0 && !batch.draft_holds(i, out)) continue;
    const bool verified = k + 1 < plan.emits.size() && batch.drafts[i + 1] >= 0;
    if (verified && batch.draft_holds(i + 1, out)) continue;  // the row after it goes on
    const int32_t row = row_of(emit), position = batch.positions[static_cast<size_t>(batch.logit_rows[i])] + 2;
    // Two more tokens must fit: the one that is guessed, and the one that its row would give.
    if (position + 2 > s.longest() || s.stops_at(out[i].token)) continue;
    // Of the samples that share a row, those that sampled what the row was told.
    if (next[static_cast<size_t>(row)] == out[i].token) shard.draws.push_back({emit, row, position});
  }
  const DrawSlots draws_at = add_draws(shard, batch);
  shard.staging.send(shard.ctx.arena);
  const Value h = model.final_rows(pass, x, View{});
  const Value rows = model.mtp_rows(pass, h, shard.staging.view(next_at), row_pos);
  read(shard, sample(shard, pass, batch, draws_at, [&](const View& chosen) { return gather_rows(pass, rows, chosen); }));
  for (size_t i = 0; i < shard.draws.size(); ++i) out[static_cast<size_t>(shard.draws[i].emit)].draft = shard.drawn[i].token;
}

DrawSlots GeneratorEngine::Impl::add_draws(Shard& shard, const StepPlan::Batch& batch) {
  std::vector<Draw>& draws = shard.draws;
  const size_t n = draws.size();
  std::stable_sort(draws.begin(), draws.end(),
                   [&](const Draw& a, const Draw& b) { return truncation(batch, a) < truncation(batch, b); });

  shard.rows.resize(n), shard.positions.resize(n), shard.keys.resize(n), shard.temperatures.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const GenSample& s = *batch.emits[static_cast<size_t>(draws[i].emit)];
    shard.rows[i] = draws[i].row;
    shard.positions[i] = draws[i].position;
    shard.keys[i] = s.key;
    shard.temperatures[i] = s.group->request.temperature;
  }
  return {shard.staging.add(shard.rows), shard.staging.add(shard.positions), shard.staging.add(shard.keys),
          shard.staging.add(shard.temperatures)};
}

// Only where as many tokens are sampled as there are rows, all in one way: decoding.
int64_t GeneratorEngine::Impl::recorded_rows(const StepPlan::Batch& batch, const ShardPlan& plan,
                                             std::span<const RowShard> parts) const {
  const size_t rows = batch.ids.size();
  if (!device.recordings_pay() || config.draft || !parts.empty() || plan.end - plan.begin != static_cast<int64_t>(rows) ||
      plan.emits.size() != rows)
    return 0;
  for (size_t i = 1; i < rows; ++i)
    if (truncation(batch, {static_cast<int32_t>(i), 0, 0}) != truncation(batch, {0, 0, 0})) return 0;
  return StepRecordings::filled(static_cast<int64_t>(rows));
}

template <class RowsOf>
View GeneratorEngine::Impl::sample(Shard& shard, Pass& pass, const StepPlan::Batch& batch, const DrawSlots& slots,
                                   const RowsOf& rows_of) {
  const std::vector<Draw>& draws = shard.draws;
  const size_t n = draws.size();
  if (n == 0) return {};
  Context& context = shard.ctx;
  const auto count = static_cast<int64_t>(n);
  const View row_view = shard.staging.view(slots.rows), position_view = shard.staging.view(slots.positions),
             key_view = shard.staging.view(slots.keys), temperature_view = shard.staging.view(slots.temperatures);
  // Tokens and the bits of their log-probabilities come back in one copy.
  const View result = context.arena.alloc(DType::i32, {2 * count});
  const View logp = contiguous_view(*result.device, result.slice(count, 2 * count).data, DType::f32, &count, 1);

  const int64_t most_rows = std::max<int64_t>(1, kMaxLogitBytes / (model.head_rows() * static_cast<int64_t>(sizeof(float))));
  for (int64_t begin = 0; begin < count;) {
    int64_t end = begin + 1;
    while (end < count && end - begin < most_rows &&
           truncation(batch, draws[static_cast<size_t>(end)]) == truncation(batch, draws[static_cast<size_t>(begin)]))
      ++end;
    const Arena::Mark mark = context.arena.mark();
    const Value h = rows_of(row_view.slice(begin, end));
    const View logits = model.logits(pass, h.view);
    const auto [top_k, top_p] = truncation(batch, draws[static_cast<size_t>(begin)]);
    run(context, Sample{logits, key_view.slice(begin, end), position_view.slice(begin, end), temperature_view.slice(begin, end),
                        result.slice(begin, end), logp.slice(begin, end), View{}, top_k, top_p});
    context.arena.release(mark);
    begin = end;
  }
  return result;
}

void GeneratorEngine::Impl::read(Shard& shard, const View& result) {
  const size_t n = shard.draws.size();
  if (n == 0) return;
  shard.sampled.resize(2 * n);
  download(result, shard.sampled.data(), shard.sampled.size() * sizeof(int32_t));
  shard.drawn.assign(n, {});
  for (size_t i = 0; i < n; ++i) {
    shard.drawn[i].token = shard.sampled[i];
    std::memcpy(&shard.drawn[i].logp, &shard.sampled[n + i], sizeof(float));
  }
}

GeneratorEngine::GeneratorEngine(Device& device, const GeneratorConfig& config, std::shared_ptr<const WeightSet> weights,
                                 int64_t version)
    : impl_(std::make_unique<Impl>(device, config, std::move(weights), version)) {}
GeneratorEngine::~GeneratorEngine() = default;

void GeneratorEngine::submit(GenRequest request) { impl_->scheduler.submit(std::move(request)); }
int64_t GeneratorEngine::pending() const { return impl_->scheduler.pending(); }

std::vector<GenResult> GeneratorEngine::step() {
  Impl& m = *impl_;
  if (m.scheduler.pending() == 0) return {};
  next_unit();
  const StepPlan& plan = m.scheduler.plan();
  m.cache.reserve(m.ctx, m.scheduler.pool().touched(), m.scheduler.pool().limit());
  const View& table = m.cache.sync_table(m.scheduler.page_table(), m.scheduler.table_width(), m.scheduler.dirty_slots());
  m.cache.copy_pages(m.ctx, plan.copies_before);
  m.tokens.resize(std::max(m.tokens.size(), plan.batches.size()));
  for (size_t b = 0; b < plan.batches.size(); ++b) {
    m.tokens[b].clear();
    if (!plan.batches[b].ids.empty()) m.run_batch(plan.batches[b], table, m.tokens[b]);
  }
  m.cache.copy_pages(m.ctx, plan.copies_after);
  m.device.finish();  // the next step may be another thread's
  std::vector<GenResult> results = m.scheduler.commit(m.tokens);
  m.drop_unused_weights();
  return results;
}

void GeneratorEngine::set_weights(std::shared_ptr<const WeightSet> weights, int64_t version) {
  Impl& m = *impl_;
  const WeightSet& old = *m.weights.at(m.scheduler.epoch());
  R1_CHECK(weights->dtype() == old.dtype() && weights->flat().size() == old.flat().size(),
           fmt::format("{} {} after {} {}", dtype_name(weights->dtype()), weights->flat().size(), dtype_name(old.dtype()),
                       old.flat().size()));
  m.version = version;
  m.weights[m.scheduler.flip(version)] = std::move(weights);
  m.drop_unused_weights();
}

std::span<const int32_t> GeneratorEngine::sampled(uint64_t id, size_t sample) const {
  return impl_->scheduler.sampled(id, sample);
}

int64_t GeneratorEngine::version() const { return impl_->version; }

std::vector<uint64_t> GeneratorEngine::cancel_all() {
  std::vector<uint64_t> ids = impl_->scheduler.cancel_all();
  impl_->drop_unused_weights();
  return ids;
}

const GeneratorStats& GeneratorEngine::stats() const {
  impl_->scheduler.stats().steps_replayed = impl_->recordings.replayed();
  return impl_->scheduler.stats();
}

int64_t GeneratorEngine::pages_in_use() const { return impl_->scheduler.pool().used(); }

}  // namespace r1
