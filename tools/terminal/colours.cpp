#include "tools/terminal/colours.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace r1::terminal {

bool shows_colours(int descriptor) {
  const char *const unwanted = std::getenv("NO_COLOR"), *const kind = std::getenv("TERM");
  return ::isatty(descriptor) == 1 && (unwanted == nullptr || *unwanted == '\0') &&
         (kind == nullptr || std::string_view(kind) != "dumb");
}

}  // namespace r1::terminal
