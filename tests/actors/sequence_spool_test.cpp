#include "actors/sequence_spool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/rng.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

Sequence sequence(uint64_t i) {
  Rng rng(7, "sequence", i);
  Sequence s;
  const size_t n = i % 5 == 0 ? 0 : rng.below(i % 97 == 0 ? 200'000 : 300);
  for (size_t k = 0; k < n; ++k) {
    s.tokens.push_back(static_cast<int32_t>(rng.below(150'000)));
    s.trainable.push_back(static_cast<uint8_t>(rng.below(2)));
  }
  return s;
}

TEST(SequenceSpool, gives_back_every_sequence_in_any_order) {
  TemporaryDirectory dir;
  SequenceSpool spool(dir.path() / "snapshots" / "sft-examples");
  constexpr int64_t kCount = 1000;  // of several megabytes: some in the file, the last ones in the buffer
  for (int64_t i = 0; i < kCount; ++i) spool.append(sequence(static_cast<uint64_t>(i)));
  ASSERT_EQ(spool.size(), kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    const int64_t at = i * 387 % kCount;
    const Sequence s = spool.read(at), expected = sequence(static_cast<uint64_t>(at));
    ASSERT_EQ(s.tokens, expected.tokens) << at;
    ASSERT_EQ(s.trainable, expected.trainable) << at;
  }
}

TEST(SequenceSpool, leaves_no_file_behind_not_even_while_it_is_open) {
  TemporaryDirectory dir;
  SequenceSpool spool(dir.path() / "snapshots" / "sft-examples");
  for (uint64_t i = 0; i < 200; ++i) spool.append(sequence(i));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path() / "snapshots"));
}

}  // namespace
}  // namespace r1
