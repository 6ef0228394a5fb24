#include "tasks/jsonl.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "tasks/chat_template.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

struct Options {
  std::string path;
  ChatFamily family = ChatFamily::none;
  bool shuffle = true;
};

Options read_options(const SourceSpec& spec, const std::string& whole) {
  Options o;
  o.path = spec.name.substr(std::string_view("jsonl:").size());
  if (o.path.empty()) throw bad_input(fmt::format("source '{}' names no file", whole), {}, "expected jsonl:PATH");
  for (const auto& [key, value] : spec.options) {
    if (key == "template")
      o.family = chat_family(value);
    else if (key == "shuffle")
      o.shuffle = option_number(whole, key, value, 0, 1) != 0;
    else
      unknown_option(whole, key, {"template", "shuffle"});
  }
  if (!std::filesystem::is_regular_file(o.path))
    throw bad_input("no such file", {o.path}, fmt::format("named by source '{}'", whole));
  return o;
}

// One line, checked. Throws bad_input at `where`.
class Record {
 public:
  Record(std::string_view line, Where where) : where_(std::move(where)) {
    try {
      json_ = Json::parse(line);
    } catch (const Json::parse_error& e) {
      where_.column = static_cast<int>(e.byte);
      if (std::string_view(e.what()).find("UTF-8") != std::string_view::npos) fail("not UTF-8", "convert the file to UTF-8");
      fail("not JSON", "expected one JSON object a line");
    }
    if (!json_.is_object()) fail("expected a JSON object");
  }

  RecordKind kind() const {
    if (has("chosen") || has("rejected")) return RecordKind::pair;
    if (has("answer") || has("answers")) return RecordKind::prompt;
    if (has("completion") || has("text")) return RecordKind::example;
    if (has("messages")) {
      const auto messages = chat();
      return messages.back().role == ChatRole::assistant ? RecordKind::example : RecordKind::prompt;
    }
    if (has("prompt")) return RecordKind::prompt;
    fail("expected \"prompt\", \"messages\" or \"text\"");
  }

  Prompt prompt(ChatFamily family) const {
    Prompt out;
    const auto messages = opening();
    if (messages.back().role == ChatRole::assistant) fail("\"messages\" of a prompt must not end with the assistant");
    out.text = render(family, messages);
    for (const auto& [key, value] : json_.items()) {
      if (key == "prompt" || key == "messages" || key == "answer" || key == "answers") continue;
      if (value.is_string())
        out.facts[key] = value.get<std::string>();
      else if (value.is_boolean())
        out.facts[key] = value.get<bool>() ? "1" : "0";
      else if (value.is_number())
        out.facts[key] = value.dump();
    }
    std::vector<std::string> answers;
    if (has("answer")) answers.push_back(answer(json_["answer"], "answer"));
    if (has("answers")) {
      if (!json_["answers"].is_array() || json_["answers"].empty()) fail("\"answers\": expected a list that is not empty");
      for (const Json& a : json_["answers"]) answers.push_back(answer(a, "answers"));
    }
    if (!answers.empty()) out.facts["answers"] = join_answers(answers);
    out.facts.try_emplace("checkable", answers.empty() ? "0" : "1");
    out.facts.try_emplace("domain", answers.empty() ? "general" : "reasoning");
    out.facts.try_emplace("harm", "0");
    out.facts.try_emplace("language", mostly_chinese(messages) ? "zh" : "en");
    return out;
  }

  Example example(ChatFamily family) const {
    if (has("text")) return {"", text("text") + std::string(chat_end_token(family)), true};
    if (!has("messages")) return {render(family, opening()), chat_completion(family, text("completion")), false};
    auto messages = chat();
    if (messages.back().role != ChatRole::assistant) fail("\"messages\" of an example must end with the assistant");
    const std::string reply = std::move(messages.back().text);
    messages.pop_back();
    if (messages.empty()) fail("\"messages\": nothing comes before the assistant's reply");
    return {render(family, messages), chat_completion(family, reply), false};
  }

