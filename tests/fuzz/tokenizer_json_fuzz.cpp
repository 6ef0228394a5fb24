// tokenizer.json, and a text through every one that is taken.
#include "models/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  fuzz::taken([&] {
    const Tokenizer tokenizer = Tokenizer::from_json(fuzz::text_of(data, size), "tokenizer.json");
    const std::vector<int32_t> ids = tokenizer.encode("<s> abc ab\xCC\x80 12345  don't\n\xE4\xBD\xA0 \xFF");
    for (const int32_t id : ids)
      if (id < 0 || id >= tokenizer.vocab_size()) fuzz::finding("an id beyond the vocabulary");
    tokenizer.decode(ids);
  });
  return 0;
}
