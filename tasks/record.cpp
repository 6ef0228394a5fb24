#include "tasks/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "base/json.h"
#include "tasks/conversion.h"
#include "tasks/line_file.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

bool is_empty_text(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

// Where the key `name` stands in the outermost object of `line`, from 1; 0 when it is not found.
int column_of_key(std::string_view line, const std::string& name) {
  const std::string quoted = Json(name).dump();
  int depth = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '{' || line[i] == '[') ++depth;
    if (line[i] == '}' || line[i] == ']') --depth;
    if (line[i] != '"') continue;
    const size_t begin = i;
    for (++i; i < line.size() && line[i] != '"'; ++i)
      if (line[i] == '\\') ++i;
    if (depth != 1 || line.substr(begin, i + 1 - begin) != quoted) continue;
    size_t colon = i + 1;
    while (colon < line.size() && std::isspace(static_cast<unsigned char>(line[colon])) != 0) ++colon;
    if (colon < line.size() && line[colon] == ':') return static_cast<int>(begin) + 1;
  }
  return 0;
}

using Ordered = nlohmann::ordered_json;

// The text of a message; "" when it is none.
const std::string& said(const Ordered& message) {
  static const std::string nothing;
  const auto it = message.find("content");
  return it != message.end() && it->is_string() ? it->get_ref<const std::string&>() : nothing;
}

bool is_assistant(const Ordered& message) { return message["role"] == "assistant"; }

bool calls_tools(const Ordered& message) {
  const auto it = message.find("tool_calls");
  return it != message.end() && it->is_array() && !it->empty();
}

bool mostly_chinese(const Ordered& messages) {
  int64_t han = 0, words = 0;
  for (const Ordered& m : messages) {
    bool inside = false;
    for (const char c : said(m)) {
      const auto b = static_cast<uint8_t>(c);
      const bool letter = (b | 0x20) >= 'a' && (b | 0x20) <= 'z';
      words += letter && !inside;
      inside = letter;
      han += b >= 0xE4 && b <= 0xE9;  // the first byte of U+4000..U+9FFF
    }
  }
  return han > words;
}

// Does `whole` begin or end with `part`, blanks around the texts aside?
bool says_again(const Ordered& whole, const Ordered& part) {
  const auto text = [](const Ordered& message) {
    const std::string& all = said(message);
    const size_t begin = all.find_first_not_of(" \t\r\n"), end = all.find_last_not_of(" \t\r\n");
    return begin == std::string::npos ? "" : all.substr(begin, end + 1 - begin);
  };
  const auto same = [&](const Ordered& a, const Ordered& b) { return a["role"] == b["role"] && text(a) == text(b); };
  if (part.size() > whole.size()) return false;
  return std::equal(part.begin(), part.end(), whole.begin(), same) ||
         std::equal(part.begin(), part.end(), whole.end() - static_cast<std::ptrdiff_t>(part.size()), same);
}

// A message's content: text, or a list of parts {"type": "text", "text": TEXT}.
template <class AnyJson>
std::optional<std::string> content_text(const AnyJson& content) {
  if (content.is_string()) return content.template get<std::string>();
  if (!content.is_array()) return std::nullopt;
  std::string out;
  for (const AnyJson& part : content) {
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string()) return std::nullopt;
    if (part.contains("type") && part["type"] != "text") return std::nullopt;
    out += part["text"].template get_ref<const std::string&>();
  }
  return out;
}

}  // namespace

std::string after_hashes(const std::string& answer) {
  const size_t marks = answer.rfind("####");
  if (marks == std::string::npos || (marks > 0 && std::isspace(static_cast<unsigned char>(answer[marks - 1])) == 0))
    return answer;
  std::string rest = answer.substr(marks + 4);
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.back())) != 0) rest.pop_back();
  rest.erase(0, std::min(rest.find_first_not_of(" \t"), rest.size()));
  if (rest.empty() || rest.find('\n') != std::string::npos || rest[0] == '#') return answer;
  const bool number = rest.find_first_not_of("0123456789,.-+$% ") == std::string::npos;
  if (number) rest.erase(std::remove(rest.begin(), rest.end(), ','), rest.end());
  return rest;
}

