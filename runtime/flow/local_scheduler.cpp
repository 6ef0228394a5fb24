#include "runtime/flow/local_scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/flow/what_of.h"
#include "runtime/store/run_store.h"

namespace r1 {

static WorldOptions world_options(const LocalOptions& options) {
  WorldOptions world;
  world.seed = options.seed;
  world.random_order = options.random_order;
  world.message_ns = options.message_ns;
  if (options.job_ns) world.job_ns = [cost = options.job_ns](const std::string& name) { return name.empty() ? 0 : cost(name); };
  world.after_step = options.after_step;
  return world;
}

LocalScheduler::LocalScheduler(const GraphView& graph, const std::string& stage, RunStore& store, const RoleFactory& factory,
                               LocalOptions options)
    : graph_(graph),
      stage_(graph.stage(stage)),
      options_(std::move(options)),
      world_(world_options(options_)),
      waits_(world_.clock()),
      times_(world_.clock()),
      faults_(options_.faults) {
  if (stage_ == nullptr) throw bad_input(fmt::format("the graph has no stage {}", stage));
  HostServices services;
  services.graph = &graph_;
  services.stage = stage_;
  services.stage_id = store.ensure_stage(stage);
  services.store = &store;
  services.waits = &waits_;
  services.times = &times_;
  services.clock = &world_.clock();
  services.faults = &faults_;
  waits_.progressed(stage);
  LocalLinks links;
  links.codec = options_.codec;
  hosts_ = std::make_unique<LocalStage>(world_, services, factory, std::move(links));
}

const LocalScheduler::Result& LocalScheduler::run(int64_t max_steps) {
  while (result_.outcome == Outcome::running && max_steps-- > 0) {
    if (hosts_->all_finished()) {
      result_.outcome = Outcome::finished;
      break;
    }
    const bool moved = world_.step();
    result_.steps = world_.steps();
    if (const auto failure = hosts_->failure()) {
      result_.outcome = Outcome::failed;
      result_.error = failure->error;
      result_.report = fmt::format("{}: {}", failure->node, what_of(failure->error));
    } else if (!moved) {
      // Nothing is left that could move: virtual time passes until every deadline is over.
      world_.clock().advance_ns(static_cast<int64_t>((std::max(options_.stall_s, options_.job_stall_s) + 1) * 1e9));
      result_.outcome = Outcome::stalled;
      result_.report = waits_.stall_report(stage_->name, options_.stall_s, options_.job_stall_s);
      for (const auto& role : hosts_->roles())
        if (role.state != RoleStatus::finished) result_.report += fmt::format("\n  not finished: {}", role.node);
    }
  }
  return result_;
}

Role& LocalScheduler::role(const std::string& node) {
  RoleHost* const host = hosts_->host(node);
  if (host == nullptr) throw bad_input(fmt::format("stage {} has no role {}", stage_->name, node));
  return host->role();
}

bool LocalScheduler::role_finished(const std::string& node) {
  for (const auto& role : hosts_->roles())
    if (role.node == node) return role.state == RoleStatus::finished;
  throw bad_input(fmt::format("stage {} has no role {}", stage_->name, node));
}

std::string LocalScheduler::progress_of(const std::string& node) const {
  for (const auto& role : hosts_->roles())
    if (role.node == node) return role.progress;
  return {};
}

}  // namespace r1
