// The fixture of runs that are changed on their way, or continued as others: one stage, a learning rate, a snapshot a batch.
#pragma once

#include <string>
#include <vector>

#include "tests/e2e/bad_input.h"

namespace r1 {

class ContinuedRunTest : public BadInputTest {
 protected:
  explicit ContinuedRunTest(int batches) : batches_(batches) {}
  void SetUp() override {
    BadInputTest::SetUp();
    std::string text = minimal(R"(, lr="1e-2", snapshot_s="0")");
    text.replace(text.find("batches(2)"), 10, "batches(" + std::to_string(batches_) + ")");
    write_text(top / "g.graph", text);
  }
  std::filesystem::path run() const { return top / "run"; }
  std::vector<std::string> command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", run().string(), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

 private:
  int batches_;
};

}  // namespace r1
