// Who of the nodes holds or fetches what, and from whom the next one is to fetch it: a tree for each content, in the order in
// which nodes came to it, so that nobody waits for itself. The head's link carries a content once, and each node's twice at
// most, however many nodes want it. Knows no links, addresses or bytes. Thread rule: one thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/net/link.h"

namespace r1 {

class ContentTree {
 public:
  static constexpr size_t kParents = 2;   // that a node is given: the second one for when the first fails
  static constexpr size_t kChildren = 2;  // whose first parent a node is

  // `who` wants it: its parents, the first one first; none: the head. Those of its host are preferred.
  std::vector<PeerId> join(const std::string& hash, PeerId who, const std::string& host);
  void holds(const std::string& hash, PeerId who, const std::string& host);
  void lost(PeerId who);  // everywhere
  void bar(PeerId who);   // it is nobody's parent from now on: it cannot listen
  void forget(const std::string& hash);
  std::vector<PeerId> members(const std::string& hash) const;

 private:
  struct Place {
    PeerId peer = 0;
    std::string host;
    size_t children = 0;
    PeerId parent = 0;  // the first one; 0: the head
  };
  std::map<std::string, std::vector<Place>> places_;  // by content; in the order of coming
  std::set<PeerId> barred_;
};

}  // namespace r1
