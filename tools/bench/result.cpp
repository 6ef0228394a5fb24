#include "tools/bench/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace r1::bench {
namespace {

using nlohmann::json;

// What was not measured is absent, never 0.
json measured(double value) { return value > 0 ? json(value) : json(nullptr); }

json ceilings_json(const Ceilings& c) {
  json j{{"matmul_bf16_gflops", measured(c.bf16_flops * 1e-9)},
         {"matmul_f32_gflops", measured(c.f32_flops * 1e-9)},
         {"memory_read_gb_per_s", measured(c.read_bytes * 1e-9)}};
  if (c.bf16_register_flops > 0) j["register_bf16_gflops"] = c.bf16_register_flops * 1e-9;
  if (c.f32_register_flops > 0) j["register_f32_gflops"] = c.f32_register_flops * 1e-9;
  return j;
}

// What ops are given of all cores' time in the profiled run.
double share(const CaseResult& c, double core_ns) {
  const double all = c.breakdown_wall_ns * c.threads;
  return all > 0 ? core_ns / all : 0;
}

double outside_ops(const CaseResult& c) {
  double in_ops = 0;
  for (const OpTime& t : c.breakdown) in_ops += t.core_ns;
  return std::max(0.0, c.breakdown_wall_ns * c.threads - in_ops);
}

json breakdown_json(const CaseResult& c) {
  json rows = json::array();
  for (const OpTime& t : c.breakdown)
    rows.push_back({{"op", t.op},
                    {"calls", t.calls},
                    {"core_ns", t.core_ns},
                    {"share", share(c, t.core_ns)},
                    {"floor_share", share(c, floor_ns(t.work, c.ceilings) * c.threads)}});
  if (!c.breakdown.empty())
    rows.push_back({{"op", "outside ops"},
                    {"calls", 0},
                    {"core_ns", outside_ops(c)},
                    {"share", share(c, outside_ops(c))},
                    {"floor_share", 0.0}});
  return rows;
}

std::string time_text(double ns) {
  if (ns >= 1e9) return fmt::format("{:.3f} s", ns * 1e-9);
  if (ns >= 1e6) return fmt::format("{:.3f} ms", ns * 1e-6);
  return fmt::format("{:.2f} us", ns * 1e-3);
}

std::string breakdown_table(const CaseResult& c) {
  constexpr double kLeastShare = 0.005;
  std::string s = fmt::format("  {:<30} {:>8} {:>14} {:>7}  {}\n", "where the time goes", "calls", "core time", "share",
                              "least share possible");
  for (const OpTime& t : c.breakdown)
    if (share(c, t.core_ns) >= kLeastShare)
      s += fmt::format("  {:<30} {:>8} {:>14} {:>7.3f}  {:.3f}\n", t.op, t.calls, time_text(t.core_ns), share(c, t.core_ns),
                       share(c, floor_ns(t.work, c.ceilings) * c.threads));
  return s + fmt::format("  {:<30} {:>8} {:>14} {:>7.3f}\n", "outside ops", "", time_text(outside_ops(c)),
                         share(c, outside_ops(c)));
}

}  // namespace

bool Report::ok() const {
  return std::all_of(cases.begin(), cases.end(), [](const CaseResult& c) { return c.verification.ok; });
}

json report_json(const Report& r) {
  json cases = json::array();
  for (const CaseResult& c : r.cases) {
    json j{{"name", c.name},
           {"fraction_of_ceiling", measured(c.fraction())},
           {"floor_ns", measured(c.floor_ns)},
           {"floor", c.floor},
           {"measured_ns", c.measured_ns},
           {"ceilings", ceilings_json(c.ceilings)},
           {"verified", c.verification.ok},
           {"verification", c.verification.how},
           {"breakdown", breakdown_json(c)}};
    if (c.goal > 0) j["goal"] = c.goal;
    if (!c.note.empty()) j["note"] = c.note;
    for (const auto& [key, value] : c.numbers) j[key] = value;
    cases.push_back(std::move(j));
  }
  return {{"what", r.what},     {"machine", r.machine},          {"fingerprint", r.fingerprint},
          {"verified", r.ok()}, {"not_measured", r.why_missing}, {"cases", cases}};
}

std::string report_table(const Report& r) {
  std::string s = fmt::format("{}\n{}\n\n", r.machine, r.fingerprint);
  s += fmt::format("{:<34} {:>12} {:>12} {:>8} {:>7} {:>8}  {}\n", "case", "floor", "measured", "fraction", "by", "verified",
                   "goal");
  for (const CaseResult& c : r.cases)
    s += fmt::format("{:<34} {:>12} {:>12} {:>8} {:>7} {:>8}  {}\n", c.name, c.floor_ns > 0 ? time_text(c.floor_ns) : "-",
                     time_text(c.measured_ns), c.fraction() > 0 ? fmt::format("{:.3f}", c.fraction()) : "-", c.floor,
                     c.verification.ok ? "yes" : "NO", c.goal > 0 ? fmt::format("{:.2f}", c.goal) : c.note);
  for (const CaseResult& c : r.cases) {
    if (!c.verification.ok) s += fmt::format("\n{}: NOT VERIFIED: {}\n", c.name, c.verification.how);
    if (c.breakdown.empty()) continue;
    s += fmt::format("\n{}: {}\n", c.name, c.verification.how);
    s += fmt::format("  ceilings: matmul {:.0f} GFLOP/s in bf16, {:.0f} in f32; memory {:.1f} GB/s\n",
                     c.ceilings.bf16_flops * 1e-9, c.ceilings.f32_flops * 1e-9, c.ceilings.read_bytes * 1e-9);
    if (c.ceilings.f32_register_flops > 0)
      s += fmt::format("  of the hardware: {:.0f} GFLOP/s in bf16, {:.0f} in f32, by loops over registers\n",
                       c.ceilings.bf16_register_flops * 1e-9, c.ceilings.f32_register_flops * 1e-9);
    if (!r.why_missing.empty()) s += fmt::format("  not measured: {}\n", r.why_missing);
    for (const auto& [key, value] : c.numbers) s += fmt::format("  {} {:.6g}\n", key, value);
    s += breakdown_table(c);
  }
  return s;
}

}  // namespace r1::bench
