#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/hash_stream.h"

namespace r1 {
namespace {

TEST(Hash, is_the_published_xxh3_128_of_the_empty_string) {
  EXPECT_EQ(hash_string("").hex(), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, of_a_stream_is_that_of_the_whole_however_it_is_cut) {
  std::string whole;
  HashStream stream;
  EXPECT_EQ(stream.value(), hash_string(""));
  for (size_t n = 0; n < 600; ++n) {
    const std::string piece(n % 97, static_cast<char>('a' + n % 26));
    whole += piece;
    stream.add(piece);
  }
  EXPECT_EQ(stream.value(), hash_string(whole));
}

TEST(Hash, changes_with_one_bit_and_with_the_order_of_parts) {
  EXPECT_NE(hash_string("weights"), hash_string("weighus"));
  const Hash128 a = hash_string("a"), b = hash_string("b");
  const Hash128 ab[] = {a, b}, ba[] = {b, a}, one[] = {a};
  EXPECT_NE(hash_list(ab), hash_list(ba));
  EXPECT_NE(hash_list(one), a);
}

}  // namespace
}  // namespace r1