Record::Record(std::string_view line, const Where& where, const FieldMap& map) : line_(line), where_(where), map_(&map) {
  const size_t first = line.find_first_not_of(" \t");
  if (first != std::string_view::npos && line[first] == '[') {
    where_.column = static_cast<int>(first) + 1;
    fail("expected a JSON object, not a list", "one record a line: " + jq_command(".[]", where_.file, "lines"));
  }
  std::string hint = "expected one JSON object a line";
  if (first != std::string_view::npos && line.substr(first).find_last_not_of(" \t\r{") == std::string_view::npos)
    hint += ": " + jq_command(".", where_.file, "lines");
  json_ = parse_json(line, where, {.hint = hint.c_str(), .max_bytes = kLongestLine, .exact_integers = true});
  if (!json_.is_object()) fail("expected a JSON object", "one record a line");
}

void Record::fail(const std::string& what, const std::string& hint) const { throw bad_input(what, where_, hint); }

bool Record::claimed(const std::string& name) const { return std::find(map_->begin(), map_->end(), name) != map_->end(); }

std::string Record::name_of(Field field) const {
  const auto i = static_cast<size_t>(field);
  if (!(*map_)[i].empty()) return (*map_)[i];
  // GSM8K, and what was made after it.
  if (field == Field::prompt && !json_.contains("prompt") && json_.contains("question") && !claimed("question"))
    return "question";
  return kFieldNames[i];
}

namespace {

// The member `name` of `root`; where `deep`, "a.b" is the member b of the member a.
template <class AnyJson>
const AnyJson* member(const AnyJson& root, const std::string& name, bool deep) {
  if (const auto it = root.find(name); it != root.end()) return &*it;
  if (!deep) return nullptr;
  const AnyJson* at = &root;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t dot = std::min(name.find('.', begin), name.size());
    if (!at->is_object()) return nullptr;
    const auto it = at->find(name.substr(begin, dot - begin));
    if (it == at->end()) return nullptr;
    at = &*it;
    begin = dot + 1;
  }
  return at;
}

}  // namespace

const nlohmann::json* Record::find(Field field) const {
  const std::string name = name_of(field);
  const bool mapped = !(*map_)[static_cast<size_t>(field)].empty();
  if (!mapped && claimed(name)) return nullptr;
  return member(json_, name, mapped);
}

const nlohmann::ordered_json& Record::ordered() const {
  if (ordered_.is_null()) ordered_ = ordered_json_or_null(line_);
  return ordered_;
}

void Record::fail_at(Field field, const std::string& what, const std::string& hint) const {
  fail_at_key(name_of(field), what, hint);
}

void Record::fail_at_key(const std::string& name, const std::string& what, const std::string& hint) const {
  Where where = where_;
  where.column = column_of_key(line_, name.substr(0, json_.contains(name) ? name.size() : name.find('.')));
  throw bad_input(fmt::format("\"{}\": {}", name, what), where, hint);
}

RecordKind Record::kind() const {
  if (has(Field::chosen) || has(Field::rejected)) return RecordKind::pair;
  if (has(Field::completion)) return RecordKind::example;
  if (has(Field::answer) || has(Field::answers)) return RecordKind::prompt;
  if (has(Field::text)) return RecordKind::example;
  if (has(Field::messages)) {
    return is_assistant(chat(Field::messages).back()) ? RecordKind::example : RecordKind::prompt;
  }
  if (has(Field::prompt)) return RecordKind::prompt;
  if (const std::string name = meant_by(Field::messages); !name.empty())
    if (const ForeignMessages form = foreign_messages(*member(json_, name, true), name, json_); form.whose != nullptr) {
      Where where = where_;
      where.column = column_of_key(line_, name.substr(0, name.find('.')));
      throw bad_input(fmt::format("\"{}\" are messages of {}'s form, {}", name, form.whose, form.members), where,
                      jq_command(form.program, where_.file, "messages") + " makes \"messages\" of them");
    }
  unknown_kind();
}

template <class Body>
auto Record::rendered(Body&& body) const {
  try {
    return body();
  } catch (const Error& e) {
    fail(e.message(), e.hint());
  }
}

