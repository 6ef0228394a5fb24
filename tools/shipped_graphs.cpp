#include "tools/shipped_graphs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace r1 {

namespace fs = std::filesystem;

fs::path find_graph(const fs::path& path, const fs::path& shipped) {
  std::error_code error;
  if (fs::exists(path, error)) return path;
  const bool by_name = path.parent_path().empty() || path.parent_path() == "graphs";
  if (by_name && fs::is_regular_file(shipped / path.filename(), error)) return (shipped / path.filename()).lexically_normal();
  std::vector<std::string> names;
  if (by_name)
    for (const auto& entry : fs::directory_iterator(shipped, error))
      if (entry.path().extension() == ".graph") names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  throw bad_input("no such graph file", {path.string()},
                  names.empty() ? "" : fmt::format("shipped graphs: {}", fmt::join(names, ", ")));
}

fs::path find_graph(const fs::path& path) {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return find_graph(path, error ? fs::path() : program.parent_path() / R1_GRAPHS_FROM_PROGRAM);
}

}  // namespace r1
