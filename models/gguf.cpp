#include "models/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/clipped.h"
#include "base/error.h"

namespace r1 {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is copied, not converted");

namespace {

constexpr std::string_view kGgufMagic = "GGUF";
// Published files: a header of 10 MB, 60 keys, 1,100 tensors.
constexpr uint64_t kMostHeaderBytes = uint64_t{1} << 27;
constexpr uint64_t kMostKeys = 1 << 16, kMostTensors = 300'000, kMostElements = uint64_t{1} << 23;
constexpr uint64_t kMostKeyBytes = 65'535, kMostTensorName = 64;
constexpr uint32_t kMostDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32, kMostAlignment = 1 << 20;
constexpr size_t kPiece = size_t{1} << 20;
constexpr const char* kDamaged = "the file is damaged or was cut short; download or write it again";

// Bytes of one value of a type; 0: of no fixed size.
size_t type_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
T value_at(const std::string& bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
  return value;
}

// Reads the header from front to back, a piece of the file in memory at a time.
class HeaderReader {
 public:
  explicit HeaderReader(const FileReader& file) : file_(file) {}

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw bad_input("GGUF: " + what, {file_.path().string()}, hint);
  }
  uint64_t at() const { return at_; }
  uint64_t left() const { return file_.size() - at_; }

  void bytes(void* out, uint64_t n, const char* what) {
    if (n > left()) fail(fmt::format("{} at byte {} takes {} bytes, {} are left", what, at_, n, left()), kDamaged);
    if (n > kMostHeaderBytes - std::min(at_, kMostHeaderBytes))
      fail(fmt::format("the header is longer than {} MiB", kMostHeaderBytes >> 20));
    auto* to = static_cast<char*>(out);
    while (n > 0) {
      if (at_ < begin_ || at_ >= begin_ + piece_.size()) {
        begin_ = at_;
        piece_.resize(static_cast<size_t>(std::min<uint64_t>(kPiece, left())));
        file_.read(begin_, piece_.data(), piece_.size());
      }
      const auto here = static_cast<size_t>(std::min<uint64_t>(n, begin_ + piece_.size() - at_));
      std::memcpy(to, piece_.data() + (at_ - begin_), here);
      to += here;
      at_ += here;
      n -= here;
    }
  }
  template <class T>
  T number(const char* what) {
    T value;
    bytes(&value, sizeof value, what);
    return value;
  }
  std::string text(const char* what, uint64_t most) {
    const auto n = number<uint64_t>(what);
    if (n > left()) fail(fmt::format("{} at byte {} takes {} bytes, {} are left", what, at_, n, left()), kDamaged);
    if (n > most) fail(fmt::format("{} at byte {} is {} bytes long, expected at most {}", what, at_, n, most));
    std::string out(static_cast<size_t>(n), '\0');
    bytes(out.data(), n, what);
    return out;
  }

 private:
  const FileReader& file_;
  uint64_t at_ = 0, begin_ = 0;
  std::string piece_;
};

GgufType read_type(HeaderReader& in, const std::string& key) {
  const auto type = in.number<uint32_t>("a type");
  if (type > static_cast<uint32_t>(GgufType::f64)) in.fail(fmt::format("key '{}' has the unknown type {}", clipped(key), type));
  return static_cast<GgufType>(type);
}

GgufValue read_value(HeaderReader& in, const std::string& key) {
  GgufValue value;
  value.type = read_type(in, key);
  uint64_t n = 1;
  if (value.type == GgufType::array) {
    value.list = true;
    value.type = read_type(in, key);
    if (value.type == GgufType::array) in.fail(fmt::format("key '{}' is a list of lists", clipped(key)));
    n = in.number<uint64_t>("the length of a list");
    if (n > kMostElements)
      in.fail(fmt::format("key '{}' has {} elements, expected at most {}", clipped(key), n, kMostElements));
    const uint64_t least = n * (value.type == GgufType::text ? 8 : type_bytes(value.type));
    if (least > in.left())
      in.fail(fmt::format("key '{}' has {} elements, but only {} bytes are left", clipped(key), n, in.left()), kDamaged);
  }
  if (value.type == GgufType::text) {
    for (uint64_t i = 0; i < n; ++i) value.texts.push_back(in.text("a text", kMostHeaderBytes));
    return value;
  }
  const uint64_t bytes = n * type_bytes(value.type);
  if (bytes > kMostHeaderBytes) in.fail(fmt::format("key '{}' takes {} bytes", clipped(key), bytes));
  value.bytes.resize(static_cast<size_t>(bytes));
  in.bytes(value.bytes.data(), bytes, "a value");
  if (value.type == GgufType::boolean)
    for (const char b : value.bytes)
      if (b != 0 && b != 1) in.fail(fmt::format("key '{}' is neither true nor false", clipped(key)));
  return value;
}

struct Described {
  GgufTensor tensor;
  uint64_t offset = 0;  // from the start of the data
};

Described read_tensor(HeaderReader& in) {
  Described out;
  GgufTensor& t = out.tensor;
  t.name = in.text("the name of a tensor", kMostTensorName);
  if (t.name.empty()) in.fail("a tensor has no name");
  const std::string name = clipped(t.name);
  const auto dimensions = in.number<uint32_t>("a number of dimensions");
  if (dimensions == 0 || dimensions > kMostDimensions)
    in.fail(fmt::format("tensor '{}' has {} dimensions, expected 1 to {}", name, dimensions, kMostDimensions));
  uint64_t values = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto n = in.number<uint64_t>("a dimension");
    if (n == 0 || n > uint64_t{1} << 48 || __builtin_mul_overflow(values, n, &values) || values > uint64_t{1} << 48)
      in.fail(fmt::format("tensor '{}' has a dimension of {}: too many values, or none", name, n));
    t.shape.insert(t.shape.begin(), static_cast<int64_t>(n));
  }
  const auto type = in.number<uint32_t>("a type");
  const GgufBlock* block = gguf_block(type);
  if (block == nullptr)
    in.fail(fmt::format("tensor '{}' has type {}, which is not supported", name, type),
            "supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q6_K; quantise the model as one of these");
  t.type = block->type;
  if (t.shape.back() % block->values != 0)
    in.fail(fmt::format("tensor '{}' is {}: its rows of {} values are no multiple of {}", name, block->name, t.shape.back(),
                        block->values));
  t.bytes = values / block->values * block->bytes;
  out.offset = in.number<uint64_t>("an offset");
  return out;
}

