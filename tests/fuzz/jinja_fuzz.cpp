// Chat templates, read and rendered with a conversation.
#include <nlohmann/json.hpp>

#include "tasks/jinja/template.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const jinja::Dict variables = [] {
    const auto given = nlohmann::ordered_json::parse(R"({
      "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3 ?"},
                   {"role": "assistant", "content": "<think>2 + 3</think>5", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": {"type": "integer"}}}}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 3, "x": 1.5, "none": null})");
    jinja::Dict dict;
    for (const auto& [name, value] : given.items()) dict.emplace_back(name, jinja::Value::from_json(value));
    return dict;
  }();
  fuzz::taken([&] {
    if (jinja::Template::parse(fuzz::text_of(data, size), "t").render(variables).size() > jinja::kMaxOutput)
      fuzz::finding("more output than the bound");
  });
  return 0;
}
