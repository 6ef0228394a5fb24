// A set of examples that would not fit: what a run holds in memory does not grow with their tokens.
#include <sys/resource.h>

#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

struct LargeSet : BadInputTest {
  void SetUp() override {
    BadInputTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (top / "cache").c_str(), 1);
  }
  // KiB of the largest program so far, with a run of an epoch's first batches over `examples` of some 2 * `words` + 10 tokens
  // each.
  long peak_with(int examples, int words = 85) {
    std::ofstream file(top / "d.jsonl");
    std::string ones;
    for (int i = 0; i < words; ++i) ones += " 1";
    for (int i = 0; i < examples; ++i)
      file << "{\"prompt\": \"compute " << i << ones << "\", \"completion\": \"" << ones << "\"}\n";
    file.close();
    write_text(top / "g.graph", R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_s {
    p [role=prompter, source="jsonl:d.jsonl?template=tiny"];
    t [role=trainer, objective=sft, epochs=1, batch=8, until="batches(2)"];
    p -> t;
  }
  m -> t;
})__");
    std::filesystem::remove_all(top / "run");
    const ProgramResult r = run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"});
    EXPECT_EQ(r.code, 0) << r.err;
    struct rusage usage {};
    ::getrusage(RUSAGE_CHILDREN, &usage);
    return usage.ru_maxrss;
  }
};

TEST_F(LargeSet, of_200000_examples_takes_an_index_of_memory_and_not_their_tokens) {
  const long small = peak_with(1'000), large = peak_with(200'000);
  EXPECT_LT(large - small, 40 * 1024) << "KiB; the tokens alone are 180 MiB";
}

TEST_F(LargeSet, of_a_million_examples_runs_in_memory_for_their_index) {
  const long small = peak_with(1'000, 5), large = peak_with(1'000'000, 5);
  EXPECT_LT(large - small, 80 * 1024) << "KiB; 38 MiB were seen";
  RecordProperty("grown_kib", std::to_string(large - small));
}

}  // namespace
}  // namespace r1