Prompt Record::prompt(const ChatTemplate& chat) const {
  Prompt out;
  const Conversation conversation = opening();
  if (is_assistant(conversation.messages.back()))
    fail(
        "\"messages\" of a prompt must not end with the assistant",
        jq_command(answering_program(name_of(has(Field::messages) ? Field::messages : Field::prompt)), where_.file, "prompts") +
            " makes the last reply the answer");
  out.text = rendered([&] { return chat.prompt(conversation); });
  if (!chat.is_none()) out.conversation = conversation.text();
  std::vector<std::string> used;
  for (const Field field : {Field::prompt, Field::messages, Field::answer, Field::answers})
    used.push_back(has(field) ? name_of(field) : kFieldNames[static_cast<size_t>(field)]);
  for (const auto& [key, value] : json_.items()) {
    if (std::find(used.begin(), used.end(), key) != used.end()) continue;
    if (value.is_string())
      out.facts[key] = value.get<std::string>();
    else if (value.is_boolean())
      out.facts[key] = value.get<bool>() ? "1" : "0";
    else if (value.is_number())
      out.facts[key] = value.dump();
  }
  const std::vector<std::string> accepted = answers();
  if (!accepted.empty()) out.facts["answers"] = join_answers(accepted);
  out.facts.try_emplace("checkable", accepted.empty() ? "0" : "1");
  out.facts.try_emplace("domain", accepted.empty() ? "general" : "reasoning");
  out.facts.try_emplace("harm", "0");
  out.facts.try_emplace("language", mostly_chinese(conversation.messages) ? "zh" : "en");
  return out;
}

Example Record::example(const ChatTemplate& chat) const {
  if (has(Field::text) && !has(Field::completion) && !has(Field::messages)) {
    const std::string text = text_of(Field::text);
    if (is_empty_text(text)) fail_at(Field::text, "is empty");
    return {"", text + chat.document_end(), true};
  }
  const bool finished = flag("finished", true), as_it_stands = flag("rendered", false);
  const auto taught = [&](const Conversation& conversation) {
    const ChatTemplate::Taught t = rendered([&] { return chat.example(conversation, finished); });
    if (t.completion.empty()) fail("the chat template leaves nothing of the assistant's reply");
    return Example{t.prompt, t.completion, false};
  };
  if (has(Field::messages)) {
    Conversation whole = opening();
    const Ordered& last = whole.messages.back();
    if (is_assistant(last) || !has(Field::completion)) {
      if (!is_assistant(last)) fail("\"messages\" of an example must end with the assistant");
      if (whole.messages.size() == 1) fail("\"messages\": nothing comes before the assistant's reply");
      return taught(whole);
    }
  }
  if (!has(Field::prompt) && !has(Field::messages)) missing(Field::prompt, Field::completion);
  const Conversation before = opening();
  const Ordered last = reply(Field::completion);
  if (as_it_stands && before.plain) return {said(before.messages[0]), said(last.back()), false};
  return taught(answered(before, last));
}

Pair Record::pair(const ChatTemplate& chat) const {
  const Ordered chosen = reply(Field::chosen), rejected = reply(Field::rejected);
  const auto before = [](const Ordered& messages) { return Ordered(Ordered::array_t(messages.begin(), messages.end() - 1)); };
  const Ordered led = before(chosen);
  if (led != before(rejected))
    fail("\"chosen\" and \"rejected\" answer different conversations", "they differ in their last message only");
  Conversation asked;
  if (has(Field::prompt) || has(Field::messages)) asked = opening();
  if (asked.messages.empty() && led.empty()) {
    if (is_hh_dialogue(said(chosen.back())) && is_hh_dialogue(said(rejected.back())))
      fail_at(Field::chosen, "is a whole dialogue as one text, \"Human:\" and \"Assistant:\"",
              jq_command(hh_program(name_of(Field::chosen), name_of(Field::rejected)), where_.file, "pairs") +
                  " makes messages of such texts, and leaves out pairs that differ before their last reply, or in nothing");
    missing(Field::prompt);
  }
  if (!led.empty()) {
    // Published sets say the question again in front of the reply, whole or its first or last part; agents answer in steps.
    const bool steps = !asked.messages.empty() && led[0]["role"] != "user" && led[0]["role"] != "system";
    if (steps) {
      asked = answered(asked, led);
    } else if (asked.messages.empty() || says_again(led, asked.messages)) {
      asked.messages = led;
      add_tools(asked);
    } else {
      fail("\"prompt\" is no part of what stands before the last reply of \"chosen\"",
           "leave it out: the prompt is then what stands before the last reply");
    }
    asked.plain = false;
  }
  const auto taught = [&](const Ordered& reply) {
    return rendered([&] { return chat.example(answered(asked, Ordered::array({reply.back()}))); });
  };
  const ChatTemplate::Taught good = taught(chosen), bad = taught(rejected);
  if (good.completion == bad.completion) fail("\"chosen\" and \"rejected\" are the same");
  return {good.prompt, good.completion, bad.completion};
}

