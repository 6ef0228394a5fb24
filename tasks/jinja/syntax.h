// The syntax tree of a chat template, and the parser that makes it. Internal to tasks/jinja; users see template.h.
//
// The grammar is Jinja's (jinja.palletsprojects.com, "Template Designer Documentation") as Hugging Face's tokenizers set it up:
// trim_blocks, lstrip_blocks, loop controls, `{% generation %}`. Left out: inheritance, imports, includes, line statements,
// recursive loops, i18n.
// Thread rule: trees are immutable after parsing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tasks/jinja/value.h"

namespace r1::jinja {

struct Token {
  enum class Kind { text, block_begin, block_end, output_begin, output_end, name, number, string, op, end };
  Kind kind = Kind::end;
  std::string text;  // text and strings: their content, escapes resolved
  int line = 1;
};

// Throws bad_input at the line. Every token list ends with Kind::end.
std::vector<Token> tokenize(std::string_view source, const std::string& name_for_errors);

struct Node;
using NodePtr = std::unique_ptr<const Node>;

struct Node {
  enum class Kind {
    // expressions; their parts in `children`
    literal,      // value
    name,         // text
    attribute,    // children[0].text
    subscript,    // children[0][children[1]]
    slice,        // children[0][a:b:c]; parts that were left out are null
    call,         // children[0](children[1..]) named
    filter,       // children[0] | text(children[1..]) named; children[0] is null inside a filter block
    test,         // children[0] is text(children[1..])
    unary,        // text: - + not
    binary,       // text: + - * / // % ** ~ and or
    comparison,   // a < b <= c: operators in `names`
    conditional,  // children[0] if children[1] else children[2] (may be null)
    list,         // tuples too
    dict,         // key, value, key, value ...
    // statements
    output,        // children[0], or text when there is none
    sequence,      // statements one after the other
    if_,           // condition, body, condition, body, ..., [else body]
    for_,          // names; children: iterable, condition (may be null), body, else (may be null)
    set,           // names (targets; "ns.member" for a namespace's); children[0]
    set_block,     // names[0]; children[0]: body, children[1..]: filters applied to it
    macro,         // text; names: parameters; children[0]: body, children[1..]: defaults of the last parameters
    call_block,    // children[0]: the call, children[1]: body; names: parameters of caller()
    filter_block,  // children[0]: the chain of filters, its innermost operand null; children[1]: body
    break_,
    continue_,
  };
  Kind kind = Kind::literal;
  int line = 1;
  std::string text;
  Value value;
  std::vector<std::string> names;
  std::vector<NodePtr> children;
  std::vector<std::pair<std::string, NodePtr>> named;  // arguments by name
};

// Throws bad_input at the line of what is wrong, also for what is nested deeper than kMaxNesting.
constexpr int kMaxNesting = 100;
NodePtr parse(std::string_view source, const std::string& name_for_errors);

}  // namespace r1::jinja
