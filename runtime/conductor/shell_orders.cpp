#include "runtime/conductor/shell_orders.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "runtime/flow/steered_role.h"
#include "runtime/store/run_store.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }
std::string text_answer(const std::string& text) { return dumped({{"text", text}}); }

Error not_running(const std::string& what) { return bad_input(fmt::format("no role {} is running", what), {}, "see 'ps'"); }

std::string inspected(const std::string& node, const std::string& text) {
  const Json state = ordered_json_or_null(text);
  if (!state.is_object()) return text_answer(text);
  Json answer = {{"title", node}, {"columns", {"what", "value"}}, {"rows", Json::array()}};
  for (const auto& [what, value] : state.items()) answer["rows"].push_back({{"what", what}, {"value", value}});
  return dumped(answer);
}

// To the role's thread; a role that cannot be steered answers so.
void hand_over(const OrderedStage& stage, const std::string& node, RoleOrder order) {
  const auto shared = std::make_shared<RoleOrder>(std::move(order));
  if (!stage.host->call(node, [shared](RoleHost& host) { host.order(*shared); })) throw not_running(node);
}

}  // namespace

ShellOrders::ShellOrders(const GraphView& graph, RunStore& store, std::atomic<bool>& paused, Ask ask, ShellNodeOrders nodes,
                         std::function<void(const std::string&)> tell)
    : graph_(graph), store_(store), paused_(paused), ask_(std::move(ask)), nodes_(std::move(nodes)), tell_(std::move(tell)) {}

void ShellOrders::see_to(ShellOrder order, const std::vector<OrderedStage>& stages) {
  try {
    switch (order.kind) {
      case ShellOrder::Kind::inspect:
        return inspect(order, stages);
      case ShellOrder::Kind::set:
        return set(order, stages);
      case ShellOrder::Kind::pause:
        return pause(order);
      case ShellOrder::Kind::resume:
        return resume(order, stages);
      case ShellOrder::Kind::checkpoint:
        return checkpoint(order, stages);
      case ShellOrder::Kind::kill:
        return kill(order, stages);
      case ShellOrder::Kind::ask:
        return ask(order, stages);
      case ShellOrder::Kind::drain:
        return drain(order);
      case ShellOrder::Kind::undrain:
        return undrain(order);
      case ShellOrder::Kind::scale:
        return scale(order);
    }
  } catch (const std::exception&) {
    order.reply->fail(std::current_exception());
  }
}

const OrderedStage& ShellOrders::stage_of(const std::string& node, const std::vector<OrderedStage>& stages) const {
  const NodePlan* const plan = graph_.node(node);
  if (plan == nullptr || plan->stage < 0) {
    std::vector<std::string> names;
    for (const NodePlan& n : graph_.nodes)
      if (!n.artifact) names.push_back(n.id);
    const std::string near = nearest(node, names);
    throw bad_input(fmt::format("no role {} is in the graph", node), {},
                    near.empty() ? "see 'ps'" : fmt::format("did you mean {}?", near));
  }
  return stages.at(static_cast<size_t>(plan->stage));
}

std::string ShellOrders::trainer_of(const StagePlan& stage) const {
  for (const int n : stage.nodes)
    if (const NodePlan& node = graph_.nodes[static_cast<size_t>(n)]; node.role == "trainer" || node.role == "distiller")
      return node.id;
  return "";
}

void ShellOrders::note(int64_t stage, const ShellOrder& order, const std::string& kind, const std::string& what) const {
  store_.add_event(stage, "r1-shell", kind, dumped({{"who", order.who}, {"what", what}}));
  store_.flush();
  log_info(fmt::format("r1-shell ({}): {} {}", order.who, kind, what));
  tell_(fmt::format("r1-shell: {}{}{}", kind, what.empty() ? "" : " ", what));
}

void ShellOrders::inspect(const ShellOrder& order, const std::vector<OrderedStage>& stages) const {
  const OrderedStage& stage = stage_of(order.target, stages);
  const auto look = [reply = order.reply, node = order.target](RoleHost& host) {
    reply->answer(inspected(node, host.role().inspect()));
  };
  if (stage.host == nullptr || !stage.host->call(order.target, look)) throw not_running(order.target);
}

void ShellOrders::set(const ShellOrder& order, const std::vector<OrderedStage>& stages) const {
  const OrderedStage& stage = stage_of(order.target, stages);
  const std::string name = order.target + "." + order.attr;
  if (stage.ended) throw bad_input(fmt::format("stage '{}' has ended, it cannot change any more", stage.plan->name));
  // With the change, or before it: what is durable later is durable with it.
  const auto journal = [this, id = stage.id, order](const ChangeRow& row) {
    store_.add_event(id, "r1-shell", "changed",
                     dumped({{"who", order.who},
                             {"attribute", row.attribute},
                             {"before", row.before},
                             {"after", row.after},
                             {"version", row.version}}));
    store_.add_changes(id, {row});
    log_info(fmt::format("r1-shell ({}): {} was {} and is {} from batch {} on", order.who, row.attribute, row.before, row.after,
                         row.version));
  };
  if (stage.host != nullptr) {
    RoleOrder given;
    given.kind = RoleOrder::Kind::set;
    given.attr = order.attr;
    given.value = order.value;
    given.journal = journal;
    given.answer = [reply = order.reply](const RoleOrder::Answer& answer) {
      answer.error ? reply->fail(answer.error) : reply->answer(text_answer(answer.text));
    };
    return hand_over(stage, order.target, std::move(given));
  }
  // Between two incarnations, or before the first: whoever starts next reads it.
  const Attrs& attrs = graph_.node(order.target)->attrs;
  std::string before = attrs.has(order.attr) ? attrs.text(order.attr) : "";
  for (const ChangeRow& row : store_.changes(stage.id))
    if (row.attribute == name) before = row.after;
  const ChangeRow row{store_.batch_count(stage.id), name, before, order.value};
  if (before == order.value) return order.reply->answer(text_answer(fmt::format("{} is {} already", name, before)));
  journal(row);
  order.reply->answer(text_answer(
      fmt::format("{}: {} -> {}, from batch {} on", name, before.empty() ? "(none)" : before, row.after, row.version)));
}

