// The hash of texts one behind the other, without having them in memory together: what hash_string() (base/hash.h) gives for
// the whole. Thread rule: an object belongs to one thread at a time.
#pragma once

#include <memory>
#include <string_view>

#include "base/hash.h"

struct XXH3_state_s;

namespace r1 {

class HashStream {
 public:
  HashStream();
  void add(std::string_view text);
  Hash128 value() const;  // of all that was added so far

 private:
  std::unique_ptr<XXH3_state_s, void (*)(XXH3_state_s*)> state_;
};

}  // namespace r1
