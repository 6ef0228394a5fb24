#include "models/generation/generator_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "base/error.h"
#include "kernels/ops.h"
#include "models/generation/kv_cache.h"
#include "models/generation/scheduler.h"
#include "models/model.h"

namespace r1 {

namespace {

// Small host arrays on their way to the device in one copy. Order of use: add all, send, then view.
class Staging {
 public:
  // Returns where the array will be; valid after send().
  template <class T>
  size_t add(const T* data, size_t n) {
    const size_t at = bytes_.size();
    bytes_.resize(at + (n * sizeof(T) + 63) / 64 * 64);
    if (n > 0) std::memcpy(bytes_.data() + at, data, n * sizeof(T));
    return at;
  }
  void send(Arena& arena) {
    buffer_ = arena.alloc(DType::i64, {static_cast<int64_t>(bytes_.size() / sizeof(int64_t))});
    upload(buffer_, bytes_.data(), bytes_.size());
  }
  View view(size_t at, DType dtype, int64_t n) const {
    return contiguous_view(*buffer_.device, buffer_.data + at, dtype, &n, 1);
  }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
  View buffer_;
};

// At most this much memory for the logits of one call of the head.
constexpr int64_t kMaxLogitBytes = int64_t{256} << 20;

}  // namespace

struct GeneratorEngine::Impl {
  Impl(Device& device, const GeneratorConfig& config, std::shared_ptr<const WeightSet> w, int64_t version)
      : ctx(device),
        model(device, w->config()),
        cache(device, w->config(), w->dtype()),
        scheduler(config, w->config().max_positions, version),
        version(version) {
    R1_CHECK(!w->config().scalar_head, "a model with a scalar head does not generate");
    weights[scheduler.epoch()] = std::move(w);
  }

  void drop_unused_weights() {
    if (weights.size() > 1) std::erase_if(weights, [&](const auto& w) { return !scheduler.epoch_in_use(w.first); });
  }
  void run_batch(const StepPlan::Batch& batch, const View& page_table, std::vector<SampledToken>& out);
  void sample_rows(Pass& pass, const Value& x, const StepPlan::Batch& batch, std::vector<SampledToken>& out);

  Context ctx;
  Model model;
  KvCache cache;
  Scheduler scheduler;
  std::map<int64_t, std::shared_ptr<const WeightSet>> weights;  // by epoch
  int64_t version;
  // Reused from step to step.
  Staging staging;
  std::vector<std::vector<SampledToken>> tokens;
  std::vector<int32_t> order, rows, positions, sampled;
  std::vector<int64_t> keys;
  std::vector<float> temperatures;
};

void GeneratorEngine::Impl::run_batch(const StepPlan::Batch& batch, const View& page_table, std::vector<SampledToken>& out) {
  ctx.arena.reset();
  staging.clear();
  const size_t n = batch.ids.size();
  const size_t ids_at = staging.add(batch.ids.data(), n), positions_at = staging.add(batch.positions.data(), n),
               slots_at = staging.add(batch.slots.data(), n);
  staging.send(ctx.arena);
  const int64_t r = static_cast<int64_t>(n);
  const View ids = staging.view(ids_at, DType::i32, r), row_pos = staging.view(positions_at, DType::i32, r);
  const AttentionContext attention = PagedAttention{cache.layers(), page_table, staging.view(slots_at, DType::i32, r), row_pos};
  Pass pass{ctx, *weights.at(batch.epoch), attention};
  const Value x = model.trunk(pass, ids, row_pos);
  sample_rows(pass, x, batch, out);
}

void GeneratorEngine::Impl::sample_rows(Pass& pass, const Value& x, const StepPlan::Batch& batch,
                                        std::vector<SampledToken>& out) {
  const size_t n = batch.emits.size();
  out.resize(n);
  if (n == 0) return;
  // Rows that share truncation stand together: top_k and top_p are arguments of the whole op.
  order.resize(n);
  for (size_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
  const auto truncation = [&](int32_t i) {
    const GenRequest& request = batch.emits[static_cast<size_t>(i)]->group->request;
    return std::tuple(request.top_k, request.top_p);
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return truncation(a) < truncation(b); });

  rows.resize(n), positions.resize(n), keys.resize(n), temperatures.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const GenSample& s = *batch.emits[static_cast<size_t>(order[i])];
    rows[i] = batch.logit_rows[static_cast<size_t>(order[i])];
    positions[i] = static_cast<int32_t>(s.length());  // of the token to be sampled
    keys[i] = s.key;
    temperatures[i] = s.group->request.temperature;
  }
  staging.clear();
  const size_t rows_at = staging.add(rows.data(), n), positions_at = staging.add(positions.data(), n),
               keys_at = staging.add(keys.data(), n), temperatures_at = staging.add(temperatures.data(), n);
  staging.send(ctx.arena);
  const int64_t count = static_cast<int64_t>(n);
  const View row_view = staging.view(rows_at, DType::i32, count), position_view = staging.view(positions_at, DType::i32, count),
             key_view = staging.view(keys_at, DType::i64, count),
             temperature_view = staging.view(temperatures_at, DType::f32, count);
  // Tokens and the bits of their log-probabilities come back in one copy.
  const View result = ctx.arena.alloc(DType::i32, {2 * count});
  const View logp = contiguous_view(*result.device, result.slice(count, 2 * count).data, DType::f32, &count, 1);

  const int64_t most_rows = std::max<int64_t>(1, kMaxLogitBytes / (model.head_rows() * static_cast<int64_t>(sizeof(float))));
  for (int64_t begin = 0; begin < count;) {
    int64_t end = begin + 1;
    while (end < count && end - begin < most_rows &&
           truncation(order[static_cast<size_t>(end)]) == truncation(order[static_cast<size_t>(begin)]))
      ++end;
    const Arena::Mark mark = ctx.arena.mark();
    const Value h = model.final_rows(pass, x, row_view.slice(begin, end));
    const View logits = model.logits(pass, h.view);
    const auto [top_k, top_p] = truncation(order[static_cast<size_t>(begin)]);
    run(ctx, Sample{logits, key_view.slice(begin, end), position_view.slice(begin, end), temperature_view.slice(begin, end),
                    result.slice(begin, end), logp.slice(begin, end), View{}, top_k, top_p});
    ctx.arena.release(mark);
    begin = end;
  }
  sampled.resize(2 * n);
  download(result, sampled.data(), sampled.size() * sizeof(int32_t));
  for (size_t i = 0; i < n; ++i) {
    SampledToken& t = out[static_cast<size_t>(order[i])];
    t.token = sampled[i];
    std::memcpy(&t.logp, &sampled[n + i], sizeof t.logp);
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

int64_t GeneratorEngine::version() const { return impl_->version; }

std::vector<uint64_t> GeneratorEngine::cancel_all() {
  std::vector<uint64_t> ids = impl_->scheduler.cancel_all();
  impl_->drop_unused_weights();
  return ids;
}

const GeneratorStats& GeneratorEngine::stats() const { return impl_->scheduler.stats(); }

int64_t GeneratorEngine::pages_in_use() const { return impl_->scheduler.pool().used(); }

}  // namespace r1
