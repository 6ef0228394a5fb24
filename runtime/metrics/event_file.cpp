#include "runtime/metrics/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/files.h"

namespace r1 {

namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = crc_table();

constexpr std::string_view kFileVersion = "brain.Event:2";
constexpr std::string_view kPrefix = "events.out.tfevents.";

// Protocol buffers: a field is (number << 3 | wire type) and its value.
enum WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, int field, WireType type) { put_varint(out, static_cast<uint64_t>(field) << 3 | type); }

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// Reads the fields of one message in order.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  // False at the end, or where the bytes make no sense.
  bool next() {
    const auto key = varint();
    if (!key) return false;
    number = static_cast<int>(*key >> 3);
    type = static_cast<WireType>(*key & 7);
    switch (type) {
      case kVarint: {
        const auto value = varint();
        integer = value.value_or(0);
        return value.has_value();
      }
      case kFixed64:
        return take(8);
      case kFixed32:
        return take(4);
      case kBytes: {
        const auto size = varint();
        return size && take(*size);
      }
    }
    return false;
  }

  template <class T>
  T as() const {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  int number = 0;
  WireType type = kVarint;
  uint64_t integer = 0;
  std::string_view bytes;

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }
  bool take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
};

ScalarEvent decode_event(std::string_view bytes) {
  ScalarEvent event;
  for (Fields f(bytes); f.next();) {
    if (f.number == 1 && f.type == kFixed64) event.wall_s = f.as<double>();
    if (f.number == 2 && f.type == kVarint) event.step = static_cast<int64_t>(f.integer);
    if (f.number != 5 || f.type != kBytes) continue;
    for (Fields value(f.bytes); value.next();) {
      if (value.number != 1 || value.type != kBytes) continue;
      Scalar& scalar = event.scalars.emplace_back();
      for (Fields part(value.bytes); part.next();) {
        if (part.number == 1 && part.type == kBytes) scalar.tag = part.bytes;
        if (part.number == 2 && part.type == kFixed32) scalar.value = part.as<float>();
      }
    }
  }
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = kCrcTable[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc >> 8);
  return crc ^ 0xffffffffu;
}

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string event_record(std::string_view bytes) {
  std::string record;
  put(record, static_cast<uint64_t>(bytes.size()));
  put(record, masked_crc32c(record));
  record += bytes;
  put(record, masked_crc32c(bytes));
  return record;
}

std::string encode_event(const ScalarEvent& event) {
  std::string summary;
  for (const Scalar& scalar : event.scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);
    put_key(value, 2, kFixed32);
    put(value, static_cast<float>(scalar.value));
    put_bytes(summary, 1, value);
  }
  std::string out;
  put_key(out, 1, kFixed64);
  put(out, event.wall_s);
  put_key(out, 2, kVarint);
  put_varint(out, static_cast<uint64_t>(event.step));
  put_bytes(out, 5, summary);
  return out;
}

EventFile::EventFile(const std::filesystem::path& dir, double wall_s) : file_(nullptr, &std::fclose) {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  path_ = dir / fmt::format("{}{}.{}.{}", kPrefix, static_cast<int64_t>(wall_s), host, ::getpid());
  file_.reset(std::fopen(path_.c_str(), "wb"));
  if (!file_) throw failure(std::string("cannot be created: ") + std::strerror(errno), {path_.string()});
  std::string version;
  put_key(version, 1, kFixed64);
  put(version, wall_s);
  put_bytes(version, 3, kFileVersion);
  write(event_record(version));
}

void EventFile::write(const std::string& record) {
  if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size())
    throw failure(std::string("cannot be written: ") + std::strerror(errno), {path_.string()});
}

void EventFile::add(const ScalarEvent& event) { write(event_record(encode_event(event))); }

void EventFile::flush() {
  if (std::fflush(file_.get()) != 0) throw failure(std::string("cannot be written: ") + std::strerror(errno), {path_.string()});
}

std::vector<std::filesystem::path> event_files(const std::filesystem::path& dir) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<ScalarEvent> read_event_file(const std::filesystem::path& path) {
  const std::string all = read_file(path);
  const auto crc_at = [&](size_t offset) {
    uint32_t value;
    std::memcpy(&value, all.data() + offset, sizeof value);
    return value;
  };
  std::vector<ScalarEvent> events;
  constexpr size_t kHead = 12, kTail = 4;
  for (size_t at = 0; all.size() - at >= kHead + kTail;) {
    uint64_t size;
    std::memcpy(&size, all.data() + at, sizeof size);
    if (crc_at(at + 8) != masked_crc32c({all.data() + at, 8}) || size > all.size() - at - kHead - kTail) break;
    const std::string_view bytes(all.data() + at + kHead, size);
    if (crc_at(at + kHead + size) != masked_crc32c(bytes)) break;
    if (ScalarEvent event = decode_event(bytes); !event.scalars.empty()) events.push_back(std::move(event));
    at += kHead + size + kTail;
  }
  return events;
}

}  // namespace r1
