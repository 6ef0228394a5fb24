#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "tools/report/graph_picture.h"

namespace r1::report {

namespace {

namespace fs = std::filesystem;

constexpr double kDotLimit_s = 10;

// A directory that goes with the object.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (fs::temp_directory_path() / "r1_report_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw failure("no temporary directory can be made", {pattern});
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// True when the program ran, ended by itself in time and with status 0.
bool run_quietly(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return false;
  const SystemClock clock;
  const double deadline = clock.now_s() + kDotLimit_s;
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(child, &status, WNOHANG)) == 0) {
    if (clock.now_s() > deadline) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
}

// Removes every `begin`...`end`.
void remove_all(std::string& text, const std::string& begin, const std::string& end) {
  for (size_t at = 0; (at = text.find(begin, at)) != std::string::npos;) {
    const size_t stop = text.find(end, at + begin.size());
    if (stop == std::string::npos) return;
    text.erase(at, stop + end.size() - at);
  }
}

}  // namespace

std::string adapted_svg(const std::string& svg) {
  const size_t begin = svg.find("<svg"), end = svg.rfind("</svg>");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  std::string out = svg.substr(begin, end + 6 - begin);
  remove_all(out, "<!--", "-->");
  remove_all(out, " font-family=\"", "\"");
  remove_all(out, " id=\"", "\"");  // several pictures share a page
  // The colours of graph_dot(annotate) and dot's defaults, each a variable of the page.
  static constexpr std::array<std::pair<const char*, const char*>, 17> kColours = {{{"\"#dbe9f6\"", "var(--role-1)"},
                                                                                    {"\"#d5efcf\"", "var(--role-2)"},
                                                                                    {"\"#fde5c8\"", "var(--role-3)"},
                                                                                    {"\"#e6dcf1\"", "var(--role-4)"},
                                                                                    {"\"#e4e4e4\"", "var(--role-5)"},
                                                                                    {"\"#fbd3d0\"", "var(--role-6)"},
                                                                                    {"\"#d0efec\"", "var(--role-7)"},
                                                                                    {"\"#fff3bf\"", "var(--role-8)"},
                                                                                    {"\"#ffffff\"", "var(--card)"},
                                                                                    {"\"white\"", "none"},
                                                                                    {"\"#fafafa\"", "var(--soft)"},
                                                                                    {"\"#555555\"", "var(--muted)"},
                                                                                    {"\"#999999\"", "var(--line)"},
                                                                                    {"\"#c0392b\"", "var(--red)"},
                                                                                    {"\"black\"", "currentColor"},
                                                                                    {"\"none\"", "none"},
                                                                                    {"\"transparent\"", "none"}}};
  // var() works in style, not in presentation attributes; one element has at most one of each.
  for (const auto& [from, to] : kColours) {
    replace_all(out, std::string(" fill=") + from, fmt::format(" style=\"fill:{}\"", to));
    replace_all(out, std::string(" stroke=") + from, fmt::format(" style=\"stroke:{}\"", to));
  }
  for (size_t at = 0; (at = out.find("\" style=\"stroke:", at)) != std::string::npos; ++at) {
    // fill and stroke stand side by side on shapes: two style attributes become one.
    const size_t fill = out.rfind(" style=\"fill:", at);
    if (fill == std::string::npos || out.find('"', fill + 8) != at) continue;
    out.replace(at, std::string("\" style=\"").size(), ";");
  }
  replace_all(out, "<svg ", "<svg class=\"actors-picture\" ");
  return out;
}

std::string actor_picture(const GraphView& graph, const RoleRegistry& registry, const std::string& dot) {
  try {
    const ScratchDirectory scratch;
    const fs::path source = scratch.path() / "graph.dot", picture = scratch.path() / "graph.svg";
    write_file_atomically(source, graph_dot(graph, registry, /*annotate=*/true));
    if (!run_quietly({dot, "-Tsvg", "-o", picture.string(), source.string()})) return "";
    return adapted_svg(read_file(picture));
  } catch (const Error&) {
    return "";  // a report never fails for want of a picture
  }
}

}  // namespace r1::report
