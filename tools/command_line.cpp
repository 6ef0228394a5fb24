#include "tools/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/error.h"
#include "base/say.h"
#include "tools/program_version.h"

namespace r1 {

namespace {

// With the options of the commands that were given.
void collect_options(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  for (const CLI::App* command : app.get_subcommands()) collect_options(*command, names);
}

std::string unknown(const char* what, const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  return fmt::format("unknown {} '{}'{}", what, word, near.empty() ? "" : fmt::format(": did you mean {}?", near));
}

// What is said of words that belong to nothing: of the first option, if there is one, because words behind it may be its value.
std::string complaint(const CLI::App& app, const std::vector<std::string>& left) {
  const auto option = std::find_if(left.begin(), left.end(), [](const std::string& s) { return s.size() > 1 && s[0] == '-'; });
  std::vector<std::string> known;
  if (option != left.end()) {
    collect_options(app, known);
    return unknown("option", option->substr(0, option->find('=')), known);
  }
  if (app.get_subcommands().empty())
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(command->get_name());
  if (!known.empty()) return unknown("command", left[0], known);
  return fmt::format("'{}' is one argument too many", left[0]);
}

// The first argument that was given as '', of the commands that were given; none: empty. It is a variable that is not set
// (--run "$DIR"), and would be taken for one that was not given.
std::string given_empty(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::vector<std::string>& given = option->results();
    if (std::find(given.begin(), given.end(), "") != given.end()) return option->get_name();
  }
  for (const CLI::App* command : app.get_subcommands())
    if (std::string name = given_empty(*command); !name.empty()) return name;
  return {};
}

}  // namespace

void add_common_flags(CLI::App& app, const char* examples) {
  app.footer(examples);
  app.set_version_flag("--version", program_version(app.get_name()));
}

namespace {

CLI::Validator number_in(double low, double high, bool or_zero) {
  const std::string range = fmt::format("{:g} to {:g}", low, high), zero = or_zero ? "0 or " : "";
  const auto check = [=](const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = error == std::errc() && end == text.data() + text.size();
    const bool good = read && ((value >= low && value <= high) || (or_zero && value == 0));
    return good ? std::string() : fmt::format("'{}' is not {}a number from {}", text, zero, range);
  };
  return CLI::Validator(check, zero + range);
}

}  // namespace

CLI::Validator number_from(double low, double high) { return number_in(low, high, false); }
CLI::Validator zero_or_number_from(double low, double high) { return number_in(low, high, true); }

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    const std::string empty = given_empty(app);
    if (empty.empty()) return std::nullopt;
    say("{}: {}: '' is no value\nRun with --help for more information.\n", app.get_name(), empty);
    return static_cast<int>(ExitCode::bad_input);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    // A misspelt option is also one that is missing: what is not understood is said first.
    const std::vector<std::string> left = app.remaining(true);
    say("{}: {}\nRun with --help for more information.\n", app.get_name(), left.empty() ? e.what() : complaint(app, left));
    return static_cast<int>(ExitCode::bad_input);
  }
}

}  // namespace r1
