#include "tasks/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/clipped.h"
#include "base/json.h"
#include "tasks/chat_families.h"
#include "tasks/jinja/template.h"

namespace r1 {

namespace {

using OrderedJson = nlohmann::ordered_json;

// Stands for a reply when a template is looked at; no template changes it, no tokenizer has it.
constexpr const char* kProbe = "r1probe";

bool blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

std::string_view without_blanks_behind(std::string_view text) { return text.substr(0, text.find_last_not_of(" \t\r\n") + 1); }

OrderedJson message(const char* role, std::string content) {
  return OrderedJson{{"role", role}, {"content", std::move(content)}};
}

// "<|NAME|>", and DeepSeek's with fullwidth bars: what every family that writes them has as one token.
void find_tags(const std::string& text, std::set<std::string>& to) {
  for (const auto& [open, close] : {std::pair<std::string_view, std::string_view>{"<|", "|>"}, {"<｜", "｜>"}})
    for (size_t at = text.find(open); at != std::string::npos; at = text.find(open, at + 1)) {
      const size_t end = text.find(close, at + open.size());
      if (end == std::string::npos) break;
      const std::string tag = text.substr(at, end + close.size() - at);
      if (tag.size() <= 64 && tag.find_first_of(" \t\r\n") == std::string::npos) to.insert(tag);
    }
}

const std::string* content_of(const OrderedJson& message) {
  const auto it = message.find("content");
  return it != message.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

}  // namespace

Conversation Conversation::of_user(std::string text) {
  Conversation c;
  c.messages.push_back(message("user", std::move(text)));
  c.plain = true;
  return c;
}

std::string Conversation::text() const {
  OrderedJson j{{"messages", messages}};
  if (!tools.is_null()) j["tools"] = tools;
  if (!variables.is_null()) j["variables"] = variables;
  return j.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

Conversation Conversation::parse(std::string_view text) {
  const OrderedJson j = ordered_json_or_null(text);
  if (!j.is_object() || !j.contains("messages") || !j["messages"].is_array()) throw failure("a conversation is malformed");
  Conversation c;
  c.messages = j["messages"];
  if (j.contains("tools")) c.tools = j["tools"];
  if (j.contains("variables")) c.variables = j["variables"];
  return c;
}

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const ChatFamily& family : chat_families()) names.emplace_back(family.name);
  return names;
}

std::shared_ptr<const ChatTemplate> ChatTemplate::named(std::string_view name) {
  if (name == "none") return none();
  for (const ChatFamily& family : chat_families()) {
    if (name != family.name) continue;
    const std::shared_ptr<ChatTemplate> t(new ChatTemplate());
    t->kind_ = Kind::built_in;
    t->name_ = family.name;
    t->files_.place = fmt::format("the built-in chat template '{}'", name);
    t->files_.templates = {{"default", std::string(family.source)}};
    t->tags_.assign(family.tags.begin(), family.tags.end());
    t->learn_ends({std::string(family.end)});
    return t;
  }
  std::vector<std::string> known = chat_template_names();
  known.insert(known.begin(), {"auto", "none"});
  const std::string near = nearest(name, known);
  throw bad_input(fmt::format("unknown chat template '{}'", clipped(name)), {},
                  !near.empty() ? fmt::format("did you mean '{}'?", near)
                  : name.find_first_of("./{") != std::string::npos
                      ? "one of your own is the chat_template.jinja in the model's directory, and template=auto"
                      : fmt::format("known are {}", fmt::join(known, ", ")));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::none() {
  static const std::shared_ptr<const ChatTemplate> one(new ChatTemplate());
  return one;
}

std::shared_ptr<const ChatTemplate> ChatTemplate::missing(std::string what, std::string hint) {
  const std::shared_ptr<ChatTemplate> t(new ChatTemplate());
  t->kind_ = Kind::missing;
  t->what_ = std::move(what);
  t->hint_ = std::move(hint);
  return t;
}

std::shared_ptr<const ChatTemplate> ChatTemplate::of_model(ChatFiles files, std::vector<std::string> special_texts) {
  const std::shared_ptr<ChatTemplate> t(new ChatTemplate());
  t->kind_ = Kind::model;
  t->name_ = files.place;
  t->files_ = std::move(files);
  for (const auto& [name, text] : t->files_.special_tokens) special_texts.push_back(text);
  t->learn_ends(special_texts);
  for (const auto& [name, text] : t->files_.special_tokens)
    if (name == "eos_token") t->document_end_ = text;
  return t;
}

// Parses the templates and renders short conversations: what comes behind a reply, what in front of it, and all tags.
void ChatTemplate::learn_ends(const std::vector<std::string>& special_texts) {
  try {
    for (const auto& [name, text] : files_.templates)
      parsed_.emplace_back(name, std::make_shared<jinja::Template>(jinja::Template::parse(text, files_.place)));
  } catch (const Error& e) {
    broken_ = e;
    return;
  }
  const OrderedJson asked = OrderedJson::array({message("user", "Hi")});
  OrderedJson answered = asked;
  answered.push_back(message("assistant", kProbe));
  const std::optional<std::string> whole = try_render(answered, false), head = try_render(asked, true);
  std::set<std::string> tags;
  if (head) find_tags(*head, tags);
  if (whole) {
    find_tags(*whole, tags);
    const size_t at = whole->rfind(kProbe);
    if (at != std::string::npos) {
      std::string_view tail = std::string_view(*whole).substr(at + std::string_view(kProbe).size());
      tail.remove_prefix(std::min(tail.find_first_not_of(" \t\r\n"), tail.size()));
      for (const std::string& special : special_texts)
        if (special.size() > end_.size() && tail.starts_with(special)) end_ = special;
      if (head && whole->starts_with(*head) && at >= head->size()) lead_ = whole->substr(head->size(), at - head->size());
    }
  }
  document_end_ = end_;
  if (kind_ == Kind::built_in) return;  // its tags are known
  for (const auto& [name, text] : files_.special_tokens)
    if ((head && head->find(text) != std::string::npos) || (whole && whole->find(text) != std::string::npos))
      if (!text.empty() && !blank(text)) tags.insert(text);
  if (!end_.empty()) tags.insert(end_);
  tags_.assign(tags.begin(), tags.end());
}

std::optional<std::string> ChatTemplate::try_render(const OrderedJson& messages, bool generation_prompt) const {
  try {
    return render({}, messages, generation_prompt);
  } catch (const Error&) {
    return std::nullopt;
  }
}

const std::string& ChatTemplate::source() const {
  static const std::string nothing;
  for (const auto& [name, text] : files_.templates)
    if (name == "default" || files_.templates.size() == 1) return text;
  return nothing;
}

// As Hugging Face's get_chat_template: "tool_use" where there are tools, else "default".
const jinja::Template& ChatTemplate::chosen(const Conversation& conversation) const {
  if (parsed_.size() == 1) return *parsed_[0].second;
  std::vector<std::string> names;
  for (const char* wanted : {"tool_use", "default"})
    for (const auto& [name, parsed] : parsed_)
      if (name == wanted && (name == "default" || !conversation.tools.is_null())) return *parsed;
  for (const auto& [name, parsed] : parsed_) names.push_back(name);
  throw bad_input(fmt::format("{} has several chat templates ({}) and no default", files_.place, fmt::join(names, ", ")), {},
                  "template=NAME names a built-in one");
}

std::string ChatTemplate::render(const Conversation& conversation, const OrderedJson& messages, bool generation_prompt) const {
  if (broken_) throw bad_input(broken_->where().str() + ": " + broken_->message(), {}, "template=NAME names a built-in one");
  if (kind_ == Kind::built_in && !conversation.tools.is_null())
    throw bad_input(files_.place + " has no tools", {}, "template=auto: the model's own may have");
  using jinja::Value;
  jinja::Dict variables;
  variables.emplace_back("messages", Value::from_json(messages));
  variables.emplace_back("tools", Value::from_json(conversation.tools));
  variables.emplace_back("documents", Value::none());
  variables.emplace_back("add_generation_prompt", generation_prompt);
  for (const auto& [name, text] : files_.special_tokens) variables.emplace_back(name, text);
  if (conversation.variables.is_object())
    for (const auto& [name, value] : conversation.variables.items()) {
      std::erase_if(variables, [&](const auto& v) { return v.first == name; });
      variables.emplace_back(name, Value::from_json(value));
    }
  try {
    return chosen(conversation).render(variables);
  } catch (const Error& e) {
    if (kind_ == Kind::built_in || e.where().file.empty()) throw bad_input(e.message(), {}, e.hint());
    throw bad_input(fmt::format("{}: {}", e.where().str(), e.message()), {}, e.hint());
  }
}

std::string ChatTemplate::prompt(const Conversation& conversation) const {
  if (!is_none()) return render(conversation, conversation.messages, true);
  const std::string* text = conversation.messages.size() == 1 ? content_of(conversation.messages[0]) : nullptr;
  if (kind_ == Kind::missing && !conversation.plain) throw bad_input(what_, {}, hint_);
  if (text == nullptr || !conversation.tools.is_null())
    throw bad_input("a conversation needs a chat template", {}, "add ?template=NAME to the source");
  return *text;
}

ChatTemplate::Taught ChatTemplate::example(const Conversation& conversation, bool finished) const {
  R1_CHECK(!conversation.messages.empty(), "a conversation without a message");
  Conversation before = conversation;
  OrderedJson last = before.messages.back();
  before.messages.erase(before.messages.size() - 1);
  Taught out;
  out.prompt = prompt(before);
  if (is_none()) {
    const std::string* text = content_of(last);
    if (text == nullptr) throw bad_input("the assistant's reply is no text", {}, "calls of tools need a chat template");
    out.completion = *text;
    return out;
  }
  if (const std::string* text = content_of(last); text != nullptr && !end_.empty() && text->ends_with(end_))
    last["content"] = text->substr(0, text->size() - end_.size());
  OrderedJson messages = before.messages;
  messages.push_back(last);
  const std::string whole = render(conversation, messages, false);
  if (!whole.starts_with(out.prompt)) {
    const auto at = static_cast<size_t>(std::mismatch(out.prompt.begin(), out.prompt.end(), whole.begin(), whole.end()).first -
                                        out.prompt.begin());
    const auto shown = [&](const std::string& text) { return shown_json(text.substr(at, 30)); };
    throw bad_input(fmt::format("{} does not write a reply behind its own generation prompt: {} where the prompt has {}", name_,
                                shown(whole), shown(out.prompt)),
                    {}, "template=NAME names a built-in one (r1, qwen3, llama3, ...) that can teach one");
  }
  out.completion = whole.substr(out.prompt.size());
  if (end_.empty()) return out;
  const size_t at = out.completion.rfind(end_);
  if (at != std::string::npos && blank(std::string_view(out.completion).substr(at + end_.size())))
    out.completion.resize(at + (finished ? end_.size() : 0));
  return out;
}

std::string ChatTemplate::reply(std::string_view prompt, std::string_view completion) const {
  if (!end_.empty()) {
    const std::string_view trimmed = without_blanks_behind(completion);
    if (trimmed.ends_with(end_)) completion = trimmed.substr(0, trimmed.size() - end_.size());
  }
  if (!lead_.empty() && completion.starts_with(lead_)) completion.remove_prefix(lead_.size());
  std::string out;
  static constexpr std::string_view kThought = "<think>";
  if (without_blanks_behind(prompt).ends_with(kThought)) out = prompt.substr(prompt.rfind(kThought));
  return out.append(completion);
}

}  // namespace r1
