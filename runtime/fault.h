// Faults that tests inject into a run, from the environment variable R1_FAULT: items separated by commas,
//   drop:FROM->TO:N   the N-th message of that edge is lost          fail:NODE:N   the N-th job of the role throws
//   slow:NODE:MS      every job of the role takes MS longer          kill:POINT:N  SIGKILL at the N-th passing of a named point
//   gap:NODE:N        the last bit of a log-probability that a generator gives draw N is another one
// Counts start at 1; drop, fail, gap and kill happen once per process, so a restarted stage meets them no second time.
// Points: before_commit, after_commit (both passed by RunStore::commit_batch), and those that actors name by fault_point().
// Not a simulation of hardware: what a fault does is exactly what is said here.
// Thread rule: thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace r1 {

class FaultPlan {
 public:
  // Throws bad_input when `text` is not a list of faults. "" is a plan without faults.
  explicit FaultPlan(const std::string& text);

  // True when message `number` of `edge` ("a -> b") is to be lost.
  bool drop(const std::string& edge, int64_t number);
  // True when job `number` of `node` is to throw.
  bool fail(const std::string& node, int64_t number);
  // True when a log-probability of draw `number` of `node` is to be falsified.
  bool gap(const std::string& node, int64_t number);
  int64_t slow_ms(const std::string& node) const;
  void point(const std::string& name);
  bool empty() const { return items_.empty(); }

 private:
  struct Item {
    std::string kind, target;
    int64_t n = 0;
    std::atomic<int64_t> passed{0};
  };
  bool once(const char* kind, const std::string& target, int64_t number);
  std::vector<std::unique_ptr<Item>> items_;
};

// The plan of this process (R1_FAULT, read once). Throws bad_input at the first call when R1_FAULT is malformed.
FaultPlan& process_faults();

// A named place where a test may kill the process; free of cost without R1_FAULT.
void fault_point(const char* name);

}  // namespace r1
