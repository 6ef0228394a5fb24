// Sequences are equal when all of their parts are. Thread rule: as GoogleTest's assertions.
#pragma once

#include <gtest/gtest.h>

#include "models/sequence.h"

namespace r1 {

inline void expect_equal(const Sequence& a, const Sequence& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.trainable, b.trainable);
  EXPECT_EQ(a.behaviour_logp, b.behaviour_logp);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.exact, b.exact);
}

}  // namespace r1
