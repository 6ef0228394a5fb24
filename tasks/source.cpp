#include "tasks/source.h"

#include <fmt/format.h>

#include "base/error.h"
#include "tasks/chat_template.h"
#include "tasks/jsonl.h"
#include "tasks/spec.h"
#include "tasks/tiny/sources.h"

namespace r1 {

Source::~Source() = default;

Prompt Source::prompt(uint64_t) const {
  R1_CHECK(false, "this source gives no prompts");
  return {};
}
Example Source::example(uint64_t) const {
  R1_CHECK(false, "this source gives no examples");
  return {};
}
Pair Source::pair(uint64_t) const {
  R1_CHECK(false, "this source gives no pairs");
  return {};
}

Where Source::place(uint64_t) const { return {}; }
std::string Source::stamp() const { return {}; }
const ChatTemplate* Source::chat() const { return nullptr; }

std::map<std::string, std::set<std::string>> Source::fact_values() const {
  std::map<std::string, std::set<std::string>> out;
  if (kind() != RecordKind::prompt) return out;
  const uint64_t n = std::min<uint64_t>(size().value_or(512), 100'000);
  for (uint64_t i = 0; i < n; ++i) {
    for (const auto& [name, value] : prompt(i).facts) {
      if (name == "answers") continue;
      auto& values = out[name];
      if (values.size() < kMaxFactValues) values.insert(value);
    }
  }
  return out;
}

const char* record_kind_name(RecordKind kind) {
  return kind == RecordKind::prompt ? "prompts" : kind == RecordKind::example ? "examples" : "pairs";
}

namespace {

[[noreturn]] void unknown_source(const std::string& spec, const std::string& name) {
  const auto names = source_names();
  const std::string near = nearest(name, names);
  throw bad_input(fmt::format("unknown source '{}'", spec), {},
                  near.empty() ? fmt::format("known are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
}

}  // namespace

std::string located_source(const std::string& spec, const std::filesystem::path& dir) {
  static const std::string kPrefix = "jsonl:";
  if (!spec.starts_with(kPrefix) || spec.size() == kPrefix.size()) return spec;
  return kPrefix + (dir / spec.substr(kPrefix.size())).string();  // dir / an absolute path is that path
}

std::unique_ptr<Source> open_source(const std::string& spec, uint64_t seed, const SourceUse& use) {
  const SourceSpec parsed = parse_source_spec(spec);
  if (parsed.name.starts_with("jsonl:")) return open_jsonl(parsed, spec, seed, use);
  if (auto source = open_tiny(parsed, spec, seed)) return source;
  unknown_source(spec, parsed.name);
}

std::optional<std::filesystem::path> source_path(const std::string& spec) {
  const SourceSpec parsed = parse_source_spec(spec);
  if (!parsed.name.starts_with("jsonl:")) return std::nullopt;
  return jsonl_path(parsed, spec);
}

std::string named_template(const std::string& spec) {
  const SourceSpec parsed = parse_source_spec(spec);
  for (const auto& [key, value] : parsed.options)
    if (key == "template" && value != "auto") {
      ChatTemplate::named(value);
      return value;
    }
  return "";
}

std::shared_ptr<const ChatTemplate> source_chat(const std::string& spec, const std::shared_ptr<const ChatTemplate>& model) {
  if (!parse_source_spec(spec).name.starts_with("jsonl:")) return ChatTemplate::named("tiny");
  if (const std::string name = named_template(spec); !name.empty()) return ChatTemplate::named(name);
  return model ? model : ChatTemplate::none();
}

RecordKind source_kind(const std::string& spec) {
  const SourceSpec parsed = parse_source_spec(spec);
  if (parsed.name.starts_with("jsonl:")) return jsonl_kind(parsed, spec);
  if (const auto source = open_tiny(parsed, spec, 0)) return source->kind();
  unknown_source(spec, parsed.name);
}

std::vector<std::string> source_names() {
  std::vector<std::string> names = tiny_source_names();
  names.emplace_back("jsonl:PATH");
  return names;
}

std::string join_answers(const std::vector<std::string>& answers) {
  std::string out;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (i > 0) out += '|';
    for (const char c : answers[i]) {
      if (c == '|') out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace r1
