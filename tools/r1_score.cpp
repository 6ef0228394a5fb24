// r1-score: scores responses with a reward expression, without a run. Lines of JSON in, the same lines with their rewards out.
// docs/rewards.md has the rules, and how programs are asked.
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "actors/metric_table.h"
#include "actors/reward_models.h"
#include "actors/reward_programs.h"
#include "base/error.h"
#include "base/json.h"
#include "base/say.h"
#include "models/model_files.h"
#include "rewards/expression_scorer.h"
#include "rewards/program_calls.h"
#include "rewards/rules.h"
#include "tasks/chat_template.h"
#include "tasks/record.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kExamples =
    R"__(A line is an object with "prompt" and "response"; "answer" or "answers", and every further field with a plain value as a
fact, as in docs/data.md; "finished" (true) where rules ask for it, "tokens" where they measure length. "messages" or a list as
"prompt" is a conversation. Each line comes back in its place with "reward" and "scores", or with "reward": null and "error".

Examples:
  r1-score --rewards math < responses.jsonl > scored.jsonl
  r1-score --rewards "format * (accuracy + 0.2 * language)" < responses.jsonl
  r1-score --rewards "command('python3 my_reward.py', 'style')" --workers 8 < responses.jsonl
  r1-score --rewards "if(harm, 1, rm)" --model rm=runs/r1_full/checkpoints/helpful < responses.jsonl
  r1-score --rewards "http('http://127.0.0.1:8000/score')" < responses.jsonl | jq .reward

Commands run here, in the present directory. Responses for a --model end with its end token where they ended by themselves.
Exit codes: 0 all scored, 1 some could not be, 2 bad input.)__";

constexpr size_t kLongestLine = size_t{64} << 20;
constexpr size_t kAhead = 4096;    // lines read and not written
constexpr size_t kHeld = 100'000;  // lines that wait for one that has the facts of the expression
const char* const kInput = "standard input";

struct Arguments {
  std::string rewards;
  std::vector<std::string> models;
  int workers = 0, retries = 1;
  double timeout_s = 10, start_s = 60;
};

// Reads lines in a thread of its own, so that what is scored is written while the input waits. A line of nothing but blanks
// is none.
class Lines {
 public:
  struct Line {
    int number;
    std::string text;
  };
  // `arrived`: called after each line and at the end.
  explicit Lines(std::function<void()> arrived) : arrived_(std::move(arrived)), thread_([this] { read(); }) {}
  ~Lines() { thread_.join(); }

  // The next line; nullopt: none is there (yet). Waits for one, or for the end, if `wait`.
  std::optional<Line> next(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) changed_.wait(lock, [this] { return over_ || !lines_.empty(); });
    if (lines_.empty()) return std::nullopt;
    Line line = std::move(lines_.front());
    lines_.pop_front();
    changed_.notify_all();
    return line;
  }
  bool over() {
    std::lock_guard lock(mutex_);
    return over_ && lines_.empty();
  }
  // The number of the line that is longer than kLongestLine, or 0.
  int too_long() {
    std::lock_guard lock(mutex_);
    return over_ && lines_.empty() ? too_long_ : 0;
  }
  // Whether what came was cut off by an error, and not by its end.
  bool unreadable() {
    std::lock_guard lock(mutex_);
    return over_ && lines_.empty() && unreadable_;
  }
  // Reads no further.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  void read() {
    std::string text;
    int number = 1;
    bool more = true;
    while (more) {
      const int c = std::getc(stdin);
      more = c != EOF;
      if (more && c != '\n') {
        text += static_cast<char>(c);
        if (text.size() <= kLongestLine) continue;
        std::lock_guard lock(mutex_);
        too_long_ = number;
        break;
      }
      if (text.find_first_not_of(" \t\r") != std::string::npos) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return closed_ || lines_.size() < kAhead; });
        if (closed_) break;
        lines_.push_back({number, std::move(text)});
        changed_.notify_all();
        lock.unlock();
        arrived_();
      }
      text.clear();
      ++number;
    }
    {
      std::lock_guard lock(mutex_);
      over_ = true;
      unreadable_ = std::ferror(stdin) != 0;
    }
    changed_.notify_all();
    arrived_();
  }

  std::function<void()> arrived_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Line> lines_;
  bool over_ = false, closed_ = false, unreadable_ = false;
  int too_long_ = 0;
  std::thread thread_;
};

