// What the tree says about itself is there: every file that a comment, a document or a message names, every section of a
// document.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "tests/source_dir.h"

namespace {

namespace fs = std::filesystem;

const std::set<std::string> kFolders = {"base",  "kernels", "models", "rewards", "tasks", "runtime", "actors",
                                        "tools", "tests",   "docs",   "graphs",  "cmake", "python",  ".ci"};

// Tests whose inputs are names of files that need not be there.
const std::set<std::string> kMadeUp = {"reference_test.cpp", "include_rule_test.cpp"};

// What `text` names and `exists` does not know; sections are looked for by `has_section`.
template <class Exists, class HasSection>
std::vector<std::string> dangling(const std::string& text, Exists exists, HasSection has_section) {
  // Not preceded by a character of a longer path: runs/graphs/x.graph is not ours.
  static const std::regex path(
      R"((^|[^A-Za-z0-9_./\-<>}])((base|kernels|models|rewards|tasks|runtime|actors|tools|tests|docs|graphs|cmake|python|\.ci)/[A-Za-z0-9_./\-]*\.(h|cpp|cu|inc|md|graph|json|py|txt|cmake|svg|supp))(?![A-Za-z0-9_*{]))");
  static const std::regex section(R"((docs/[a-z_]+\.md),? sections? ([0-9]+))");
  static const std::regex outside(R"(\bDESIGN\b|\bfacts [A-E][0-9]?\b|[a-z0-9_]+_facts\.md|tiny_world\.md)");
  std::vector<std::string> found;
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const auto report = [&](const std::string& what) { found.push_back(std::to_string(number) + ": " + what); };
    for (std::sregex_iterator m(line.begin(), line.end(), path), end; m != end; ++m)
      if (!exists((*m)[2])) report((*m)[2].str() + " does not exist");
    for (std::sregex_iterator m(line.begin(), line.end(), section), end; m != end; ++m)
      if (!has_section((*m)[1], (*m)[2])) report((*m)[1].str() + " has no section " + (*m)[2].str());
    for (std::sregex_iterator m(line.begin(), line.end(), outside), end; m != end; ++m)
      report((*m)[0].str() + " is no document of this tree (docs/architecture.md, docs/recipe.md)");
  }
  return found;
}

bool is_text(const fs::path& path) {
  static const std::set<std::string> extensions = {".h", ".cpp", ".cu", ".md", ".txt", ".cmake", ".py", ".graph", ""};
  return extensions.count(path.extension()) > 0;
}

TEST(References, every_file_and_section_that_the_tree_names_exists) {
  const fs::path top = r1::source_dir();
  const auto has_section = [&](const std::string& document, const std::string& number) {
    return fs::exists(top / document) && r1::read_file(top / document).find("\n## " + number + ". ") != std::string::npos;
  };
  int files = 0;
  const auto look = [&](const fs::path& path) {
    if (!is_text(path) || kMadeUp.count(path.filename()) > 0) return;
    ++files;
    // A graph names its models from where it lies.
    const auto exists = [&](const std::string& name) {
      return fs::exists(top / name) || fs::exists(path.parent_path() / name);
    };
    for (const std::string& what : dangling(r1::read_file(path), exists, has_section))
      ADD_FAILURE() << fs::relative(path, top).string() << ":" << what;
  };
  for (const auto& entry : fs::directory_iterator(top)) {
    if (entry.is_regular_file()) look(entry.path());
    if (!entry.is_directory() || kFolders.count(entry.path().filename()) == 0) continue;
    for (const auto& below : fs::recursive_directory_iterator(entry.path()))
      if (below.is_regular_file()) look(below.path());
  }
  EXPECT_GT(files, 200);
}

TEST(References, the_search_finds_what_is_wrong_and_only_that) {
  const auto exists = [](const std::string& name) { return name == "base/error.h" || name == "docs/a.md"; };
  const auto has_section = [](const std::string& document, const std::string& number) {
    return document == "docs/a.md" && number == "2";
  };
  const auto count = [&](const std::string& text) { return dangling(text, exists, has_section).size(); };
  EXPECT_EQ(count("// see base/error.h, docs/a.md section 2 and runs/graphs/x.json"), 0u);
  EXPECT_EQ(count("// see base/errors.h"), 1u);
  EXPECT_EQ(count("`docs/b.md`"), 1u);
  EXPECT_EQ(count("(docs/a.md section 3)"), 1u);
  EXPECT_EQ(count("docs/a.md, section 3"), 1u);
  EXPECT_EQ(count("as DESIGN section 6 says"), 1u);
  EXPECT_EQ(count("facts C4; the facts of a prompt; facts of A"), 1u);
}

TEST(References, decisions_have_a_date_a_status_and_a_title) {
  std::istringstream in(r1::read_file(r1::source_dir() / "docs/decisions.md"));
  const std::regex form(
      R"(## 20[0-9]{2}-[01][0-9]-[0-3][0-9] · (accepted|accepted, negative result|negative result|superseded (in part )?by 20[0-9-]{8} ".+") · .+)");
  int entries = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("## ", 0) == 0) {
      ++entries;
      EXPECT_TRUE(std::regex_match(line, form)) << line;
    }
    EXPECT_NE(line.rfind("**", 0), 0u) << "an entry begins with a heading, as the top of the file says: " << line.substr(0, 80);
  }
  EXPECT_GT(entries, 40);
}

}  // namespace
