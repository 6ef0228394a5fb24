// GGUF files, version 2 and 3: named values (metadata) and named arrays of numbers, most of them quantised in blocks (layout
// and checks: docs/recipe.md section 13). Little-endian.
//
// Bytes in, bytes out: knows neither models nor devices (models/gguf_model.h does). Reading takes the header alone, in pieces,
// and validates every rule of the format before anything is handed out; memory is bounded by limits, not by what the file says
// about itself. A breach throws bad_input naming the file and, where there is one, the key or tensor.
// Thread rule: a GgufFile is immutable after construction; any thread may read tensors' bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_reader.h"

namespace r1 {

// Of metadata values; the numbers are the file's.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };
const char* gguf_type_name(GgufType);

struct GgufValue {
  GgufType type = GgufType::u8;    // of the value, or of the elements
  bool list = false;               // an array of them
  std::string bytes;               // numbers as in the file, one after the other
  std::vector<std::string> texts;  // type text
  size_t size() const;             // elements; 1 for a value that is no list
  // Element i; nullopt for one of another kind, or an integer beyond int64_t.
  std::optional<int64_t> integer(size_t i = 0) const;
  std::optional<double> number(size_t i = 0) const;
  std::optional<bool> flag(size_t i = 0) const;
};

// Tensor types that r1 reads; others are known by their number alone.
enum class GgufTensorType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q8_0 = 8, q6_k = 14, bf16 = 30 };

struct GgufBlock {
  GgufTensorType type;
  const char* name;        // "Q4_1"
  uint32_t values, bytes;  // of one block; a row of a tensor is a whole number of blocks
};
// null: not one of those above.
const GgufBlock* gguf_block(uint32_t type);
// `n` values (whole blocks) at `data` as f32. Source of the layouts: ggml-common.h and ggml-quants.c.
void gguf_dequantize(GgufTensorType, const void* data, int64_t n, float* out);
// `n` values (whole blocks) into blocks: f32, f16, bf16 (to nearest, ties to even) and q8_0 (as quantize_row_q8_0_ref).
void gguf_quantize(GgufTensorType, const float* values, int64_t n, void* out);

struct GgufTensor {
  std::string name;
  GgufTensorType type = GgufTensorType::f32;
  std::vector<int64_t> shape;  // row-major, outermost first: the file's dimensions reversed
  uint64_t offset = 0;         // in the file
  uint64_t bytes = 0;
};

class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  const FileReader& file() const { return *file_; }
  std::shared_ptr<const FileReader> shared_file() const { return file_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // as in the file
  const GgufTensor* find(std::string_view name) const;

 private:
  std::shared_ptr<const FileReader> file_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

// Whether a file begins as GGUF files do.
bool has_gguf_magic(const std::filesystem::path& path);

}  // namespace r1
