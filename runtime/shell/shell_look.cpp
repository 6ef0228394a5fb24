#include "runtime/shell/shell_look.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file_reader.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/net/link_protocol.h"
#include "runtime/store/run_store.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::string_view kReplicas = ".replicas";
constexpr uint64_t kLogBytes = 256 * 1024;

// From here on an engine is what its stage waits for; below, engines take turns.
constexpr double kSaturated = 0.85;

std::string what_would_help(const std::string& engine) {
  if (engine == "generator")
    return "more cores or hosts for the generator; fewer samples, a smaller max_tokens; a larger max_running where memory "
           "allows";
  if (engine == "trainer") return "more cores for the trainer; fewer or shorter sequences a batch; fewer inner_epochs";
  if (engine == "reference") return "more cores for the reference, or kl=0, which needs none";
  return fmt::format("more cores for the {}", engine);
}

// What the stage's speed hangs on, and what would change it.
std::pair<std::string, std::string> verdict_on(const StageTimes& times) {
  if (times.seconds <= 0 || times.engine_s.empty()) return {"no engine has worked yet", ""};
  // Evaluators measure beside the others: a stage waits for one only when nothing else is saturated.
  const auto rank = [&](const auto& e) {
    return std::make_pair(e.first != "evaluator" && e.second / times.seconds >= kSaturated, e.second);
  };
  const auto [engine, busy] =
      *std::max_element(times.engine_s.begin(), times.engine_s.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  const double share = busy / times.seconds;
  if (share >= kSaturated)
    return {fmt::format("it goes as fast as its {}, at work {:.0f} % of the time", engine, 100 * share),
            what_would_help(engine)};
  if (samples_and_learns(times) && times.overlap() < 0.1)
    return {"generation and training take turns", "staleness=1 on the edge to the generator, so that they overlap"};
  if (times.idle() > 0.2)
    return {fmt::format("no engine is at work {:.0f} % of the time", 100 * times.idle()), "'waits' says for whom"};
  return {fmt::format("its {} works most, {:.0f} % of the time, and is not all that it waits for", engine, 100 * share), ""};
}

// "policy" or, where a worker of it says so (runtime/nodes/worker_report.h), "policy at node2/4711".
std::string who_waits(const WaitRow& wait) {
  const size_t at = wait.key.find(" at ");
  return wait.owner + (at == std::string::npos ? "" : wait.key.substr(at));
}

// A node that is stopped or cut off is waited for until its lease ends.
void say_silent(const ShellSources& sources, const std::function<void(const std::string&, const std::string&)>& say) {
  if (!sources.nodes) return;
  for (const ShellNode& node : sources.nodes())
    if (is_silent(node))
      say(fmt::format("{} on {} is silent", node.name, node.host),
          fmt::format("nothing was heard of it for {:.1f} s; after {:g} s it is lost", *node.silent_s,
                      1e-9 * static_cast<double>(LinkConfig{}.lease_ns)));
}

// What a shell has done to the nodes that work for it.
void say_steered(const ShellSources& sources, const std::string& stage,
                 const std::function<void(const std::string&, const std::string&)>& say) {
  if (!sources.nodes) return;
  for (const auto& [node, host] : sources.store->drained())
    say(fmt::format("{} on {} is drained", node, host), fmt::format("'undrain {}' lets it work again", node));
  std::map<std::string, std::string> workers;
  for (const StageRow& row : sources.store->stages())
    if (row.name == stage)
      for (const ChangeRow& c : sources.store->changes(row.id))
        if (c.attribute.ends_with(kReplicas)) workers[c.attribute.substr(0, c.attribute.size() - kReplicas.size())] = c.after;
  for (const auto& [role, n] : workers)
    if (n != "0") say(fmt::format("{} is scaled", role), fmt::format("to {} node{} at a time", n, n == "1" ? "" : "s"));
}

}  // namespace

Json why_so_slow(const ShellSources& sources) {
  Json answer = {{"title", "running stages"}, {"columns", {"stage", "what", "value"}}, {"rows", Json::array()}};
  for (const ShellStage& stage : sources.stages()) {
    const bool paused = stage.phase == word_of(StagePhase::paused);
    if (stage.phase != word_of(StagePhase::running) && !paused) continue;
    const auto say = [&](const std::string& what, const std::string& value) {
      answer["rows"].push_back({{"stage", stage.name}, {"what", what}, {"value", value}});
    };
    const StageTimes& times = stage.times;
    const auto share = [&](double s) {
      return times.seconds > 0 ? fmt::format("{:.0f} % of {:.1f} s", 100 * s / times.seconds, times.seconds) : "not yet";
    };
    for (const auto& [engine, s] : times.engine_s) say(engine + " at work", share(s));
    if (samples_and_learns(times)) say("generator and trainer at once", share(times.overlap_s));
    say("no engine at work", share(times.idle_s));
    for (const WaitRow& wait : sources.waits->waits(stage.name))
      if (wait.key.rfind("job ", 0) != 0)
        say(fmt::format("{} waits", who_waits(wait)),
            fmt::format("{}{}, {:.1f} s", wait.reason,
                        wait.reason.find(wait.on) != std::string::npos ? "" : " (" + wait.on + ")", wait.waiting_s));
    say_silent(sources, say);
    say_steered(sources, stage.name, say);
    const auto [verdict, advice] =
        paused ? std::pair{std::string("it is paused"), std::string("'resume' lets the run go on")} : verdict_on(times);
    say("so", verdict);
    if (!advice.empty()) say("try", advice);
  }
  return answer;
}

Json versions_of(const RunStore& store, const StageRow& stage) {
  Json answer = {{"title", "versions of " + stage.name}, {"columns", {"version", "hash"}}, {"rows", Json::array()}};
  for (const VersionRow& row : store.versions(stage.id))
    answer["rows"].push_back({{"version", row.version}, {"hash", row.hash}});
  return answer;
}

std::string end_of_log(const std::filesystem::path& run_dir, int64_t lines) {
  const std::filesystem::path file = run_dir / "r1.log";
  if (!std::filesystem::exists(file)) throw bad_input("there is no log", {file.string()});
  const FileReader reader(file);
  std::string text(std::min(reader.size(), kLogBytes), '\0');
  reader.read(reader.size() - text.size(), text.data(), text.size());
  if (text.ends_with('\n')) text.pop_back();
  size_t at = text.size();
  for (int64_t n = 0; n < lines; ++n) {
    at = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
    if (at == std::string::npos) return text;
  }
  return text.substr(at + 1);
}

}  // namespace r1
