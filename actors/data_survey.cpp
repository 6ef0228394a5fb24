#include "actors/data_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "actors/examples.h"
#include "actors/model_chat.h"
#include "base/json.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

using nlohmann::json;

constexpr uint64_t kBlock = 128;        // records that a thread takes at once
constexpr uint64_t kSampleOfMade = 64;  // records of a source without an end
constexpr uint64_t kSampleEvery = 64;   // of a file too large to be tokenised whole
constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

struct First {
  int64_t count = 0;
  uint64_t index = kNever;
  void note(uint64_t i) { ++count, index = std::min(index, i); }
  void join(const First& o) { count += o.count, index = std::min(index, o.index); }
};

// What one thread found.
struct Part {
  Survey sums;
  First too_long, no_room, untrainable, unread, contaminated, bad;
  std::optional<Error> error;  // of record bad.index
};

class Surveyor {
 public:
  Surveyor(const SurveyTask& task, const SurveyProgress& progress)
      : task_(task), progress_(progress), source_(open_source(task.spec, 0, with_order(task.use))) {
    const auto& rules = rule_names();
    for (const FactReader& reader : task.readers)
      for (const std::string& name : reader.expression.variables())
        if (!name.ends_with(')') && std::find(rules.begin(), rules.end(), name) == rules.end() &&
            std::find(reader.models.begin(), reader.models.end(), name) == reader.models.end())
          flags_.insert(name);
  }

  Survey run() {
    if (progress_.opened) progress_.opened(*source_);
    check_own_tags();
    const uint64_t n = source_->size().value_or(kSampleOfMade);
    const unsigned cores = std::clamp(std::thread::hardware_concurrency(), 1u, 16u);
    const auto threads = static_cast<unsigned>(std::min<uint64_t>(cores, (n + kBlock - 1) / kBlock));
    std::vector<Part> parts(std::max(1u, threads));
    std::vector<std::thread> others;
    for (unsigned t = 1; t < threads; ++t) others.emplace_back([&, t] { work(n, parts[t], false); });
    work(n, parts[0], true);
    for (std::thread& t : others) t.join();
    if (broken_) std::rethrow_exception(broken_);
    return joined(parts, n);
  }

 private:
  static SourceUse with_order(SourceUse use) {
    use.in_file_order = true;
    return use;
  }

  void check_own_tags() const {
    if (source_->chat() != nullptr) check_tags(*source_->chat(), *task_.tokenizer, task_.spec, task_.model);
  }

  void work(uint64_t n, Part& part, bool shows) {
    try {
      auto shown = std::chrono::steady_clock::now();
      for (uint64_t first; !stopped_ && (first = next_.fetch_add(kBlock)) < n;) {
        const bool late = progress_.late();
        for (uint64_t i = first; i < std::min(n, first + kBlock); ++i) {
          try {
            look_at(i, !late || i % kSampleEvery == 0, part);
          } catch (const Error& e) {
            if (e.code() != ExitCode::bad_input) throw;
            if (i < part.bad.index) part.error = e;
            part.bad.note(i);
          }
        }
        const auto now = std::chrono::steady_clock::now();
        if (!shows || !progress_.show || now - shown < std::chrono::milliseconds(200)) continue;
        shown = now;
        progress_.show(static_cast<int64_t>(std::min(first + kBlock, n)), static_cast<int64_t>(n));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!broken_) broken_ = std::current_exception();
      stopped_ = true;
    }
  }

  void look_at(uint64_t i, bool tokenise, Part& part) {
    ++part.sums.records;
    part.sums.tokenised += tokenise;
    if (task_.grams && task_.grams->meet(source_->texts(i))) part.contaminated.note(i);
    if (source_->kind() == RecordKind::prompt)
      look_at_prompt(i, tokenise, part);
    else if (source_->kind() == RecordKind::example)
      look_at_example(i, tokenise, part);
    else
      look_at_pair(i, tokenise, part);
    if (tokenise && !source_->unread(i).field.empty()) part.unread.note(i);
  }

  void look_at_prompt(uint64_t i, bool tokenise, Part& part) {
    const Prompt prompt = source_->prompt(i);
    for (const auto& [name, value] : prompt.facts) {
      if (name == "answers") {
        ++part.sums.with_answers;
        continue;
      }
      auto& values = part.sums.facts[name];
      if (values.size() < Source::kMaxFactValues) values.insert(value);
    }
    RewardInput in;
    in.facts = &prompt.facts;
    for (const std::string& flag : flags_) part.sums.answered[flag] += rule_value(flag, in).has_value();
    for (const FactReader& reader : task_.readers)
      if (const std::string wrong = fact_complaint(reader.expression, reader.models, prompt.facts); !wrong.empty())
        throw bad_input(wrong, {}, "NAME_VALUE is 1 where the fact NAME is VALUE");
    if (!tokenise) return;
    const auto tokens = static_cast<int64_t>(task_.tokenizer->encode(prompt.text, false).size());
    part.sums.tokens += tokens;
    if (tokens == 0) throw bad_input("the prompt has no token");
    if (tokens >= task_.positions) {
      if (task_.too_long_is_error)
        throw bad_input(
            fmt::format("the prompt has {} tokens, the model of {} takes {}", tokens, task_.used_by, task_.positions), {},
            "too_long=drop leaves such prompts out");
      part.too_long.note(i);
    } else if (task_.max_tokens > 0 && tokens + task_.max_tokens > task_.positions) {
      part.no_room.note(i);
    }
  }

