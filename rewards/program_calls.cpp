#include "rewards/program_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <thread>

#include "base/clipped.h"
#include "base/error.h"
#include "base/line_process.h"
#include "rewards/call.h"
#include "rewards/command_worker.h"
#include "rewards/http_worker.h"
#include "rewards/score_protocol.h"
#include "rewards/worker_pool.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestCommand = 4096;
constexpr int kFolderDepth = 4;  // below a script's directory
constexpr double kConnectS = 5;

bool is_part_name(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && text.size() <= 64 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// The file that a word of a command names: itself, or FILE of FILE:FUNCTION; "" when it names none.
std::string named_file(const std::string& word, const fs::path& directory) {
  std::error_code none;
  for (const std::string& name : {word, word.substr(0, word.rfind(':'))})
    if (!name.empty() && fs::is_regular_file(directory / name, none)) return name;
  return "";
}

std::string problem_of_program(const Call& call) {
  const std::string example = call.name == "http" ? "http('http://127.0.0.1:8000/score')" : "command('python3 my_reward.py')";
  if (call.arguments.empty()) return fmt::format("{} takes a text in quotes: {}", call.name, example);
  for (const auto& argument : call.arguments)
    if (!std::holds_alternative<std::string>(argument)) return fmt::format("{} takes texts in quotes: {}", call.name, example);
  const std::string& first = std::get<std::string>(call.arguments[0]);
  if (first.size() > kLongestCommand) return fmt::format("the text of {} is longer than {} bytes", call.name, kLongestCommand);
  if (call.name == "http") {
    const size_t host = first.starts_with("http://") ? 7 : first.starts_with("https://") ? 8 : 0;
    if (host == 0 || first.size() == host || first.find_first_of(" \t\n") != std::string::npos)
      return fmt::format("'{}' is no address: {}", clipped(first), example);
  } else {
    const auto words = split_command(first);
    if (!words) return "a quote in the command is not closed";
    if (words->empty() || words->front().empty()) return fmt::format("the command is empty: {}", example);
  }
  std::set<std::string> parts;
  for (size_t i = 1; i < call.arguments.size(); ++i) {
    const std::string& part = std::get<std::string>(call.arguments[i]);
    if (!is_part_name(part))
      return fmt::format("'{}' is no name of a part (letters, digits, _); the words of a command stand in one text",
                         clipped(part));
    if (!parts.insert(part).second) return fmt::format("the part '{}' is named twice", part);
  }
  return "";
}

ProgramCall program_of(const std::string& text, const Call& call) {
  ProgramCall out;
  out.call = text;
  out.http = call.name == "http";
  const std::string& first = std::get<std::string>(call.arguments[0]);
  for (size_t i = 1; i < call.arguments.size(); ++i) out.parts.push_back(std::get<std::string>(call.arguments[i]));
  if (out.http) {
    out.url = out.title = first;
    return out;
  }
  out.words = *split_command(first);
  // The script, where an interpreter comes before it.
  out.title = out.words[0];
  for (size_t i = 1; i < out.words.size(); ++i)
    if (const std::string& w = out.words[i]; w.find('.') != std::string::npos && w[0] != '-') {
      out.title = w;
      break;
    }
  out.title = fs::path(out.title).filename();
  return out;
}

}  // namespace

const std::vector<std::string>& program_call_names() {
  static const std::vector<std::string> names = {"command", "http"};
  return names;
}

bool is_program_call(std::string_view name) { return name.starts_with("command(") || name.starts_with("http("); }

std::string program_call_problem(std::string_view text) {
  const auto call = parse_call(text);
  if (!call) return fmt::format("'{}': the arguments of a program are texts in quotes", clipped(text));
  return problem_of_program(*call);
}

std::vector<ProgramCall> program_calls(const RewardExpression& expression) {
  std::vector<ProgramCall> out;
  for (const std::string& name : expression.variables()) {
    if (!is_program_call(name)) continue;
    const auto call = parse_call(name);
    const std::string problem = call ? problem_of_program(*call) : "no call";
    if (!problem.empty()) throw bad_input(problem);
    out.push_back(program_of(name, *call));
  }
  return out;
}