// The contents of a conversation, one below the other: what rules see of it. Programs see the messages.
std::string joined(const json& messages, const Where& where) {
  std::string text;
  for (const json& m : messages) {
    if (!m.is_object() || !m.contains("content") || !m["content"].is_string())
      throw bad_input("a conversation is a list of {\"role\": ..., \"content\": TEXT}", where);
    text += (text.empty() ? "" : "\n") + m["content"].get<std::string>();
  }
  return text;
}

// `measured`: the expression asks how long a response is, which its text does not say.
ScoreItemPtr read_item(const std::string& line, const Where& where, bool measured) {
  json record = parse_json(line, where, {.max_bytes = kLongestLine, .exact_integers = true});
  if (!record.is_object()) throw bad_input("a line is an object: {\"prompt\": ..., \"response\": ...}", where);
  auto item = std::make_shared<ScoreItem>();
  const auto response = record.find("response");
  if (response == record.end() || !response->is_string())
    throw bad_input("no \"response\" that is a text", where, "{\"prompt\": ..., \"response\": ..., \"answer\": ...}");
  item->response = response->get<std::string>();
  item->finished = true;
  if (const auto finished = record.find("finished"); finished != record.end()) {
    if (!finished->is_boolean()) throw bad_input("\"finished\" is true or false", where);
    item->finished = finished->get<bool>();
  }
  if (const auto tokens = record.find("tokens"); tokens != record.end()) {
    const auto n = json_integer(*tokens);
    if (!n || *n < 0) throw bad_input("\"tokens\" is a number of tokens", where);
    item->tokens = *n;
  } else if (measured) {
    throw bad_input("no \"tokens\", and the expression measures length", where,
                    "add how many tokens the response has, or leave length and overlong(MAX, CACHE) out");
  }
  // A conversation stands in either field; beside a text as "prompt", "messages" are what that was rendered from.
  for (const char* key : {"prompt", "messages"})
    if (const auto conversation = record.find(key); conversation != record.end() && conversation->is_array()) {
      item->messages = conversation->dump();
      const std::string text = joined(*conversation, where);
      record.erase(key);
      if (!record.contains("prompt")) record["prompt"] = text;
      break;
    }
  for (const char* key : {"response", "finished", "tokens", "reward", "scores", "error"}) record.erase(key);
  const Prompt prompt = Record(record.dump(), where, {}).prompt(*ChatTemplate::none());
  item->prompt = prompt.text;
  item->facts = prompt.facts;
  return item;
}

class Scoring {
 public:
  Scoring(const Arguments& args, RewardExpression expression, ScoreSources sources) : expression_(expression) {
    for (const std::string& name : expression.variables()) {
      measures_length_ |= name == "length";
      compares_only_ &= compares_with_answers(name);
      if (compares_with_answers(name)) comparing_ += (comparing_.empty() ? "" : ", ") + name;
      const auto& rules = rule_names();
      if (std::find(rules.begin(), rules.end(), name) == rules.end() && !name.ends_with(')') && sources.count(name) == 0)
        unanswered_.insert(name);
    }
    for (const std::string& model : args.models) known_.push_back(model.substr(0, model.find('=')));
    known_.insert(known_.end(), rule_names().begin(), rule_names().end());
    for (const ProgramCall& call : program_calls(expression_))
      for (const std::string& part : call.parts) never_came_.insert(part);
    scorer_ = std::make_unique<ExpressionScorer>(std::move(expression), std::move(sources));
  }

