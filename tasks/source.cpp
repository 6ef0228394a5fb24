#include "tasks/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/clipped.h"
#include "base/error.h"
#include "tasks/chat_template.h"
#include "tasks/jsonl.h"
#include "tasks/mixture.h"
#include "tasks/spec.h"
#include "tasks/tiny/sources.h"

namespace r1 {

static constexpr std::string_view kFilePrefix = "jsonl:";

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
std::vector<std::pair<std::filesystem::path, std::string>> Source::stamps() const { return {}; }
const ChatTemplate* Source::chat() const { return nullptr; }

Unread Source::unread(uint64_t) const { return {}; }

std::vector<std::string> Source::texts(uint64_t index) const {
  if (kind() == RecordKind::prompt) return {prompt(index).text};
  if (kind() == RecordKind::pair) {
    const Pair p = pair(index);
    return {p.prompt, p.chosen, p.rejected};
  }
  const Example e = example(index);
  return {e.prompt, e.completion};
}

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
  throw bad_input(fmt::format("unknown source '{}'", clipped(spec)), {},
                  !near.empty()                                   ? fmt::format("did you mean '{}'?", near)
                  : name.find_first_of("./") != std::string::npos ? fmt::format("a file is 'jsonl:{}'", clipped(spec))
                                                                  : fmt::format("known are {}", fmt::join(names, ", ")));
}

bool is_file(const std::string& part) { return part.starts_with(kFilePrefix); }

// Where the part that begins at `from` ends: at a comma, or at the end of the text.
size_t end_of_part(const std::string& spec, size_t from) {
  for (size_t at = spec.find(',', from); at != std::string::npos; at = spec.find(',', at + 1)) {
    size_t next = at + 1;
    if (next == spec.size() || spec[next] == ' ') return at;
    while (next < spec.size() && spec[next] >= 'a' && spec[next] <= 'z') ++next;
    if (next > at + 1 && next < spec.size() && spec[next] == ':') return at;
  }
  return spec.size();
}

std::unique_ptr<Source> open_part(const std::string& part, uint64_t seed, const SourceUse& use) {
  const SourceSpec parsed = parse_source_spec(part);
  if (is_file(parsed.name)) return open_jsonl(parsed, part, seed, use);
  if (auto source = open_tiny(parsed, part, seed)) return source;
  unknown_source(part, parsed.name);
}

RecordKind part_kind(const std::string& part) {
  const SourceSpec parsed = parse_source_spec(part);
  if (is_file(parsed.name)) return jsonl_kind(parsed, part);
  if (const auto source = open_tiny(parsed, part, 0)) return source->kind();
  unknown_source(part, parsed.name);
}

}  // namespace

std::vector<std::string> split_sources(const std::string& spec) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < spec.size();) {
    const size_t end = end_of_part(spec, at);
    std::string part = spec.substr(at, end - at);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    if (!part.empty()) parts.push_back(std::move(part));
    at = end + 1;
  }
  return parts;
}

std::string located_source(const std::string& spec, const std::filesystem::path& dir) {
  std::string out;
  for (const std::string& part : split_sources(spec)) {
    if (!out.empty()) out += ", ";
    const bool file = is_file(part) && part.size() > kFilePrefix.size();
    out += file ? std::string(kFilePrefix) + (dir / part.substr(kFilePrefix.size())).string()
                : part;  // dir / an absolute path is it
  }
  return out;
}

std::unique_ptr<Source> open_source(const std::string& spec, uint64_t seed, const SourceUse& use) {
  const std::vector<std::string> parts = split_sources(spec);
  if (parts.empty()) unknown_source(spec, spec);
  if (parts.size() == 1) return open_part(parts[0], seed, use);
  std::vector<MixturePart> opened;
  for (const std::string& part : parts) opened.push_back({part, parse_source_spec(part).weight, open_part(part, seed, use)});
  return mix_sources(std::move(opened), seed, use.in_file_order);
}

std::optional<std::filesystem::path> source_path(const std::string& spec) {
  const SourceSpec parsed = parse_source_spec(spec);
  if (!is_file(parsed.name)) return std::nullopt;
  return jsonl_path(parsed, spec);
}

bool reads_files(const std::string& spec) {
  const std::vector<std::string> parts = split_sources(spec);
  return std::any_of(parts.begin(), parts.end(), is_file);
}

bool is_endless(const std::string& spec) {
  const std::vector<std::string> parts = split_sources(spec);
  return !std::all_of(parts.begin(), parts.end(), is_file);
}

std::optional<HeldOutPart> held_out_part(const std::string& spec) {
  const SourceSpec parsed = parse_source_spec(spec);
  return is_file(parsed.name) ? jsonl_held_out(parsed, spec) : std::nullopt;
}

std::string named_template(const std::string& spec) {
  const std::vector<std::string> parts = split_sources(spec);
  const SourceSpec parsed = parse_source_spec(parts.empty() ? spec : parts[0]);
  for (const auto& [key, value] : parsed.options)
    if (key == "template" && value != "auto") {
      ChatTemplate::named(value);
      return value;
    }
  return "";
}

std::shared_ptr<const ChatTemplate> source_chat(const std::string& spec, const std::shared_ptr<const ChatTemplate>& model) {
  const std::vector<std::string> parts = split_sources(spec);
  if (parts.empty() || !is_file(parts[0])) return ChatTemplate::named("tiny");
  if (const std::string name = named_template(spec); !name.empty()) return ChatTemplate::named(name);
  return model ? model : ChatTemplate::none();
}

RecordKind source_kind(const std::string& spec) {
  const std::vector<std::string> parts = split_sources(spec);
  if (parts.empty()) unknown_source(spec, spec);
  const RecordKind kind = part_kind(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i)
    if (const RecordKind other = part_kind(parts[i]); other != kind)
      throw bad_input(
          fmt::format("'{}' gives {}, and '{}' {}", parts[0], record_kind_name(kind), parts[i], record_kind_name(other)), {},
          fmt::format("the parts of a source give records of one kind; of a file, as={} takes all for that",
                      record_kind_name(kind)));
  return kind;
}

std::string how_to_read(const std::string& spec, const std::vector<RecordKind>& wanted) {
  for (const std::string& part : split_sources(spec))
    if (is_file(part)) return jsonl_how_to_read(parse_source_spec(part), part, wanted);
  return {};
}

std::string likely_answer(const std::string& spec) {
  return is_file(spec) ? jsonl_likely_answer(parse_source_spec(spec), spec) : "";
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
