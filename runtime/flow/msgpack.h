// msgpack arrays, written and read item by item: what the two codecs of messages share (runtime/flow/wire.cpp,
// actors/wire.cpp). Include in .cpp files only: msgpack-cxx is slow to compile. Thread rule: values.
#pragma once

#include <msgpack.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace r1 {

inline Error malformed_message(const std::string& why) {
  return failure("a message is malformed: " + why, {}, "the two ends are of different builds, or it was damaged on its way");
}

// Unpacked bytes; what it reads points into `bytes`, which outlives it.
class Unpacked {
 public:
  explicit Unpacked(std::string_view bytes) {
    std::string_view behind;
    unpack(bytes, behind);
    if (!behind.empty()) throw malformed_message("bytes follow its header");
  }
  // `behind`: what follows what was unpacked.
  Unpacked(std::string_view bytes, std::string_view& behind) { unpack(bytes, behind); }
  const msgpack::object& root() const { return handle_.get(); }

 private:
  void unpack(std::string_view bytes, std::string_view& behind) {
    constexpr size_t kDeep = 16;
    size_t offset = 0;
    // A count is at most the bytes that follow it, so nothing is allocated for more items than there are.
    const msgpack::unpack_limit limit(bytes.size(), bytes.size(), bytes.size(), bytes.size(), 0, kDeep);
    try {
      handle_ = msgpack::unpack(bytes.data(), bytes.size(), offset, nullptr, nullptr, limit);
    } catch (const msgpack::unpack_error& e) {
      throw malformed_message(e.what());
    }
    behind = bytes.substr(offset);
  }

  msgpack::object_handle handle_;
};

// The items of an array of exactly `count` items, one after the other.
class Items {
 public:
  Items(const msgpack::object& array, size_t count) : Items(array) {
    if (size_ != count) throw malformed_message("an array has another length");
  }
  explicit Items(const msgpack::object& array) {
    if (array.type != msgpack::type::ARRAY) throw malformed_message("not an array");
    at_ = array.via.array.ptr;
    size_ = array.via.array.size;
  }
  size_t size() const { return size_; }  // of those not read yet
  const msgpack::object& next() {
    if (size_ == 0) throw malformed_message("an array is too short");
    --size_;
    return *at_++;
  }
  template <class T>
  T next_as() {
    try {
      return next().as<T>();
    } catch (const msgpack::type_error&) {
      throw malformed_message("a value has another type");
    }
  }
  // Text or raw bytes.
  std::string_view next_bytes() {
    const msgpack::object& o = next();
    if (o.type == msgpack::type::STR) return {o.via.str.ptr, o.via.str.size};
    if (o.type == msgpack::type::BIN) return {o.via.bin.ptr, o.via.bin.size};
    throw malformed_message("a value is neither text nor bytes");
  }

 private:
  const msgpack::object* at_ = nullptr;
  size_t size_ = 0;
};

}  // namespace r1
