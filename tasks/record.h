// One line of a JSONL file as a prompt, an example or a pair: the forms of docs/data.md. Not the file (tasks/jsonl.h).
// Thread rule: a value; its functions are pure.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tasks/chat_template.h"
#include "tasks/source.h"

namespace r1 {

// What a record may hold. A source's options say under which name a field stands in the file: ?prompt=question&answer=solution.
enum class Field { prompt, messages, completion, text, answer, answers, chosen, rejected };
constexpr std::array<const char*, 8> kFieldNames = {"prompt", "messages", "completion", "text",
                                                    "answer", "answers",  "chosen",     "rejected"};

// By field: its name in the file, "" where nothing was said (its own name). "a.b" is the member b of the object a.
using FieldMap = std::array<std::string, kFieldNames.size()>;

class Record {
 public:
  // `where`: file and line. Throws bad_input at it, with a column.
  Record(std::string_view line, const Where& where, const FieldMap& map);

  // What the record is when nobody says what it is wanted for.
  RecordKind kind() const;
  // The options of a source that make it one of `kind`, where its fields have names that people use: "completion=response"; ""
  // when it is none under such names either. why_not: what reading it as one says; "" when it is one.
  std::string how_to_read(RecordKind kind) const;
  std::string why_not(RecordKind kind) const;
  std::string likely_answer() const;  // an option as those: "answer=reward_model.ground_truth"
  // Rendered with the chat template. Each throws bad_input for a field that is missing, of a wrong type or empty, and for what
  // the template refuses.
  Prompt prompt(const ChatTemplate&) const;
  Example example(const ChatTemplate&) const;
  Pair pair(const ChatTemplate&) const;
  // What it says, without a template: what is asked (the messages before the reply, but those of the system; or the document),
  // then each reply. What it lacks, or has in no form that is read, is left out.
  std::vector<std::string> texts() const;
  // A field that published sets keep a part of what is asked in - "input" of Alpaca, "context", "system", ... - that has
  // something in it and is not read. `may_have`: whether the line is worth parsing for it.
  Unread unread() const;
  static bool may_have_unread(std::string_view line);

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

 private:
  using Json = nlohmann::json;
  using Ordered = nlohmann::ordered_json;  // of what a template may print

  const Json* find(Field field) const;
  bool has(Field field) const { return find(field) != nullptr; }
  bool claimed(const std::string& name) const;  // by another field of the map
  std::string name_of(Field field) const;       // as the file spells it
  [[noreturn]] void fail_at(Field field, const std::string& what, const std::string& hint = {}) const;
  [[noreturn]] void fail_at_key(const std::string& name, const std::string& what, const std::string& hint = {}) const;
  // `beside`: a field that is likely to be missing too.
  [[noreturn]] void missing(Field field, std::optional<Field> beside = {}) const;
  [[noreturn]] void unknown_kind() const;
  std::string meant_by(Field field) const;  // a name that people use for it, and that stands for nothing else here; or ""
  std::string text_of(Field field) const;
  std::string answer(const Json& value, Field field) const;
  std::vector<std::string> answers() const;
  Conversation opening() const;
  void add_tools(Conversation& to) const;
  bool flag(const char* name, bool otherwise) const;
  Ordered chat(Field field) const;
  Ordered reply(Field field) const;
  Conversation answered(Conversation conversation, const Ordered& reply) const;
  template <class Body>
  auto rendered(Body&& body) const;
  const Ordered& ordered() const;

  std::string_view line_;
  Where where_;
  const FieldMap* map_;
  Json json_;
  mutable Ordered ordered_;  // the same, parsed when it is first asked for
};

// GSM8K's answers end in "#### 72": what follows the marks, thousands separators taken out; any other text as it is.
std::string after_hashes(const std::string& answer);

}  // namespace r1
