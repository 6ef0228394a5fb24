#include "tools/shell/line_reader.h"

#include <editline/readline.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <system_error>
#include <utility>

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLines = 1000;

// libedit calls back without an argument.
Complete& completion() {
  static Complete complete;
  return complete;
}
std::vector<std::string>& candidates() {
  static std::vector<std::string> words;
  return words;
}

char* next_candidate(const char* word, int state) {
  static size_t at = 0;
  if (state == 0) at = 0;
  const std::vector<std::string>& words = candidates();
  while (at < words.size())
    if (const std::string& candidate = words[at++]; candidate.rfind(word, 0) == 0) return ::strdup(candidate.c_str());
  return nullptr;
}

char** complete_word(const char* word, int, int end) {
  rl_attempted_completion_over = 1;  // no names of files
  candidates() = completion()(std::string(rl_line_buffer).substr(0, static_cast<size_t>(end)));
  return rl_completion_matches(word, next_candidate);
}

}  // namespace

LineReader::LineReader(std::string prompt, fs::path history, Complete complete)
    : prompt_(std::move(prompt)),
      history_(std::move(history)),
      at_prompt_(::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0) {
  if (!at_prompt_) return;
  completion() = std::move(complete);
  rl_readline_name = const_cast<char*>("r1-shell");
  rl_attempted_completion_function = complete_word;
  using_history();
  stifle_history(kMostLines);
  if (!history_.empty()) read_history(history_.c_str());
}

LineReader::~LineReader() {
  if (!at_prompt_) return;
  completion() = {};
  if (history_.empty()) return;
  std::error_code error;
  fs::create_directories(history_.parent_path(), error);
  const mode_t before = ::umask(077);
  write_history(history_.c_str());
  ::umask(before);
}

std::optional<std::string> LineReader::next() {
  if (!at_prompt_) {
    std::string line;
    return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
  }
  std::cout.flush();
  char* const typed = readline(prompt_.c_str());
  if (typed == nullptr) return std::nullopt;
  std::string line = typed;
  ::free(typed);
  if (line.find_first_not_of(" \t") != line.npos) add_history(line.c_str());
  return line;
}

fs::path shell_history_file() {
  const char* const state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return fs::path(state) / "r1" / "shell_history";
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? fs::path(home) / ".local/state/r1/shell_history" : fs::path();
}

}  // namespace r1
