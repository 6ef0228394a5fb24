// SafeTensors files: named arrays behind a JSON header (layout and checks: docs/recipe.md section 13).
//
// Bytes in, bytes out: knows neither models nor devices. Reading validates every rule of the format before
// anything is handed out; a breach throws bad_input naming the file and, where there is one, the tensor.
// Thread rule: a SafetensorsFile is immutable after construction; a SafetensorsWriter belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_reader.h"
#include "base/files.h"

namespace r1 {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // "F32", "BF16", "F16", ... as in the header
  std::vector<int64_t> shape;  // row-major; rank 0 and zero-sized dimensions are legal
  const void* data = nullptr;  // host memory; reading: inside the map, valid while the file object lives
  size_t bytes = 0;
  uint64_t offset = 0;  // reading: of the data in the file
};

// Bits of one value of a dtype of the format; 0: unknown.
int safetensors_dtype_bits(std::string_view dtype);

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in order of name; `data` null
  std::map<std::string, std::string> metadata;
};
// Reads and validates the header alone. Throws bad_input.
SafetensorsHeader read_safetensors_header(const FileReader& file);

// A whole file, mapped: for files that r1 wrote itself. Weights that people have are read in pieces (models/model_files.h).
class SafetensorsFile {
 public:
  // Throws bad_input (not a valid file) or failure (the operating system refuses).
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return path_; }
  std::optional<SafetensorsEntry> find(std::string_view name) const;
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in order of name
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile(const std::filesystem::path& path, const FileReader& file);
  std::filesystem::path path_;
  MappedFile map_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Writes a file whose tensors arrive one after the other, so that a model need not exist twice in memory. Atomically: it is
// there when it is finished (base/files.h, AtomicFile).
// Entries are laid out by dtype (wider first), then name; append() follows order().
class SafetensorsWriter {
 public:
  // Writes the header. `data` of the entries is not used; `bytes` is computed.
  // Duplicate names, unknown dtypes and negative dimensions are a CHECK.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                    const std::map<std::string, std::string>& metadata);

  const std::vector<SafetensorsEntry>& order() const { return entries_; }
  // The bytes of order()[next], whole or piece by piece; more than it has are a CHECK. Throws failure when the disk refuses.
  void append(const void* data, size_t bytes);
  // After the last append.
  void finish();

 private:
  std::filesystem::path path_;
  std::vector<SafetensorsEntry> entries_;
  AtomicFile file_;
  size_t next_ = 0, written_ = 0;  // tensors that are whole; bytes of the next one
};

// The whole file at once. `bytes` must be what dtype and shape say (CHECK).
void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                       const std::map<std::string, std::string>& metadata);

}  // namespace r1
