#include "models/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace r1 {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is mapped, not converted");

namespace {

using PlainJson = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct DTypeBits {
  const char* name;
  int bits;
};
constexpr DTypeBits kDTypes[] = {
    {"BOOL", 8}, {"U8", 8},   {"I8", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16}, {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},    {"I64", 64},
    {"U64", 64}, {"F64", 64}, {"C64", 64},  {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

// bits of the whole tensor, or nullopt on overflow of 64 bits.
std::optional<uint64_t> total_bits(const std::vector<int64_t>& shape, int bits_per_value) {
  uint64_t total = static_cast<uint64_t>(bits_per_value);
  bool zero = false;
  for (const int64_t n : shape) zero = zero || n == 0;
  if (zero) return 0;
  for (const int64_t n : shape)
    if (__builtin_mul_overflow(total, static_cast<uint64_t>(n), &total)) return std::nullopt;
  return total;
}

uint64_t unsigned_number(const PlainJson& value, const std::string& name, const char* what, const Where& where) {
  if (!value.is_number_unsigned())
    throw bad_input(fmt::format("tensor '{}': {} must be non-negative integers, found {}", name, what, shown_json(value)),
                    where);
  return value.get<uint64_t>();
}

struct Placed {
  SafetensorsEntry entry;
  uint64_t begin = 0, end = 0;
};

Placed parse_entry(const std::string& name, const PlainJson& value, const Where& where) {
  Placed placed;
  placed.entry.name = name;
  if (!value.is_object()) throw bad_input(fmt::format("tensor '{}': expected an object", name), where);
  for (const auto& [key, unused] : value.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      throw bad_input(fmt::format("tensor '{}': unknown key '{}'", name, key), where);
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key)) throw bad_input(fmt::format("tensor '{}': '{}' is missing", name, key), where);

  if (!value["dtype"].is_string()) throw bad_input(fmt::format("tensor '{}': dtype must be a string", name), where);
  placed.entry.dtype = value["dtype"].get<std::string>();
  const int bits = safetensors_dtype_bits(placed.entry.dtype);
  if (bits == 0) throw bad_input(fmt::format("tensor '{}': unknown dtype '{}'", name, placed.entry.dtype), where);

  if (!value["shape"].is_array()) throw bad_input(fmt::format("tensor '{}': shape must be an array", name), where);
  for (const PlainJson& n : value["shape"]) {
    const uint64_t dim = unsigned_number(n, name, "dimensions", where);
    if (dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      throw bad_input(fmt::format("tensor '{}': dimension {} is too large", name, dim), where);
    placed.entry.shape.push_back(static_cast<int64_t>(dim));
  }

  const PlainJson& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    throw bad_input(fmt::format("tensor '{}': data_offsets must be [begin, end]", name), where);
  placed.begin = unsigned_number(offsets[0], name, "data_offsets", where);
  placed.end = unsigned_number(offsets[1], name, "data_offsets", where);
  if (placed.end < placed.begin)
    throw bad_input(fmt::format("tensor '{}': data_offsets end {} lies before begin {}", name, placed.end, placed.begin),
                    where);

  const auto total = total_bits(placed.entry.shape, bits);
  if (!total) throw bad_input(fmt::format("tensor '{}': the shape overflows 64 bits", name), where);
  if (*total % 8 != 0) throw bad_input(fmt::format("tensor '{}': its {} bits are not whole bytes", name, *total), where);
  if (placed.end - placed.begin != *total / 8)
    throw bad_input(fmt::format("tensor '{}': data_offsets hold {} bytes, dtype and shape need {}", name,
                                placed.end - placed.begin, *total / 8),
                    where);
  placed.entry.bytes = static_cast<size_t>(*total / 8);
  return placed;
}

// Columns count within the header.
PlainJson parse_header(std::string_view text, const Where& where) {
  try {
    return parse_json(text, where, {.hint = "the file is damaged; download or write it again", .max_bytes = kMaxHeaderBytes});
  } catch (const Error& e) {
    throw bad_input("safetensors header is not valid JSON: " + e.message(), e.where(), e.hint());
  }
}

}  // namespace

int safetensors_dtype_bits(std::string_view dtype) {
  for (const DTypeBits& d : kDTypes)
    if (dtype == d.name) return d.bits;
  return 0;
}

SafetensorsHeader read_safetensors_header(const FileReader& file) {
  const Where where{file.path().string()};
  SafetensorsHeader out;
  if (file.size() < 8)
    throw bad_input(fmt::format("safetensors file is cut short: {} bytes, the header length alone takes 8", file.size()),
                    where);
  uint64_t header_bytes = 0;
  file.read(0, &header_bytes, sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes)
    throw bad_input(fmt::format("safetensors header length {} is over the limit of {}", header_bytes, kMaxHeaderBytes), where,
                    "this is probably no safetensors file (a web page, or a pointer of git lfs? then: git lfs pull)");
  if (8 + header_bytes > file.size())
    throw bad_input(fmt::format("safetensors header of {} bytes does not fit a file of {}", header_bytes, file.size()), where,
                    "the file was cut short; download or write it again");
  std::string bytes(static_cast<size_t>(header_bytes), '\0');
  file.read(8, bytes.data(), bytes.size());
  std::string_view text = bytes;
  if (text.empty() || text.front() != '{') throw bad_input("safetensors header does not begin with '{'", where);
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (text.back() != '}') throw bad_input("safetensors header is padded with something other than spaces", where);

  const PlainJson header = parse_header(text, where);
  std::vector<Placed> placed;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      placed.push_back(parse_entry(name, value, where));
      continue;
    }
    if (!value.is_object()) throw bad_input("safetensors __metadata__ must be an object of strings", where);
    for (const auto& [key, text_value] : value.items()) {
      if (!text_value.is_string())
        throw bad_input(fmt::format("safetensors __metadata__ value of '{}' is not a string", key), where);
      out.metadata[key] = text_value.get<std::string>();
    }
  }

