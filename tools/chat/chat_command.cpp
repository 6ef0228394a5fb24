#include "tools/chat/chat_command.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace r1 {

namespace {

constexpr const char* kHelp = R"(/temperature X   of sampling, 0 to 100; 0 takes the likeliest token each time
/top_p X         share of the probability that is sampled from, up to 1
/max_tokens N    longest reply
/system TEXT     what the model is told in front of it all; without TEXT: nothing. Begins a new conversation
/reset           begins a new conversation
/settings        what is set
/help            this
/quit            the end; so does Ctrl-D
Ctrl-C stops a reply. A line that ends with \ goes on in the next one; //x says "/x".
)";

double number_between(const std::string& name, const std::string& text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < least || value > most)
    throw bad_input(fmt::format("/{} takes a number from {:g} to {:g}, not '{}'", name, least, most, text));
  return value;
}

double temperature_of(const std::string& name, const std::string& text) {
  const double value = number_between(name, text, 0, kMostTemperature);
  return value == 0 ? value : number_between(name, text, kLeastTemperature, kMostTemperature);
}

std::string shown(const ChatSettings& s) {
  return fmt::format("temperature {:g}, top_p {:g}, max_tokens {}", s.temperature, s.top_p, s.max_tokens);
}

const std::vector<std::string> kNames = {"temperature", "top_p", "max_tokens", "system", "reset", "settings", "help", "quit"};

}  // namespace

ChatCommand parse_chat_line(const std::string& line, ChatSettings& settings) {
  using Kind = ChatCommand::Kind;
  if (!line.starts_with("/")) return {Kind::say, line};
  if (line.starts_with("//")) return {Kind::say, line.substr(1)};
  const size_t space = std::min(line.find(' '), line.size());
  const std::string name = line.substr(1, space - 1);
  std::string rest = line.substr(std::min(line.find_first_not_of(' ', space), line.size()));
  while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\r')) rest.pop_back();
  if (name == "temperature") {
    settings.temperature = temperature_of(name, rest);
  } else if (name == "top_p") {
    settings.top_p = number_between(name, rest, kLeastTopP, 1);
  } else if (name == "max_tokens") {
    settings.max_tokens = static_cast<int64_t>(number_between(name, rest, 1, 16777216));
  } else if (name == "system") {
    return {Kind::system, rest};
  } else if (name == "reset") {
    return {Kind::reset, ""};
  } else if (name == "help") {
    return {Kind::help, kHelp};
  } else if (name == "quit" || name == "exit") {
    return {Kind::quit, ""};
  } else if (name != "settings") {
    const std::string near = nearest(name, kNames);
    throw bad_input("there is no command /" + name, {}, near.empty() ? "/help lists them" : "did you mean /" + near + "?");
  }
  return {Kind::settings, shown(settings)};
}

}  // namespace r1
