#include "tasks/jsonl.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
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
  std::optional<HeldOutPart> part;
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

// Which part of a file a source is. `split`, `share`, `seed`: the values of its options; "" for those that are not given.
std::optional<HeldOutPart> read_part(const std::string& whole, const std::string& split, const std::string& share,
                                     const std::string& seed) {
  if (split.empty() && share.empty() && seed.empty()) return std::nullopt;
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    throw bad_input(fmt::format("source '{}': {}", whole, what), {}, hint);
  };
  if (split.empty()) refuse("held_out says how much is held out, and not which part this is", "add split=train, or split=test");
  if (split != "train" && split != "test") refuse(fmt::format("split={} is no part", split), "expected train or test");
  if (share.empty()) refuse(fmt::format("split={} of how much?", split), "add held_out=0.05");
  HeldOutPart part;
  part.test = split == "test";
  part.share = option_number(whole, "held_out", share, 1e-6, 0.999999);
  if (!seed.empty()) {
    const double number = option_number(whole, "split_seed", seed, 0, 9007199254740991);
    if (number != std::floor(number)) refuse(fmt::format("split_seed={} is not a whole number", seed), "split_seed=1");
    part.seed = static_cast<uint64_t>(number);
  }
  return part;
}

bool in_part(const HeldOutPart& part, std::string_view line) {
  const auto share = static_cast<double>(rng_key(part.seed, "held out", hash_string(line).lo) >> 11) * 0x1p-53;
  return (share < part.share) == part.test;
}

Options read_options(const SourceSpec& spec, const std::string& whole) {
  Options o;
  o.path = jsonl_path(spec, whole).string();
  std::string split, share, split_seed;
  for (const auto& [key, value] : spec.options) {
    const auto field = std::find(kFieldNames.begin(), kFieldNames.end(), key);
    if (key == "template") {
      if (value != "auto") o.chat = ChatTemplate::named(value);
    } else if (key == "shuffle") {
      o.shuffle = option_number(whole, key, value, 0, 1) != 0;
    } else if (key == "as") {
      o.as = read_kind(whole, value);
    } else if (key == "split") {
      split = value;
    } else if (key == "held_out") {
      share = value;
    } else if (key == "split_seed") {
      split_seed = value;
    } else if (field != kFieldNames.end()) {
      if (value.empty()) throw bad_input(fmt::format("source '{}': {}= names no field", whole, key), {}, "prompt=question");
      o.fields[static_cast<size_t>(field - kFieldNames.begin())] = value;
    } else {
      std::vector<std::string> known = {"template", "shuffle", "as", "split", "held_out", "split_seed", "weight"};
      known.insert(known.end(), kFieldNames.begin(), kFieldNames.end());
      unknown_option(whole, key, known);
    }
  }
  o.part = read_part(whole, split, share, split_seed);
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
      : options_(std::move(options)),
        seed_(seed),
        file_(options_.path, [this, &use](const std::string& line) { return keeps(line, use); }) {
    if (use.in_file_order) options_.shuffle = false;
    if (!options_.as) options_.as = use.want;
    if (!options_.chat) options_.chat = use.chat ? use.chat : ChatTemplate::none();
    if (file_.size() == 0) refuse_empty();
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
  std::vector<std::pair<std::filesystem::path, std::string>> stamps() const override {
    return {{options_.path, file_.stamp_text()}};
  }
  const ChatTemplate* chat() const override { return options_.chat.get(); }
  std::vector<std::string> texts(uint64_t index) const override {
    return at_line(line_of(index), [](const Record& record) { return record.texts(); });
  }
  Unread unread(uint64_t index) const override {
    const uint64_t line = line_of(index);
    if (!Record::may_have_unread(file_.line(line))) return {};
    return at_line(line, [](const Record& record) { return record.unread(); });
  }
  uint64_t left_out() const override { return left_out_; }

 private:
  bool keeps(const std::string& line, const SourceUse& use) {
    if (options_.part && !in_part(*options_.part, line)) return ++of_other_part_, false;
    if (!use.left_out) return true;
    try {
      if (!use.left_out(Record(line, {options_.path, 1}, options_.fields).texts())) return true;
    } catch (const Error&) {
      return true;  // its error comes when it is read
    }
    return ++left_out_, false;
  }

  [[noreturn]] void refuse_empty() const {
    if (left_out_ > 0) throw bad_input(fmt::format("all of its {} records are left out", left_out_), {options_.path});
    if (of_other_part_ > 0)
      throw bad_input(fmt::format("none of its {} records is in split={} with held_out={:g}", of_other_part_,
                                  options_.part->test ? "test" : "train", options_.part->share),
                      {options_.path}, "another held_out, or another split_seed");
    throw bad_input("the file holds no records", {options_.path});
  }

  Options options_;
  uint64_t seed_, of_other_part_ = 0, left_out_ = 0;
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

std::optional<HeldOutPart> jsonl_held_out(const SourceSpec& spec, const std::string& whole) {
  return read_options(spec, whole).part;
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

std::string jsonl_how_to_read(const SourceSpec& spec, const std::string& whole, const std::vector<RecordKind>& wanted) {
  const Options options = read_options(spec, whole);
  int number = 0;
  const std::string line = first_line(options.path, number);
  const Record record(line, {options.path, number}, options.fields);
  for (const RecordKind kind : wanted)
    if (const std::string how = record.how_to_read(kind); !how.empty())
      return fmt::format("?{} makes {} of {}", how, record_kind_name(kind), options.path);
  const std::string why = wanted.empty() ? "" : record.why_not(wanted[0]);
  return why.empty() ? "" : fmt::format("{}:{} makes no {}: {}", options.path, number, record_kind_name(wanted[0]), why);
}

std::string jsonl_likely_answer(const SourceSpec& spec, const std::string& whole) {
  const Options options = read_options(spec, whole);
  int number = 0;
  return Record(first_line(options.path, number), {options.path, number}, options.fields).likely_answer();
}

}  // namespace r1
