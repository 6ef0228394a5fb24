#include "tools/dashboard/http_request.h"

#include <algorithm>
#include <utility>

namespace r1::dashboard {

namespace {

constexpr size_t kMostHeaders = 64, kMostArguments = 32;

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kOthers.find(c) != kOthers.npos;
  });
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= ' ' && c != 0x7f) || c == '\t'; });
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

int digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// False for a '%' that no two digits follow.
bool decode(std::string_view text, std::string& to) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      to += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return false;
    to += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
    i += 2;
  }
  return true;
}

bool read_query(std::string_view text, HttpRequest& to) {
  size_t arguments = 0;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    if (pair.empty()) continue;
    if (++arguments > kMostArguments) return false;
    const size_t equals = std::min(pair.find('='), pair.size());
    std::string name, value;
    if (!decode(pair.substr(0, equals), name) || !decode(pair.substr(std::min(pair.size(), equals + 1)), value)) return false;
    to.query.emplace(std::move(name), std::move(value));
  }
  return true;
}

const std::string kNone;

}  // namespace

const std::string& HttpRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? kNone : found->second;
}

const std::string& HttpRequest::argument(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? kNone : found->second;
}

size_t end_of_head(std::string_view text, size_t from) {
  for (size_t end = text.find('\n', from); end != text.npos; end = text.find('\n', end + 1)) {
    const std::string_view next = text.substr(end + 1, 2);
    if (next.starts_with('\n')) return end + 2;
    if (next == "\r\n") return end + 3;
  }
  return text.npos;
}

std::optional<int> HttpRequestReader::take(std::string_view bytes, HttpRequest& to) {
  const size_t seen = head_.size(), room = most_bytes_ - seen;
  head_ += bytes.substr(0, room);
  // The end may have begun in what came before.
  const size_t end = end_of_head(head_, seen - std::min<size_t>(seen, 2));
  if (end == std::string::npos && bytes.size() <= room) return std::nullopt;
  const std::string head = std::exchange(head_, {});
  return end == std::string::npos ? 431 : parse_http_request(std::string_view(head).substr(0, end), to);
}

int parse_http_request(std::string_view head, HttpRequest& to) {
  const auto line = [&head] {
    const size_t end = std::min(head.find('\n'), head.size());
    std::string_view text = head.substr(0, end);
    head.remove_prefix(std::min(head.size(), end + 1));
    if (text.ends_with('\r')) text.remove_suffix(1);
    return text;
  };
  const std::string_view first = line();
  const size_t method_end = first.find(' '), target_end = first.rfind(' ');
  if (method_end == first.npos || target_end <= method_end || !is_visible(first)) return 400;
  const std::string_view method = first.substr(0, method_end), version = first.substr(target_end + 1);
  std::string_view target = first.substr(method_end + 1, target_end - method_end - 1);
  if (!is_token(method)) return 400;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return version.starts_with("HTTP/") ? 505 : 400;
  if (method != "GET" && method != "HEAD") return 405;
  to.head_only = method == "HEAD";
  if (!target.starts_with('/') || target.find_first_of(" \t#") != target.npos) return 400;
  const size_t question = std::min(target.find('?'), target.size());
  to.path = target.substr(0, question);
  if (!read_query(target.substr(std::min(target.size(), question + 1)), to)) return 400;
  size_t headers = 0;
  for (std::string_view text = line(); !text.empty(); text = line()) {
    const size_t colon = text.find(':');
    if (colon == text.npos || !is_token(text.substr(0, colon)) || !is_visible(text)) return 400;
    if (++headers > kMostHeaders) return 400;
    std::string name(text.substr(0, colon));
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool added = to.headers.emplace(name, trimmed(text.substr(colon + 1))).second;
    if (!added && name == "host") return 400;
  }
  return to.header("host").empty() ? 400 : 0;
}

const char* http_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

}  // namespace r1::dashboard
