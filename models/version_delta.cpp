#include "models/version_delta.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "kernels/ops.h"
#include "kernels/staging.h"
#include "models/delta_pack.h"
#include "models/finite.h"

// The flat buffer of a WeightSet is cut into chunks of kDeltaChunk values, each coded by itself (kernels/delta_format.h), and
// the chunks into groups, each packed by itself (models/delta_pack.h).
// Selection biases (f32, at the end of every flat buffer) travel as the elements that they take there.
//   head := "R1D2" u8 value_bytes u64 values u32 chunks of a group
namespace r1 {

namespace {

constexpr char kMagic[4] = {'R', '1', 'D', '2'};
constexpr int64_t kGroupChunks = 32;  // 4 MiB of bf16: more does not compress better
constexpr int64_t kGroup = kGroupChunks * kDeltaChunk;
// Values that are measured and then encoded on a device of the host: both versions of them stay in a core's cache in between.
constexpr int64_t kHostPart = 2 * kDeltaChunk;

struct Span {
  int64_t begin = 0, end = 0;
  int64_t chunks() const { return (end - begin + kDeltaChunk - 1) / kDeltaChunk; }
};
int64_t group_count(int64_t values) { return (values + kGroup - 1) / kGroup; }
Span group_span(int64_t values, int64_t g) { return {g * kGroup, std::min(values, (g + 1) * kGroup)}; }

std::string delta_head(const WeightSet& weights) {
  std::string out(kMagic, sizeof kMagic);
  const auto put = [&](auto v) { out.append(reinterpret_cast<const char*>(&v), sizeof v); };
  put(static_cast<uint8_t>(dtype_size(weights.dtype())));
  put(static_cast<uint64_t>(weights.flat().size()));
  put(static_cast<uint32_t>(kGroupChunks));
  return out;
}

// The spaces between parameters are not part of the hash, so they are checked by themselves.
void check_gaps_are_zero(Context& ctx, const WeightSet& w) {
  const auto item = static_cast<int64_t>(dtype_size(w.dtype()));
  std::vector<int64_t> spans;
  int64_t end = 0;
  const auto gap = [&](int64_t from, int64_t to) {
    if (from < to) spans.insert(spans.end(), {from, to});
  };
  for (size_t i = 0; i < w.specs().size(); ++i) {
    const View& v = w.param(i);
    const int64_t begin = (v.data - w.flat().data) / item;
    gap(end, begin);
    end = begin + v.size() * static_cast<int64_t>(dtype_size(v.dtype)) / item;
  }
  gap(end, w.flat().size());
  if (spans.empty()) return;
  const auto n = static_cast<int64_t>(spans.size()) / 2;
  Staging staging;
  const Staging::Slot slot = staging.add(spans);
  staging.send(ctx.arena);
  const View hashes = ctx.arena.alloc(DType::i64, {n, 2});
  run(ctx, HashSpans{staging.view(slot).reshape({n, 2}), w.flat(), hashes, View{}});
  const std::vector<uint64_t> words = download_as<uint64_t>(hashes);
  for (size_t g = 0; g < static_cast<size_t>(n); ++g) {
    const std::vector<std::byte> zeros(static_cast<size_t>((spans[2 * g + 1] - spans[2 * g]) * item), std::byte{0});
    if (Hash128{words[2 * g], words[2 * g + 1]} != hash_bytes(zeros.data(), zeros.size()))
      malformed_delta("bytes between parameters are not zero");
  }
}

ChangeSum sum_of(const std::vector<uint64_t>& words) {
  ChangeSum sum;
  for (size_t i = 0; i < words.size(); i += 2) sum += {words[i], words[i + 1]};
  return sum;
}

// What the groups, side by side, come to.
struct Total {
  std::mutex mutex;
  ChangeSum change;
  bool needs_previous = false;

