#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/ops.h"
#include "kernels/staging.h"
#include "models/finite.h"

namespace r1 {
namespace {

// Parameters begin at multiples of this many elements: 64 bytes in bf16, and the same element offsets in every dtype, so that
// flat optimizer arrays, masters and weights match element by element.
constexpr int64_t kAlignElements = 32;
constexpr size_t kHashChunkBytes = size_t{1} << 20;

int64_t values_of(const ParamSpec& s) {
  int64_t n = 1;
  for (int64_t d : s.shape) n *= d;
  return n;
}

int64_t padded(int64_t values) { return (values + kAlignElements - 1) / kAlignElements * kAlignElements; }

// What the segment of a parameter is like.
WeightSegment segment_kind(const ParamSpec& s, DType set) {
  if (s.role == ParamRole::selection_bias) return {DType::f32, false, {}};
  return {set, true, {}};
}

}  // namespace

WeightSet::WeightSet(Device& device, const ModelConfig& config, DType dtype)
    : config_(config), specs_(param_specs(config)), device_(&device), dtype_(dtype) {
  R1_CHECK(dtype == DType::f32 || dtype == DType::bf16, dtype_name(dtype));
  std::vector<int64_t> sizes;  // of the segments, in values
  for (const ParamSpec& s : specs_) {
    const WeightSegment kind = segment_kind(s, dtype);
    if (segments_.empty() || segments_.back().dtype != kind.dtype || segments_.back().trainable != kind.trainable) {
      segments_.push_back(kind);
      sizes.push_back(0);
    }
    places_.push_back({segments_.size() - 1, sizes.back()});
    sizes.back() += padded(values_of(s));
  }
  const auto elements = [&](size_t segment) {  // of dtype, one behind the other
    return sizes[segment] * static_cast<int64_t>(dtype_size(segments_[segment].dtype) / dtype_size(dtype));
  };
  int64_t total = 0;
  for (size_t i = 0; i < segments_.size(); ++i) total += elements(i);
  flat_ = Tensor(device, dtype, {total});
  int64_t begin = 0;
  for (size_t i = 0; i < segments_.size(); ++i) {
    WeightSegment& segment = segments_[i];
    segment.values = contiguous_view(device, flat_.view().slice(begin, total).data, segment.dtype, &sizes[i], 1);
    begin += elements(i);
  }
  Context ctx(device);
  for (size_t i = 0; i < specs_.size(); ++i) {
    const ParamSpec& s = specs_[i];
    const View& values = segments_[places_[i].segment].values;
    const int64_t at = places_[i].begin, end = at + values_of(s), next = at + padded(values_of(s));
    views_.push_back(
        contiguous_view(device, values.slice(at, end).data, values.dtype, s.shape.data(), static_cast<int>(s.shape.size())));
    if (next > end) run(ctx, Fill{values.slice(end, next), 0});
  }
}

Hash128 WeightSet::hash(std::string* not_finite) const {
  struct Part {
    size_t param;
    const ParamPart* part;
    Hash128 header;
    size_t segment, first, chunks;  // its spans, of those of the segment
  };
  std::vector<std::vector<int64_t>> spans(segments_.size());
  std::vector<Part> parts;
  for (size_t i = 0; i < specs_.size(); ++i) {
    const ParamSpec& s = specs_[i];
    const int64_t row_size = values_of(s) / s.shape[0];
    const Place at = places_[i];
    const DType dtype = segments_[at.segment].dtype;
    const auto chunk = static_cast<int64_t>(kHashChunkBytes / dtype_size(dtype));
    for (const ParamPart& p : s.parts) {
      std::string header = fmt::format("{} {} {}", p.name, dtype_name(dtype), p.rows);
      if (s.shape.size() == 2) header += fmt::format("x{}", s.shape[1]);
      const size_t first = spans[at.segment].size() / 2;
      const int64_t end = at.begin + (p.row_begin + p.rows) * row_size;
      for (int64_t begin = at.begin + p.row_begin * row_size; begin < end; begin += chunk)
        spans[at.segment].insert(spans[at.segment].end(), {begin, std::min(end, begin + chunk)});
      parts.push_back({i, &p, hash_string(header), at.segment, first, spans[at.segment].size() / 2 - first});
    }
  }
  Context ctx(*device_);
  Staging staging;
  std::vector<Staging::Slot> slots;
  std::vector<int64_t> begins;  // of the segments' results
  int64_t words = 0;
  for (const std::vector<int64_t>& s : spans) {
    slots.push_back(staging.add(s));
    begins.push_back(words);
    words += static_cast<int64_t>(s.size()) / 2 * 3;
  }
  staging.send(ctx.arena);
  // Of each segment two words of hash for every span, then where every span is not finite.
  const View results = ctx.arena.alloc(DType::i64, {words});
  for (size_t s = 0; s < spans.size(); ++s) {
    const auto n = static_cast<int64_t>(spans[s].size()) / 2;
    const int64_t at = begins[s];
    run(ctx, HashSpans{staging.view(slots[s]).reshape({n, 2}), segments_[s].values,
                       results.slice(at, at + 2 * n).reshape({n, 2}), results.slice(at + 2 * n, at + 3 * n)});
  }
  const std::vector<int64_t> host = download_as<int64_t>(results);

  // Value `element` of the part's segment, in words.
  const auto in_words = [&](const Part& p, int64_t element) {
    const WeightSegment& segment = segments_[p.segment];
    std::byte bytes[sizeof(float)];
    download(segment.values.slice(element, element + 1), bytes, dtype_size(segment.dtype));
    const ParamSpec& s = specs_[p.param];
    std::vector<int64_t> shape = s.shape;
    shape[0] = p.part->rows;
    const int64_t begin = places_[p.param].begin + p.part->row_begin * (values_of(s) / s.shape[0]);
    return not_finite_text(p.part->name, shape, element - begin, bytes, segment.dtype == DType::f32 ? "F32" : "BF16");
  };
  if (not_finite != nullptr) not_finite->clear();
  std::vector<Hash128> hashes;
  for (const Part& p : parts) {
    const int64_t* const hash_words = host.data() + begins[p.segment];
    const int64_t* const bad = hash_words + spans[p.segment].size();
    std::vector<Hash128> tree{p.header};
    for (size_t c = p.first; c < p.first + p.chunks; ++c) {
      tree.push_back({.hi = static_cast<uint64_t>(hash_words[2 * c]), .lo = static_cast<uint64_t>(hash_words[2 * c + 1])});
      if (not_finite != nullptr && not_finite->empty() && bad[c] >= 0)
        *not_finite = in_words(p, spans[p.segment][2 * c] + bad[c]);
    }
    hashes.push_back(hash_list(tree));
  }
  return hash_list(hashes);
}

void copy_weights(Context& ctx, const WeightSet& from, const WeightSet& to) {
  R1_CHECK(from.segments().size() == to.segments().size(), "sets of the same model");
  for (size_t i = 0; i < from.segments().size(); ++i) run(ctx, Copy{from.segments()[i].values, to.segments()[i].values});
}

void initialize(WeightSet& target, uint64_t seed) {
  R1_CHECK(target.dtype() == DType::f32, dtype_name(target.dtype()));
  constexpr int64_t kRowsPerUpload = 1024;
  for (size_t i = 0; i < target.specs().size(); ++i) {
    const ParamSpec& s = target.specs()[i];
    const int64_t row_size = values_of(s) / s.shape[0];
    const bool constant = s.init_std == 0;
    const float value = s.role == ParamRole::norm ? 1.0f : 0.0f;
    for (const ParamPart& p : s.parts) {
      for (int64_t row = 0; row < p.rows; row += kRowsPerUpload) {
        const int64_t n = std::min(kRowsPerUpload, p.rows - row);
        std::vector<float> host(static_cast<size_t>(n * row_size), value);
        // A stream per row of the published tensor: fusing or sharding parameters does not change a value.
        if (!constant)
          parallel_tasks(n, [&](int64_t r) {
            Rng rng(seed, p.name, static_cast<uint64_t>(row + r));
            for (int64_t k = 0; k < row_size; ++k)
              host[static_cast<size_t>(r * row_size + k)] = static_cast<float>(s.init_std * rng.normal());
          });
        upload(target.param(i).slice(p.row_begin + row, p.row_begin + row + n), host);
      }
    }
  }
  target.device().finish();
}

WeightSet convert_weights(const WeightSet& from, const ModelConfig& config, DType dtype) {
  WeightSet to(from.device(), config, dtype);
  Context ctx(from.device());
  for (size_t i = 0; i < to.specs().size(); ++i) {
    const ParamSpec& wanted = to.specs()[i];
    const auto same =
        std::find_if(from.specs().begin(), from.specs().end(), [&](const ParamSpec& s) { return s.name == wanted.name; });
    if (same == from.specs().end()) {
      run(ctx, Fill{to.param(i), 0});
      continue;
    }
    R1_CHECK(same->shape == wanted.shape, wanted.name);
    run(ctx, Copy{from.param(static_cast<size_t>(same - from.specs().begin())), to.param(i)});
  }
  to.device().finish();
  return to;
}

}  // namespace r1
