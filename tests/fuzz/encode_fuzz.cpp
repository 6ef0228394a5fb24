// Texts through tokenizers: what a byte-level one gives decodes to the same bytes, malformed ones aside.
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/utf8.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/models/tokenizer/small_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const Tokenizer words = Tokenizer::from_json(tiny_tokenizer_json(), "tiny");
  static const Tokenizer small = Tokenizer::from_json(small_tokenizer().dump(), "small");
  const std::string_view text = fuzz::text_of(data, size);
  for (const int32_t id : words.encode(text))
    if (id < 0 || id >= words.vocab_size()) fuzz::finding("an id beyond the vocabulary");
  if (small.decode_bytes(small.encode(text, false)) != utf8::replace_malformed(text))
    fuzz::finding("what was encoded decodes to something else");
  return 0;
}