std::vector<std::string> Record::texts() const {
  std::vector<std::string> replies;
  std::string asked;
  const auto add = [](const Json& value, std::string& to) {
    if (value.is_string()) to += value.get_ref<const std::string&>();
    if (!value.is_array()) return;
    for (const Json& m : value) {
      if (!m.is_object() || !m.contains("content") || m.value("role", Json()) == "system") continue;
      if (const auto text = content_text(m["content"])) to += (to.empty() ? "" : "\n") + *text;
    }
  };
  for (const Field field : {Field::prompt, Field::messages, Field::text})
    if (const Json* value = find(field); value != nullptr && asked.empty()) {
      if (field == Field::messages && value->is_array() && !value->empty() && value->back().is_object() &&
          value->back().value("role", Json()) == "assistant") {
        add(Json(Json::array_t(value->begin(), value->end() - 1)), asked);
        add(Json::array({value->back()}), replies.emplace_back());
      } else {
        add(*value, asked);
      }
    }
  const bool apart = !asked.empty();
  for (const Field field : {Field::completion, Field::chosen, Field::rejected})
    if (const Json* value = find(field)) {
      const bool led = field != Field::completion && value->is_array() && value->size() > 1;
      if (led && field == Field::chosen)
        add(Json(Json::array_t(value->begin(), value->end() - 1)), apart ? replies.emplace_back() : asked);
      add(led ? Json::array({value->back()}) : *value, replies.emplace_back());
    }
  replies.insert(replies.begin(), std::move(asked));
  return replies;
}

// Those of a whole conversation, then those of a prompt that is one text.
static constexpr std::array<const char*, 6> kPartsOfQuestions = {"system", "System",  "system_prompt",
                                                                 "input",  "context", "history"};
static constexpr size_t kOfConversations = 3;

bool Record::may_have_unread(std::string_view line) {
  return std::any_of(kPartsOfQuestions.begin(), kPartsOfQuestions.end(),
                     [line](const char* name) { return line.find(name) != line.npos; });
}

Unread Record::unread() const {
  const Json* prompt = find(Field::prompt);
  const bool is_text = prompt != nullptr && prompt->is_string();
  if (!is_text && prompt == nullptr && !has(Field::messages)) return {};
  std::vector<std::string> parts;
  bool known = true;
  for (size_t i = 0; i < (is_text ? kPartsOfQuestions.size() : kOfConversations); ++i) {
    const std::string name = kPartsOfQuestions[i];
    const auto it = json_.find(name);
    if (it == json_.end() || claimed(name) || name == name_of(Field::prompt)) continue;
    if (it->is_string() ? is_empty_text(it->get_ref<const std::string&>()) : !it->is_array() || it->empty()) continue;
    known = known && it->is_array() == (name == "history");
    parts.push_back(name);
  }
  if (parts.empty()) return {};
  const Field asked = has(Field::messages) ? Field::messages : Field::prompt;
  return {parts[0], known ? joining_program(parts, name_of(asked), asked == Field::messages || !is_text) : ""};
}

std::string Record::text_of(Field field) const {
  const Json* value = find(field);
  if (value == nullptr) missing(field);
  if (!value->is_string()) fail_at(field, fmt::format("expected a string, not {}", value->type_name()));
  return value->get<std::string>();
}

std::string Record::answer(const Json& value, Field field) const {
  if (value.is_string() && !value.get_ref<const std::string&>().empty()) return after_hashes(value.get<std::string>());
  if (value.is_number()) return value.dump();
  fail_at(field, "expected text or a number");
}

std::vector<std::string> Record::answers() const {
  std::vector<std::string> out;
  for (const Field field : {Field::answer, Field::answers}) {
    const Json* value = find(field);
    if (value == nullptr) continue;
    if (!value->is_array()) {
      if (field == Field::answers) fail_at(field, "expected a list that is not empty");
      out.push_back(answer(*value, field));
      continue;
    }
    if (value->empty()) fail_at(field, "expected a list that is not empty");
    for (const Json& one : *value) out.push_back(answer(one, field));
  }
  return out;
}

// The conversation that is continued: "messages", or "prompt" as text or as such a list.
Conversation Record::opening() const {
  Conversation out;
  Field from = Field::messages;
  if (has(Field::messages)) {
    out.messages = chat(Field::messages);
  } else {
    from = Field::prompt;
    const Json* value = find(Field::prompt);
    if (value == nullptr) missing(Field::prompt);
    if (value->is_array())
      out.messages = chat(Field::prompt);
    else
      out = Conversation::of_user(text_of(Field::prompt));
  }
  if (const Ordered& last = out.messages.back(); is_empty_text(said(last)) && !calls_tools(last))
    fail_at(from, is_assistant(last) ? "the assistant's reply is empty" : "the prompt is empty");
  add_tools(out);
  return out;
}