  Pair pair(ChatFamily family) const {
    Pair out{render(family, opening()), chat_completion(family, text("chosen")), chat_completion(family, text("rejected"))};
    if (out.chosen == out.rejected) fail("\"chosen\" and \"rejected\" are the same");
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const { throw bad_input(what, where_, hint); }
  bool has(const char* key) const { return json_.contains(key); }

  std::string text(const char* key) const {
    if (!has(key)) fail(fmt::format("no \"{}\"", key));
    if (!json_[key].is_string()) fail(fmt::format("\"{}\": expected a string", key));
    return json_[key].get<std::string>();
  }

  std::string answer(const Json& j, const char* key) const {
    if (j.is_string() && !j.get_ref<const std::string&>().empty()) return j.get<std::string>();
    if (j.is_number()) return j.dump();
    fail(fmt::format("\"{}\": expected text or a number", key));
  }

  std::vector<ChatMessage> opening() const {
    if (has("messages")) return chat();
    return {{ChatRole::user, text("prompt")}};
  }

  std::vector<ChatMessage> chat() const {
    const Json& list = json_["messages"];
    if (!list.is_array() || list.empty()) fail("\"messages\": expected a list that is not empty");
    std::vector<ChatMessage> out;
    for (const Json& m : list) {
      if (!m.is_object() || !m.contains("role") || !m.contains("content") || !m["role"].is_string() ||
          !m["content"].is_string())
        fail(fmt::format("messages[{}]: expected {{\"role\": ..., \"content\": TEXT}}", out.size()));
      const std::string role = m["role"].get<std::string>();
      ChatMessage message{ChatRole::user, m["content"].get<std::string>()};
      if (role == "system")
        message.role = ChatRole::system;
      else if (role == "assistant")
        message.role = ChatRole::assistant;
      else if (role != "user")
        fail(fmt::format("messages[{}]: unknown role '{}'", out.size(), role), "expected system, user or assistant");
      out.push_back(std::move(message));
    }
    return out;
  }

  std::string render(ChatFamily family, const std::vector<ChatMessage>& messages) const {
    try {
      return chat_prompt(family, messages);
    } catch (const Error& e) {
      fail(e.message(), e.hint());
    }
  }

  static bool mostly_chinese(const std::vector<ChatMessage>& messages) {
    int64_t han = 0, words = 0;
    for (const ChatMessage& m : messages) {
      bool inside = false;
      for (const char c : m.text) {
        const auto b = static_cast<uint8_t>(c);
        const bool letter = (b | 0x20) >= 'a' && (b | 0x20) <= 'z';
        words += letter && !inside;
        inside = letter;
        han += b >= 0xE4 && b <= 0xE9;  // the first byte of U+4000..U+9FFF
      }
    }
    return han > words;
  }

  Where where_;
  Json json_;
};

class JsonlSource final : public Source {
 public:
  JsonlSource(Options options, uint64_t seed) : options_(std::move(options)), seed_(seed), file_(options_.path) {
    const auto bytes = file_.bytes();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    int number = 0;
    for (size_t at = 0; at < text.size();) {
      size_t end = text.find('\n', at);
      if (end == std::string_view::npos) end = text.size();
      const std::string_view line = text.substr(at, end - at);
      ++number;
      at = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const Record record(line, {options_.path, number});
      const RecordKind kind = record.kind();
      if (lines_.empty()) kind_ = kind;
      if (kind != kind_)
        throw bad_input(
            fmt::format("this record is one of {}, those before are {}", record_kind_name(kind), record_kind_name(kind_)),
            {options_.path, number}, "a file holds records of one kind");
      check(record);
      lines_.push_back({line, number});
    }
    if (lines_.empty()) throw bad_input("the file holds no records", {options_.path});
  }

  RecordKind kind() const override { return kind_; }
  std::optional<uint64_t> size() const override { return lines_.size(); }
  Prompt prompt(uint64_t index) const override { return want(RecordKind::prompt), record(index).prompt(options_.family); }
  Example example(uint64_t index) const override { return want(RecordKind::example), record(index).example(options_.family); }
  Pair pair(uint64_t index) const override { return want(RecordKind::pair), record(index).pair(options_.family); }

 private:
  struct Line {
    std::string_view text;
    int number;
  };

  void check(const Record& record) const {
    if (kind_ == RecordKind::prompt)
      record.prompt(options_.family);
    else if (kind_ == RecordKind::example)
      record.example(options_.family);
    else
      record.pair(options_.family);
  }
  void want(RecordKind kind) const { R1_CHECK(kind == kind_, record_kind_name(kind)); }

  Record record(uint64_t index) const {
    const uint64_t n = lines_.size(), epoch = index / n;
    uint64_t at = index % n;
    if (options_.shuffle) at = permute(at, n, rng_key(seed_, "jsonl order", epoch));
    return Record(lines_[at].text, {options_.path, lines_[at].number});
  }

  Options options_;
  uint64_t seed_;
  MappedFile file_;
  RecordKind kind_ = RecordKind::prompt;
  std::vector<Line> lines_;
};

}  // namespace

uint64_t permute(uint64_t index, uint64_t n, uint64_t key) {
  // A Feistel network on the next even power of two, walked until the result lies below n (Black & Rogaway 2002, cycle
  // walking).
  const int half = (std::bit_width(std::max<uint64_t>(n, 2) - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = index >> half, right = index & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const auto bits = philox4x32({static_cast<uint32_t>(right), static_cast<uint32_t>(right >> 32), round, 0},
                                   {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
      const uint64_t f = (static_cast<uint64_t>(bits[0]) << 32) | bits[1];
      const uint64_t next = left ^ (f & mask);
      left = right;
      right = next;
    }
    index = (left << half) | right;
  } while (index >= n);
  return index;
}

std::unique_ptr<Source> open_jsonl(const SourceSpec& spec, const std::string& whole, uint64_t seed) {
  return std::make_unique<JsonlSource>(read_options(spec, whole), seed);
}

RecordKind jsonl_kind(const SourceSpec& spec, const std::string& whole) {
  const Options options = read_options(spec, whole);
  std::ifstream in(options.path);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    return Record(line, {options.path, number}).kind();
  }
  throw bad_input("the file holds no records", {options.path});
}

}  // namespace r1
