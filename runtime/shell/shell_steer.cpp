#include "runtime/shell/shell_steer.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace r1 {
namespace {

constexpr const char* kBlanks = " \t\r\n";

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(kBlanks), last = text.find_last_not_of(kBlanks);
  return first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

std::string unquoted(const std::string& text) {
  if (text.size() < 2 || text.front() != text.back() || (text.front() != '"' && text.front() != '\'')) return text;
  return text.substr(1, text.size() - 2);
}

std::string first_word(const std::string& text) { return text.substr(0, text.find_first_of(kBlanks)); }

void give(const ShellSources& sources, const ShellReplyPtr& reply, ShellOrder order) {
  order.reply = reply;
  if (!sources.order(std::move(order)))
    reply->fail(std::make_exception_ptr(failure("too many orders wait to be seen to", {}, "try again in a moment")));
}

std::string one_name(const std::string& rest, const char* usage) {
  if (rest.empty() || first_word(rest) != rest) throw bad_input(usage, {}, "see 'ps'");
  return rest;
}
void nothing_more(const std::string& rest, const char* command) {
  if (!rest.empty()) throw bad_input(fmt::format("{} takes no arguments", command));
}

void inspect(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  give(sources, reply, {.kind = ShellOrder::Kind::inspect, .target = one_name(rest, "inspect takes ACTOR")});
}

void traj(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  if (!sources.trajectories) throw bad_input("this run shows no trajectories");
  reply->answer(sources.trajectories(rest));
}

void live(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  nothing_more(rest, "live");
  if (!sources.live) throw bad_input("nothing of this run can be set");
  using Json = nlohmann::ordered_json;
  Json answer = {{"title", "live"}, {"columns", {"attribute", "value", "does"}}, {"rows", Json::array()}};
  for (const ShellSources::Live& row : sources.live())
    answer["rows"].push_back({{"attribute", row.attribute}, {"value", row.value}, {"does", row.does}});
  reply->answer(answer.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// ACTOR.ATTR VALUE or ACTOR.ATTR=VALUE; the value may be quoted, and may hold blanks.
void set(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  constexpr const char* kExample = "set rl_trainer.lr 1e-4";
  const size_t end = rest.find_first_of(" \t=");
  const std::string what = rest.substr(0, end);
  const size_t dot = what.rfind('.');
  std::string value = end == std::string::npos ? "" : trimmed(rest.substr(end));
  if (value.starts_with('=')) value = trimmed(value.substr(1));
  value = unquoted(value);
  if (dot == std::string::npos || dot == 0 || dot + 1 == what.size() || value.empty())
    throw bad_input("set takes ACTOR.ATTR VALUE", {}, kExample);
  if (!sources.check_set) throw bad_input("nothing of this run can be set");
  const std::string node = what.substr(0, dot), attr = what.substr(dot + 1);
  sources.check_set(node, attr, value);
  give(sources, reply, {.kind = ShellOrder::Kind::set, .target = node, .value = value, .attr = attr});
}

void pause(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  nothing_more(rest, "pause");
  give(sources, reply, {.kind = ShellOrder::Kind::pause});
}
void resume(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  nothing_more(rest, "resume");
  give(sources, reply, {.kind = ShellOrder::Kind::resume});
}

void checkpoint(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  if (!rest.empty()) one_name(rest, "checkpoint takes one STAGE, or none");
  give(sources, reply, {.kind = ShellOrder::Kind::checkpoint, .target = rest});
}

void kill(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  give(sources, reply, {.kind = ShellOrder::Kind::kill, .target = one_name(rest, "kill takes ACTOR")});
}

void ask(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  const std::string prompt = unquoted(rest);
  if (prompt.empty()) throw bad_input("ask takes a prompt", {}, "ask \"What is 12 + 30?\"");
  give(sources, reply, {.kind = ShellOrder::Kind::ask, .value = prompt});
}

void need_nodes(const ShellSources& sources) {
  if (!sources.nodes) throw bad_input("this run is one process", {}, "r1-run --hostfile FILE runs it in several");
}

void drain(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  need_nodes(sources);
  if (rest.empty() || first_word(rest) != rest) throw bad_input("drain takes NODE", {}, "see 'nodes'");
  give(sources, reply, {.kind = ShellOrder::Kind::drain, .target = rest});
}

void undrain(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  need_nodes(sources);
  if (rest.empty() || first_word(rest) != rest) throw bad_input("undrain takes NODE", {}, "see 'nodes'");
  give(sources, reply, {.kind = ShellOrder::Kind::undrain, .target = rest});
}

void scale(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  constexpr int64_t kMostNodes = 1024;
  need_nodes(sources);
  const std::string role = first_word(rest), count = trimmed(rest.substr(role.size()));
  if (count.empty()) throw bad_input("scale takes ROLE N", {}, "scale rl1_policy 2");
  int64_t n = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), n);
  if (error != std::errc() || end != count.data() + count.size() || n < 0 || n > kMostNodes)
    throw bad_input(fmt::format("'{}' is no number of nodes from 0 to {}", count, kMostNodes), {}, "0: all that may");
  give(sources, reply, {.kind = ShellOrder::Kind::scale, .target = role, .count = n});
}

void stop(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply) {
  nothing_more(rest, "stop");
  sources.stop();
  reply->answer(R"({"text":"stopping: jobs at hand end, then the run is stored; the same r1-run command continues it"})");
}

constexpr SteeringCommand kSteering[] = {
    {"inspect", "ACTOR", "what a role says about its state", "inspect rl1_policy", false, inspect},
    {"traj", "STAGE [WHICH] [COUNT]", "completions that a stage drew: last, first, best, worst, DRAW or reason=REASON",
     "traj rl1 worst 2", false, traj},
    {"live", "", "what `set` may change while the run goes on, and what it is now", "", false, live},
    {"ask", "PROMPT", "a sample of what the running stage has learned, as it comes; changes nothing of the run",
     "ask \"What is 12 + 30?\"", true, ask},
    {"set", "ACTOR.ATTR VALUE",
     "another learning rate, `until` and the like, from the next batch on; kept by restart and replay",
     "set rl1_trainer.lr 1e-4", true, set},
    {"pause", "", "no job begins any more, until 'resume'; those at hand end", "", true, pause},
    {"resume", "", "what was paused goes on", "", true, resume},
    {"checkpoint", "[STAGE]", "the model as it is now, as a directory for r1-chat; and no batch so far is trained again", "",
     true, checkpoint},
    {"kill", "ACTOR", "a role fails, to see its stage recover from the run store", "kill rl1_policy", true, kill},
    {"drain", "NODE",
     "a process of the run gets nothing new, ends what it has and leaves, so that its machine can be taken away; kept by "
     "restart",
     "drain node2", true, drain},
    {"undrain", "NODE", "one that was drained may work again: it is started, or let in when it joins", "undrain node2", true,
     undrain},
    {"scale", "ROLE N", "how many nodes at a time do a role's work; 0: all that may. Changes no result; kept by restart",
     "scale rl1_policy 2", true, scale},
    {"stop", "", "end the run after the jobs at hand; it can be continued", "", true, stop},
};

}  // namespace

std::span<const SteeringCommand> steering_commands() { return kSteering; }

std::string rest_of(const std::string& line) {
  const std::string whole = trimmed(line);
  const size_t end = whole.find_first_of(kBlanks);
  return end == std::string::npos ? std::string() : trimmed(whole.substr(end));
}

}  // namespace r1
