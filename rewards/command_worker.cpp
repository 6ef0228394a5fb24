#include "rewards/command_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/clipped.h"
#include "base/error.h"
#include "base/line_process.h"
#include "rewards/score_protocol.h"

namespace r1 {
namespace {

class CommandWorker final : public ScoreWorker {
 public:
  CommandWorker(const ProgramCall& call, const ProgramOptions& options, int number)
      : spec_(command_process(call, options)), options_(options), title_(worker_title(call, number)) {
    start();
  }

  Outcome ask(const ScoreItem& item, const std::atomic<bool>& stop, bool last_try) override {
    Outcome outcome;
    for (int attempt = 0; attempt <= (last_try ? 0 : options_.retries) && !stop; ++attempt) {
      if (!process_ && deaths_ > 0) sleep_unless(stop, std::min(1.0, 0.05 * static_cast<double>(1 << std::min(deaths_, 7))));
      if (!process_) start();
      std::string problem = start_error_;
      if (process_) problem = exchange(item, stop, outcome);
      if (outcome.answered || stop) return outcome;
      outcome.result.error = problem;
      if (process_) log(fmt::format("is ended: {}", problem));
      process_.reset();
      ++deaths_;
    }
    return outcome;
  }

 private:
  void log(const std::string& what) const {
    if (options_.log) options_.log(title_ + " " + what);
  }

  void start() {
    start_error_.clear();
    fresh_ = true;
    LineProcessOptions lines;
    lines.longest_line = kLongestAnswer;
    if (options_.log)
      lines.on_error_line = [log = options_.log, title = title_](const std::string& line) { log(title + ": " + line); };
    try {
      if (options_.before_start) options_.before_start();
      process_.emplace(spec_, std::move(lines));
    } catch (const Error& e) {
      start_error_ = e.what();
      log(start_error_);
    }
  }

  // The problem, or "": `outcome` has the answer, or a stop came.
  std::string exchange(const ScoreItem& item, const std::atomic<bool>& stop, Outcome& outcome) {
    // After a line too many every answer would be taken for the next one's.
    if (const auto line = fresh_ ? std::nullopt : process_->unasked())
      return fmt::format("it wrote '{}' after its last answer, when nothing was asked", clipped(line->substr(0, 200), 80));
    const int64_t id = ++asked_;
    double limit = options_.timeout_s + (fresh_ ? options_.start_s : 0);
    LineProcess::Reply reply = process_->exchange(score_request(id, item), limit, &stop);
    if (reply.outcome == LineProcess::Outcome::line && fresh_ && says_ready(reply.line)) {
      limit = options_.timeout_s;
      reply = process_->read_line(limit, &stop);
    }
    switch (reply.outcome) {
      case LineProcess::Outcome::stopped:
        return "";
      case LineProcess::Outcome::timed_out:
        return fmt::format("it did not answer within {:g} s{}", limit, said());
      case LineProcess::Outcome::too_long:
        return fmt::format("it wrote a line of more than {} bytes", kLongestAnswer);
      case LineProcess::Outcome::ended:
        return fmt::format("it ended ({}){}", reply.how, said());
      case LineProcess::Outcome::line:
        break;
    }
    ScoreAnswer answer = read_score_answer(reply.line, id);
    if (!answer.nonsense.empty()) return answer.nonsense;
    fresh_ = false;
    deaths_ = 0;
    outcome.result = std::move(answer.result);
    outcome.answered = true;
    return "";
  }

  // What it wrote last to stderr.
  std::string said() {
    const std::string words = process_->last_words();
    return words.empty() ? "" : "; it said: " + words;
  }

  ProcessSpec spec_;
  ProgramOptions options_;
  std::string title_, start_error_;
  std::optional<LineProcess> process_;
  bool fresh_ = true;  // it has not answered yet
  int deaths_ = 0;     // since it last answered
  int64_t asked_ = 0;
};

}  // namespace

std::string worker_title(const ProgramCall& call, int number) { return fmt::format("{} worker {}", call.title, number); }

ProcessSpec command_process(const ProgramCall& call, const ProgramOptions& options) {
  ProcessSpec spec;
  spec.words = call.words;
  spec.directory = options.directory;
  if (!options.python.empty()) {
    const char* before = std::getenv("PYTHONPATH");
    const bool more = before != nullptr && *before != 0;
    spec.environment.push_back("PYTHONPATH=" + options.python.string() + (more ? std::string(":") + before : ""));
  }
  spec.environment.emplace_back("PYTHONUNBUFFERED=1");
  return spec;
}

std::filesystem::path python_directory() {
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  const auto found = (program.parent_path() / R1_PYTHON_FROM_PROGRAM).lexically_normal();
  return std::filesystem::is_regular_file(found / "r1_reward.py", none) ? found : std::filesystem::path();
}

std::unique_ptr<ScoreWorker> make_command_worker(const ProgramCall& call, const ProgramOptions& options, int number) {
  return std::make_unique<CommandWorker>(call, options, number);
}

}  // namespace r1
