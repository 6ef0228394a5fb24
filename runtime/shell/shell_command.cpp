#include "runtime/shell/shell_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/net/link_protocol.h"
#include "runtime/shell/shell_look.h"
#include "runtime/shell/shell_steer.h"
#include "runtime/store/run_store.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

Json table(const std::string& title, std::vector<std::string> columns) {
  return {{"title", title}, {"columns", std::move(columns)}, {"rows", Json::array()}};
}

double round_to(double value, double unit) { return std::round(value / unit) * unit; }
double seconds(double s) { return round_to(s, 0.1); }

void need_run(const ShellSources& sources) {
  if (sources.waits == nullptr)
    throw bad_input("no run is going on here", {},
                    "start one with r1-run; 'stages', 'metrics', 'traj', 'versions' and 'log' work without");
}

// Where an actor's work is done now, its ranks included; "" of one that has no node.
std::string place_of(const std::string& actor, const ShellSources& sources, const std::vector<ShellNode>& nodes) {
  std::vector<std::string> names;
  if (!sources.at_nodes.contains(actor)) names.push_back("head");
  for (const ShellNode& node : nodes)
    if (std::count(node.roles.begin(), node.roles.end(), actor) > 0 ||
        std::any_of(node.ranks.begin(), node.ranks.end(), [&](const ShellRank& rank) { return rank.trainer == actor; }))
      names.push_back(node.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Json list_roles(const ShellSources& sources, const Words&) {
  need_run(sources);
  Json answer = table("roles", {"stage", "actor", "role", "state", "jobs", "waits_for", "progress"});
  const std::vector<ShellNode> nodes = sources.nodes ? sources.nodes() : std::vector<ShellNode>{};
  if (sources.nodes) answer["columns"].insert(answer["columns"].begin() + 3, "at");
  for (const ShellRole& role : sources.roles()) {
    std::string jobs, waits_for;
    std::set<std::string> said;
    for (const WaitRow& wait : sources.waits->waits(role.stage)) {
      if (wait.owner != role.node) continue;
      const bool job = wait.key.rfind("job ", 0) == 0;
      std::string& list = job ? jobs : waits_for;
      const std::string text = job ? wait.key.substr(4) : wait.on.empty() ? wait.reason : wait.on;
      if (!job && !said.insert(text).second) continue;
      list += (list.empty() ? "" : ", ") + text;
    }
    answer["rows"].push_back({{"stage", role.stage},
                              {"actor", role.node},
                              {"role", role.role},
                              {"at", place_of(role.node, sources, nodes)},
                              {"state", role.state},
                              {"jobs", jobs},
                              {"waits_for", waits_for},
                              {"progress", role.progress}});
  }
  return answer;
}

Json list_stages(const ShellSources& sources, const Words&) {
  Json answer = table("stages", {"stage", "status", "phase", "seconds", "batches", "draws", "open", "trained", "dropped",
                                 "overlap", "restarts"});
  const std::vector<ShellStage> live = sources.stages ? sources.stages() : std::vector<ShellStage>{};
  for (const StageRow& row : sources.store->stages()) {
    const LedgerCounts counts = sources.store->ledger(row.id);
    int64_t dropped = 0;
    for (const auto& [reason, n] : counts.dropped) dropped += n;
    StageTimes times = StageTimes::of(*sources.store, row);
    // Of a run that nobody executes no stage is running.
    const std::string status = row.status == StageStatus::running && !sources.stages ? "stopped" : word_of(row.status);
    std::string phase = status;
    int restarts = 0;
    for (const ShellStage& stage : live)
      if (stage.name == row.name) {
        times = stage.times;
        phase = stage.phase;
        restarts = stage.restarts;
      }
    // A stage without prompts has no ledger, and one that does not both sample and learn nothing that could overlap.
    const auto of_draws = [&](int64_t n) { return counts.draws > 0 ? Json(n) : Json(); };
    const bool both = samples_and_learns(times);
    answer["rows"].push_back({{"stage", row.name},
                              {"status", status},
                              {"phase", phase},
                              {"seconds", seconds(times.seconds)},
                              {"batches", sources.store->batch_count(row.id)},
                              {"draws", of_draws(counts.draws)},
                              {"open", of_draws(counts.open)},
                              {"trained", of_draws(counts.trained)},
                              {"dropped", of_draws(dropped)},
                              {"overlap", both ? Json(round_to(times.overlap(), 0.01)) : Json()},
                              {"restarts", restarts}});
  }
  return answer;
}

Json list_channels(const ShellSources& sources, const Words&) {
  need_run(sources);
  Json answer =
      table("channels", {"edge", "carries", "capacity", "under_way", "sent", "received", "released", "last_sent", "lost"});
  for (const ChannelRow& row : sources.waits->channels())
    answer["rows"].push_back({{"edge", row.edge},
                              {"carries", row.carries},
                              {"capacity", row.capacity},
                              {"under_way", row.sent - row.released},
                              {"sent", row.sent},
                              {"received", row.received},
                              {"released", row.released},
                              {"last_sent", row.last_sent},
                              {"lost", fmt::format("{}", fmt::join(row.lost, ", "))}});
  return answer;
}

Json list_waits(const ShellSources& sources, const Words&) {
  need_run(sources);
  Json answer = table("waits", {"owner", "wait", "reason", "on", "waiting_s", "idle_s", "limit"});
  for (const WaitRow& row : sources.waits->waits()) {
    const bool job = row.key.rfind("job ", 0) == 0;
    answer["rows"].push_back({{"owner", row.owner},
                              {"wait", row.key},
                              {"reason", row.reason},
                              {"on", row.on},
                              {"waiting_s", seconds(row.waiting_s)},
                              {"idle_s", seconds(row.idle_s)},
                              {"limit", fmt::format("{:g} s idle", job ? sources.job_stall_s : sources.stall_s)}});
  }
  return answer;
}

// Of all stages, or of the one that the first argument names.
std::vector<StageRow> chosen_stages(const ShellSources& sources, const Words& words) {
  std::vector<std::string> names;
  std::vector<StageRow> chosen;
  for (const StageRow& row : sources.store->stages()) {
    names.push_back(row.name);
    if (words.size() < 2 || row.name == words[1]) chosen.push_back(row);
  }
  if (chosen.empty() && words.size() > 1) {
    const std::string near = nearest(words[1], names);
    throw bad_input(fmt::format("no stage {}", words[1]), {},
                    near.empty() ? "see 'stages'" : fmt::format("did you mean {}?", near));
  }
  return chosen;
}

Json list_metrics(const ShellSources& sources, const Words& words) {
  const std::vector<StageRow> chosen = chosen_stages(sources, words);
  if (words.size() < 3) {
    Json answer = table("newest metrics", {"stage", "metric", "step", "value"});
    for (const StageRow& row : chosen)
      for (const MetricRow& m : sources.store->latest_metrics(row.id))
        answer["rows"].push_back({{"stage", row.name}, {"metric", m.name}, {"step", m.step}, {"value", m.value}});
    return answer;
  }
  const std::vector<MetricRow> rows = sources.store->metrics(chosen[0].id, words[2]);
  if (rows.empty()) {
    std::vector<std::string> known;
    for (const MetricRow& m : sources.store->latest_metrics(chosen[0].id)) known.push_back(m.name);
    const std::string near = nearest(words[2], known);
    throw bad_input(fmt::format("stage {} has no metric {}", words[1], words[2]), {},
                    near.empty() ? fmt::format("see 'metrics {}'", words[1]) : fmt::format("did you mean {}?", near));
  }
  Json answer = table(fmt::format("{} of {}", words[2], words[1]), {"step", "value"});
  for (const MetricRow& m : rows) answer["rows"].push_back({{"step", m.step}, {"value", m.value}});
  answer["plot"] = "value";
  return answer;
}

Json explain(const ShellSources& sources, const Words&) {
  need_run(sources);
  return why_so_slow(sources);
}

Json list_versions(const ShellSources& sources, const Words& words) {
  if (words.size() < 2) throw bad_input("versions takes STAGE", {}, "see 'stages'");
  return versions_of(*sources.store, chosen_stages(sources, words).at(0));
}

Json show_log(const ShellSources& sources, const Words& words) {
  int64_t lines = 20;
  if (words.size() > 1) {
    const auto [end, error] = std::from_chars(words[1].data(), words[1].data() + words[1].size(), lines);
    if (error != std::errc() || end != words[1].data() + words[1].size() || lines < 1 || lines > 10000)
      throw bad_input(fmt::format("'{}' is no number of lines from 1 to 10000", words[1]));
  }
  return {{"text", end_of_log(sources.run_dir, lines)}};
}

Json list_nodes(const ShellSources& sources, const Words&) {
  need_run(sources);
  if (!sources.nodes) throw bad_input("this run is one process", {}, "r1-run --hostfile FILE runs it in several");
  Json answer = table("nodes", {"node", "host", "process", "threads", "memory_mb", "state", "lost", "roles"});
  const std::vector<ShellNode> nodes = sources.nodes();
  if (std::any_of(nodes.begin(), nodes.end(), [](const ShellNode& node) { return !node.ranks.empty(); }))
    answer["columns"].push_back("ranks");
  for (const ShellNode& node : nodes)
    answer["rows"].push_back({{"node", node.name},
                              {"host", node.host},
                              {"process", node.process > 0 ? Json(node.process) : Json()},
                              {"threads", node.threads > 0 ? Json(node.threads) : Json()},
                              {"memory_mb", node.resident_bytes ? Json(*node.resident_bytes / 1'000'000) : Json()},
                              {"state", node_state(node)},
                              {"silent_s", node.silent_s ? Json(seconds(*node.silent_s)) : Json()},
                              {"lost", node.lost},
                              {"roles", fmt::format("{}", fmt::join(node.roles, ", "))},
                              {"ranks", ranks_text(node.ranks)}});
  return answer;
}

Json show_help(const ShellSources&, const Words& words);

// One that answers at once.
struct Command {
  const char* name;
  const char* arguments;
  const char* does;
  size_t most_arguments;
  Json (*run)(const ShellSources&, const Words&);
  const char* example = "";
};

// r1-shell's own.
constexpr Command kTop = {"top", "", "stages, ps and why, again every second until Enter", 0, nullptr};

constexpr Command kCommands[] = {
    {"ps", "", "the roles of the running stages: state, jobs, whom they wait for, progress", 0, list_roles},
    {"stages", "", "all stages: status, seconds, batches, ledger, overlap of generation and training", 0, list_stages},
    {"channels", "", "messages sent, received and released on every channel; lost ones by name", 0, list_channels},
    {"waits", "", "who waits for what, for how long and how long at most; running jobs too", 0, list_waits},
    {"metrics", "[STAGE [NAME]]", "the newest value of every metric, or the curve of one", 2, list_metrics},
    {"why", "", "where the time of the running stages goes, what they wait for, and what would help", 0, explain},
    {"versions", "STAGE", "the versions that a stage published, with the hashes of their weights", 1, list_versions},
    {"log", "[LINES]", "the end of r1.log; default 20 lines", 1, show_log},
    {"nodes", "", "the processes of the run: where they are, what they do, how often one was lost; ranks but 0, which is here",
     0, list_nodes},
    {"help", "[COMMAND]", "this list, or how one command is used", 1, show_help, "help set"},
};

Json show_help(const ShellSources&, const Words& words) {
  Json answer = table("commands", {"command", "does"});
  if (words.size() > 1) answer = table(words[1], {"command", "does", "example"});
  std::vector<std::string> names;
  const auto add = [&](const auto& c) {
    names.push_back(c.name);
    if (words.size() > 1 && words[1] != c.name) return;
    answer["rows"].push_back(
        {{"command", fmt::format("{}{}{}", c.name, *c.arguments ? " " : "", c.arguments)}, {"does", c.does}});
    if (words.size() > 1) answer["rows"].back()["example"] = *c.example ? c.example : c.name;
  };
  add(kTop);
  for (const Command& c : kCommands) add(c);
  for (const SteeringCommand& c : steering_commands()) add(c);
  if (!answer["rows"].empty()) return answer;
  const std::string near = nearest(words[1], names);
  throw bad_input(fmt::format("no command '{}'", words[1]), {},
                  near.empty() ? "'help' lists them" : fmt::format("did you mean '{}'?", near));
}

void begin(const std::string& line, const ShellSources& sources, ShellRight right, const ShellReplyPtr& reply) {
  Words words;
  std::istringstream in(line);
  for (std::string word; in >> word;) words.push_back(word);
  if (words.empty()) throw bad_input("no command", {}, "try 'help'");
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    names.push_back(c.name);
    if (words[0] != c.name) continue;
    if (words.size() - 1 > c.most_arguments)
      throw bad_input(fmt::format("{} takes {}", c.name, c.most_arguments == 0 ? "no arguments" : c.arguments));
    return reply->answer(c.run(sources, words).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  for (const SteeringCommand& c : steering_commands()) {
    names.push_back(c.name);
    if (words[0] != c.name) continue;
    need_run(sources);
    if (c.steers && right != ShellRight::steer)
      throw bad_input(fmt::format("this key is for looking, {} is for who may steer the run", c.name), {},
                      "the run's control key may, and who has its run directory");
    return c.begin(sources, rest_of(line), reply);
  }
  const std::string near = nearest(words[0], names);
  throw bad_input(fmt::format("no command '{}'", words[0]), {},
                  near.empty() ? "try 'help'" : fmt::format("did you mean '{}'?", near));
}

}  // namespace

bool is_silent(const ShellNode& node) {
  constexpr double kBeats = 2;
  return node.silent_s && *node.silent_s > kBeats * 1e-9 * static_cast<double>(LinkConfig{}.beat_ns);
}

std::string node_state(const ShellNode& node) {
  if (!is_silent(node)) return node.state;
  return fmt::format("{}silent {:.1f} s", node.state == "ok" ? "" : node.state + ", ", *node.silent_s);
}

std::string ranks_text(const std::vector<ShellRank>& ranks) {
  std::string text;
  for (const ShellRank& r : ranks) text += fmt::format("{}{} of {}", text.empty() ? "" : ", ", r.rank, r.trainer);
  return text;
}

void begin_command(const std::string& line, const ShellSources& sources, ShellRight right, const ShellReplyPtr& reply) {
  try {
    begin(line, sources, right, reply);
  } catch (const std::exception&) {
    reply->fail(std::current_exception());
  }
}

std::string handle_command(const std::string& line, const ShellSources& sources) {
  const auto answer = std::make_shared<ShellAnswer>();
  begin_command(line, sources, ShellRight::steer, std::make_shared<ShellReply>(answer));
  constexpr double kLimit_s = 10;
  if (auto text = answer->wait(kLimit_s)) return *text;
  return error_answer(std::make_exception_ptr(failure("there is no answer", {}, "'waits' shows what the roles are doing")));
}

}  // namespace r1
