// A program of the user's that is told every batch's numbers: JSON lines on its stdin (docs/formats.md). It never slows or ends
// a run: what it does not read is left out and counted, one that dies is started again a few times. Not what is told
// (tools/report/tracker_feed.h).
// Thread rule: any thread; it has one of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/process.h"

namespace r1 {

struct TrackerOptions {
  double patience_s = 30;                              // a line that is not read by then ends the program
  int most_starts = 4;                                 // the first one among them
  size_t most_lines = 10'000;                          // waiting; further ones are left out
  size_t most_bytes = 64 << 20;                        // likewise
  std::function<void(const std::string&)> warn, info;  // lines for the log; called from its thread
};

class Tracker {
 public:
  // `first`: a line that every start of the program is told before anything else. The program is started with the first line
  // sent.
  Tracker(ProcessSpec command, std::string first, TrackerOptions options);
  ~Tracker();  // ends the program at once

  void send(std::string line);  // never waits

  struct Counts {
    int64_t sent = 0, left_out = 0;
    int starts = 0;
  };
  // No line comes after this: gives the program `seconds` to read what waits and to end, then ends it. Says what was left out.
  Counts finish(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The words of tracker="command(python3 track.py --name x)"; the text inside may stand in quotes. Throws bad_input at `where`
// for anything else, for a program that there is not on the PATH or below `directory`.
std::vector<std::string> tracker_command(const std::string& attribute, const std::filesystem::path& directory,
                                         const Where& where);

}  // namespace r1
