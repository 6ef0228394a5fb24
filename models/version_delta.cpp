#include "models/version_delta.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "kernels/delta_format.h"
#include "kernels/ops.h"
#include "kernels/staging.h"

// The flat buffer of a WeightSet is cut into chunks of kDeltaChunk values, each coded by itself (kernels/delta_format.h).
// Selection biases (f32, at the end of every flat buffer) travel as the elements that they take there.
//   file := "R1D1" u8 value_bytes u64 values u32 chunks  chunks x (u8 mode, u32 bytes)  payloads
namespace r1 {

namespace {

constexpr char kMagic[4] = {'R', '1', 'D', '1'};
constexpr size_t kHeaderBytes = 4 + 1 + 8 + 4;
constexpr size_t kTableBytes = 5;
constexpr auto kRaw = static_cast<int32_t>(DeltaMode::raw);

int64_t chunk_count(int64_t values) { return (values + kDeltaChunk - 1) / kDeltaChunk; }

template <class Int>
void put(std::string& out, Int v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

[[noreturn]] void malformed(const char* why) {
  throw failure(fmt::format("weight delta is malformed: {}", why), {}, "the sender will be asked for a snapshot");
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
      malformed("bytes between parameters are not zero");
  }
}

// Bytes as words of 32 bits; what the last one has too many is 0.
Tensor upload_words(Device& device, const uint8_t* data, size_t bytes) {
  const size_t whole = bytes / sizeof(int32_t), rest = bytes % sizeof(int32_t);
  Tensor t(device, DType::i32, {static_cast<int64_t>(whole + (rest > 0 ? 1 : 0))});
  upload(t.view().slice(0, static_cast<int64_t>(whole)), data, whole * sizeof(int32_t));
  if (rest > 0) {
    int32_t word = 0;
    std::memcpy(&word, data + whole * sizeof word, rest);
    upload(t.view().slice(static_cast<int64_t>(whole), t.view().size()), &word, sizeof word);
  }
  return t;
}

void copy_flat(Context& ctx, const WeightSet& from, const WeightSet& to) {
  if (&from.device() == &to.device()) return run(ctx, Copy{from.flat(), to.flat()});
  std::vector<std::byte> host(static_cast<size_t>(from.flat().size()) * dtype_size(from.dtype()));
  download(from.flat(), host.data(), host.size());
  upload(to.flat(), host.data(), host.size());
}

}  // namespace

Hash128 published_hash(const WeightSet& weights, int64_t version) {
  std::string not_finite;
  const Hash128 hash = weights.hash(&not_finite);
  if (!not_finite.empty())
    throw failure(fmt::format("version {} is not finite: {}", version, not_finite), {}, "a smaller learning rate may help");
  return hash;
}

VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to, const Hash128& hash) {
  R1_CHECK(next.dtype() == DType::f32 || next.dtype() == DType::bf16, dtype_name(next.dtype()));
  if (previous != nullptr)
    R1_CHECK(previous->dtype() == next.dtype() && previous->flat().size() == next.flat().size() && from >= 0,
             fmt::format("delta from {} to {}", from, to));
  VersionDelta delta;
  delta.to = to;
  delta.hash = hash;
  Context ctx(next.device());
  const View before = previous != nullptr ? previous->flat() : View{};
  const int64_t values = next.flat().size(), chunks = chunk_count(values);
  const Tensor codes(next.device(), DType::i32, {chunks, 2});
  run(ctx, DeltaMeasure{next.flat(), before, codes});
  const std::vector<int32_t> coded = download_as<int32_t>(codes);
  bool needs_previous = false;
  size_t payload_bytes = 0;
  for (size_t c = 0; c < coded.size(); c += 2) {
    needs_previous = needs_previous || coded[c] != kRaw;
    payload_bytes += static_cast<size_t>(coded[c + 1]);
  }
  delta.from = needs_previous ? from : -1;
  const Tensor payload(next.device(), DType::i32, {static_cast<int64_t>((payload_bytes + 3) / 4)});
  run(ctx, DeltaEncode{next.flat(), before, codes, payload});

  const size_t head_bytes = kHeaderBytes + static_cast<size_t>(chunks) * kTableBytes;
  delta.bytes.reserve(head_bytes + payload.bytes());
  delta.bytes.append(kMagic, sizeof kMagic);
  put(delta.bytes, static_cast<uint8_t>(dtype_size(next.dtype())));
  put(delta.bytes, static_cast<uint64_t>(values));
  put(delta.bytes, static_cast<uint32_t>(chunks));
  for (size_t c = 0; c < coded.size(); c += 2) {
    put(delta.bytes, static_cast<uint8_t>(coded[c]));
    put(delta.bytes, static_cast<uint32_t>(coded[c + 1]));
  }
  delta.bytes.resize(head_bytes + payload.bytes());
  download(payload, delta.bytes.data() + head_bytes, payload.bytes());
  delta.bytes.resize(head_bytes + payload_bytes);
  return delta;
}