  // Zero-sized tensors may share an offset with the tensor that follows them, so the end decides ties.
  std::vector<const Placed*> by_offset;
  for (const Placed& p : placed) by_offset.push_back(&p);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const Placed* a, const Placed* b) { return std::tie(a->begin, a->end) < std::tie(b->begin, b->end); });
  uint64_t expected = 0;
  for (const Placed* p : by_offset) {
    if (p->begin != expected)
      throw bad_input(fmt::format("tensor '{}' begins at byte {} of the data, expected {} ({})", p->entry.name, p->begin,
                                  expected, p->begin > expected ? "a hole" : "an overlap"),
                      where);
    expected = p->end;
  }
  const uint64_t data_bytes = file.size() - 8 - header_bytes;
  if (expected != data_bytes)
    throw bad_input(fmt::format("safetensors data is {} bytes, its tensors need {}", data_bytes, expected), where,
                    data_bytes < expected ? "the file was cut short; download or write it again" : "");
  for (Placed& p : placed) {
    p.entry.offset = 8 + header_bytes + p.begin;
    out.entries.push_back(std::move(p.entry));
  }
  std::sort(out.entries.begin(), out.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.name < b.name; });
  return out;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : SafetensorsFile(path, FileReader(path)) {}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, const FileReader& file) : path_(path), map_(path) {
  SafetensorsHeader header = read_safetensors_header(file);
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
  if (map_.bytes().size() != file.size()) throw failure("the file changed while it was opened", {path.string()});
  for (SafetensorsEntry& e : entries_) e.data = map_.bytes().data() + e.offset;
}

std::optional<SafetensorsEntry> SafetensorsFile::find(std::string_view name) const {
  const auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const SafetensorsEntry& e, std::string_view n) { return e.name < n; });
  if (it == entries_.end() || it->name != name) return std::nullopt;
  return *it;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path), entries_(std::move(entries)), file_(path) {
  std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    const int bits_a = safetensors_dtype_bits(a.dtype), bits_b = safetensors_dtype_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (SafetensorsEntry& e : entries_) {
    const int bits = safetensors_dtype_bits(e.dtype);
    R1_CHECK(bits != 0, fmt::format("dtype '{}' of '{}'", e.dtype, e.name));
    for (const int64_t n : e.shape) R1_CHECK(n >= 0, fmt::format("'{}' has a dimension {}", e.name, n));
    const auto total = total_bits(e.shape, bits);
    R1_CHECK(total && *total % 8 == 0, fmt::format("size of '{}'", e.name));
    R1_CHECK(!header.contains(e.name) && e.name != "__metadata__", fmt::format("tensor name '{}'", e.name));
    e.bytes = static_cast<size_t>(*total / 8);
    header[e.name] = {{"dtype", e.dtype}, {"shape", e.shape}, {"data_offsets", {offset, offset + e.bytes}}};
    offset += e.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  file_.write(&length, sizeof length);
  file_.write(text.data(), text.size());
}

void SafetensorsWriter::append(const void* data, size_t bytes) {
  R1_CHECK(next_ < entries_.size(), fmt::format("{}: more tensors than announced", path_.string()));
  const SafetensorsEntry& e = entries_[next_];
  R1_CHECK(bytes <= e.bytes - written_,
           fmt::format("'{}': {} + {} bytes given, {} announced", e.name, written_, bytes, e.bytes));
  file_.write(data, bytes);
  written_ += bytes;
  if (written_ < e.bytes) return;
  written_ = 0;
  ++next_;
}

void SafetensorsWriter::finish() {
  R1_CHECK(next_ == entries_.size(), fmt::format("{} of {} tensors written", next_, entries_.size()));
  file_.finish();
}

void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, size_t> given;
  for (const SafetensorsEntry& e : entries) given[e.name] = e.bytes;
  SafetensorsWriter writer(path, std::move(entries), metadata);
  for (const SafetensorsEntry& e : writer.order()) writer.append(e.data, given.at(e.name));
  writer.finish();
}

}  // namespace r1
