#include "runtime/nodes/slurm.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/clipped.h"

namespace r1 {
namespace {

constexpr size_t kMaxDigits = 9;
constexpr const char* kList = "SLURM_JOB_NODELIST";

Error malformed(std::string_view list, const std::string& why) {
  return bad_input(fmt::format("{}='{}' cannot be read: {}", kList, clipped(list), why), {}, "such as gpu[01-03,07],login");
}

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  if (text.empty() || text.size() > kMaxDigits ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// What stands between brackets: numbers and ranges, as texts with their leading zeros.
std::vector<std::string> numbers_of(std::string_view list, std::string_view inside) {
  std::vector<std::string> numbers;
  for (size_t at = 0; at <= inside.size();) {
    const size_t comma = std::min(inside.find(',', at), inside.size());
    const std::string_view range = inside.substr(at, comma - at);
    at = comma + 1;
    const size_t dash = range.find('-');
    const std::string_view first = range.substr(0, dash),
                           last = dash == std::string_view::npos ? first : range.substr(dash + 1);
    const auto from = whole_number(first), to = whole_number(last);
    if (!from || !to || *to < *from) throw malformed(list, fmt::format("'{}' is no range of numbers", clipped(range)));
    if (static_cast<size_t>(*to - *from) >= kMaxHosts) throw malformed(list, fmt::format("more than {} machines", kMaxHosts));
    for (int n = *from; n <= *to; ++n) numbers.push_back(fmt::format("{:0{}}", n, first.size()));
    if (numbers.size() > kMaxHosts) throw malformed(list, fmt::format("more than {} machines", kMaxHosts));
  }
  return numbers;
}

}  // namespace

std::vector<std::string> expand_node_list(std::string_view list) {
  if (list.size() > kMaxHostfileBytes) throw malformed(list, "it is too long");
  std::vector<std::string> hosts;
  std::vector<std::string> group = {""};  // what the names that are being read begin with
  const auto close = [&] {
    for (std::string& host : group) {
      if (host.empty() || host[0] == '-') throw malformed(list, host.empty() ? "a name is empty" : "a name begins with '-'");
      hosts.push_back(std::move(host));
    }
    if (hosts.size() > kMaxHosts) throw malformed(list, fmt::format("more than {} machines", kMaxHosts));
    group = {""};
  };
  for (size_t at = 0; at < list.size(); ++at) {
    const char c = list[at];
    if (c == ',') {
      close();
    } else if (c == '[') {
      const size_t end = list.find(']', at);
      if (end == std::string_view::npos) throw malformed(list, "a bracket is not closed");
      const std::vector<std::string> numbers = numbers_of(list, list.substr(at + 1, end - at - 1));
      if (group.size() * numbers.size() > kMaxHosts) throw malformed(list, fmt::format("more than {} machines", kMaxHosts));
      std::vector<std::string> longer;
      for (const std::string& begin : group)
        for (const std::string& number : numbers) longer.push_back(begin + number);
      group = std::move(longer);
      at = end;
    } else if (is_name(c)) {
      for (std::string& host : group) host += c;
      if (group[0].size() > 253) throw malformed(list, "a name is too long");
    } else {
      throw malformed(list, "a character that no name has");
    }
  }
  close();
  return hosts;
}

bool in_slurm(const Environment& environment) { return !environment("SLURM_JOB_ID").empty(); }

// Words of srun and of its error codes, 20.11 to 24.05 (src/srun/libsrun/allocate.c, src/common/slurm_errno.c).
bool slurm_job_is_over(std::string_view said) {
  for (const std::string_view words :
       {"Expired or invalid job", "Invalid job id", "has been revoked", "already completing or completed"})
    if (said.find(words) != std::string_view::npos) return true;
  return false;
}

std::vector<HostEntry> slurm_hosts(const Environment& environment) {
  const std::string list = environment(kList), cpus = environment("SLURM_CPUS_PER_TASK");
  if (list.empty()) throw bad_input(fmt::format("{} is not set", kList), {}, "is this the script of a Slurm job?");
  std::optional<int> slots;
  if (!cpus.empty()) {
    slots = whole_number(cpus);
    if (!slots || *slots < 1 || *slots > 65536)
      throw bad_input(fmt::format("SLURM_CPUS_PER_TASK='{}' is not a number from 1 to 65536", clipped(cpus)), {},
                      "sbatch --cpus-per-task=8");
  }
  std::vector<HostEntry> entries;
  for (std::string& host : expand_node_list(list)) {
    HostEntry entry;
    entry.name = fmt::format("node{}", entries.size() + 1);
    entry.host = std::move(host);
    entry.slots = slots;
    entry.where.file = kList;
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace r1
