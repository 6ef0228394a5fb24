// What is said of a record that is not read as it is: under which names its fields may be, and how they are mapped. Nothing is
// read as what it is not.
#include <fmt/format.h>

#include "base/json.h"
#include "tasks/conversion.h"
#include "tasks/record.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

// Names under which published data sets keep a field: for hints only, so that nothing is read as what it is not.
std::vector<std::string> names_people_use(Field field) {
  switch (field) {
    case Field::prompt:
      return {"question", "problem", "instruction", "query", "input", "inputs", "user"};
    case Field::messages:
      return {"conversations", "conversation", "chat", "dialogue", "contents"};
    case Field::completion:
      return {"response", "output", "generation", "solution", "answer", "reply", "target", "targets", "chosen"};
    case Field::answer:
    case Field::answers:
      return {"final_answer", "expected_answer", "ground_truth", "solution", "target", "label", "gold", "reference"};
    case Field::chosen:
      return {"preferred", "accepted", "better", "response_chosen", "win"};
    case Field::rejected:
      return {"dispreferred", "worse", "response_rejected", "lose"};
    case Field::text:
      return {"content", "document", "body"};
  }
  return {};
}

// An object is read as nothing, and a list of anything but messages is none.
bool may_be(Field field, const Json& value) {
  if (value.is_object() || value.is_null()) return false;
  if (field == Field::messages) return value.is_array() && !value.empty() && value[0].is_object();
  return field != Field::text || value.is_string();
}

std::string mapping(Field field, const std::string& name) {
  return fmt::format("{}={}", kFieldNames[static_cast<size_t>(field)], name);
}

constexpr const char* kExpected = "expected \"prompt\", \"messages\" or \"text\"";

}  // namespace

std::string Record::meant_by(Field field) const {
  for (const std::string& name : names_people_use(field))
    if (json_.contains(name) && !claimed(name) && may_be(field, json_[name])) return name;
  // verl's reward_model.ground_truth, a request's body.messages.
  std::vector<std::string> names = names_people_use(field);
  names.insert(names.begin(), kFieldNames[static_cast<size_t>(field)]);
  for (const auto& [key, value] : json_.items())
    if (value.is_object() && key.find('.') == std::string::npos)
      for (const std::string& name : names)
        if (const auto it = value.find(name); it != value.end() && !claimed(key + "." + name) && may_be(field, *it))
          return key + "." + name;
  return {};
}

void Record::missing(Field field, std::optional<Field> beside) const {
  std::string hint;
  if (const std::string name = meant_by(field); !name.empty()) {
    hint = fmt::format("if it is \"{}\" here, say so: ?{}", name, mapping(field, name));
    if (beside && !has(*beside))
      if (const std::string other = meant_by(*beside); !other.empty()) hint += "&" + mapping(*beside, other);
  } else if (!json_.empty()) {
    std::string names;
    size_t shown = 0;
    for (const auto& [key, value] : json_.items())
      if (++shown <= 8) names += (names.empty() ? "" : ", ") + shown_json(Json(key), 40);
    hint = fmt::format("the fields here are {}{}; a name is mapped by ?{}=NAME", names, shown > 8 ? ", ..." : "",
                       kFieldNames[static_cast<size_t>(field)]);
  }
  fail(fmt::format("no \"{}\"", name_of(field)), hint);
}

void Record::unknown_kind() const {
  for (const Field field : {Field::prompt, Field::messages, Field::text}) {
    const std::string name = meant_by(field);
    if (name.empty()) continue;
    std::string hint = fmt::format("if it is \"{}\" here, say so: ?{}", name, mapping(field, name));
    const std::string checked = meant_by(Field::answer), learned = field == Field::prompt ? meant_by(Field::completion) : "";
    if (!checked.empty()) hint += "&" + mapping(Field::answer, checked);
    if (!learned.empty() && checked.empty())
      hint += "&" + mapping(Field::completion, learned);
    else if (!learned.empty())
      hint += fmt::format(", or &{} where it is to be learned", mapping(Field::completion, learned));
    fail(kExpected, hint);
  }
  for (const auto& [key, value] : json_.items())
    if (json_.size() <= 3 && value.is_array() && value.size() > 1 && value[0].is_object() && !value[0].contains("role"))
      fail(kExpected, fmt::format("if \"{}\" are the records: {}", key, jq_command(jq_path(key) + "[]", where_.file, "lines")));
  fail(kExpected, "fields of other names are mapped: ?prompt=question&answer=answer");
}

std::string Record::why_not(RecordKind kind) const {
  static const auto chat = ChatTemplate::named("chatml");
  try {
    if (kind == RecordKind::prompt) prompt(*chat);
    if (kind == RecordKind::example) example(*chat);
    if (kind == RecordKind::pair) pair(*chat);
  } catch (const Error& e) {
    return e.hint().empty() ? e.message() : e.message() + "; " + e.hint();
  }
  return {};
}

std::string Record::likely_answer() const {
  const std::string name = meant_by(Field::answer);
  return name.empty() ? "" : mapping(Field::answer, name);
}

std::string Record::how_to_read(RecordKind kind) const {
  FieldMap map = *map_;
  std::string options;
  if (!why_not(kind).empty()) {
    std::vector<Field> needs;
    if (!has(Field::messages)) needs.push_back(Field::prompt);
    if (kind == RecordKind::example) needs.push_back(Field::completion);
    if (kind == RecordKind::pair) needs.insert(needs.end(), {Field::chosen, Field::rejected});
    for (const Field field : needs) {
      const std::string name = has(field) ? "" : meant_by(field);
      if (name.empty()) continue;
      map[static_cast<size_t>(field)] = name;
      options += (options.empty() ? "" : "&") + mapping(field, name);
    }
  }
  const Record read(line_, where_, map);
  if (!read.why_not(kind).empty()) return {};
  if (read.kind() != kind) options += fmt::format("{}as={}", options.empty() ? "" : "&", record_kind_name(kind));
  return options;
}

}  // namespace r1
