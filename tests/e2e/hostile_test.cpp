// Inputs made to crash, hang or exhaust: each is refused in bounded time and memory, with one message of bounded length (P10).
#include <sys/resource.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string repeated(int n, const std::string& text) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}
std::string deep(int n) { return std::string(n, '[') + std::string(n, ']'); }

struct HostileTest : BadInputTest {
  // The program refuses `text` within seconds and a quarter of a gigabyte (of all children of this process so far).
  void expect_hostile(const std::string& text, const std::vector<std::string>& words) {
    write_text(top / "g.graph", text);
    expect_hostile_file(top / "g.graph", words);
  }
  void expect_hostile_file(const fs::path& graph, const std::vector<std::string>& words) {
    Program program({graph.string(), "--check"});
    ASSERT_TRUE(program.wait(60)) << "hangs";
    const ProgramResult r = program.result();
    EXPECT_EQ(r.code, 2) << r.err.substr(0, 1000);
    EXPECT_LT(r.err.size(), 2000u);
    for (const auto& word : words)
      EXPECT_NE(r.err.find(word), std::string::npos) << "expected '" << word << "' in: " << r.err.substr(0, 1000);
    struct rusage usage {};
    ::getrusage(RUSAGE_CHILDREN, &usage);
    EXPECT_LT(usage.ru_maxrss, 256 * 1024) << "KiB";
  }
  void expect_hostile_config(const std::string& key, const std::string& value, const std::vector<std::string>& words) {
    std::string config = read_file(top / "nano.json");
    const size_t at = config.find("\"" + key + "\":"), end = config.find_first_of(",}", at);
    config.replace(at, end - at, "\"" + key + "\": " + value);
    write_text(top / "bad.json", config);
    expect_hostile(graph_on("config=\"bad.json\", tokenizer=tiny"), words);
  }
  void expect_hostile_tokenizer(const std::string& text, const std::vector<std::string>& words) {
    write_text(top / "tok.json", text);
    expect_hostile(graph_on("config=\"nano.json\", tokenizer=\"tok.json\""), words);
  }
};

TEST_F(HostileTest, configs) {
  expect_hostile_config("vocab_size", deep(200'000), {"g.graph:2:", "bad.json:", "nested more than 64 deep"});
  expect_hostile_config("rms_norm_eps", "1e400", {"bad.json:", "the number 1e400 is out of range"});
  expect_hostile_config("num_hidden_layers", "2147483647",
                        {"bad.json", "\"num_hidden_layers\" is 2147483647, expected 1 to 1024"});
  expect_hostile_config("max_position_embeddings", "2147483647", {"bad.json", "expected 1 to 16777216"});
  expect_hostile_config("intermediate_size", "1048577", {"bad.json", "expected 1 to 1048576"});
}

TEST_F(HostileTest, tokenizers) {
  expect_hostile_tokenizer(R"({"added_tokens":[{"content":"<x>","id":)" + deep(200'000) + "}]}",
                           {"tok.json:1:", "nested more"});
  expect_hostile_tokenizer(R"({"version": 1e400})", {"tok.json:1:13", "out of range"});
  expect_hostile_tokenizer(
      R"({"normalizer":)" + repeated(20'000, R"({"type":"Sequence","normalizers":[)") + repeated(20'000, "]}") + "}",
      {"tok.json:1:", "nested more"});
  expect_hostile_tokenizer(R"({"model":{"type":"BPE","vocab":{"a":0,"b":49999999},"merges":[]}})", {"tok.json", "49999999"});
}

TEST_F(HostileTest, graphs) {
  expect_hostile(minimal(", batch=9223372036854775807"), {"g.graph:5:", "batch must be from 1 to 1048576"});
  expect_hostile(minimal(", " + std::string(3'000'000, 'b') + "=1"), {"g.graph:5:", "bbb...", "longer than 255 bytes"});
  expect_hostile(minimal(", \"" + std::string(60'000, 'b') + "\"=1"), {"g.graph:5:", "too long a name"});
  expect_hostile(minimal(", until=\"" + repeated(1'000'000, "(")), {"g.graph:5:", "longer than 65536 bytes"});
  expect_hostile(minimal("", repeated(50'000, "n [role=prompter];\n")), {"g.graph:", "lies outside every stage"});
  expect_hostile(minimal("", repeated(250'000, "n [role=prompter];\n")), {"g.graph:", "at most 200000 statements"});
  expect_hostile(minimal("", "t" + repeated(250'000, " -> p") + ";\n"), {"g.graph:", "at most 200000 statements"});
  expect_hostile(minimal("", repeated(300, "node [lr=1];\n")), {"g.graph:", "more than 256 defaults"});
  expect_hostile(minimal("", "n [" + repeated(1000, "a=1 ") + "];\n"), {"g.graph:9:"});
  expect_hostile(minimal("", "n [label=\"" + std::string(60'000, 'x') + "\"" +
                                 repeated(50, "+ \"" + std::string(60'000, 'x') + "\"") + "];"),
                 {"g.graph:9:", "'label' is longer than 65536 bytes"});
}

TEST_F(HostileTest, reward_expressions) {
  const auto with_rewards = [](const std::string& rewards) {
    return R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_a {
    p [role=prompter, source="tiny:reasoning", count=4];
    g [role=generator, samples=2];
    j [role=judge, rewards=")__" +
           rewards + R"__("];
    f [role=filter];
    p -> g -> j -> f;
  }
  m -> g;
}
)__";
  };
  expect_hostile(with_rewards(repeated(30'000, "1+") + "1"), {"g.graph:6:", "more than 2000 numbers"});
  expect_hostile(with_rewards(repeated(30'000, "(") + "1"), {"g.graph:6:", "nested too deeply"});
  expect_hostile(with_rewards("1e400"), {"g.graph:6:", "out of range"});
  expect_hostile(with_rewards(std::string(60'000, 'a')), {"g.graph:6:", "too long a name"});
}

TEST_F(HostileTest, files_that_never_end) {
  ::mkfifo((top / "fifo").c_str(), 0600);
  expect_hostile_file("/dev/zero", {"/dev/zero", "not a regular file"});
  expect_hostile_file(top / "fifo", {"fifo", "not a regular file"});
  for (const std::string& file : {std::string("/dev/zero"), (top / "fifo").string()}) {
    expect_hostile(graph_on("config=\"" + file + "\", tokenizer=tiny"), {file, "not a regular file"});
    expect_hostile(graph_on("config=\"nano.json\", tokenizer=\"" + file + "\""), {file});
  }
}

}  // namespace
}  // namespace r1
