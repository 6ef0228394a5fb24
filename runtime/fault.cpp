#include "runtime/fault.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"

namespace r1 {
namespace {

std::string without_spaces(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ' ') out += c;
  return out;
}

}  // namespace

FaultPlan::FaultPlan(const std::string& text) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = without_spaces(text.substr(begin, end - begin));
    begin = end + 1;
    if (item.empty()) continue;
    const size_t first = item.find(':'), last = item.rfind(':');
    auto parsed = std::make_unique<Item>();
    bool good = first != std::string::npos && last > first + 1;
    if (good) {
      parsed->kind = item.substr(0, first);
      parsed->target = item.substr(first + 1, last - first - 1);
      const char* stop = item.data() + item.size();
      const auto [rest, error] = std::from_chars(item.data() + last + 1, stop, parsed->n);
      good = error == std::errc() && rest == stop && parsed->n > 0;
    }
    const std::string kinds[] = {"drop", "fail", "slow", "kill", "gap"};
    if (!good || std::find(std::begin(kinds), std::end(kinds), parsed->kind) == std::end(kinds) ||
        (parsed->kind == "drop" && parsed->target.find("->") == std::string::npos))
      throw bad_input(fmt::format("R1_FAULT: '{}' is not a fault", item), {},
                      "drop:FROM->TO:N, fail:NODE:N, slow:NODE:MS, gap:NODE:N or kill:POINT:N");
    items_.push_back(std::move(parsed));
  }
}

bool FaultPlan::once(const char* kind, const std::string& target, int64_t number) {
  for (auto& item : items_)
    if (item->kind == kind && item->n == number && item->target == target && item->passed.exchange(1) == 0) return true;
  return false;
}

bool FaultPlan::drop(const std::string& edge, int64_t number) {
  return !items_.empty() && once("drop", without_spaces(edge), number);
}

bool FaultPlan::fail(const std::string& node, int64_t number) { return !items_.empty() && once("fail", node, number); }

bool FaultPlan::gap(const std::string& node, int64_t number) { return !items_.empty() && once("gap", node, number); }

int64_t FaultPlan::slow_ms(const std::string& node) const {
  for (const auto& item : items_)
    if (item->kind == "slow" && item->target == node) return item->n;
  return 0;
}

void FaultPlan::point(const std::string& name) {
  for (auto& item : items_)
    if (item->kind == "kill" && item->target == name && ++item->passed == item->n) ::kill(::getpid(), SIGKILL);
}

FaultPlan& process_faults() {
  static FaultPlan plan([] {
    const char* text = std::getenv("R1_FAULT");
    return std::string(text ? text : "");
  }());
  return plan;
}

void fault_point(const char* name) {
  FaultPlan& plan = process_faults();
  if (!plan.empty()) plan.point(name);
}

}  // namespace r1