int workers_of(const ProgramCall& call, const ProgramOptions& options) {
  if (options.workers > 0) return std::min(options.workers, kMostWorkers);
  return call.http ? 16 : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

std::unique_ptr<ScoreSource> open_program(const ProgramCall& call, const ProgramOptions& options) {
  return make_worker_pool(call.title, workers_of(call, options), [call, options](int number, const std::atomic<bool>&) {
    return call.http ? make_http_worker(call, options) : make_command_worker(call, options, number);
  });
}

ScoreSources open_programs(const RewardExpression& expression, const ProgramOptions& options) {
  ScoreSources sources;
  for (const ProgramCall& call : program_calls(expression)) sources[call.call] = open_program(call, options);
  return sources;
}

std::vector<fs::path> program_files(const ProgramCall& call, const fs::path& directory) {
  std::set<fs::path> files;
  for (const std::string& word : call.words) {
    const std::string name = named_file(word, directory);
    if (name.empty()) continue;
    files.insert(fs::path(name).lexically_normal());
    const fs::path extension = fs::path(name).extension();
    if (extension.empty()) continue;
    const fs::path folder = fs::path(name).parent_path();
    std::error_code none;
    const fs::path top = directory / folder;
    for (fs::recursive_directory_iterator at(top, fs::directory_options::skip_permission_denied, none), end; !none && at != end;
         at.increment(none)) {
      const std::string leaf = at->path().filename();
      if (at->is_directory(none)) {
        if (leaf.starts_with('.') || leaf == "__pycache__" || at.depth() >= kFolderDepth ||
            fs::exists(at->path() / "run.db", none))
          at.disable_recursion_pending();
        continue;
      }
      if (leaf.starts_with('.') || at->path().extension() != extension || !at->is_regular_file(none)) continue;
      files.insert((folder / at->path().lexically_relative(top)).lexically_normal());
      if (files.size() > kMostProgramFiles)
        throw bad_input(fmt::format("'{}' lies among more than {} files of its kind, which would all count as the program",
                                    name, kMostProgramFiles),
                        {}, "give it a directory of its own");
    }
  }
  return {files.begin(), files.end()};
}

bool check_program(const ProgramCall& call, const ProgramOptions& options, bool start, const Where& where) {
  if (call.http) {
    if (!start) return false;
    if (const std::string problem = connection_problem(call.url, kConnectS); !problem.empty())
      throw bad_input(fmt::format("nothing can be scored at '{}': {}", call.url, problem), where,
                      "start the server first: python3 -m r1_reward --http 8000 FILE.py:FUNCTION");
    return true;
  }
  if (find_program(call.words[0], options.directory).empty())
    throw bad_input(fmt::format("no program '{}' in '{}'", call.words[0], call.call), where,
                    call.words[0].find('/') == std::string::npos
                        ? "a name is looked for on the PATH; a file beside the graph is ./NAME"
                        : fmt::format("a path begins at {}, and the file has to be executable", options.directory.string()));
  // A script that is not there is what people mistype; what else an interpreter is given, it has to know itself.
  for (size_t i = 1; i < call.words.size(); ++i) {
    const std::string& word = call.words[i];
    const std::string file = word.substr(0, word.rfind(':'));
    if (word[0] != '-' && fs::path(file).extension() == ".py" && named_file(word, options.directory).empty())
      throw bad_input(fmt::format("no file '{}' for '{}'", file, call.call), where,
                      fmt::format("a path begins at {}", options.directory.string()));
  }
  if (!start) return false;
  const auto module = std::find(call.words.begin(), call.words.end(), "r1_reward");
  const bool says_so = module != call.words.end() && module != call.words.begin() && *(module - 1) == "-m";
  const double limit_s = says_so ? std::max(options.look_s, options.start_s) : options.look_s;
  try {
    LineProcess process(command_process(call, options), {});
    const auto reply = process.read_line(limit_s, nullptr);
    if (reply.outcome == LineProcess::Outcome::line) {
      if (says_ready(reply.line)) return true;
      throw failure(fmt::format("it wrote '{}' before anything was asked", clipped(reply.line, 80)), {},
                    "its stdout is for answers; what else it says goes to stderr");
    }
    if (reply.outcome == LineProcess::Outcome::ended)
      throw failure(
          fmt::format("it ended at once ({}){}", reply.how, process.last_words().empty() ? "" : ": " + process.last_words()));
    if (says_so) throw failure(fmt::format("it was not ready after {:g} s", limit_s), {}, "reward_start_s gives it more");
    return false;
  } catch (const Error& e) {
    throw bad_input(fmt::format("the reward program of {} does not run: {}", call.call, e.message()), where, e.hint());
  }
}

}  // namespace r1
