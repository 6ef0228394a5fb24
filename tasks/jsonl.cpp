#include "tasks/jsonl.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/rng.h"
#include "tasks/chat_template.h"
#include "tasks/line_file.h"
#include "tasks/record.h"

namespace r1 {

namespace {

struct Options {
  std::string path;
  std::shared_ptr<const ChatTemplate> chat;  // null: auto
  bool shuffle = true;
  FieldMap fields;
  std::optional<RecordKind> as;
};

RecordKind read_kind(const std::string& whole, const std::string& name) {
  std::vector<std::string> names;
  for (const RecordKind kind : {RecordKind::prompt, RecordKind::example, RecordKind::pair}) {
    names.emplace_back(record_kind_name(kind));
    if (name == names.back()) return kind;
  }
  throw bad_input(fmt::format("source '{}': as={} is no kind of records", whole, name), {},
                  fmt::format("expected {}", fmt::join(names, ", ")));
}

Options read_options(const SourceSpec& spec, const std::string& whole) {
  Options o;
  o.path = jsonl_path(spec, whole).string();
  for (const auto& [key, value] : spec.options) {
    const auto field = std::find(kFieldNames.begin(), kFieldNames.end(), key);
    if (key == "template") {
      if (value != "auto") o.chat = ChatTemplate::named(value);
    } else if (key == "shuffle") {
      o.shuffle = option_number(whole, key, value, 0, 1) != 0;
    } else if (key == "as") {
      o.as = read_kind(whole, value);
    } else if (field != kFieldNames.end()) {
      if (value.empty()) throw bad_input(fmt::format("source '{}': {}= names no field", whole, key), {}, "prompt=question");
      o.fields[static_cast<size_t>(field - kFieldNames.begin())] = value;
    } else {
      std::vector<std::string> known = {"template", "shuffle", "as"};
      known.insert(known.end(), kFieldNames.begin(), kFieldNames.end());
      unknown_option(whole, key, known);
    }
  }
  return o;
}

class JsonlSource final : public Source {
 private:
  uint64_t line_of(uint64_t index) const {
    const uint64_t n = file_.size(), at = index % n;
    return options_.shuffle ? permute(at, n, rng_key(seed_, "jsonl order", index / n)) : at;
  }

  template <class Make>
  auto read(uint64_t index, RecordKind kind, Make make) const {
    if (kind != kind_)  // looked at before it was changed
      throw failure(
          fmt::format("the file holds {}, and {} were read from it before", record_kind_name(kind_), record_kind_name(kind)),
          {options_.path}, "put it back as it was");
    return at_line(line_of(index), [&](const Record& record) {
      if (!options_.as && record.kind() != kind_)
        record.fail(fmt::format("this record is one of {}, those before are {}", record_kind_name(record.kind()),
                                record_kind_name(kind_)),
                    fmt::format("a file holds records of one kind; as={} takes all for that", record_kind_name(kind_)));
      return make(record);
    });
  }

  // The line's number is looked up only where a message needs it.
  template <class Make>
  auto at_line(uint64_t line, Make make) const {
    const std::string text = file_.line(line);
    try {
      return make(Record(text, {options_.path, 1}, options_.fields));
    } catch (const Error& e) {
      throw Error(e.code(), e.message(), {options_.path, file_.number(line), e.where().column}, e.hint());
    }
  }

 public:
  JsonlSource(Options options, uint64_t seed, const SourceUse& use)
      : options_(std::move(options)), seed_(seed), file_(options_.path) {
    if (use.in_file_order) options_.shuffle = false;
    if (!options_.as) options_.as = use.want;
    if (!options_.chat) options_.chat = use.chat ? use.chat : ChatTemplate::none();
    if (file_.size() == 0) throw bad_input("the file holds no records", {options_.path});
    kind_ = options_.as ? *options_.as : at_line(0, [](const Record& record) { return record.kind(); });
  }

  RecordKind kind() const override { return kind_; }
  std::optional<uint64_t> size() const override { return file_.size(); }
  Prompt prompt(uint64_t index) const override {
    return read(index, RecordKind::prompt, [this](const Record& r) { return r.prompt(*options_.chat); });
  }
  Example example(uint64_t index) const override {
    return read(index, RecordKind::example, [this](const Record& r) { return r.example(*options_.chat); });
  }
  Pair pair(uint64_t index) const override {
    return read(index, RecordKind::pair, [this](const Record& r) { return r.pair(*options_.chat); });
  }
  Where place(uint64_t index) const override { return {options_.path, file_.number(line_of(index))}; }
  std::string stamp() const override { return file_.stamp_text(); }
  const ChatTemplate* chat() const override { return options_.chat.get(); }

 private:
  Options options_;
  uint64_t seed_;
  LineFile file_;
  RecordKind kind_ = RecordKind::prompt;
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

std::filesystem::path jsonl_path(const SourceSpec& spec, const std::string& whole) {
  const std::string path = spec.name.substr(std::string_view("jsonl:").size());
  if (path.empty()) throw bad_input(fmt::format("source '{}' names no file", whole), {}, "expected jsonl:PATH");
  return path;
}

std::unique_ptr<Source> open_jsonl(const SourceSpec& spec, const std::string& whole, uint64_t seed, const SourceUse& use) {
  return std::make_unique<JsonlSource>(read_options(spec, whole), seed, use);
}

RecordKind jsonl_kind(const SourceSpec& spec, const std::string& whole) {
  const Options options = read_options(spec, whole);
  int number = 0;
  const std::string line = first_line(options.path, number);
  if (line.empty()) throw bad_input("the file holds no records", {options.path});
  return options.as ? *options.as : Record(line, {options.path, number}, options.fields).kind();
}

}  // namespace r1
