// Graphs and roles for tests of the runtime: numbers travel from a source over relays to a sink.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/flow/role.h"
#include "runtime/store/run_store.h"

namespace r1 {

struct Number final : Payload {
  explicit Number(int64_t v) : value(v) {}
  const char* kind() const override { return "number"; }
  std::string describe() const override { return "number " + std::to_string(value); }
  int64_t value;
};
inline int64_t number_of(const PayloadPtr& payload) { return static_cast<const Number&>(*payload).value; }

// Builds a GraphView by hand.
class GraphBuilder {
 public:
  GraphBuilder& stage(const std::string& name, std::vector<int> after = {}) {
    StagePlan plan;
    plan.name = name;
    plan.after = std::move(after);
    graph_.stages.push_back(plan);
    return *this;
  }
  GraphBuilder& node(const std::string& id, const std::string& role) {
    NodePlan plan;
    plan.id = id;
    plan.role = role;
    plan.stage = static_cast<int>(graph_.stages.size()) - 1;
    graph_.stages.back().nodes.push_back(static_cast<int>(graph_.nodes.size()));
    graph_.nodes.push_back(plan);
    return *this;
  }
  GraphBuilder& edge(const std::string& from, const std::string& to, int capacity = 0, const std::string& carries = "numbers") {
    EdgePlan plan;
    plan.index = static_cast<int>(graph_.edges.size());
    plan.from = index(from);
    plan.to = index(to);
    plan.carries = carries;
    if (capacity > 0) plan.attrs.given["capacity"] = {std::to_string(capacity), {}, false};
    graph_.nodes[plan.from].out_edges.push_back(plan.index);
    graph_.nodes[plan.to].in_edges.push_back(plan.index);
    graph_.edges.push_back(plan);
    return *this;
  }
  GraphView build() const { return graph_; }

 private:
  int index(const std::string& id) const {
    for (size_t i = 0; i < graph_.nodes.size(); ++i)
      if (graph_.nodes[i].id == id) return static_cast<int>(i);
    throw bad_input("no node " + id);
  }
  GraphView graph_;
};

// Sends 1..count on every output, then finishes.
class SourceRole : public Role {
 public:
  explicit SourceRole(int64_t count) : count_(count) {}
  void start(RoleContext& context) override {
    for (const int edge : context.outputs("numbers")) sent_[edge] = 0;
    for (auto& [edge, sent] : sent_) pump(context, edge);
  }
  void receive(RoleContext& context, int edge, PayloadPtr) override { context.release(edge); }
  void on_room(RoleContext& context, int edge) override { pump(context, edge); }

 private:
  void pump(RoleContext& context, int edge) {
    while (sent_[edge] < count_ && context.room(edge) > 0) context.send(edge, std::make_shared<Number>(++sent_[edge]));
    for (auto& [e, sent] : sent_)
      if (sent < count_) return;
    context.finish();
  }
  int64_t count_;
  std::map<int, int64_t> sent_;
};

// Takes `count` numbers from its inputs, does a job for each, passes them on in that order to its one output, then finishes.
class RelayRole : public Role {
 public:
  explicit RelayRole(int64_t count, bool io = false) : count_(count), io_(io) {}
  void start(RoleContext& context) override { out_ = context.outputs("numbers").at(0); }
  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    auto done = [this, &context, edge, payload] {
      ready_.push_back({edge, payload});
      pump(context);
    };
    const std::string what = "relay " + payload->describe();
    if (io_) {
      context.submit_io(
          what, [] {}, done);
    } else {
      context.submit(
          what, "trainer", [] {}, done);
    }
  }
  void on_room(RoleContext& context, int) override { pump(context); }

 private:
  void pump(RoleContext& context) {
    while (!ready_.empty() && context.room(out_) > 0) {
      context.send(out_, ready_.front().second);
      context.release(ready_.front().first);
      ready_.pop_front();
      if (++passed_ == count_) context.finish();
    }
  }
  int64_t count_, passed_ = 0;
  bool io_;
  int out_ = -1;
  std::deque<std::pair<int, PayloadPtr>> ready_;
};

// Takes `count` numbers and keeps them by edge; finishes then.
class SinkRole : public Role {
 public:
  explicit SinkRole(int64_t count) : count_(count) {}
  void start(RoleContext& context) override { context.wait_for("input", "for numbers", ""); }
  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    got[edge].push_back(number_of(payload));
    context.later([&context, edge] { context.release(edge); });
    if (++taken_ == count_) context.finish();
  }
  std::map<int, std::vector<int64_t>> got;

 private:
  int64_t count_, taken_ = 0;
};

}  // namespace r1