  int run() {
    Lines lines([this] { scorer_->wake(); });
    std::optional<Error> bad;
    try {
      while (!lines.over() || scorer_->under_way() > 0) {
        take(lines);
        for (auto& [key, score] : scorer_->next(1)) scored(key, std::move(score));
        write();
      }
      if (const int number = lines.too_long(); number > 0)
        throw bad_input(fmt::format("a line of more than {} MiB", kLongestLine >> 20), {kInput, number, 0});
      if (lines.unreadable()) throw bad_input("cannot be read", {kInput, 0, 0});
      if (number_ == 0) throw bad_input("no line came: there is nothing to score", {kInput, 0, 0}, "r1-score ... < FILE");
      if (!held_.empty()) check_variables(expression_, known_, {});
    } catch (const Error& e) {
      // What came before it is scored and written all the same.
      bad = e;
      while (scorer_->under_way() > 0)
        for (auto& [key, score] : scorer_->next(1)) scored(key, std::move(score));
      write();
    }
    lines.close();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) bad = failure("the output cannot be written");
    if (bad) {
      // The reader may wait for input that never comes: the process does not wait for it.
      say("r1-score: {}\n", bad->what());
      std::fflush(stderr);
      std::_Exit(static_cast<int>(bad->code()));
    }
    if (failed_ > 0)
      say("r1-score: {} of {} lines could not be scored; the first, line {}: {}\n", failed_, written_, first_failed_,
          first_error_);
    if (without_answers_ > 0)
      say("r1-score: warning: {} of {} lines have no \"answer\" to compare with: {} is 0 for them\n", without_answers_,
          written_, comparing_);
    if (without_answers_ == written_ && compares_only_) {
      say("r1-score: nothing was scored: no line has an answer (the field \"answer\" or \"answers\")\n");
      return 1;
    }
    // Of lines that could not be scored nothing came, and that was said.
    if (failed_ < written_)
      for (const std::string& part : never_came_)
        say("r1-score: warning: the part '{}' that the expression declares came with none of {} responses\n", part, written_);
    return failed_ > 0 ? 1 : 0;
  }

 private:
  struct Open {
    Lines::Line line;
    std::optional<ItemScore> score;
  };

  void take(Lines& lines) {
    while (open_.size() < (unanswered_.empty() ? kAhead : kHeld + 1)) {
      const bool idle = open_.empty() || (!held_.empty() && scorer_->under_way() == 0);
      std::optional<Lines::Line> line = lines.next(idle);
      if (!line) return;
      const Where where{kInput, line->number, 0};
      ScoreItemPtr item = read_item(line->text, where, measures_length_);
      without_answers_ += !comparing_.empty() && item->facts.count("answers") == 0;
      const uint64_t key = number_++;
      open_[key] = {std::move(*line), std::nullopt};
      if (unanswered_.empty()) {
        scorer_->add(key, std::move(item));
        continue;
      }
      note_names(*item);
      held_.emplace_back(key, std::move(item));
      if (!unanswered_.empty()) {
        if (held_.size() < kHeld) continue;
        check_variables(expression_, known_, {});
      }
      for (auto& [k, i] : std::exchange(held_, {})) scorer_->add(k, std::move(i));
    }
  }

  // A fact that a line lacks counts as 0, one that no line has is a slip.
  void note_names(const ScoreItem& item) {
    std::map<std::string, std::set<std::string>> values;
    for (const auto& [fact, value] : item.facts) {
      values[fact].insert(value);
      if (known_.size() < 500 && fact != "answers" && std::find(known_.begin(), known_.end(), fact) == known_.end())
        known_.push_back(fact);
    }
    for (const std::string& flag : flag_names(values))
      if (unanswered_.erase(flag) > 0) known_.push_back(flag);
    for (const auto& [fact, value] : item.facts) unanswered_.erase(fact);
  }

  void scored(uint64_t key, ItemScore score) { open_.at(key).score = std::move(score); }

  // What is scored, in order.
  void write() {
    bool wrote = false;
    while (!open_.empty() && open_.begin()->second.score) {
      const Open& open = open_.begin()->second;
      const ItemScore& score = *open.score;
      ordered_json out = ordered_json::parse(open.line.text);
      for (const char* key : {"reward", "scores", "error"}) out.erase(key);
      out["reward"] = score.reward ? ordered_json(*score.reward) : ordered_json();
      ordered_json scores = ordered_json::object();
      for (const auto& [name, value] : score.values) scores[name] = value;
      for (const auto& [name, value] : score.parts) never_came_.erase(name);
      for (const auto& [name, value] : score.parts)
        if (!scores.contains(name) && !metric_name_taken(name)) scores[name] = value;
      out["scores"] = std::move(scores);
      if (!score.reward) {
        out["error"] = score.error;
        if (failed_++ == 0) {
          first_failed_ = open.line.number;
          first_error_ = score.error;
        }
      }
      const std::string text = out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
      std::fwrite(text.data(), 1, text.size(), stdout);
      ++written_;
      wrote = true;
      open_.erase(open_.begin());
    }
    if (wrote) std::fflush(stdout);
  }

  RewardExpression expression_;
  std::unique_ptr<ExpressionScorer> scorer_;
  std::set<std::string> unanswered_;  // names that no line had so far
  std::set<std::string> never_came_;  // parts of programs that are declared, and that no answer had so far
  std::vector<std::string> known_;
  std::map<uint64_t, Open> open_;
  std::vector<std::pair<uint64_t, ScoreItemPtr>> held_;
  uint64_t number_ = 0;
  bool measures_length_ = false;
  std::string comparing_;  // rules of the expression that compare with answers
  bool compares_only_ = true;
  int64_t written_ = 0, failed_ = 0, without_answers_ = 0;
  int first_failed_ = 0;
  std::string first_error_;
};

