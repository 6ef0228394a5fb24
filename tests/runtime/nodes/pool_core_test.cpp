// The pool's rules one at a time; tests/runtime/nodes/pool_schedule_test.cpp holds them against faults in any order.
#include <gtest/gtest.h>

#include "runtime/nodes/pool_core.h"

namespace r1 {
namespace {

using Kind = PoolCommand::Kind;

std::vector<int64_t> keys(const std::vector<PoolCommand>& commands, Kind kind, WorkerId worker = 0) {
  std::vector<int64_t> found;
  for (const PoolCommand& c : commands)
    if (c.kind == kind && (worker == 0 || c.worker == worker)) found.push_back(c.key);
  return found;
}
int64_t released(const std::vector<PoolCommand>& commands) {
  int64_t n = 0;
  for (const PoolCommand& c : commands)
    if (c.kind == Kind::release) n += c.number;
  return n;
}
using Keys = std::vector<int64_t>;

void join(PoolCore& pool, WorkerId worker, Incarnation incarnation) {
  pool.joined(worker, incarnation);
  pool.started(worker, incarnation);
}

TEST(PoolCore, questions_go_lowest_first_to_the_worker_with_the_fewest) {
  PoolCore pool({.window = 2, .needed = {}});
  for (const int64_t key : {5, 3, 4, 1, 2}) pool.asked(key);
  join(pool, 7, 1);
  EXPECT_EQ(keys(pool.take(), Kind::give), (Keys{1, 2})) << "its window is 2";
  join(pool, 8, 2);
  EXPECT_EQ(keys(pool.take(), Kind::give, 8), (Keys{3, 4}));
  pool.begun(7, 1, 1);
  EXPECT_EQ(keys(pool.take(), Kind::give, 7), Keys{5});
}

TEST(PoolCore, nothing_is_given_before_the_role_there_has_started_and_holds_what_it_needs) {
  PoolCore pool({.window = 8, .needed = {true, false}});
  pool.asked(0);
  pool.joined(7, 1);
  pool.set_state(0, 4);
  EXPECT_TRUE(pool.take().empty());
  pool.started(7, 1);
  const auto sent = pool.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].kind, Kind::state);
  EXPECT_EQ(sent[0].base, -1) << "whole: it holds nothing";
  pool.has_state(7, 1, 0, 1);
  EXPECT_EQ(keys(pool.take(), Kind::give), Keys{0});
}

TEST(PoolCore, one_state_is_under_way_to_a_worker_and_the_next_is_the_newest_against_what_it_holds) {
  PoolCore pool({.window = 8, .needed = {true}});
  join(pool, 7, 1);
  for (const int64_t version : {0, 1, 2}) pool.set_state(0, version);
  EXPECT_EQ(keys(pool.take(), Kind::state), Keys{0});
  pool.has_state(7, 1, 0, 1);
  const auto next = pool.take();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].key, 2);
  EXPECT_EQ(next[0].base, 0);
  EXPECT_EQ(next[0].number, 2);
}

TEST(PoolCore, a_state_that_a_worker_cannot_use_comes_again_against_nothing_it_holds) {
  PoolCore pool({.window = 2, .needed = {true}});
  join(pool, 7, 1);
  pool.set_state(0, 5);
  EXPECT_EQ(keys(pool.take(), Kind::state), Keys{5});
  pool.again(7, 1, 0);
  EXPECT_TRUE(keys(pool.take(), Kind::state).empty()) << "one is under way";
  pool.again(7, 2, 0);
  pool.has_state(7, 1, 0, 1);
  const auto commands = pool.take();
  ASSERT_EQ(keys(commands, Kind::state), Keys{5});
  EXPECT_EQ(commands[0].base, -1);
  pool.has_state(7, 1, 0, 2);
  EXPECT_TRUE(keys(pool.take(), Kind::state).empty());
}

TEST(PoolCore, the_questions_of_a_lost_worker_go_to_others_whatever_their_window) {
  PoolCore pool({.window = 2, .needed = {}});
  for (int64_t key = 0; key < 4; ++key) pool.asked(key);
  join(pool, 7, 1);
  join(pool, 8, 2);
  pool.take();  // 0 and 1 at one, 2 and 3 at the other
  pool.begun(7, 1, 2);
  ASSERT_TRUE(pool.answered(7, 1, 0, 1));
  pool.lost(7);
  EXPECT_EQ(keys(pool.take(), Kind::give, 8), Keys{1}) << "its window is full of questions that may wait for this one";
  EXPECT_EQ(pool.counts().reissued, 1);
}

TEST(PoolCore, what_another_incarnation_says_is_refused_and_counted) {
  PoolCore pool({.window = 2, .needed = {}});
  pool.asked(0);
  join(pool, 7, 1);
  pool.lost(7);
  join(pool, 7, 2);
  pool.take();
  EXPECT_FALSE(pool.answered(7, 1, 0, 1));
  EXPECT_FALSE(pool.answered(9, 1, 0, 1));
  EXPECT_EQ(pool.counts().refused, 2);
  EXPECT_TRUE(pool.answered(7, 2, 0, 1));
}