std::shared_ptr<WeightSet> apply_delta(const WeightSet* previous, const VersionDelta& delta, const ModelConfig& config,
                                       Device& device, DType dtype) {
  auto result = std::make_shared<WeightSet>(device, config, dtype);
  const size_t value_bytes = dtype_size(dtype), values = static_cast<size_t>(result->flat().size());
  const auto chunks = static_cast<size_t>(chunk_count(result->flat().size()));
  const auto* data = reinterpret_cast<const uint8_t*>(delta.bytes.data());
  const auto* end = data + delta.bytes.size();
  const auto take = [&]<class Int>(Int) {
    if (static_cast<size_t>(end - data) < sizeof(Int)) malformed("cut short");
    Int v;
    std::memcpy(&v, data, sizeof v);
    data += sizeof v;
    return v;
  };
  if (delta.bytes.size() < kHeaderBytes || std::memcmp(data, kMagic, sizeof kMagic) != 0) malformed("no R1D1 header");
  data += sizeof kMagic;
  if (take(uint8_t{}) != value_bytes) malformed("values of another width than the generator's");
  if (take(uint64_t{}) != values) malformed("another number of values than the model has");
  if (take(uint32_t{}) != chunks) malformed("a wrong number of chunks");
  if (static_cast<size_t>(end - data) < chunks * kTableBytes) malformed("cut short");

  std::vector<int32_t> coded;
  const uint8_t* const payload = data + chunks * kTableBytes;
  size_t payload_bytes = 0;
  for (size_t c = 0; c < chunks; ++c) {
    const uint8_t mode = take(uint8_t{});
    const size_t bytes = take(uint32_t{});
    if (mode > kRaw) malformed("an unknown kind of chunk");
    if (mode != kRaw && previous == nullptr) malformed("it needs a previous version");
    if (bytes > static_cast<size_t>(kDeltaChunk) * value_bytes) malformed("a chunk larger than its values");
    if (static_cast<size_t>(end - payload) - payload_bytes < bytes) malformed("cut short");
    coded.insert(coded.end(), {mode, static_cast<int32_t>(bytes)});
    payload_bytes += bytes;
  }
  if (payload + payload_bytes != end) malformed("bytes are left over");
  if (!delta.full()) {
    if (previous == nullptr) malformed("it needs a previous version");
    R1_CHECK(previous->dtype() == dtype && static_cast<size_t>(previous->flat().size()) == values, previous->flat().str());
  }

  Context ctx(device);
  if (!delta.full()) copy_flat(ctx, *previous, *result);
  const Tensor codes = tensor_from(device, DType::i32, {static_cast<int64_t>(chunks), 2}, coded.data());
  const Tensor status(device, DType::i32, {static_cast<int64_t>(chunks)});
  run(ctx, DeltaApply{codes, upload_words(device, payload, payload_bytes), result->flat(), status});
  for (const int32_t s : download_as<int32_t>(status))
    if (s != static_cast<int32_t>(DeltaStatus::ok)) malformed(delta_status_text(static_cast<DeltaStatus>(s)));
  check_gaps_are_zero(ctx, *result);
  const Hash128 hash = result->hash();
  if (hash != delta.hash)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", delta.to, hash.hex(), delta.hash.hex()), {},
                  "the sender will be asked for a snapshot");
  return result;
}

}  // namespace r1
