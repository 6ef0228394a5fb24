#include "tools/shell/completion.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/json.h"

namespace r1 {
namespace {

// The values of one column; nothing of an answer that is an error.
std::vector<std::string> column(const std::string& answer, const char* name) {
  std::vector<std::string> values;
  const auto json = ordered_json_or_null(answer);
  if (!json.is_object() || !json.contains("rows")) return values;
  for (const auto& row : json["rows"])
    if (row.contains(name) && row[name].is_string()) values.push_back(row[name].get<std::string>());
  return values;
}

// The words of lists "a, b", each once.
std::vector<std::string> separate(const std::vector<std::string>& lists) {
  std::set<std::string> words;
  for (const std::string& list : lists)
    for (size_t at = 0; at < list.size(); at = list.find_first_not_of(", ", std::min(list.size(), list.find(',', at))))
      words.insert(list.substr(at, list.find(',', at) - at));
  return {words.begin(), words.end()};
}

}  // namespace

std::vector<std::string> shell_completions(const std::string& line, const std::function<std::string(const std::string&)>& ask) {
  std::vector<std::string> words;
  std::istringstream in(line);
  for (std::string word; in >> word;) words.push_back(word);
  const bool new_word = line.empty() || line.back() == ' ' || line.back() == '\t';
  const size_t at = words.size() - (new_word ? 0 : 1);  // which word is being typed
  const auto commands = [&] {
    std::vector<std::string> names = {"quit"};
    for (const std::string& usage : column(ask("help"), "command")) names.push_back(usage.substr(0, usage.find(' ')));
    return names;
  };
  if (at == 0) return commands();
  const std::string& command = words[0];
  if (at == 1 && command == "help") return commands();
  if (at == 1 && (command == "inspect" || command == "kill")) return column(ask("ps"), "actor");
  if (at == 1 && command == "set") return column(ask("live"), "attribute");
  if (at == 1 && (command == "drain" || command == "undrain")) return column(ask("nodes"), "node");
  if (at == 1 && command == "scale") return separate(column(ask("nodes"), "roles"));
  if (at == 1) {
    for (const char* takes : {"metrics", "versions", "traj", "checkpoint"})
      if (command == takes) return column(ask("stages"), "stage");
  }
  if (at == 2 && command == "metrics") return column(ask("metrics " + words[1]), "metric");
  if (at == 2 && command == "traj") return {"last", "first", "best", "worst", "reason="};
  return {};
}

}  // namespace r1
