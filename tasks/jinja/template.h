// A chat template as models carry it (tokenizer_config.json, chat_template.jinja): a Jinja template that renders a
// conversation. Gives what Hugging Face's apply_chat_template gives for the constructs listed in syntax.h; what it does not
// know is refused when the template is read or, for names of filters, tests and methods, when it is rendered.
//
// A template is a stranger's program: nesting, steps, calls and output are bounded, and it reaches nothing but its variables.
// Thread rule: immutable after parsing; render from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tasks/jinja/value.h"

namespace r1::jinja {

struct Node;

class Template {
 public:
  // Throws bad_input with `name_for_errors` and the line.
  static Template parse(std::string_view source, const std::string& name_for_errors);

  // `variables`: messages, tools, add_generation_prompt, bos_token, ... Throws bad_input at the line: what the template itself
  // refuses (raise_exception), what Python would (a member of an undefined value), and what goes beyond the bounds.
  std::string render(const Dict& variables) const;

 private:
  std::string name_;
  std::shared_ptr<const Node> root_;
};

// The bounds of one rendering.
constexpr int64_t kMaxSteps = 3'000'000;        // nodes evaluated, items and 64 bytes of text gone through
constexpr size_t kMaxOutput = size_t{1} << 24;  // bytes of the text, and of any text on the way
constexpr int kMaxCalls = 50;                   // macros inside macros
constexpr int kMaxNodeDepth = 1000;             // nodes inside each other, those of macros that call each other included
constexpr size_t kMaxNames = 1000;              // of a block, of a namespace
constexpr size_t kMaxTemplate = size_t{1} << 20;

}  // namespace r1::jinja
