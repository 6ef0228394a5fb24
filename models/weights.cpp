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

int64_t element_count(const ParamSpec& s) {
  int64_t n = 1;
  for (int64_t d : s.shape) n *= d;
  return n;
}

DType param_dtype(const ParamSpec& s, DType set) { return s.role == ParamRole::selection_bias ? DType::f32 : set; }

}  // namespace

WeightSet::WeightSet(Device& device, const ModelConfig& config, DType dtype)
    : config_(config), specs_(param_specs(config)), device_(&device), dtype_(dtype) {
  R1_CHECK(dtype == DType::f32 || dtype == DType::bf16, dtype_name(dtype));
  std::vector<int64_t> begin, end;  // in elements of dtype
  int64_t total = 0, body = 0;
  for (const ParamSpec& s : specs_) {
    R1_CHECK(s.role == ParamRole::selection_bias || body == total, s.name + " stands behind a selection bias");
    const auto elements = static_cast<int64_t>(dtype_size(param_dtype(s, dtype)) / dtype_size(dtype));  // of one value
    begin.push_back(total);
    end.push_back(total + element_count(s) * elements);
    total += (element_count(s) + kAlignElements - 1) / kAlignElements * kAlignElements * elements;
    if (s.role != ParamRole::selection_bias) body = total;
  }
  flat_ = Tensor(device, dtype, {total});
  body_ = flat_.view().slice(0, body);
  if (body < total) {
    const int64_t values = (total - body) * static_cast<int64_t>(dtype_size(dtype)) / static_cast<int64_t>(sizeof(float));
    biases_ = contiguous_view(device, flat_.view().slice(body, total).data, DType::f32, &values, 1);
  }
  Context ctx(device);
  for (size_t i = 0; i < specs_.size(); ++i) {
    const ParamSpec& s = specs_[i];
    views_.push_back(contiguous_view(device, flat_.view().slice(begin[i], end[i]).data, param_dtype(s, dtype), s.shape.data(),
                                     static_cast<int>(s.shape.size())));
    const int64_t next = i + 1 < specs_.size() ? begin[i + 1] : total;
    if (next > end[i]) run(ctx, Fill{flat_.view().slice(end[i], next), 0});
  }
}

Hash128 WeightSet::hash(std::string* not_finite) const {
  // The spans of one element type: of the body in dtype(), of the selection biases in f32.
  struct Segment {
    View values;
    std::vector<int64_t> spans;
  };
  Segment segments[2] = {{body_, {}}, {biases_, {}}};
  struct Part {
    size_t param;
    const ParamPart* part;
    Hash128 header;
    size_t segment, first, chunks;  // its spans
  };
  std::vector<Part> parts;
  for (size_t i = 0; i < specs_.size(); ++i) {
    const ParamSpec& s = specs_[i];
    const int64_t row_size = element_count(s) / s.shape[0];
    const DType dtype = views_[i].dtype;
    const size_t which = s.role == ParamRole::selection_bias ? 1 : 0;
    Segment& segment = segments[which];
    const auto item = static_cast<int64_t>(dtype_size(dtype)), chunk = static_cast<int64_t>(kHashChunkBytes) / item;
    const int64_t start = (views_[i].data - segment.values.data) / item;
    for (const ParamPart& p : s.parts) {
      std::string header = fmt::format("{} {} {}", p.name, dtype_name(dtype), p.rows);
      if (s.shape.size() == 2) header += fmt::format("x{}", s.shape[1]);
      const size_t first = segment.spans.size() / 2;
      const int64_t end = start + (p.row_begin + p.rows) * row_size;
      for (int64_t at = start + p.row_begin * row_size; at < end; at += chunk)
        segment.spans.insert(segment.spans.end(), {at, std::min(end, at + chunk)});
      parts.push_back({i, &p, hash_string(header), which, first, segment.spans.size() / 2 - first});
    }
  }
  const auto count = [&](size_t segment) { return static_cast<int64_t>(segments[segment].spans.size() / 2); };
  Context ctx(*device_);
  Staging staging;
  const Staging::Slot slots[2] = {staging.add(segments[0].spans), staging.add(segments[1].spans)};
  staging.send(ctx.arena);
  // Of every span two words of hash and where it is not finite; the second segment's behind the first's.
  const View results = ctx.arena.alloc(DType::i64, {count(0) + count(1), 3});
  const View words = results.reshape({results.size()});
  const int64_t begins[2] = {0, 3 * count(0)};
  for (size_t s = 0; s < 2; ++s) {
    const int64_t n = count(s), at = begins[s];
    if (n > 0)
      run(ctx, HashSpans{staging.view(slots[s]).reshape({n, 2}), segments[s].values,
                         words.slice(at, at + 2 * n).reshape({n, 2}), words.slice(at + 2 * n, at + 3 * n)});
  }
  const std::vector<int64_t> host = download_as<int64_t>(results);

  // Value `element` of the part's segment, in words.
  const auto in_words = [&](const Part& p, int64_t element) {
    const View& segment = segments[p.segment].values;
    const View value = segment.slice(element, element + 1);
    const auto item = static_cast<int64_t>(dtype_size(value.dtype));
    std::byte bytes[sizeof(float)];
    download(value, bytes, static_cast<size_t>(item));
    const ParamSpec& s = specs_[p.param];
    std::vector<int64_t> shape = s.shape;
    shape[0] = p.part->rows;
    const int64_t begin = (views_[p.param].data - segment.data) / item + p.part->row_begin * (element_count(s) / s.shape[0]);
    return not_finite_text(p.part->name, shape, element - begin, bytes, value.dtype == DType::f32 ? "F32" : "BF16");
  };
  if (not_finite != nullptr) not_finite->clear();
  std::vector<Hash128> hashes;
  for (const Part& p : parts) {
    const int64_t* const hash_words = host.data() + begins[p.segment];
    const int64_t* const bad = hash_words + 2 * count(p.segment);
    std::vector<Hash128> tree{p.header};
    for (size_t c = p.first; c < p.first + p.chunks; ++c) {
      tree.push_back({.hi = static_cast<uint64_t>(hash_words[2 * c]), .lo = static_cast<uint64_t>(hash_words[2 * c + 1])});
      if (not_finite != nullptr && not_finite->empty() && bad[c] >= 0)
        *not_finite = in_words(p, segments[p.segment].spans[2 * c] + bad[c]);
    }
    hashes.push_back(hash_list(tree));
  }
  return hash_list(hashes);
}

void copy_weights(Context& ctx, const WeightSet& from, const WeightSet& to) {
  run(ctx, Copy{from.body(), to.body()});
  if (from.selection_biases()) run(ctx, Copy{from.selection_biases(), to.selection_biases()});
}

void initialize(WeightSet& target, uint64_t seed) {
  R1_CHECK(target.dtype() == DType::f32, dtype_name(target.dtype()));
  constexpr int64_t kRowsPerUpload = 1024;
  for (size_t i = 0; i < target.specs().size(); ++i) {
    const ParamSpec& s = target.specs()[i];
    const int64_t row_size = element_count(s) / s.shape[0];
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
