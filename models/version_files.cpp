#include "models/version_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/files.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

// file := "R1V1" i64 from i64 to u64 hash_hi u64 hash_lo u64 change_a u64 change_b u64 frames   frames x (u64 bytes, bytes)
// A segment's base has the same without frames, as base.delta.
constexpr char kFileMagic[4] = {'R', '1', 'V', '1'};
constexpr const char* kBaseFile = "base.delta";
constexpr const char* kExtension = ".delta";

template <class Int>
void put(AtomicFile& out, Int v) {
  out.write(&v, sizeof v);
}

void write_delta_file(const fs::path& path, const VersionDelta& delta) {
  const auto& [from, to, hash, change, frames] = delta;
  AtomicFile out(path);
  out.write(kFileMagic, sizeof kFileMagic);
  put(out, from);
  put(out, to);
  put(out, hash.hi);
  put(out, hash.lo);
  put(out, change.a);
  put(out, change.b);
  put(out, static_cast<uint64_t>(frames.size()));
  for (const std::string& frame : frames) {
    put(out, static_cast<uint64_t>(frame.size()));
    out.write(frame.data(), frame.size());
  }
  out.finish();
}

VersionDelta read_delta_file(const fs::path& path) {
  const std::string bytes = read_file(path);
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  const auto damaged = [&] { return bad_input("is no kept version, or is damaged", {path.string()}); };
  const auto take = [&](void* to, size_t n) {
    if (static_cast<size_t>(end - p) < n) throw damaged();
    std::memcpy(to, p, n);
    p += n;
  };
  char magic[4];
  VersionDelta d;
  uint64_t frames = 0;
  take(magic, sizeof magic);
  if (std::memcmp(magic, kFileMagic, sizeof magic) != 0) throw damaged();
  for (int64_t* v : {&d.from, &d.to}) take(v, sizeof *v);
  for (uint64_t* v : {&d.hash.hi, &d.hash.lo, &d.change.a, &d.change.b, &frames}) take(v, sizeof *v);
  for (; frames > 0; --frames) {
    uint64_t size = 0;
    take(&size, sizeof size);
    if (size > static_cast<uint64_t>(end - p)) throw damaged();
    d.frames.emplace_back(p, size);
    p += size;
  }
  if (p != end) throw damaged();
  return d;
}

std::optional<int64_t> number_of(const std::string& name) {
  int64_t n = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), n);
  return error == std::errc() && rest == name.data() + name.size() && n >= 0 ? std::optional(n) : std::nullopt;
}

fs::path segment_dir(const fs::path& stage_dir, int64_t base) { return stage_dir / std::to_string(base); }
fs::path delta_file(const fs::path& stage_dir, int64_t base, int64_t version) {
  return segment_dir(stage_dir, base) / (std::to_string(version) + kExtension);
}

DType stored_type(const fs::path& model) {
  const StoredModel stored(model);
  for (const auto& [name, tensor] : stored.tensors())
    if (tensor.type == "BF16") return DType::bf16;
  return DType::f32;
}

std::string kept_text(const fs::path& stage_dir) {
  std::string text;
  for (const int64_t base : version_segments(stage_dir))
    text += fmt::format("{}{} to {}", text.empty() ? "kept: " : ", ", base, last_of_segment(stage_dir, base));
  return text.empty() ? "keep_versions=N on a trainer keeps them, in RUN/versions/STAGE" : text;
}

}  // namespace

void write_version_base(const fs::path& stage_dir, int64_t version, const WeightSet& weights, const Hash128& hash,
                        const ModelTexts& texts) {
  DirectoryOptions options;
  options.type = weights.dtype() == DType::bf16 ? FileType::bf16 : FileType::f32;
  fs::create_directories(stage_dir);
  const fs::path dir = segment_dir(stage_dir, version);
  write_model_dir(dir, weights.config(), tensor_source(weights), texts, options);
  write_delta_file(dir / kBaseFile, {-1, version, hash, {}, {}});
}

void write_version_delta(const fs::path& stage_dir, int64_t base, const VersionDelta& delta) {
  write_delta_file(delta_file(stage_dir, base, delta.to), delta);
}

void remove_other_segments(const fs::path& stage_dir, const std::vector<int64_t>& keep) {
  std::vector<fs::path> others;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(stage_dir, none)) {
    const auto base = number_of(entry.path().filename().string());
    if (!base || std::find(keep.begin(), keep.end(), *base) == keep.end()) others.push_back(entry.path());
  }
  for (const fs::path& path : others) {
    fs::remove(path / kBaseFile, none);  // first: half a segment is none
    fs::remove_all(path, none);
  }
}

std::vector<int64_t> version_segments(const fs::path& stage_dir) {
  std::vector<int64_t> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(stage_dir, none))
    if (const auto base = number_of(entry.path().filename().string()); base && fs::exists(entry.path() / kBaseFile, none))
      found.push_back(*base);
  std::sort(found.begin(), found.end());
  return found;
}

int64_t last_of_segment(const fs::path& stage_dir, int64_t base) {
  int64_t last = base;
  std::error_code none;
  while (fs::exists(delta_file(stage_dir, base, last + 1), none)) ++last;
  return last;
}

KeptVersion rebuild_version(Device& device, const fs::path& stage_dir, int64_t version) {
  const std::vector<int64_t> bases = version_segments(stage_dir);
  const auto after = std::upper_bound(bases.begin(), bases.end(), version);
  if (after == bases.begin() || last_of_segment(stage_dir, *std::prev(after)) < version)
    throw bad_input(fmt::format("version {} is not kept here", version), {stage_dir.string()}, kept_text(stage_dir));
  const int64_t base = *std::prev(after);
  const fs::path dir = segment_dir(stage_dir, base);
  VersionDelta step = read_delta_file(dir / kBaseFile);
  // The type is that of the files: a set in it has their bits.
  KeptVersion kept{load_weights(device, dir, stored_type(dir)), dir};
  const auto refuse = [&](const std::string& what) {
    return bad_input(fmt::format("version {} cannot be made again: {}", version, what), {dir.string()});
  };
  if (step.to != base) throw refuse("base.delta is another version's");
  for (int64_t v = base + 1; v <= version; ++v) {
    step = read_delta_file(delta_file(stage_dir, base, v));
    if (step.to != v || (!step.full() && step.from != v - 1)) throw refuse(fmt::format("{}.delta is another one's", v));
    try {
      apply_delta(*kept.weights, step);
    } catch (const Error& e) {
      throw refuse(fmt::format("{}.delta: {}", v, e.message()));
    }
  }
  if (kept.weights->hash() != step.hash) throw refuse("its weights have another hash than was published");
  return kept;
}

}  // namespace r1
