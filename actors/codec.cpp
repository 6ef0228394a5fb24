#include "actors/codec.h"

#include <cstring>

#include "base/error.h"

namespace r1 {

namespace {

constexpr uint8_t kSequenceFormat = 1;
constexpr uint8_t kBatchFormat = 1;
constexpr uint8_t kBatchWithSilentFormat = 2;  // as 1, then the two numbers

class Writer {
 public:
  template <class T>
  void number(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void varint(uint64_t v) {
    while (v >= 0x80) {
      out_.push_back(static_cast<char>(v | 0x80));
      v >>= 7;
    }
    out_.push_back(static_cast<char>(v));
  }
  template <class T>
  void array(const std::vector<T>& v) {
    varint(v.size());
    out_.append(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T));
  }
  // Runs of equal values: count of runs, then (length, zigzag value).
  template <class T>
  void runs(const std::vector<T>& v) {
    std::vector<std::pair<uint64_t, int64_t>> r;
    for (T x : v) {
      if (r.empty() || r.back().second != static_cast<int64_t>(x)) r.push_back({0, static_cast<int64_t>(x)});
      ++r.back().first;
    }
    varint(r.size());
    for (auto [n, x] : r) {
      varint(n);
      varint((static_cast<uint64_t>(x) << 1) ^ static_cast<uint64_t>(x >> 63));
    }
  }
  void bytes(const std::string& s) {
    varint(s.size());
    out_ += s;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  template <class T>
  T number() {
    T value;
    need(sizeof value);
    std::memcpy(&value, in_.data(), sizeof value);
    in_.remove_prefix(sizeof value);
    return value;
  }
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      need(1);
      const auto byte = static_cast<uint8_t>(in_[0]);
      in_.remove_prefix(1);
      v |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return v;
    }
    throw malformed();
  }
  template <class T>
  std::vector<T> array() {
    const uint64_t n = varint();
    if (n > in_.size() / sizeof(T)) throw malformed();
    std::vector<T> v(n);
    if (n > 0) std::memcpy(v.data(), in_.data(), n * sizeof(T));
    in_.remove_prefix(n * sizeof(T));
    return v;
  }
  template <class T>
  std::vector<T> runs(size_t limit) {
    std::vector<T> v;
    for (uint64_t r = varint(); r > 0; --r) {
      const uint64_t n = varint(), z = varint();
      if (n > limit - v.size()) throw malformed();
      v.insert(v.end(), n, static_cast<T>(static_cast<int64_t>(z >> 1) ^ -static_cast<int64_t>(z & 1)));
    }
    return v;
  }
  std::string_view bytes() {
    const uint64_t n = varint();
    need(n);
    const std::string_view s = in_.substr(0, n);
    in_.remove_prefix(n);
    return s;
  }
  void end() const {
    if (!in_.empty()) throw malformed();
  }
  static Error malformed() {
    return failure("a blob of the run store is malformed", {}, "the file run.db was changed or damaged");
  }

 private:
  void need(size_t n) const {
    if (n > in_.size()) throw malformed();
  }
  std::string_view in_;
};

}  // namespace

std::string encode_sequence(const Sequence& s) {
  Writer w;
  w.number(kSequenceFormat);
  w.array(s.tokens);
  w.runs(s.trainable);
  w.array(s.behaviour_logp);
  w.runs(s.version);
  w.runs(s.exact);
  return w.take();
}

Sequence decode_sequence(std::string_view bytes) {
  Reader r(bytes);
  if (r.number<uint8_t>() != kSequenceFormat) throw Reader::malformed();
  Sequence s;
  s.tokens = r.array<int32_t>();
  const size_t n = s.tokens.size();
  s.trainable = r.runs<uint8_t>(n);
  s.behaviour_logp = r.array<float>();
  s.version = r.runs<int64_t>(n);
  s.exact = r.runs<uint8_t>(n);
  r.end();
  const auto whole = [n](size_t size) { return size == 0 || size == n; };
  if (!whole(s.trainable.size()) || !whole(s.behaviour_logp.size()) || !whole(s.version.size()) || !whole(s.exact.size()))
    throw Reader::malformed();
  return s;
}

std::string encode_batch(const BatchContent& batch) {
  Writer w;
  const bool silent = batch.silent_sequences > 0;
  w.number(silent ? kBatchWithSilentFormat : kBatchFormat);
  w.varint(batch.items.size());
  for (const auto& item : batch.items) {
    w.number(item.draw);
    w.number(item.sample);
    w.number(item.advantage);
    w.array(item.reference_logp);
    if (item.draw < 0) w.bytes(encode_sequence(item.inline_sequence));
  }
  if (silent) {
    w.varint(static_cast<uint64_t>(batch.silent_sequences));
    w.varint(static_cast<uint64_t>(batch.silent_tokens));
  }
  return w.take();
}

BatchContent decode_batch(std::string_view bytes) {
  Reader r(bytes);
  const auto format = r.number<uint8_t>();
  if (format != kBatchFormat && format != kBatchWithSilentFormat) throw Reader::malformed();
  BatchContent batch;
  for (uint64_t n = r.varint(); n > 0; --n) {
    auto& item = batch.items.emplace_back();
    item.draw = r.number<int64_t>();
    item.sample = r.number<int32_t>();
    item.advantage = r.number<float>();
    item.reference_logp = r.array<float>();
    if (item.draw < 0) item.inline_sequence = decode_sequence(r.bytes());
  }
  if (format == kBatchWithSilentFormat) {
    constexpr uint64_t kMost = uint64_t{1} << 53;
    const uint64_t sequences = r.varint(), tokens = r.varint();
    if (sequences > kMost || tokens > kMost) throw Reader::malformed();
    batch.silent_sequences = static_cast<int64_t>(sequences);
    batch.silent_tokens = static_cast<int64_t>(tokens);
  }
  r.end();
  return batch;
}

}  // namespace r1
