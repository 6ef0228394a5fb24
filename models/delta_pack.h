// A group of coded chunks as one block of bytes: their places (modes, sizes, gaps, bitmaps) in one plane and their differences
// in another, each compressed where that is worth it (docs/formats.md, "Version deltas"). What the ops DeltaEncode and
// DeltaApply know as codes and payload (kernels/delta_format.h). Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

struct CodedChunks {
  std::vector<int32_t> codes;    // (mode, bytes) of each chunk
  std::vector<uint8_t> payload;  // the chunks, one behind the other
};

std::string pack_chunks(const CodedChunks& chunks);
// `values` of `value_bytes` each are coded in `bytes`. Throws failure ("weight delta is malformed: ...") for what pack_chunks
// does not write, as far as it looks: DeltaApply looks at the chunks themselves.
CodedChunks unpack_chunks(std::string_view bytes, int64_t values, size_t value_bytes);

[[noreturn]] void malformed_delta(const char* why);

}  // namespace r1
