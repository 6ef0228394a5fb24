// GGUF files: the header, what it says about model and tokenizer, and every tensor, read to its last row.
#include "models/gguf.h"
#include "models/model_files.h"
#include "tests/fuzz/memory_file.h"

namespace {

constexpr int64_t kMostValues = 1 << 16;  // read of a tensor: the file is small, its rows may be said to be long

void read_all(const r1::StoredModel& model) {
  std::vector<float> values;
  for (const auto& [name, tensor] : model.tensors()) {
    if (!tensor.decoder || tensor.shape.empty()) continue;
    const int64_t rows = tensor.shape[0], n = tensor.row_size();
    if (n <= 0 || rows <= 0 || n > kMostValues) continue;
    const int64_t count = std::min(rows, kMostValues / n);
    values.resize(static_cast<size_t>(count * n));
    tensor.read(rows - count, rows, values.data());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const fuzz::MemoryFile file;
  const std::filesystem::path path = file.hold(fuzz::text_of(data, size));
  if (!fuzz::taken([&] { const GgufFile header(path); })) return 0;
  // Each of the three may be refused by itself.
  fuzz::taken([&] { read_all(StoredModel(path)); });
  fuzz::taken([&] { model_tokenizer(path).encode("it's 2024\n <|im_start|>\xFF", false); });
  fuzz::taken([&] { model_text(path, "tokenizer_config.json"); });
  return 0;
}
