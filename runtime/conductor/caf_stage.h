// CafStage: one incarnation of a stage - a RoleHost per role inside a CAF actor of its own (event-based, cooperatively
// scheduled), a thread per role for its jobs, a lane of the shared I/O thread - and what they report. Destroying it is the
// teardown. Thread rule: owned by the conductor's thread; the HostTransport side is thread-safe.
#pragma once

#include <atomic>
#include <caf/all.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/flow/stage_host.h"

namespace r1 {

using EnvelopePtr = std::shared_ptr<Envelope>;
using CallPtr = std::shared_ptr<std::function<void()>>;

class CafStage final : public StageHost, public HostTransport {
 public:
  // `services.transport` and `services.stop` are set here. `wake` is called (any thread) whenever something happened. Creates
  // the roles - what their constructors throw comes out of here - and starts them.
  CafStage(caf::actor_system& system, HostServices services, const RoleFactory& factory, Executor& io,
           std::function<void()> wake);
  ~CafStage() override;

  bool teardown(double limit_s) override;
  bool all_finished() const override;
  std::optional<Failure> failure() const override;
  std::vector<RoleState> roles() const override;
  bool call(const std::string& node, std::function<void(RoleHost&)> call) override;

  void post(int from, int to, Envelope envelope) override;
  void run(int from, int on, std::function<void()> call) override;
  void finished(int node) override;
  void failed(int node, std::exception_ptr error) override;
  void end_stage(int node) override;
  void progress(int node, const std::string& text) override;

 private:
  caf::actor& actor(int node);

  struct Slot {
    std::unique_ptr<Executor> executor, io_lane;
    std::unique_ptr<RoleHost> host;
    caf::actor actor;
    RoleStatus state = RoleStatus::running;
    std::string progress;  // under mutex_
  };

  HostServices services_;
  std::function<void()> wake_;
  std::map<int, Slot> slots_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  size_t actors_alive_ = 0;         // under mutex_
  std::optional<Failure> failure_;  // under mutex_
  std::atomic<bool> closed_{false};
  bool torn_down_ = false;
};

}  // namespace r1

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(r1::EnvelopePtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(r1::CallPtr)