  void look_at_example(uint64_t i, bool tokenise, Part& part) {
    const Example example = source_->example(i);
    if (!tokenise) return;
    const Sequence s = tokenise_example(*task_.tokenizer, example);
    part.sums.tokens += static_cast<int64_t>(s.tokens.size());
    check_length(s, "an example");
    if (std::count(s.trainable.begin(), s.trainable.end(), 1) == 0) part.untrainable.note(i);
  }

  void look_at_pair(uint64_t i, bool tokenise, Part& part) {
    const Pair pair = source_->pair(i);
    if (!tokenise) return;
    std::vector<Sequence> both;
    append_pair(*task_.tokenizer, pair, task_.sees_answer, both);
    for (const Sequence& s : both) part.sums.tokens += static_cast<int64_t>(s.tokens.size());
    if (task_.drops_pairs) {
      for (const Sequence& s : both)
        if (s.tokens.empty() || static_cast<int64_t>(s.tokens.size()) > task_.positions) return part.too_long.note(i);
      return;
    }
    for (const Sequence& s : both) check_length(s, "a response");
  }

  void check_length(const Sequence& s, const char* what) const {
    if (s.tokens.empty()) throw bad_input(fmt::format("{} without a token", what));
    if (static_cast<int64_t>(s.tokens.size()) > task_.positions)
      throw bad_input(
          fmt::format("{} of {} has {} tokens, its model takes {}", what, task_.used_by, s.tokens.size(), task_.positions), {},
          "shorten it, or raise max_position_embeddings in config.json");
  }

  int line(uint64_t index) const { return index == kNever ? 0 : source_->place(index).line; }

  Survey joined(std::vector<Part>& parts, uint64_t n) const {
    Part all;
    for (Part& part : parts) {
      if (part.error && part.bad.index < all.bad.index) all.error = part.error;
      all.bad.join(part.bad);
      all.too_long.join(part.too_long);
      all.no_room.join(part.no_room);
      all.untrainable.join(part.untrainable);
      all.unread.join(part.unread);
      all.contaminated.join(part.contaminated);
      all.sums.records += part.sums.records;
      all.sums.tokenised += part.sums.tokenised;
      all.sums.tokens += part.sums.tokens;
      all.sums.with_answers += part.sums.with_answers;
      for (const auto& [name, count] : part.sums.answered) all.sums.answered[name] += count;
      for (const auto& [name, values] : part.sums.facts)
        for (const std::string& value : values)
          if (auto& to = all.sums.facts[name]; to.size() < Source::kMaxFactValues) to.insert(value);
    }
    if (all.error) {
      Where where = all.error->where();
      if (where.file.empty()) where = source_->place(all.bad.index);
      const int64_t more = all.bad.count - 1;
      throw bad_input(all.error->message() + (more > 0 ? fmt::format(" ({} more of its {} records are bad)", more, n) : ""),
                      where, all.error->hint());
    }
    all.sums.too_long = {all.too_long.count, line(all.too_long.index)};
    all.sums.no_room = {all.no_room.count, line(all.no_room.index)};
    all.sums.untrainable = {all.untrainable.count, line(all.untrainable.index)};
    all.sums.unread = {all.unread.count, line(all.unread.index)};
    if (all.unread.count > 0) {
      const Unread unread = source_->unread(all.unread.index);
      all.sums.unread_field = unread.field, all.sums.unread_join = unread.join;
    }
    all.sums.contaminated = {all.contaminated.count, line(all.contaminated.index)};
    return std::move(all.sums);
  }

  const SurveyTask& task_;
  const SurveyProgress& progress_;
  std::unique_ptr<Source> source_;
  std::set<std::string> flags_;
  std::atomic<uint64_t> next_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::exception_ptr broken_;
};

json finding_json(const Finding& f) { return json::array({f.count, f.line}); }
Finding finding_of(const json& j) { return {j.at(0).get<int64_t>(), j.at(1).get<int>()}; }

}  // namespace

std::string survey_text(const Survey& s) {
  return json{{"records", s.records},
              {"tokenised", s.tokenised},
              {"tokens", s.tokens},
              {"too_long", finding_json(s.too_long)},
              {"no_room", finding_json(s.no_room)},
              {"untrainable", finding_json(s.untrainable)},
              {"unread", finding_json(s.unread)},
              {"unread_field", s.unread_field},
              {"unread_join", s.unread_join},
              {"contaminated", finding_json(s.contaminated)},
              {"facts", s.facts},
              {"answered", s.answered},
              {"with_answers", s.with_answers}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

bool survey_from_text(const std::string& text, Survey& to) {
  const auto j = try_parse_json(text);
  if (!j) return false;
  try {
    to.records = j->at("records").get<int64_t>();
    to.tokenised = j->at("tokenised").get<int64_t>();
    to.tokens = j->at("tokens").get<int64_t>();
    to.too_long = finding_of(j->at("too_long"));
    to.no_room = finding_of(j->at("no_room"));
    to.untrainable = finding_of(j->at("untrainable"));
    to.unread = finding_of(j->at("unread"));
    to.unread_field = j->at("unread_field").get<std::string>();
    to.unread_join = j->at("unread_join").get<std::string>();
    to.contaminated = finding_of(j->at("contaminated"));
    to.facts = j->at("facts").get<std::map<std::string, std::set<std::string>>>();
    to.answered = j->at("answered").get<std::map<std::string, int64_t>>();
    to.with_answers = j->at("with_answers").get<int64_t>();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

Survey survey_source(const SurveyTask& task, const SurveyProgress& progress) { return Surveyor(task, progress).run(); }

}  // namespace r1
