// What the roles of a node held of their stages' states - weights - when the link to their head was lost: by content, so that
// the next head need not send what is here. Each is handed out once. Says in the node's greeting what there is
// (PeerHello::extra). Thread rule: one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "runtime/flow/envelope.h"
#include "runtime/nodes/node_words.h"

namespace r1 {

class KeptStates {
 public:
  // `state`: of the role `node` of open.stage; null, and what has no content(), is not kept.
  void put(const OpenRole& open, int node, PayloadPtr state);
  PayloadPtr take(const std::string& content);  // null: it is not here
  void forget(const OpenRole& open, int node);  // that role has something newer
  std::string greeting() const;                 // at most kMaxHelloExtra bytes

 private:
  struct Kept {
    std::string stage;
    int node = -1;
    PayloadPtr state;
  };
  std::vector<Kept> kept_;
};

// The contents that a greeting speaks of. Throws failure for bytes that are no greeting; "" speaks of nothing.
std::vector<std::string> kept_contents(const std::string& greeting);

}  // namespace r1
