#include "tools/dashboard/state_json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/report/run_data.h"

namespace r1::dashboard {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostWaits = 100;

// null where it was not measured.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }
Json number(const std::optional<double>& value) { return value ? number(*value) : Json(); }
Json positive(double value) { return value >= 0 ? number(value) : Json(); }

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json stage_json(const StagePicture& s) {
  Json out = {{"name", s.name},        {"status", word_of(s.status)}, {"phase", s.phase},
              {"verdict", s.verdict},  {"seconds", s.times.seconds},  {"batches", s.batches},
              {"restarts", s.restarts}};
  if (s.status != StageStatus::running) return out;
  out["limit"] = s.limit > 0 ? Json(s.limit) : Json();
  out["left_s"] = positive(s.left_s);
  out["trained_per_s"] = number(s.trained_per_s);
  out["generated_per_s"] = number(s.generated_per_s);
  out["draws"] = s.ledger.draws;
  out["open"] = s.ledger.open;
  out["trained"] = s.ledger.trained;
  out["dropped"] = s.ledger.dropped;
  out["engines"] = s.times.engine_s;
  out["overlap_s"] = s.times.overlap_s;
  out["idle_s"] = s.times.idle_s;
  return out;
}

}  // namespace

std::string graph_json(const GraphView& graph) {
  Json out = {{"name", graph.name}, {"stages", Json::array()}};
  for (size_t i = 0; i < graph.stages.size(); ++i) {
    const StagePlan& stage = graph.stages[i];
    const report::StageKind kind = report::kind_of(graph, static_cast<int>(i));
    Json nodes = Json::array(), edges = Json::array();
    for (const int n : stage.nodes) {
      nodes.push_back({{"id", graph.nodes[n].id}, {"role", graph.nodes[n].role}});
      for (const int e : graph.nodes[n].out_edges) {
        const EdgePlan& edge = graph.edges[e];
        if (edge.crosses) continue;
        edges.push_back({{"name", graph.edge_name(edge)},
                         {"from", graph.nodes[edge.from].id},
                         {"to", graph.nodes[edge.to].id},
                         {"carries", edge.carries}});
      }
    }
    out["stages"].push_back({{"name", stage.name},
                             {"label", stage.label.empty() ? stage.name : stage.label},
                             {"kind", report::kind_name(kind)},
                             {"css", report::kind_class(kind)},
                             {"nodes", nodes},
                             {"edges", edges}});
  }
  return text_of(out);
}

std::string state_json(const RunPicture& p) {
  Json out = {{"at", p.wall_s},
              {"labels",
               {{"graph", p.labels.graph},
                {"seed", p.labels.seed},
                {"precision", p.labels.precision},
                {"machine", p.labels.machine},
                {"device", p.labels.device},
                {"fingerprint", p.labels.fingerprint},
                {"cores", p.labels.cores}}},
              {"seconds", p.seconds},
              {"left_s", positive(p.left_s)},
              {"left_is_minimum", p.left_is_minimum}};
  out["process"] = {
      {"resident", p.process.resident_bytes}, {"threads", p.process.threads}, {"cores_used", number(p.process.cores_used)}};
  for (const char* list : {"stages", "roles", "channels", "waits"}) out[list] = Json::array();
  for (const StagePicture& s : p.stages) out["stages"].push_back(stage_json(s));
  for (const ShellRole& r : p.roles)
    out["roles"].push_back({{"stage", r.stage}, {"node", r.node}, {"role", r.role}, {"state", r.state}, {"says", r.progress}});
  for (const ChannelPicture& c : p.channels)
    out["channels"].push_back({{"edge", c.row.edge},
                               {"capacity", c.row.capacity},
                               {"under_way", c.row.sent - c.row.released},
                               {"sent", c.row.sent},
                               {"per_s", number(c.per_s)},
                               {"last", c.row.last_sent},
                               {"lost", c.row.lost}});
  for (const WaitRow& w : p.waits) {
    if (out["waits"].size() == kMostWaits) break;
    out["waits"].push_back({{"owner", w.owner}, {"key", w.key}, {"reason", w.reason}, {"on", w.on}, {"s", w.waiting_s}});
  }
  out["nodes"] = p.several_processes ? Json::array() : Json();
  for (const ShellNode& n : p.nodes)
    out["nodes"].push_back({{"name", n.name},
                            {"host", n.host},
                            {"process", n.process > 0 ? Json(n.process) : Json()},
                            {"threads", n.threads > 0 ? Json(n.threads) : Json()},
                            {"state", node_state(n)},
                            {"silent_s", number(n.silent_s)},
                            {"resident", n.resident_bytes ? Json(*n.resident_bytes) : Json()},
                            {"roles", fmt::format("{}", fmt::join(n.roles, ", "))},
                            {"ranks", ranks_text(n.ranks)},
                            {"lost", n.lost}});
  return text_of(out);
}

}  // namespace r1::dashboard
