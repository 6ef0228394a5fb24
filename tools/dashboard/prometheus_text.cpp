#include "tools/dashboard/prometheus_text.h"

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "actors/metric_table.h"
#include "base/version.h"

namespace r1::dashboard {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<const char*, std::string>>;

class Families {
 public:
  void counter(const std::string& name, const std::string& help, const Labels& labels, double value) {
    add(MetricType::Counter, name, help, labels, value);
  }
  void gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
    add(MetricType::Gauge, name, help, labels, value);
  }
  std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  void add(MetricType type, const std::string& name, const std::string& help, const Labels& labels, double value) {
    if (!std::isfinite(value)) return;
    auto family = std::find_if(families_.begin(), families_.end(), [&](const MetricFamily& f) { return f.name == name; });
    if (family == families_.end()) family = families_.insert(families_.end(), MetricFamily{name, help, type, {}});
    ClientMetric& metric = family->metric.emplace_back();
    for (const auto& [label, text] : labels) metric.label.push_back({label, text});
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }
  std::vector<MetricFamily> families_;
};

// Part of a metric's name: what a reward program calls its parts may be anything.
std::string name_of(const std::string& metric) {
  std::string out = metric;
  for (char& c : out)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) c = '_';
  return out;
}

void add_stage(const StagePicture& s, Families& f) {
  const Labels stage = {{"stage", s.name}};
  for (const StageStatus status : {StageStatus::waiting, StageStatus::running, StageStatus::done, StageStatus::failed})
    f.gauge("r1_stage_status", "1 for the status that the stage has, else 0.", {{"stage", s.name}, {"status", word_of(status)}},
            s.status == status ? 1 : 0);
  if (s.status == StageStatus::waiting) return;
  f.counter("r1_stage_seconds_total", "Time with the stage's roles running, over restarts.", stage, s.times.seconds);
  f.counter("r1_stage_restarts_total", "Times that the stage was started again since it last committed a batch.", stage,
            s.restarts);
  f.counter("r1_batches_total", "Batches committed; the newest version of the stage's weights.", stage,
            static_cast<double>(s.batches));
  if (s.limit > 0)
    f.gauge("r1_batches_limit", "Batches after which the stage ends at the latest.", stage, static_cast<double>(s.limit));
  f.counter("r1_tokens_trained_total", "Tokens of the sequences in committed batches.", stage, s.tokens_trained);
  f.counter("r1_tokens_generated_total", "Tokens sampled by the stage's generators.", stage, s.tokens_generated);
  if (s.ledger.draws > 0) {
    f.counter("r1_draws_total", "Prompts drawn.", stage, static_cast<double>(s.ledger.draws));
    f.counter("r1_draws_trained_total", "Prompts drawn whose group was trained on.", stage,
              static_cast<double>(s.ledger.trained));
    f.gauge("r1_draws_open", "Prompts drawn that are under way.", stage, static_cast<double>(s.ledger.open));
    for (const auto& [reason, n] : s.ledger.dropped)
      f.counter("r1_draws_dropped_total", "Prompts drawn whose group was dropped, by reason.",
                {{"stage", s.name}, {"reason", reason}}, static_cast<double>(n));
  }
  for (const auto& [engine, seconds] : s.times.engine_s)
    f.counter("r1_engine_busy_seconds_total", "Time in which the engine was at work.", {{"stage", s.name}, {"engine", engine}},
              seconds);
  f.counter("r1_overlap_seconds_total", "Time in which generator and trainer were at work at once.", stage, s.times.overlap_s);
  f.counter("r1_idle_seconds_total", "Time in which no engine was at work.", stage, s.times.idle_s);
  f.counter("r1_compute_cpu_seconds_total", "CPU time inside ops, of all processes of the run.", stage, s.times.compute_cpu_s);
  for (const auto& [name, value] : s.statistics) {
    if (const BatchMetric* known = batch_metric(name))
      f.gauge("r1_batch_" + name_of(name),
              fmt::format("Of the newest batch: {}{}{}.", known->title, *known->note != 0 ? ", " : "", known->note), stage,
              value);
    else
      f.gauge("r1_batch_score", "Of the newest batch: mean of a part of the reward over the completions it applies to.",
              {{"stage", s.name}, {"part", name}}, value);
  }
  for (const auto& [moment, metrics] : s.held_out)
    for (const HeldOutMetric& m : held_out_metrics())
      if (const auto value = metrics.find(m.name); value != metrics.end())
        f.gauge("r1_held_out_" + name_of(m.name), fmt::format("Before and after the stage: {} ({}).", m.meaning, m.note),
                {{"stage", s.name}, {"moment", moment}}, value->second);
}

}  // namespace