uint64_t alignment_of(const HeaderReader& in, const std::map<std::string, GgufValue, std::less<>>& metadata) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  const auto n = found->second.list ? std::nullopt : found->second.integer();
  if (!n || *n < 8 || static_cast<uint64_t>(*n) > kMostAlignment || !std::has_single_bit(static_cast<uint64_t>(*n)))
    in.fail("general.alignment must be a power of two from 8 to 2^20");
  return static_cast<uint64_t>(*n);
}

}  // namespace

const char* gguf_type_name(GgufType type) {
  constexpr const char* kNames[] = {"u8",     "i8",     "u16",    "i16", "u32", "i32", "f32",
                                    "a flag", "a text", "a list", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

size_t GgufValue::size() const { return type == GgufType::text ? texts.size() : bytes.size() / type_bytes(type); }

std::optional<int64_t> GgufValue::integer(size_t i) const {
  if (type == GgufType::text || i >= size()) return std::nullopt;
  switch (type) {
    case GgufType::u8:
      return value_at<uint8_t>(bytes, i);
    case GgufType::i8:
      return value_at<int8_t>(bytes, i);
    case GgufType::u16:
      return value_at<uint16_t>(bytes, i);
    case GgufType::i16:
      return value_at<int16_t>(bytes, i);
    case GgufType::u32:
      return value_at<uint32_t>(bytes, i);
    case GgufType::i32:
      return value_at<int32_t>(bytes, i);
    case GgufType::i64:
      return value_at<int64_t>(bytes, i);
    case GgufType::u64: {
      const auto v = static_cast<int64_t>(value_at<uint64_t>(bytes, i));
      return v < 0 ? std::nullopt : std::optional<int64_t>(v);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufValue::number(size_t i) const {
  if (i >= size()) return std::nullopt;
  if (type == GgufType::f32) return value_at<float>(bytes, i);
  if (type == GgufType::f64) return value_at<double>(bytes, i);
  const auto whole = integer(i);
  return whole ? std::optional<double>(static_cast<double>(*whole)) : std::nullopt;
}

std::optional<bool> GgufValue::flag(size_t i) const {
  if (type != GgufType::boolean || i >= size()) return std::nullopt;
  return bytes[i] != 0;
}

bool has_gguf_magic(const std::filesystem::path& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return false;
  const FileReader file(path);
  char magic[4] = {};
  if (file.size() < sizeof magic) return false;
  file.read(0, magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == kGgufMagic;
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(std::make_shared<FileReader>(path)) {
  HeaderReader in(*file_);
  char magic[4] = {};
  if (file_->size() < sizeof magic) in.fail(fmt::format("the file is cut short: {} bytes", file_->size()), kDamaged);
  in.bytes(magic, sizeof magic, "the magic");
  if (std::string_view(magic, sizeof magic) != kGgufMagic)
    in.fail("the file does not begin with 'GGUF'", "this is another kind of file (a web page, or a pointer of git lfs?)");
  const auto version = in.number<uint32_t>("the version");
  if ((version & 0xFFFFu) == 0) in.fail("the file is big-endian", "convert it to little-endian first");
  if (version != 2 && version != 3) in.fail(fmt::format("version {}, expected 2 or 3", version));
  const auto tensors = in.number<uint64_t>("the number of tensors"), keys = in.number<uint64_t>("the number of keys");
  if (tensors > kMostTensors) in.fail(fmt::format("{} tensors, expected at most {}", tensors, kMostTensors));
  if (keys > kMostKeys) in.fail(fmt::format("{} keys, expected at most {}", keys, kMostKeys));

  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = in.text("a key", kMostKeyBytes);
    if (key.empty()) in.fail("a key is empty");
    if (!metadata_.emplace(key, read_value(in, key)).second) in.fail(fmt::format("the key '{}' stands twice", clipped(key)));
  }
  const uint64_t alignment = alignment_of(in, metadata_);
  std::vector<Described> described;
  for (uint64_t i = 0; i < tensors; ++i) {
    described.push_back(read_tensor(in));
    if (!by_name_.emplace(described.back().tensor.name, i).second)
      in.fail(fmt::format("the tensor '{}' stands twice", clipped(described.back().tensor.name)));
  }
  const uint64_t data = (in.at() + alignment - 1) / alignment * alignment;
  uint64_t expected = 0;
  for (Described& d : described) {
    if (d.offset != expected)
      in.fail(fmt::format("tensor '{}' begins at byte {} of the data, expected {} ({})", clipped(d.tensor.name), d.offset,
                          expected, d.offset > expected ? "a hole" : "an overlap"));
    if (data > file_->size() || d.offset > file_->size() - data || d.tensor.bytes > file_->size() - data - d.offset)
      in.fail(fmt::format("tensor '{}' ends beyond the file", clipped(d.tensor.name)), kDamaged);
    expected += (d.tensor.bytes + alignment - 1) / alignment * alignment;
    d.tensor.offset = data + d.offset;
    tensors_.push_back(std::move(d.tensor));
  }
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace r1