  void add(const ChangeSum& sum, bool needs) {
    const std::lock_guard lock(mutex);
    change += sum;
    needs_previous = needs_previous || needs;
  }
};

// Adds the coded chunks of the span, and returns their change sum.
ChangeSum encode_part(Context& ctx, const View& next, const View& before, const Span& span, CodedChunks& coded) {
  const Arena::Mark mark = ctx.arena.mark();
  const int64_t chunks = span.chunks();
  const View to = next.slice(span.begin, span.end), from = before ? before.slice(span.begin, span.end) : View{};
  const View codes = ctx.arena.alloc(DType::i32, {chunks, 2});
  run(ctx, DeltaMeasure{to, from, codes});
  const std::vector<int32_t> measured = download_as<int32_t>(codes);
  size_t bytes = 0;
  for (size_t c = 0; c < measured.size(); c += 2) bytes += static_cast<size_t>(measured[c + 1]);
  const View payload = ctx.arena.alloc(DType::i32, {static_cast<int64_t>((bytes + 3) / 4)});
  const View sums = before ? ctx.arena.alloc(DType::i64, {chunks, 2}) : View{};
  run(ctx, DeltaEncode{to, from, codes, payload, sums, span.begin});
  const size_t begin = coded.payload.size();
  coded.codes.insert(coded.codes.end(), measured.begin(), measured.end());
  coded.payload.resize(begin + static_cast<size_t>(payload.size()) * 4);
  download(payload, coded.payload.data() + begin, static_cast<size_t>(payload.size()) * 4);
  coded.payload.resize(begin + bytes);
  const ChangeSum sum = sums ? sum_of(download_as<uint64_t>(sums)) : ChangeSum{};
  ctx.arena.release(mark);
  return sum;
}

std::string encode_group(const View& next, const View& before, const Span& span, Total& total) {
  Context ctx(*next.device);
  ctx.parallel = false;
  const int64_t part = next.device->concurrent_parts() ? kHostPart : kGroup;
  CodedChunks coded;
  ChangeSum sum;
  for (int64_t begin = span.begin; begin < span.end; begin += part)
    sum += encode_part(ctx, next, before, {begin, std::min(span.end, begin + part)}, coded);
  bool needs_previous = false;
  for (size_t c = 0; c < coded.codes.size(); c += 2)
    needs_previous = needs_previous || coded.codes[c] != static_cast<int32_t>(DeltaMode::raw);
  total.add(sum, needs_previous);
  return pack_chunks(coded);
}

// `summed`: a difference. Returns the change sum.
ChangeSum apply_group(const View& values, const Span& span, const std::string& frame, bool summed) {
  CodedChunks coded = unpack_chunks(frame, span.end - span.begin, dtype_size(values.dtype));
  if (!summed)
    for (size_t c = 0; c < coded.codes.size(); c += 2)
      if (coded.codes[c] != static_cast<int32_t>(DeltaMode::raw)) malformed_delta("it needs a previous version");
  Context ctx(*values.device);
  ctx.parallel = false;
  const int64_t chunks = span.chunks();
  coded.payload.resize((coded.payload.size() + 3) / 4 * 4);
  const View codes = ctx.arena.alloc(DType::i32, {chunks, 2});
  const View payload = ctx.arena.alloc(DType::i32, {static_cast<int64_t>(coded.payload.size() / 4)});
  const View status = ctx.arena.alloc(DType::i32, {chunks});
  const View sums = summed ? ctx.arena.alloc(DType::i64, {chunks, 2}) : View{};
  upload(codes, coded.codes);
  upload(payload, coded.payload);
  run(ctx, DeltaApply{codes, payload, values.slice(span.begin, span.end), status, sums, span.begin});
  for (const int32_t s : download_as<int32_t>(status))
    if (s != static_cast<int32_t>(DeltaStatus::ok)) malformed_delta(delta_status_text(static_cast<DeltaStatus>(s)));
  return sums ? sum_of(download_as<uint64_t>(sums)) : ChangeSum{};
}

void check_hash(const WeightSet& weights, const VersionDelta& delta) {
  if (const Hash128 hash = weights.hash(); hash != delta.hash)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", delta.to, hash.hex(), delta.hash.hex()), {},
                  "the sender is asked for the whole version");
}

}  // namespace

