// The header of a safetensors file: every tensor that is listed lies inside the file.
#include "models/safetensors.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const fuzz::MemoryFile file;
  const std::filesystem::path path = file.hold(fuzz::text_of(data, size));
  fuzz::taken([&] {
    const SafetensorsFile tensors(path);
    uint64_t sum = 0;
    for (const SafetensorsEntry& entry : tensors.entries())
      for (size_t i = 0; i < entry.bytes; ++i) sum += static_cast<const uint8_t*>(entry.data)[i];
    static volatile uint64_t seen;
    seen = sum;
  });
  return 0;
}
