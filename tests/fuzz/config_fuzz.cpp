// config.json of a model: a configuration that is taken has a size, and says the same when it is written and read again.
#include "models/model_config.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  fuzz::taken([&] {
    const ModelConfig config = parse_model_config(std::string(fuzz::text_of(data, size)), "config.json");
    const ModelSize counted = config.size();
    if (!(counted.parameters > 0 && counted.tensors > 0)) fuzz::finding("a model without a parameter");
    if (!(config.attention_scale() > 0)) fuzz::finding("an attention scale that is no scale");
    for (const int32_t id : config.eos_ids)
      if (id < 0 || id >= config.vocab_size) fuzz::finding("an end token beyond the vocabulary");
    const std::string written = model_config_json(config, "bfloat16");
    if (model_config_json(parse_model_config(written, "written"), "bfloat16") != written)
      fuzz::finding("it is written as something else: " + written);
  });
  return 0;
}
