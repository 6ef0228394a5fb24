#include "rewards/call.h"

#include <charconv>

#include "rewards/response.h"

namespace r1 {

std::optional<Call> parse_call(std::string_view text) {
  Call call;
  const size_t open = text.find('(');
  if (open == std::string_view::npos || !text.ends_with(')')) return std::nullopt;
  call.name = trim(text.substr(0, open));
  std::string_view rest = trim(text.substr(open + 1, text.size() - open - 2));
  while (!rest.empty()) {
    if (rest.front() == '\'' || rest.front() == '"') {
      const size_t end = rest.find(rest.front(), 1);
      if (end == std::string_view::npos) return std::nullopt;
      call.arguments.emplace_back(std::string(rest.substr(1, end - 1)));
      rest.remove_prefix(end + 1);
    } else {
      double value = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
      if (error != std::errc()) return std::nullopt;
      call.arguments.emplace_back(value);
      rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    }
    rest = trim(rest);
    if (rest.empty()) break;
    if (rest.front() != ',') return std::nullopt;
    rest = trim(rest.substr(1));
    if (rest.empty()) return std::nullopt;
  }
  return call;
}

}  // namespace r1
