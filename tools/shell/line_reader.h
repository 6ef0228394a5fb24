// Lines that a person types at a prompt: edited, with a history that is kept from one session to the next, and completed with
// the tab key (libedit). Not a terminal: lines as they come. Thread rule: one thread; one of them at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace r1 {

// What the word at the end of `line` may become; `line` is what stands before the cursor.
using Complete = std::function<std::vector<std::string>(const std::string& line)>;

class LineReader {
 public:
  // `history`: a file, "" for none; one that cannot be kept is no error.
  LineReader(std::string prompt, std::filesystem::path history, Complete complete);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool at_prompt() const { return at_prompt_; }
  std::optional<std::string> next();  // nullopt: the input is over

 private:
  const std::string prompt_;
  const std::filesystem::path history_;
  const bool at_prompt_;
};

// $XDG_STATE_HOME/r1/shell_history, else ~/.local/state/r1/shell_history; "" where there is no home.
std::filesystem::path shell_history_file();

}  // namespace r1
