#include "tasks/tiny/vocabulary.h"

#include <unordered_map>

#include "base/error.h"

namespace r1::tiny {

namespace {

constexpr const char* kSpecials[] = {"<pad>",   "<bos>",    "<eos>",    "<user>",   "<asst>",
                                     "<think>", "</think>", "<answer>", "</answer>"};
constexpr const char* kShared[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "+",
                                   "-", ".", ":", "a", "b", "c", "d", "e", "f", "g", "h"};
constexpr const char* kDigits[] = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
constexpr const char* kWords[][2] = {
    {"zero", "零"},     {"one", "一"},      {"two", "二"},      {"three", "三"},     {"four", "四"},      {"five", "五"},
    {"six", "六"},      {"seven", "七"},    {"eight", "八"},    {"nine", "九"},      {"compute", "计算"}, {"plus", "加"},
    {"minus", "减"},    {"is", "得"},       {"carry", "进"},    {"borrow", "借"},    {"check", "检查"},   {"ok", "对"},
    {"wait", "等等"},   {"so", "所以"},     {"repeat", "重复"}, {"reverse", "反转"}, {"sort", "排序"},    {"color", "颜色"},
    {"sky", "天空"},    {"grass", "草地"},  {"snow", "雪"},     {"coal", "煤"},      {"sun", "太阳"},     {"rose", "玫瑰"},
    {"blue", "蓝"},     {"green", "绿"},    {"white", "白"},    {"black", "黑"},     {"yellow", "黄"},    {"red", "红"},
    {"secret", "密码"}, {"bank", "银行"},   {"house", "房子"},  {"safe", "保险箱"},  {"car", "汽车"},     {"sure", "好的"},
    {"sorry", "抱歉"},  {"cannot", "不能"}, {"first", "先"},    {"last", "后"},      {"unsafe", "危险"},  {"welcome", "不客气"},
    {"know", "知道"},   {"task", "任务"},   {"find", "寻找"},   {"try", "试"},       {"need", "要"}};

struct Tables {
  std::vector<std::string> vocabulary;
  std::unordered_map<std::string_view, std::string> words[2];
  Tables() {
    for (const char* s : kSpecials) vocabulary.emplace_back(s);
    for (const char* s : kShared) {
      vocabulary.emplace_back(s);
      for (auto& map : words) map[s] = s;
    }
    for (int lang = 0; lang < 2; ++lang) {
      for (const auto& pair : kWords) {
        vocabulary.emplace_back(pair[lang]);
        words[lang][pair[0]] = pair[lang];
      }
    }
  }
};

const Tables& tables() {
  static const Tables t;
  return t;
}

}  // namespace

const std::vector<std::string>& vocabulary() { return tables().vocabulary; }

const std::string& say(std::string_view english, Lang lang) {
  const auto& words = tables().words[lang == Lang::en ? 0 : 1];
  const auto it = words.find(english);
  R1_CHECK(it != words.end(), std::string(english));
  return it->second;
}

const std::string& digit_word(int digit, Lang lang) {
  R1_CHECK(digit >= 0 && digit <= 9, std::to_string(digit));
  return say(kDigits[digit], lang);
}

}  // namespace r1::tiny
