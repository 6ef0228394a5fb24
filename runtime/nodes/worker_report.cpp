#include "runtime/nodes/worker_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"

namespace r1 {

void WorkerReport::take(RoleContext& context, Members& members, const Member& member, const RoleRecords& records) {
  for (const RoleRecords::Metric& m : records.metrics)
    m.step ? context.metric(*m.step, m.name, m.value) : context.records().tally(m.name, m.value);
  for (const RoleRecords::Event& e : records.events) context.records().event(e.actor, e.kind, e.json);
  for (const auto& [engine, begins] : records.engines) {
    int& jobs = engines_[engine];
    if (!begins && jobs == 0) continue;
    jobs += begins ? 1 : -1;
    context.engine_at_work(engine, begins);
  }
  if (records.progress) context.progress(*records.progress);
  if (records.inspect) inspected_ = *records.inspect;
  if (records.waits) {
    std::set<std::string> before = std::exchange(waits_, {});
    for (const RoleRecords::Wait& wait : *records.waits) {
      const std::string key = fmt::format("{} at {}", wait.key, member.name());
      context.wait_for(key, wait.reason, wait.on);
      waits_.insert(key);
      before.erase(key);
    }
    for (const std::string& key : before) context.wait_over(key);
  }
  if (records.moved) context.progressed();
  members.note_cpu(member.peer, records.cpu_ns);
}

void WorkerReport::forget(RoleContext& context) {
  for (const auto& [engine, jobs] : engines_)
    for (int i = 0; i < jobs; ++i) context.engine_at_work(engine, false);
  for (const std::string& key : waits_) context.wait_over(key);
  engines_.clear();
  waits_.clear();
}

void note_sent_whole(RoleContext& context, const Member& member, int edge, const std::string& what) {
  log_warn(fmt::format("{}: {} cannot use {} as it was sent, and is sent the whole", context.node().id, member.name(), what));
  context.event("sent_whole", nlohmann::json{{"worker", member.name()}, {"edge", edge}}.dump());
}

}  // namespace r1
