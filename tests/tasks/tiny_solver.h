// An independent reading of tiny-world prompts for tests: takes the words of a prompt and works out the accepted answers.
#pragma once

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace r1::tiny {

inline std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string w; in >> w;) out.push_back(w);
  return out;
}

inline std::string replaced(std::string s, const std::string& from, const std::string& to) {
  for (size_t at = s.find(from); at != std::string::npos; at = s.find(from, at + to.size())) s.replace(at, from.size(), to);
  return s;
}

struct Solved {
  std::string kind;                  // the task word, in English
  std::string language;              // en or zh
  std::vector<std::string> items;    // the prompt's other words, in English
  std::vector<std::string> answers;  // accepted; empty for a secret
  std::string canonical;             // the same for both languages
};

// `prompt`: "<bos><user> ...<asst>".
inline Solved solve(const std::string& prompt) {
  static const std::map<std::string, std::string> english = {
      {"计算", "compute"}, {"寻找", "find"}, {"重复", "repeat"}, {"反转", "reverse"}, {"排序", "sort"}, {"颜色", "color"},
      {"密码", "secret"},  {"天空", "sky"},  {"草地", "grass"},  {"雪", "snow"},      {"煤", "coal"},   {"太阳", "sun"},
      {"玫瑰", "rose"},    {"银行", "bank"}, {"房子", "house"},  {"保险箱", "safe"},  {"汽车", "car"}};
  static const std::map<std::string, std::pair<std::string, std::string>> colors = {
      {"sky", {"blue", "蓝"}},   {"grass", {"green", "绿"}}, {"snow", {"white", "白"}},
      {"coal", {"black", "黑"}}, {"sun", {"yellow", "黄"}},  {"rose", {"red", "红"}}};
  Solved s;
  std::string inner = replaced(replaced(replaced(prompt, "<bos>", ""), "<user>", ""), "<asst>", "");
  auto words = split_words(inner);
  s.language = english.count(words.at(0)) ? "zh" : "en";
  for (std::string& w : words)
    if (const auto it = english.find(w); it != english.end()) w = it->second;
  s.kind = words[0];
  s.items.assign(words.begin() + 1, words.end());
  for (const std::string& w : words) s.canonical += w + " ";
  const auto joined = [](const std::vector<std::string>& list) {
    std::string out;
    for (const std::string& w : list) out += (out.empty() ? "" : " ") + w;
    return out;
  };
  const auto spaced = [](long n) {
    std::string out;
    for (const char c : std::to_string(n)) out += (out.empty() ? "" : " ") + std::string(1, c);
    return out;
  };
  std::vector<std::string> items = s.items;
  if (s.kind == "compute") {
    const std::string flat = replaced(joined(items), " ", "");
    const size_t op = flat.find_first_of("+-");
    const long a = std::stol(flat.substr(0, op)), b = std::stol(flat.substr(op + 1));
    s.answers = {spaced(flat[op] == '+' ? a + b : a - b)};
  } else if (s.kind == "find") {
    const auto colon = std::find(items.begin(), items.end(), ":");
    const long target = std::stol(joined({items.begin(), colon}).size() == 1 ? items[0] : items[0] + items[1]);
    for (auto x = colon + 1; x != items.end(); ++x)
      for (auto y = colon + 1; y != items.end(); ++y)
        if (x != y && std::stol(*x) + std::stol(*y) == target) s.answers.push_back(*x + " " + *y);
  } else if (s.kind == "color") {
    for (std::string& w : items) w = s.language == "en" ? colors.at(w).first : colors.at(w).second;
    s.answers = {joined(items)};
  } else if (s.kind != "secret") {
    if (s.kind == "reverse") std::reverse(items.begin(), items.end());
    if (s.kind == "sort") std::sort(items.begin(), items.end());
    s.answers = {joined(items)};
  }
  return s;
}

}  // namespace r1::tiny
