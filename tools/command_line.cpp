#include "tools/command_line.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "base/say.h"
#include "tools/program_version.h"

namespace r1 {

void add_common_flags(CLI::App& app, const char* examples) {
  app.footer(examples);
  app.set_version_flag("--version", program_version(app.get_name()));
}

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    say("{}: {}\nRun with --help for more information.\n", app.get_name(), e.what());
    return static_cast<int>(ExitCode::bad_input);
  }
}

}  // namespace r1
