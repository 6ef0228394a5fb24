#include "runtime/flow/role_host.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/stop.h"
#include "base/wait_note.h"

namespace r1 {
namespace {

// Jobs of one engine closer together than this become one event, up to kIntervalMax_ns: a decode step is no news.
constexpr int64_t kIntervalGap_ns = 10'000'000;
constexpr int64_t kIntervalMax_ns = 1'000'000'000;

bool inside_stage(const GraphView& graph, const EdgePlan& edge) {
  return !edge.crosses && graph.nodes[edge.from].stage >= 0 && graph.nodes[edge.from].stage == graph.nodes[edge.to].stage;
}

int64_t capacity_of(const EdgePlan& edge) {
  return edge.attrs.has("capacity") ? edge.attrs.integer("capacity") : kDefaultCapacity;
}

}  // namespace

namespace {

// What this thread is doing for a role: its own calls may not wait for the disk, its jobs may.
thread_local bool in_role_call = false;
class InRoleCall {
 public:
  explicit InRoleCall(bool now) : before_(std::exchange(in_role_call, now)) {}
  ~InRoleCall() { in_role_call = before_; }
  InRoleCall(const InRoleCall&) = delete;
  InRoleCall& operator=(const InRoleCall&) = delete;

 private:
  const bool before_;
};

}  // namespace

bool conflates(const EdgePlan& edge) { return edge.carries == "weights" || edge.carries == "metrics"; }

struct RoleHost::JobTimes {
  int64_t begin_ns = 0, end_ns = 0;
};

struct RoleHost::Interval {
  std::string engine, longest;
  int64_t begin_ns = 0, end_ns = 0, jobs = 0, longest_ns = 0;
};

RoleHost::RoleHost(const HostServices& services, int node, std::unique_ptr<Role> role, Executor& executor, Executor& io)
    : services_(services),
      index_(node),
      plan_(services.graph->nodes[node]),
      stage_(services.stage->name),
      stored_(services.memory ? nullptr
                              : std::make_unique<StoredStage>(*services.store, services.stage_id, services.stage->name)),
      memory_(services.memory ? *services.memory : *stored_),
      role_(std::move(role)),
      executor_(executor),
      io_(io) {
  const GraphView& graph = *services_.graph;
  for (const int e : plan_.out_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (!inside_stage(graph, edge)) continue;
    Output out;
    out.name = graph.edge_name(edge);
    out.to = edge.to;
    out.conflating = conflates(edge);
    out.capacity = out.conflating ? 1 : capacity_of(edge);
    R1_CHECK(out.capacity > 0, fmt::format("{} has capacity {}", out.name, out.capacity));
    outputs_.emplace(e, std::move(out));
  }
  for (const int e : plan_.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (!inside_stage(graph, edge)) continue;
    inputs_.emplace(e, Input{graph.edge_name(edge), edge.from, 0, 0, conflates(edge)});
    services_.waits->feeds(stage_, graph.nodes[edge.from].id, plan_.id);
  }
}

RoleHost::~RoleHost() { write_interval(); }

RoleHost::Output& RoleHost::output(int edge) {
  const auto at = outputs_.find(edge);
  R1_CHECK(at != outputs_.end(), fmt::format("{} has no live output edge {}", plan_.id, edge));
  return at->second;
}
const RoleHost::Output& RoleHost::output(int edge) const { return const_cast<RoleHost*>(this)->output(edge); }

RoleHost::Input& RoleHost::input(int edge) {
  const auto at = inputs_.find(edge);
  R1_CHECK(at != inputs_.end(), fmt::format("{} has no live input edge {}", plan_.id, edge));
  return at->second;
}

// ---- life -------------------------------------------------------------------------------------------------------------

void RoleHost::guarded(const std::function<void()>& body) {
  if (failed_) return;
  const InRoleCall call(true);
  try {
    body();
    report_if_finished();
  } catch (...) {
    failed_ = true;
    services_.transport->failed(index_, std::current_exception());
  }
}

void RoleHost::start() {
  if (role_->recalls())
    recall();
  else
    begin();
}

void RoleHost::recall() {
  recalling_ = true;
  const std::string key = "recall";
  services_.waits->begin(stage_, plan_.id, key, "to read what the run remembers of the stage", "");
  Job job;
  job.work = [this] {
    const InRoleCall call(false);
    recovered_ = std::make_unique<const Recovery>(memory_.recovery());
  };
  job.finished = [this, key](std::exception_ptr error) {
    services_.transport->run(kFromIo, index_, [this, key, error] {
      services_.waits->end(stage_, plan_.id, key);
      if (error) std::rethrow_exception(error);
      begin();
    });
  };
  io_.submit(std::move(job));
}

void RoleHost::begin() {
  recalling_ = false;
  started_ = true;
  guarded([this] { role_->start(*this); });
  for (const auto& arrived : std::exchange(early_, {})) arrived();
}

void RoleHost::run(std::function<void()> call) {
  if (!started_ && !recalling_) return early_.push_back([this, call = std::move(call)] { guarded(call); });
  guarded(call);
}

void RoleHost::handle(Envelope envelope) {
  if (!started_) return early_.push_back([this, envelope = std::move(envelope)] { handle(envelope); });
  guarded([&] {
    if (envelope.stage_ends) stage_ends();
    switch (envelope.kind) {
      case Envelope::Kind::payload:
        receive(envelope);
        break;
      case Envelope::Kind::credit:
        credit(envelope);
        break;
      case Envelope::Kind::stage_end:
        stage_ends();
        break;
    }
  });
}

void RoleHost::stage_ends() {
  if (!std::exchange(stage_ends_, true) && !finishing_) role_->on_stage_end(*this);
}

void RoleHost::finish() {
  if (finishing_) return;
  finishing_ = true;
  for (const std::string& key : own_waits_) services_.waits->end(stage_, plan_.id, key);
  own_waits_.clear();
  for (auto& [edge, in] : inputs_) give_back(edge, in, in.received - in.released);
  for (auto& [edge, out] : outputs_)
    if (std::exchange(out.waiting, false)) services_.waits->end(stage_, plan_.id, "room " + out.name);
}

void RoleHost::report_if_finished() {
  if (!finishing_ || reported_ || !job_keys_.empty() || calls_ > 0) return;
  reported_ = true;
  write_interval();
  services_.waits->finished(stage_, plan_.id);
  services_.transport->finished(index_);
}

void RoleHost::end_stage() { services_.transport->end_stage(index_); }

// ---- channels ---------------------------------------------------------------------------------------------------------

static std::vector<int> edges_of_kind(const GraphView& graph, const std::string& carries, const std::vector<int>& edges) {
  std::vector<int> found;
  for (const int e : edges)
    if (inside_stage(graph, graph.edges[e]) && (carries.empty() || graph.edges[e].carries == carries)) found.push_back(e);
  return found;
}

std::vector<int> RoleHost::inputs(const std::string& carries) const { return edges_of_kind(graph(), carries, plan_.in_edges); }

std::vector<int> RoleHost::outputs(const std::string& carries) const {
  return edges_of_kind(graph(), carries, plan_.out_edges);
}

int64_t RoleHost::room(int edge) const {
  const Output& out = output(edge);
  if (out.conflating) return kConflatingRoom;
  const int64_t room = out.capacity - out.under_way();
  if (room == 0 && !out.waiting && !finishing_) {
    out.waiting = true;
    services_.waits->begin(stage_, plan_.id, "room " + out.name, fmt::format("for room (capacity {})", out.capacity),
                           graph().nodes[out.to].id);
  }
  return room;
}

void RoleHost::post(int to, Envelope envelope) {
  envelope.stage_ends = stage_ends_;
  services_.transport->post(index_, to, std::move(envelope));
}

void RoleHost::transmit(int edge, Output& out, PayloadPtr payload) {
  const int64_t number = ++out.sent;
  services_.waits->sent(stage_, out.name, graph().edges[edge].carries, out.capacity, number, payload->describe());
  if (services_.faults->drop(out.name, number)) return;
  post(out.to, {Envelope::Kind::payload, edge, number, std::move(payload)});
}

void RoleHost::send(int edge, PayloadPtr payload) {
  R1_CHECK(payload != nullptr, fmt::format("{} sends nothing", plan_.id));
  Output& out = output(edge);
  if (out.conflating && out.under_way() > 0) {
    out.held = std::move(payload);
    return;
  }
  R1_CHECK(out.under_way() < out.capacity,
           fmt::format("{} is full: {} of {} under way", out.name, out.under_way(), out.capacity));
  transmit(edge, out, std::move(payload));
}

void RoleHost::release(int edge, int64_t n) {
  Input& in = input(edge);
  if (in.conflating || finishing_) return;
  R1_CHECK(n >= 0 && in.released + n <= in.received,
           fmt::format("{}: released {} + {} of {} received", in.name, in.released, n, in.received));
  give_back(edge, in, n);
}

void RoleHost::give_back(int edge, Input& in, int64_t n) {
  if (n == 0) return;
  in.released += n;
  services_.waits->released(stage_, in.name, n);
  post(in.from, {Envelope::Kind::credit, edge, in.released, nullptr});
}

void RoleHost::receive(const Envelope& envelope) {
  Input& in = input(envelope.edge);
  const std::string what = envelope.payload->describe();
  services_.waits->received(stage_, in.name, envelope.number, what);
  if (envelope.number != in.received + 1) {
    std::string lost = fmt::format("message {}", in.received + 1);
    for (const ChannelRow& row : services_.waits->channels(stage_))
      if (row.edge == in.name && !row.lost.empty()) lost = row.lost.front();
    throw failure(
        fmt::format("{} of {} was lost: message {} ({}) arrived after {}", lost, in.name, envelope.number, what, in.received));
  }
  ++in.received;
  if (in.conflating || finishing_) give_back(envelope.edge, in, 1);
  if (!finishing_) role_->receive(*this, envelope.edge, envelope.payload);
}

void RoleHost::credit(const Envelope& envelope) {
  Output& out = output(envelope.edge);
  if (envelope.number <= out.released) return;
  if (envelope.number > out.sent)
    throw failure(fmt::format("{}: {} messages were released and {} sent", out.name, envelope.number, out.sent));
  const bool was_full = out.under_way() >= out.capacity;
  out.released = envelope.number;
  if (out.conflating) {
    if (out.held) transmit(envelope.edge, out, std::move(out.held));
    return;
  }
  if (std::exchange(out.waiting, false)) services_.waits->end(stage_, plan_.id, "room " + out.name);
  if (was_full && !finishing_) role_->on_room(*this, envelope.edge);
}

// ---- jobs -------------------------------------------------------------------------------------------------------------

void RoleHost::submit(std::string what, std::string engine, std::function<void()> work, std::function<void()> done) {
  Job job = make_job(kFromExecutor, std::move(what), std::move(engine), std::move(work), std::move(done));
  if (!held_.empty() || (services_.paused != nullptr && *services_.paused))
    held_.push_back(std::move(job));
  else
    executor_.submit(std::move(job));
}

void RoleHost::resume() {
  for (Job& job : std::exchange(held_, {})) executor_.submit(std::move(job));
}

void RoleHost::order(RoleOrder order) {
  auto* const steered = dynamic_cast<SteeredRole*>(role_.get());
  if (steered == nullptr)
    return order.answer({"", nullptr, std::make_exception_ptr(bad_input(fmt::format("a {} takes no orders", plan_.role)))});
  const auto start = [this, answer = order.answer](Executor& executor, int from, std::string what, std::function<void()> work,
                                                   std::function<void()> done) {
    auto failed = std::make_shared<bool>(false);
    const auto tried = [answer, failed, work = std::move(work)] {
      try {
        work();
      } catch (const Error&) {
        *failed = true;
        answer({"", nullptr, std::current_exception()});
      }
    };
    const auto then = [failed, done = std::move(done)] {
      if (!*failed && done) done();
    };
    executor.submit(make_job(from, std::move(what), "", tried, then));
  };
  order.submit = [this, start](std::string what, std::function<void()> work, std::function<void()> done) {
    start(executor_, kFromExecutor, std::move(what), std::move(work), std::move(done));
  };
  order.submit_io = [this, start](std::string what, std::function<void()> work, std::function<void()> done) {
    start(io_, kFromIo, std::move(what), std::move(work), std::move(done));
  };
  steered->order(*this, std::move(order));
}

void RoleHost::submit_io(std::string what, std::function<void()> work, std::function<void()> done) {
  io_.submit(make_job(kFromIo, std::move(what), "", std::move(work), std::move(done)));
}

Job RoleHost::make_job(int from, std::string what, std::string engine, std::function<void()> work, std::function<void()> done) {
  const int64_t number = ++jobs_;
  std::string key = "job " + what;
  if (job_keys_.count(key)) key += fmt::format(" #{}", number);
  job_keys_.insert(key);
  services_.waits->begin(stage_, plan_.id, key, "queued", "");
  auto times = std::make_shared<JobTimes>();
  Job job;
  job.work = [this, key, engine, number, times, work = std::move(work)] {
    struct AtWork {
      const HostServices& services;
      const std::string& engine;
      JobTimes& times;
      AtWork(const HostServices& s, const std::string& e, JobTimes& t) : services(s), engine(e), times(t) {
        times.begin_ns = services.clock->now_ns();
        if (!engine.empty()) services.times->begin(engine);
      }
      ~AtWork() {
        if (!engine.empty()) services.times->end(engine);
        times.end_ns = services.clock->now_ns();
      }
    };
    services_.waits->begin(stage_, plan_.id, key, "running", "");
    const AtWork at_work(services_, engine, *times);
    if (const int64_t ms = services_.faults->slow_ms(plan_.id)) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    if (services_.faults->fail(plan_.id, number)) throw failure(fmt::format("injected fault: job {} of {}", number, plan_.id));
    const std::function<void()> moved = [this] { services_.waits->progressed(stage_); };
    const StopScope scope({services_.stop, &moved});
    check_stop();
    const WaitSink waits = [this](const std::string& who, const std::string& reason) {
      reason.empty() ? services_.waits->end(stage_, plan_.id, who) : services_.waits->begin(stage_, plan_.id, who, reason, "");
    };
    const WaitScope looked_at(&waits);
    const InRoleCall call(false);
    work();
  };
  job.finished = [this, from, key, what, engine, times, done = std::move(done)](std::exception_ptr error) {
    services_.transport->run(
        from, index_, [this, key, what, engine, times, error, done] { job_done(key, what, engine, *times, error, done); });
  };
  return job;
}

void RoleHost::job_done(const std::string& key, const std::string& what, const std::string& engine, const JobTimes& times,
                        std::exception_ptr error, const std::function<void()>& done) {
  job_keys_.erase(key);
  services_.waits->end(stage_, plan_.id, key);
  services_.waits->progressed(stage_);
  if (!engine.empty()) note_interval(what, engine, times);
  if (error) std::rethrow_exception(error);
  if (done) done();
}

void RoleHost::note_interval(const std::string& what, const std::string& engine, const JobTimes& times) {
  const bool joins = interval_ && interval_->engine == engine && times.begin_ns - interval_->end_ns < kIntervalGap_ns &&
                     times.end_ns - interval_->begin_ns < kIntervalMax_ns;
  if (!joins) {
    write_interval();
    interval_ = std::make_unique<Interval>(Interval{engine, what, times.begin_ns, times.end_ns, 0, 0});
  }
  interval_->end_ns = times.end_ns;
  ++interval_->jobs;
  if (const int64_t ns = times.end_ns - times.begin_ns; ns > interval_->longest_ns) {
    interval_->longest_ns = ns;
    interval_->longest = what;
  }
}

void RoleHost::write_interval() {
  if (!interval_) return;
  const nlohmann::json json = {{"engine", interval_->engine},   {"begin_ns", interval_->begin_ns},
                               {"end_ns", interval_->end_ns},   {"jobs", interval_->jobs},
                               {"longest", interval_->longest}, {"longest_ns", interval_->longest_ns}};
  interval_.reset();
  memory_.event(plan_.id, "work", json.dump());
}

void RoleHost::later(std::function<void()> f) {
  ++calls_;
  services_.transport->run(index_, index_, [this, f = std::move(f)] {
    --calls_;
    f();
  });
}

void RoleHost::post_from_outside(std::function<void()> call) {
  services_.transport->run(kFromOutside, index_, std::move(call));
}

void RoleHost::engine_at_work(const std::string& engine, bool begins) {
  if (engine.empty()) return;
  begins ? services_.times->begin(engine) : services_.times->end(engine);
}

// ---- waits and records ------------------------------------------------------------------------------------------------

void RoleHost::wait_for(const std::string& key, const std::string& reason, const std::string& on_node) {
  if (finishing_) return;
  own_waits_.insert(key);
  services_.waits->begin(stage_, plan_.id, key, reason, on_node);
}

void RoleHost::wait_over(const std::string& key) {
  if (own_waits_.erase(key)) services_.waits->end(stage_, plan_.id, key);
}

const Recovery& RoleHost::recovered() const {
  R1_CHECK(recovered_ != nullptr, plan_.id + " recalls nothing");
  return *recovered_;
}

StageJournal& RoleHost::journal() {
  R1_CHECK(!in_role_call, plan_.id + " would wait for the disk outside of a job");
  return memory_;
}

void RoleHost::metric(int64_t step, const std::string& name, double value) { memory_.metric(step, name, value); }

void RoleHost::event(const std::string& kind, const std::string& json) { memory_.event(plan_.id, kind, json); }

void RoleHost::progress(const std::string& text) { services_.transport->progress(index_, text); }

}  // namespace r1
