// What the shell of a run may ask of a role while it works. Roles that can be steered implement this beside Role
// (runtime/flow/role.h), as trainers do; the conductor hands the orders over (runtime/conductor/shell_orders.h).
// Thread rule: order() on the role's logical thread; what an order carries says its own.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "runtime/flow/role.h"
#include "runtime/store/rows.h"

namespace r1 {

struct RoleOrder {
  // set: `attr` becomes `value` from a version on that the role states; journaled before it is answered.
  // checkpoint: what was learned so far goes to disk.
  // weights: the newest ones as they are published, as the answer's payload.
  enum class Kind { set, checkpoint, weights };
  Kind kind = Kind::weights;
  std::string attr, value;

  struct Answer {
    std::string text;
    PayloadPtr payload;
    std::exception_ptr error;  // instead of both
  };
  std::function<void(Answer)> answer;  // any thread, once
  // Makes a change durable; from jobs only.
  std::function<void(const ChangeRow&)> journal;
  // RoleContext::submit() and submit_io() for the order's own work, which does not wait for a pause to end. An exception in
  // `work` is the order's answer and not the role's failure.
  std::function<void(std::string what, std::function<void()> work, std::function<void()> done)> submit, submit_io;
};

class SteeredRole {
 public:
  virtual ~SteeredRole() = default;
  // May come before start(), and after the role has finished.
  virtual void order(RoleContext& context, RoleOrder order) = 0;
};

}  // namespace r1
