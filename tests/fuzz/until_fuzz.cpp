// Conditions of `until`, read and evaluated.
#include "runtime/until.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  fuzz::taken([&] {
    const Until until = Until::parse(std::string(fuzz::text_of(data, size)), {"g.graph", 3, 5}, {{"reward", "loss"}, ""});
    UntilInput in;
    in.batches = 40;
    in.epochs = 2.5;
    in.tokens = 1e6;
    in.metric = [](const std::string&) { return std::vector<double>(40, 0.5); };
    if (until.reached(in) != !until.why(in).empty()) fuzz::finding("reached() and why() disagree");
    until.goal(in);
    if (until.batch_limit() < 0) fuzz::finding("a negative limit");
    until.metrics();
  });
  return 0;
}