size_t VersionDelta::bytes() const {
  size_t n = 0;
  for (const std::string& frame : frames) n += frame.size();
  return n;
}

Hash128 published_hash(const WeightSet& weights, int64_t version) {
  std::string not_finite;
  const Hash128 hash = weights.hash(&not_finite);
  if (!not_finite.empty())
    throw NotFinite(fmt::format("version {} is not finite: {}", version, not_finite), "a smaller learning rate may help");
  return hash;
}

VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to, const Hash128& hash) {
  R1_CHECK(next.dtype() == DType::f32 || next.dtype() == DType::bf16, dtype_name(next.dtype()));
  if (previous != nullptr)
    R1_CHECK(previous->dtype() == next.dtype() && previous->flat().size() == next.flat().size() && from >= 0,
             fmt::format("delta from {} to {}", from, to));
  const View before = previous != nullptr ? previous->flat() : View{};
  const int64_t values = next.flat().size(), groups = group_count(values);
  VersionDelta delta;
  delta.to = to;
  delta.hash = hash;
  delta.frames.resize(static_cast<size_t>(groups) + 1);
  delta.frames[0] = delta_head(next);
  Total total;
  device_tasks(next.device(), groups, [&](int64_t g) {
    delta.frames[static_cast<size_t>(g) + 1] = encode_group(next.flat(), before, group_span(values, g), total);
  });
  delta.change = total.change;
  delta.from = total.needs_previous ? from : -1;
  return delta;
}

void apply_delta(WeightSet& weights, const VersionDelta& delta) {
  const int64_t values = weights.flat().size(), groups = group_count(values);
  if (delta.frames.empty() || delta.frames[0] != delta_head(weights))
    malformed_delta("no R1D2 head, or that of weights of another size or type");
  if (delta.frames.size() != static_cast<size_t>(groups) + 1) malformed_delta("another number of groups than the model has");
  Total total;
  device_tasks(weights.device(), groups, [&](int64_t g) {
    const std::string& frame = delta.frames[static_cast<size_t>(g) + 1];
    total.add(apply_group(weights.flat(), group_span(values, g), frame, !delta.full()), false);
  });
  if (delta.full()) {
    Context ctx(weights.device());
    check_gaps_are_zero(ctx, weights);
    check_hash(weights, delta);
  } else if (total.change != delta.change) {
    throw failure(fmt::format("the difference from version {} to {} does not change the weights that are held as it changed "
                              "the sender's",
                              delta.from, delta.to),
                  {}, "the sender is asked for the whole version");
  }
}

void copy_version(const WeightSet& from, WeightSet& to) {
  R1_CHECK(from.dtype() == to.dtype() && from.flat().size() == to.flat().size(), from.flat().str());
  Context ctx(to.device());
  if (&from.device() == &to.device()) {
    run(ctx, Copy{from.flat(), to.flat()});
    return to.device().finish();
  }
  std::vector<std::byte> host(static_cast<size_t>(from.flat().size()) * dtype_size(from.dtype()));
  download(from.flat(), host.data(), host.size());
  upload(to.flat(), host.data(), host.size());
  to.device().finish();
}

std::shared_ptr<WeightSet> apply_delta(const WeightSet* previous, const VersionDelta& delta, const ModelConfig& config,
                                       Device& device, DType dtype) {
  auto result = std::make_shared<WeightSet>(device, config, dtype);
  if (!delta.full()) {
    if (previous == nullptr) malformed_delta("it needs a previous version");
    copy_version(*previous, *result);
  }
  apply_delta(*result, delta);
  if (!delta.full()) check_hash(*result, delta);
  return result;
}

}  // namespace r1