TEST(PoolCore, an_answer_that_was_not_asked_for_or_is_out_of_order_is_a_broken_link) {
  PoolCore pool({.window = 4, .needed = {}});
  for (const int64_t key : {0, 1}) pool.asked(key);
  join(pool, 7, 1);
  pool.take();
  EXPECT_FALSE(pool.answered(7, 1, 1, 2));
  EXPECT_EQ(pool.take().at(0).why, "answer 2 came after answer 0");
  EXPECT_FALSE(pool.answered(7, 1, 5, 1));
  EXPECT_EQ(pool.take().at(0).why, "it answers 5, which it was not asked");
  pool.begun(7, 1, 3);
  EXPECT_EQ(pool.take().at(0).why, "3 questions begun and 2 given");
}

TEST(PoolCore, a_worker_has_its_credit_when_its_answer_was_passed_on_and_not_before) {
  PoolCore pool({.window = 4, .needed = {}});
  for (const int64_t key : {0, 1}) pool.asked(key);
  join(pool, 7, 1);
  pool.take();
  pool.answered(7, 1, 1, 1);
  pool.answered(7, 1, 0, 2);
  EXPECT_TRUE(keys(pool.take(), Kind::credit).empty()) << "nobody has room for the answer";
  pool.room(1);
  const auto commands = pool.take();
  EXPECT_EQ(keys(commands, Kind::pass_on), Keys{0}) << "the lowest first";
  EXPECT_EQ(keys(commands, Kind::credit).size(), 1u);
}

TEST(PoolCore, who_asks_has_room_for_as_many_as_were_begun_and_none_is_taken_back) {
  PoolCore pool({.window = 4, .needed = {}});
  for (int64_t key = 0; key < 4; ++key) pool.asked(key);
  join(pool, 7, 1);
  EXPECT_EQ(released(pool.take()), 0);
  pool.begun(7, 1, 3);
  EXPECT_EQ(released(pool.take()), 3);
  pool.lost(7);
  join(pool, 8, 2);
  EXPECT_EQ(released(pool.take()), 0);
  pool.begun(8, 2, 3);
  EXPECT_EQ(released(pool.take()), 0) << "three of four were begun before";
  pool.begun(8, 2, 4);
  EXPECT_EQ(released(pool.take()), 1);
}

TEST(PoolCore, a_worker_that_is_drained_ends_what_it_has_and_is_closed) {
  PoolCore pool({.window = 1, .needed = {}});
  pool.room(10);
  for (int64_t key = 0; key < 2; ++key) pool.asked(key);
  join(pool, 7, 1);
  pool.begun(7, 1, 1);
  pool.take();
  pool.drain(7);
  EXPECT_TRUE(pool.take().empty());
  pool.answered(7, 1, 0, 1);
  EXPECT_EQ(keys(pool.take(), Kind::close).size(), 1u);
  EXPECT_EQ(pool.waiting(), std::set<int64_t>{1});
}

// They may wait for weights that come only after the work of others, which are where this one was.
TEST(PoolCore, what_a_worker_that_is_drained_has_not_begun_goes_to_others) {
  PoolCore pool({.window = 2, .needed = {}});
  pool.room(10);
  for (int64_t key = 0; key < 2; ++key) pool.asked(key);
  join(pool, 7, 1);
  pool.begun(7, 1, 1);
  pool.answered(7, 1, 0, 1);
  join(pool, 8, 2);
  pool.take();
  pool.drain(7);
  const std::vector<PoolCommand> commands = pool.take();
  EXPECT_EQ(keys(commands, Kind::close).size(), 1u);
  EXPECT_EQ(keys(commands, Kind::give), Keys{1});
  EXPECT_FALSE(pool.answered(7, 1, 1, 2)) << "too late";
  EXPECT_EQ(pool.counts().lost, 0);
}

TEST(PoolCore, a_worker_that_is_drained_is_still_sent_what_its_last_questions_wait_for) {
  PoolCore pool({.window = 1, .needed = {true}});
  pool.set_state(0, 4);
  join(pool, 7, 1);
  pool.has_state(7, 1, 0, 1);
  pool.asked(0);
  pool.begun(7, 1, 1);
  pool.take();
  pool.drain(7);
  pool.set_state(0, 5);
  EXPECT_EQ(keys(pool.take(), Kind::state), Keys{5});
}

TEST(PoolCore, answers_whose_order_counts_are_passed_on_in_that_of_the_questions) {
  PoolCore pool({.window = 4, .needed = {}, .ordered = true});
  pool.room(10);
  for (const int64_t key : {4, 5, 6}) pool.asked(key);
  join(pool, 7, 1);
  pool.take();
  pool.answered(7, 1, 5, 1);
  EXPECT_TRUE(keys(pool.take(), Kind::pass_on).empty());
  pool.answered(7, 1, 4, 2);
  EXPECT_EQ(keys(pool.take(), Kind::pass_on), (Keys{4, 5}));
}

TEST(PoolCore, the_end_of_the_stage_closes_all_and_nobody_joins_after_it) {
  PoolCore pool({.window = 1, .needed = {}});
  join(pool, 7, 1);
  join(pool, 8, 2);
  pool.take();
  pool.end();
  EXPECT_EQ(keys(pool.take(), Kind::close).size(), 2u);
  join(pool, 9, 3);
  pool.asked(0);
  EXPECT_TRUE(pool.take().empty());
}

}  // namespace
}  // namespace r1
