// JSON lines as prompts, examples and pairs. The first byte chooses how they are read.
#include "tasks/source.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const fuzz::MemoryFile file;
  static const char* const kOptions[] = {"?template=none", "?template=qwen2.5",
                                         "?template=none&prompt=question&answer=solution", "?template=qwen2.5&as=example"};
  if (size == 0) return 0;
  const std::string path = file.hold(fuzz::text_of(data + 1, size - 1)).string();
  fuzz::taken([&] {
    const auto source = open_source("jsonl:" + path + kOptions[data[0] % std::size(kOptions)], data[0]);
    const uint64_t records = source->size().value_or(0);
    for (uint64_t i = 0; i < records; ++i)
      fuzz::taken([&] {
        if (source->kind() == RecordKind::prompt)
          source->prompt(i);
        else if (source->kind() == RecordKind::example)
          source->example(i);
        else
          source->pair(i);
        source->place(i);
      });
  });
  return 0;
}