std::string prometheus_text(const RunPicture& p) {
  Families f;
  f.gauge("r1_build_info", "The build that runs; always 1.", {{"version", version()}}, 1);
  f.gauge("r1_run_info", "What runs; always 1.",
          {{"graph", p.labels.graph},
           {"seed", std::to_string(p.labels.seed)},
           {"precision", p.labels.precision},
           {"device", p.labels.device}},
          1);
  for (const StagePicture& stage : p.stages) add_stage(stage, f);
  for (const ShellRole& role : p.roles)
    f.gauge("r1_role_info", "A role of a running stage and its state; always 1.",
            {{"stage", role.stage}, {"node", role.node}, {"role", role.role}, {"state", role.state}}, 1);
  for (const ChannelPicture& c : p.channels) {
    const Labels labels = {{"edge", c.row.edge}, {"carries", c.row.carries}};
    f.counter("r1_channel_messages_sent_total", "Messages sent on a channel since its stage last started.", labels,
              static_cast<double>(c.row.sent));
    f.gauge("r1_channel_messages_under_way", "Messages sent and not released by their receiver.", labels,
            static_cast<double>(c.row.sent - c.row.released));
    f.gauge("r1_channel_capacity_messages", "Messages that may be under way at once.", labels,
            static_cast<double>(c.row.capacity));
    f.gauge("r1_channel_messages_lost", "Messages that were sent and never arrived.", labels,
            static_cast<double>(c.row.lost.size()));
  }
  std::map<std::string, double> longest;
  for (const WaitRow& wait : p.waits)
    if (wait.key.rfind("job ", 0) != 0) longest[wait.owner] = std::max(longest[wait.owner], wait.waiting_s);
  for (const auto& [owner, seconds] : longest)
    f.gauge("r1_role_waiting_seconds", "The longest of the waits that a role is in.", {{"node", owner}}, seconds);
  for (const ShellNode& node : p.nodes) {
    const Labels labels = {{"process", node.name}, {"host", node.host}};
    f.gauge("r1_process_up", "1: this process of the run is there.", labels, node.process > 0 ? 1 : 0);
    f.counter("r1_process_lost_total", "Times that this process of the run was lost.", labels, static_cast<double>(node.lost));
    if (node.resident_bytes)
      f.gauge("r1_process_resident_memory_bytes", "Resident memory of this process of the run.", labels,
              static_cast<double>(*node.resident_bytes));
    if (node.silent_s)
      f.gauge("r1_process_silent_seconds", "Time since anything was heard of this process of the run.", labels, *node.silent_s);
    for (const ShellRank& rank : node.ranks)
      f.gauge("r1_rank_info", "A rank of a trainer that lives at this process of the run; always 1.",
              {{"process", node.name}, {"host", node.host}, {"node", rank.trainer}, {"rank", std::to_string(rank.rank)}}, 1);
    if (node.threads > 0) f.gauge("r1_process_threads", "Threads that this process computes with.", labels, node.threads);
  }
  f.counter("process_cpu_seconds_total", "CPU time of the head process.", {}, p.process.cpu_s);
  f.gauge("process_resident_memory_bytes", "Resident memory of the head process.", {},
          static_cast<double>(p.process.resident_bytes));
  f.gauge("process_virtual_memory_bytes", "Virtual memory of the head process.", {},
          static_cast<double>(p.process.virtual_bytes));
  f.gauge("process_start_time_seconds", "When the head process began, in seconds since 1970.", {}, p.process.started_wall_s);
  f.gauge("process_open_fds", "Open files of the head process.", {}, p.process.open_files);
  return f.text();
}

}  // namespace r1::dashboard
