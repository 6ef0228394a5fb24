// The fixture of the tables of bad inputs (P10): a graph is refused by exit code 2 and one clear line, before anything starts.
#pragma once

#include <algorithm>
#include <fstream>
#include <functional>
#include <ostream>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {

// A graph of one stage on `model`, the attributes of a node [kind=model]. `trainer`: more attributes of the trainer on line 5;
// `more`: statements from line 9 on.
inline std::string graph_on(const std::string& model, const std::string& trainer = "", const std::string& more = "") {
  return "digraph g {\n  m [kind=model, " + model + R"__(];
  subgraph cluster_a {
    p [role=prompter, source="tiny:pretrain"];
    t [role=trainer, objective=pretrain, until="batches(2)")__" +
         trainer + R"__(];
    p -> t;
  }
  m -> t;
)__" + more +
         "}\n";
}
inline std::string minimal(const std::string& trainer = "", const std::string& more = "") {
  return graph_on("config=\"nano.json\", tokenizer=tiny", trainer, more);
}

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

struct BadInputTest : ProgramTest {
  void SetUp() override {
    ProgramTest::SetUp();
    std::filesystem::copy_file(source_dir() / "tests/e2e/graphs/nano.json", top / "nano.json");
  }

  // A refusal: exit code 2, one line (`lines` of them where a difference is listed) that says each of `words`.
  static void expect_refusal(const ProgramResult& r, const std::vector<std::string>& words, int64_t lines = 1) {
    EXPECT_EQ(r.code, 2) << r.err << r.out;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), lines) << r.err;
    for (const auto& word : words) EXPECT_NE(r.err.find(word), std::string::npos) << "expected '" << word << "' in: " << r.err;
    if (std::getenv("R1_SHOW_MESSAGES") != nullptr) std::fputs(r.err.c_str(), stderr);
  }

  // Runs `text` as a graph file and expects a refusal that says each of `words`.
  void expect_refused(const std::string& text, const std::vector<std::string>& words, std::vector<std::string> arguments = {}) {
    SCOPED_TRACE(text);
    write_text(top / "g.graph", text);
    arguments.insert(arguments.begin(), (top / "g.graph").string());
    if (std::find(arguments.begin(), arguments.end(), "--run") == arguments.end())
      arguments.insert(arguments.end(), {"--run", (top / "run").string()});
    expect_refusal(run_program(arguments), words);
    EXPECT_FALSE(std::filesystem::exists(top / "run" / "run.db")) << "something was started";
  }
};

// One row of a table: what is done to good files in a directory, and what the refusal has to say.
struct BadCase {
  const char* name;
  std::function<void(const std::filesystem::path&)> spoil;
  std::vector<std::string> words;
};
inline void PrintTo(const BadCase& c, std::ostream* out) { *out << c.name; }
inline std::string case_name(const ::testing::TestParamInfo<BadCase>& info) { return info.param.name; }

}  // namespace r1
