#include "rewards/response.h"

namespace r1 {

namespace {

constexpr std::string_view kThink = "<think>", kEndThink = "</think>", kAnswer = "<answer>", kEndAnswer = "</answer>";

// The end-of-sequence tokens of the built-in world, DeepSeek, Qwen and Llama.
constexpr std::string_view kEndTokens[] = {
    "<eos>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

int count_of(std::string_view text, std::string_view part) {
  int n = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

std::string_view strip_end_token(std::string_view text) {
  const std::string_view trimmed = trim(text);
  for (const std::string_view end : kEndTokens)
    if (trimmed.ends_with(end)) return trim(trimmed.substr(0, trimmed.size() - end.size()));
  return trimmed;
}

ResponseParts parse_response(std::string_view prompt, std::string_view response) {
  ResponseParts parts;
  const std::string_view body = strip_end_token(response);
  const bool opened = trim(prompt).ends_with(kThink);

  size_t begin = 0;
  const size_t open = body.find(kThink);
  if (!opened) begin = open == std::string_view::npos ? std::string_view::npos : open + kThink.size();
  if (begin != std::string_view::npos) {
    size_t end = body.find(kEndThink, begin);
    if (end == std::string_view::npos) end = body.find(kAnswer, begin);
    parts.thought = trim(body.substr(begin, end == std::string_view::npos ? end : end - begin));
  }
  const bool one_answer = count_of(body, kAnswer) == 1 && count_of(body, kEndAnswer) == 1;
  const size_t answer = body.find(kAnswer), end_answer = body.find(kEndAnswer);
  if (one_answer && answer < end_answer)
    parts.answer = trim(body.substr(answer + kAnswer.size(), end_answer - answer - kAnswer.size()));

  const size_t end_think = body.find(kEndThink);
  parts.exact_tags = one_answer && count_of(body, kEndThink) == 1 && count_of(body, kThink) == (opened ? 0 : 1) &&
                     (opened || open == 0) && end_think < answer && answer < end_answer &&
                     trim(body.substr(end_think + kEndThink.size(), answer - end_think - kEndThink.size())).empty() &&
                     end_answer + kEndAnswer.size() == body.size();
  return parts;
}

std::string final_answer(std::string_view response) {
  const ResponseParts parts = parse_response({}, response);
  if (!parts.answer.empty()) return std::string(parts.answer);
  const std::string_view body = strip_end_token(response);
  const size_t end_think = body.rfind(kEndThink);
  return std::string(end_think == std::string_view::npos ? body : trim(body.substr(end_think + kEndThink.size())));
}

std::string without_thought(std::string_view response) {
  const size_t end_think = response.rfind(kEndThink);
  if (end_think != std::string_view::npos) return std::string(response.substr(end_think + kEndThink.size()));
  const size_t answer = response.find(kAnswer);
  return std::string(answer == std::string_view::npos ? response : response.substr(answer));
}

std::string normalize_space(std::string_view text) {
  std::string out;
  for (const char c : trim(text)) {
    if (!is_space(c))
      out += c;
    else if (out.back() != ' ')
      out += ' ';
  }
  return out;
}

std::vector<std::string> split_answers(std::string_view answers) {
  std::vector<std::string> out(1);
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i] == '\\' && i + 1 < answers.size() && answers[i + 1] == '|') {
      out.back() += '|';
      ++i;
    } else if (answers[i] == '|') {
      out.emplace_back();
    } else {
      out.back() += answers[i];
    }
  }
  std::erase(out, std::string());
  return out;
}

}  // namespace r1
