// How a stage ended: the line that says what it learned, and whether that is enough to call it done.
// Thread rule: a value.
#pragma once

#include <string>

namespace r1 {

struct StageVerdict {
  enum class Level { fine, doubtful, failed };  // doubtful: done, and shown as a warning
  Level level = Level::fine;
  std::string line;  // "trained on 92 of 8,000 groups: 7,908 had equal rewards"
  bool failed() const { return level == Level::failed; }
};

// Why a run did not come to its end.
struct StageFailure {
  std::string stage;  // "": the run itself
  std::string reason;
};

}  // namespace r1