void ShellOrders::pause(const ShellOrder& order) {
  if (paused_) return order.reply->answer(text_answer("the run is paused already; 'resume' lets it go on"));
  note(0, order, "pause", "");
  paused_ = true;
  order.reply->answer(text_answer("paused: the jobs at hand end, none begins; 'resume' lets the run go on"));
}

void ShellOrders::resume(const ShellOrder& order, const std::vector<OrderedStage>& stages) {
  if (!paused_) return order.reply->answer(text_answer("the run is not paused"));
  note(0, order, "resume", "");
  paused_ = false;
  for (const OrderedStage& stage : stages)
    for (const int n : stage.plan->nodes)
      if (stage.host != nullptr)
        stage.host->call(graph_.nodes[static_cast<size_t>(n)].id, [](RoleHost& host) { host.resume(); });
  order.reply->answer(text_answer("the run goes on"));
}

void ShellOrders::checkpoint(const ShellOrder& order, const std::vector<OrderedStage>& stages) const {
  if (!order.target.empty() && graph_.stage(order.target) == nullptr)
    throw bad_input(fmt::format("no stage {}", order.target), {}, "see 'stages'");
  for (const OrderedStage& stage : stages) {
    const std::string trainer = trainer_of(*stage.plan);
    if (stage.host == nullptr || trainer.empty() || (!order.target.empty() && stage.plan->name != order.target)) continue;
    RoleOrder given;
    given.kind = RoleOrder::Kind::checkpoint;
    given.answer = [reply = order.reply](const RoleOrder::Answer& answer) {
      answer.error ? reply->fail(answer.error) : reply->answer(text_answer(answer.text));
    };
    return hand_over(stage, trainer, std::move(given));
  }
  throw bad_input(
      order.target.empty() ? "no stage that trains is running" : fmt::format("stage {} is not training now", order.target), {},
      "see 'stages'");
}

void ShellOrders::kill(const ShellOrder& order, const std::vector<OrderedStage>& stages) const {
  const OrderedStage& stage = stage_of(order.target, stages);
  bool running = false;
  if (stage.host != nullptr)
    for (const StageHost::RoleState& role : stage.host->roles())
      running = running || (role.node == order.target && role.state == RoleStatus::running);
  if (!running) throw not_running(order.target);
  note(stage.id, order, "kill", order.target);
  *stage.killed = order.target;
  stage.host->call(order.target, [](RoleHost&) { throw failure("killed by r1-shell"); });
  order.reply->answer(
      text_answer(fmt::format("{} is killed; stage {} starts again from the run store", order.target, stage.plan->name)));
}

void ShellOrders::ask(const ShellOrder& order, const std::vector<OrderedStage>& stages) const {
  if (!ask_) throw bad_input("this run cannot be asked");
  for (size_t i = 0; i < stages.size(); ++i) {
    const OrderedStage& stage = stages[i];
    if (stage.host == nullptr) continue;
    const std::string trainer = trainer_of(*stage.plan);
    if (trainer.empty()) return ask_(static_cast<int>(i), order.value, nullptr, order.reply);
    RoleOrder given;
    given.kind = RoleOrder::Kind::weights;
    given.answer = [this, i, order](const RoleOrder::Answer& answer) {
      answer.error ? order.reply->fail(answer.error) : ask_(static_cast<int>(i), order.value, answer.payload, order.reply);
    };
    return hand_over(stage, trainer, std::move(given));
  }
  throw bad_input("no stage is running now", {}, "see 'stages'");
}

void ShellOrders::drain(const ShellOrder& order) const {
  if (!nodes_.drain) throw bad_input("this run has no nodes");
  const std::string answer = nodes_.drain(order.target);
  note(0, order, "drain", order.target);
  order.reply->answer(text_answer(answer));
}

void ShellOrders::undrain(const ShellOrder& order) const {
  if (!nodes_.undrain) throw bad_input("this run has no nodes");
  const std::string answer = nodes_.undrain(order.target);
  note(0, order, "undrain", order.target);
  order.reply->answer(text_answer(answer));
}

void ShellOrders::scale(const ShellOrder& order) const {
  if (!nodes_.scale) throw bad_input("this run has no nodes");
  const std::string answer = nodes_.scale(order.target, order.count);
  note(0, order, "scale", fmt::format("{} {}", order.target, order.count));
  order.reply->answer(text_answer(answer));
}

}  // namespace r1