void Record::add_tools(Conversation& to) const {
  const auto take = [&](const char* name, bool list, Ordered& into) {
    const auto it = json_.find(name);
    if (it == json_.end() || it->is_null()) return;
    Ordered value = ordered()[name];
    if (it->is_string()) {  // published sets keep the text of its JSON, which gives a column one type
      const auto& text = it->get_ref<const std::string&>();
      if (is_empty_text(text)) return;
      value = ordered_json_or_null(text);
    }
    const auto is_object = [](const Ordered& v) { return v.is_object(); };
    if (list ? !value.is_array() || !std::all_of(value.begin(), value.end(), is_object) : !value.is_object())
      fail_at_key(name, list ? "expected a list of objects (JSON schemas), or the text of one"
                             : "expected an object, or the text of one");
    if (value.empty()) return;
    into = std::move(value);
    to.plain = false;
  };
  take("tools", true, to.tools);
  take("chat_template_kwargs", false, to.variables);
}

// A member that is true or false; `otherwise` where there is none.
bool Record::flag(const char* name, bool otherwise) const {
  const auto it = json_.find(name);
  if (it == json_.end() || it->is_null()) return otherwise;
  if (!it->is_boolean()) fail_at_key(name, fmt::format("expected true or false, not {}", shown_json(*it)));
  return it->get<bool>();
}

nlohmann::ordered_json Record::chat(Field field) const {
  const Ordered* list = member(ordered(), name_of(field), !(*map_)[static_cast<size_t>(field)].empty());
  if (list == nullptr || !list->is_array() || list->empty()) fail_at(field, "expected a list that is not empty");
  Ordered out = Ordered::array();
  for (const Ordered& m : *list) {
    const auto at = [&] { return fmt::format("{}[{}]", name_of(field), out.size()); };
    const auto refuse = [&] {
      const ForeignMessages form = foreign_messages(*find(field), name_of(field), json_);
      fail(fmt::format("{}: expected {{\"role\": ..., \"content\": TEXT}}", at()),
           form.whose == nullptr ? "" : jq_command(form.program, where_.file, "messages") + " makes \"messages\" of it");
    };
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string()) refuse();
    const std::string role = m["role"].get<std::string>();
    static const std::vector<std::string> kRoles = {"system", "developer", "user", "assistant", "tool"};
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
      fail(fmt::format("{}: unknown role '{}'", at(), role),
           usual_role(role).empty() ? "expected system, developer, user, assistant or tool"
                                    : jq_command(roles_program(name_of(field)), where_.file, "messages") +
                                          " makes them system, user, assistant and tool");
    if (const auto calls = m.find("tool_calls"); calls != m.end() && !calls->is_null() && !calls->is_array())
      fail(fmt::format("{}: \"tool_calls\": expected a list", at()));
    Ordered message = m;
    if (m.contains("content") && !m["content"].is_null()) {
      const auto text = content_text(m["content"]);
      if (!text) refuse();
      message["content"] = *text;
    } else if (role != "assistant" || !calls_tools(m)) {
      refuse();
    }
    out.push_back(std::move(message));
  }
  return out;
}

// A reply as messages, the last of them the assistant's: from a text, or from such a list.
nlohmann::ordered_json Record::reply(Field field) const {
  const Json* value = find(field);
  if (value == nullptr) missing(field);
  if (const std::string name = value->is_object() && value->contains("value") ? meant_by(Field::messages) : ""; !name.empty())
    if (const ForeignMessages form = foreign_messages(*member(json_, name, true), name, json_); form.whose != nullptr)
      fail_at(field, fmt::format("is a message of {}'s form, {}", form.whose, form.members),
              jq_command(form.program, where_.file, "messages") + " makes a text of it");
  Ordered out = Ordered::array();
  if (value->is_array()) {
    out = chat(field);
    if (!is_assistant(out.back())) fail_at(field, "must end with the assistant");
  } else {
    out.push_back(Ordered{{"role", "assistant"}, {"content", text_of(field)}});
  }
  if (is_empty_text(said(out.back())) && !calls_tools(out.back())) fail_at(field, "is empty");
  return out;
}

Conversation Record::answered(Conversation conversation, const Ordered& reply) const {
  for (const Ordered& message : reply) conversation.messages.push_back(message);
  return conversation;
}

}  // namespace r1