ScoreSources open_models(const std::vector<std::string>& models) {
  ScoreSources sources;
  for (const std::string& text : models) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
      throw bad_input(fmt::format("--model {}: expected NAME=DIRECTORY", text));
    const std::string name = text.substr(0, equals);
    const fs::path dir = text.substr(equals + 1);
    if (!fs::is_directory(dir)) throw bad_input("no such model directory", {dir.string()});
    const auto& rules = rule_names();
    if (std::find(rules.begin(), rules.end(), name) != rules.end() || sources.count(name) != 0)
      throw bad_input(fmt::format("--model {}: the name '{}' is taken", text, name));
    Device& device = open_device("cpu");
    auto tokenizer = std::make_shared<const Tokenizer>(model_tokenizer(dir));
    sources[name] = make_model_source(
        name, make_reward_model(*device_engines(device), load_weights(device, dir, resolve_precision("auto", device)),
                                std::move(tokenizer), name));
  }
  return sources;
}

int main_checked(int argc, char** argv) {
  Arguments args;
  CLI::App app("Scores responses with a reward expression: JSON lines in, the same lines with rewards out.", "r1-score");
  add_common_flags(app, kExamples);
  app.add_option("--rewards", args.rewards, "the expression, as in a judge's rewards")->required()->type_name("EXPR");
  app.add_option("--model", args.models, "a reward model of the expression")->type_name("NAME=DIR")->allow_extra_args(false);
  app.add_option("--workers", args.workers, "processes of a command, connections to an address (default: one a core, 16)")
      ->check(CLI::Range(1, kMostWorkers));
  app.add_option("--timeout", args.timeout_s, "seconds that a program may take for one response")
      ->check(number_from(0.01, 1e6))
      ->capture_default_str();
  app.add_option("--start", args.start_s, "seconds more for the first one after it was started")
      ->check(number_from(0, 1e6))
      ->capture_default_str();
  app.add_option("--retries", args.retries, "times that a response is tried again when a program hung, died or talked nonsense")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const Where where{"--rewards", 1, 1};
  RewardExpression expression = RewardExpression::parse(args.rewards, where);
  ProgramOptions options;
  options.directory = fs::current_path();
  options.python = python_directory();
  options.workers = args.workers;
  options.timeout_s = args.timeout_s;
  options.start_s = args.start_s;
  options.retries = args.retries;
  options.log = [](const std::string& line) { say("{}\n", line); };
  check_program_parts(expression, where);
  for (const ProgramCall& call : program_calls(expression)) check_program(call, options, /*start=*/false, where);
  ScoreSources sources = open_models(args.models);
  for (auto& [call, source] : open_programs(expression, options)) sources[call] = std::move(source);
  return Scoring(args, std::move(expression), std::move(sources)).run();
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-score", argc, argv, r1::main_checked); }
