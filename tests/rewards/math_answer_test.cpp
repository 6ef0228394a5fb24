#include "rewards/math_answer.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/source_dir.h"

namespace r1 {
namespace {

struct Pair {
  std::string kind, gold, response;
  bool truth = false;
};

// tests/rewards/math_pairs.jsonl: an accepted answer, a response, and whether the response is right; written by hand, kind by
// kind.
std::vector<Pair> pairs() {
  std::vector<Pair> out;
  std::ifstream file(source_dir() / "tests/rewards/math_pairs.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    out.push_back({json["kind"], json["gold"], json["pred"], json["truth"] == 1});
  }
  return out;
}

bool right(const std::string& response, const std::string& gold, const std::string& question = "") {
  const auto answer = extract_math_answer(response);
  return answer && math_accepts(*answer, gold, question);
}

// CPU time of this thread: a busy machine takes no part in it. Sanitizers cost up to ten times as much.
double seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  };
  const double begin = now();
  work();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return (now() - begin) / 10;
#else
  return now() - begin;
#endif
}

TEST(MathAnswer, is_looked_for_in_the_last_box_then_after_the_phrase_then_as_an_expression) {
  EXPECT_EQ(extract_math_answer("so \\boxed{1} no, \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(extract_math_answer("Then the answer is $42$. Done"), "42");
  EXPECT_EQ(extract_math_answer("The final answer is: 3.5"), "3.5");
  EXPECT_EQ(extract_math_answer("first 3 then -1,234.5 apples"), "-1,234.5");
  EXPECT_EQ(extract_math_answer("no number"), std::nullopt);
  EXPECT_EQ(extract_math_answer("cut off \\boxed{12"), "12");
  EXPECT_EQ(extract_math_answer("so 1 + 1 = 2\n#### 72"), "72");
  EXPECT_EQ(extract_math_answer("\\boxed{\\{1, 2\\}}"), "\\{1, 2\\}");
  EXPECT_EQ(extract_math_answer("we try \\fbox{3} and {"), "3");
  EXPECT_EQ(extract_math_answer(""), std::nullopt);
}

TEST(MathAnswer, the_last_expression_is_taken_whole_and_not_the_last_number_in_it) {
  EXPECT_EQ(extract_math_answer("so the side is 2\\sqrt{3}."), "2\\sqrt{3}");
  EXPECT_EQ(extract_math_answer("The probability is 5/6."), "5/6");
  EXPECT_EQ(extract_math_answer("we get $x^2 + 1$, and that is all"), "x^2 + 1");
  EXPECT_EQ(extract_math_answer("the point (3, -4) is nearest"), "(3, -4)");
}

TEST(MathAnswer, equal_in_value_or_in_normalised_form) {
  EXPECT_TRUE(math_equal("1,234", "1234"));
  EXPECT_TRUE(math_equal("0.5", "\\frac12"));
  EXPECT_TRUE(math_equal("1/2", "\\dfrac{1}{2}"));
  EXPECT_TRUE(math_equal("-1/2", "-0.5"));
  EXPECT_TRUE(math_equal("50\\%", "0.5"));
  EXPECT_TRUE(math_equal(".5", "0.50"));
  EXPECT_TRUE(math_equal("12\\text{ cm}", "12"));
  EXPECT_TRUE(math_equal("\\text{yes}", "yes"));
  EXPECT_TRUE(math_equal("90^\\circ", "90"));
  EXPECT_TRUE(math_equal("\\left( 1, 2 \\right)", "(1,2)"));
  EXPECT_TRUE(math_equal("\\sqrt2", "\\sqrt{2}"));
  EXPECT_TRUE(math_equal("7.000", "7."));
  EXPECT_FALSE(math_equal("0.5", "0.51"));
  EXPECT_FALSE(math_equal("x+1", "x-1"));
  EXPECT_FALSE(math_equal("", ""));
  EXPECT_FALSE(math_equal("1/0", "2/0"));
}

TEST(MathAnswer, every_pair_of_the_table_is_judged_as_a_person_would) {
  const auto table = pairs();
  ASSERT_GT(table.size(), 1000u);
  std::map<std::string, int> kinds;
  for (const Pair& p : table) {
    ++kinds[p.kind];
    EXPECT_EQ(right(p.response, p.gold), p.truth) << p.kind << ": " << p.response << " for " << p.gold;
  }
  EXPECT_GT(kinds.size(), 25u);
}

// A policy that is paid for the question as its answer learns nothing else: SmolLM2-135M did, in twenty batches.
TEST(MathAnswer, a_sum_that_is_left_to_compute_is_no_answer_however_equal) {
  for (const auto& [said, gold] : std::vector<std::pair<std::string, std::string>>{{"To calculate 94 + 41, we need to", "135"},
                                                                                   {"\\boxed{94+41}", "135"},
                                                                                   {"The answer is 12 - 30.", "-18"},
                                                                                   {"it is $-(3+4)$", "-7"},
                                                                                   {"\\boxed{6 \\times 7}", "42"},
                                                                                   {"\\boxed{x = 6 \\cdot 7}", "42"},
                                                                                   {"\\boxed{1/2 + 1/3}", "\\frac{5}{6}"},
                                                                                   {"\\boxed{0.5 + 0.25}", "0.75"},
                                                                                   {"\\boxed{5 + 3/2}", "6\\frac{1}{2}"}}) {
    EXPECT_FALSE(right(said, gold)) << said << " for " << gold;
    const auto answer = extract_math_answer(said);
    ASSERT_TRUE(answer) << said;
    EXPECT_TRUE(math_equal(*answer, gold)) << "the pair is vacuous: " << said << " for " << gold;
  }
  for (const auto& [said, gold] : std::vector<std::pair<std::string, std::string>>{{"94 + 41 = 135", "135"},
                                                                                   {"\\boxed{135 = 94 + 41}", "135"},
                                                                                   {"\\boxed{1.35 \\times 10^2}", "135"},
                                                                                   {"\\boxed{2^{10}}", "1024"},
                                                                                   {"\\boxed{-\\frac{2}{4}}", "-0.5"},
                                                                                   {"\\boxed{5 2/3}", "17/3"},
                                                                                   {"\\boxed{\\sqrt{2}\\cdot\\sqrt{8}}", "4"},
                                                                                   {"\\boxed{2 + 3i}", "2+3i"},
                                                                                   {"\\boxed{2\\cdot 3\\pi}", "6\\pi"},
                                                                                   {"\\boxed{x + 1 + 2}", "x+3"},
                                                                                   {"\\boxed{2.5 million}", "2500000"},
                                                                                   {"\\boxed{5 + 2/3}", "5\\frac{2}{3}"},
                                                                                   {"\\boxed{84/2}", "42"},
                                                                                   {"\\boxed{303}", "3 \\cdot 101"},
                                                                                   {"\\boxed{3 \\cdot 101}", "3 \\cdot 101"}})
    EXPECT_TRUE(right(said, gold)) << said << " for " << gold;
}

TEST(MathAnswer, what_the_question_says_anyway_is_no_answer_unless_it_is_a_number_or_spelled_as_the_accepted_one) {
  struct Asked {
    std::string question, said, gold;
    bool right;
  };
  for (const Asked& a : std::vector<Asked>{{"Factor x^2 - 1.", "\\boxed{x^2-1}", "(x-1)(x+1)", false},
                                           {"Factor x^2 - 1.", "\\boxed{(x+1)(x-1)}", "(x-1)(x+1)", true},
                                           {"Expand (x-1)(x+1).", "\\boxed{(x-1)(x+1)}", "x^2-1", false},
                                           {"Simplify \\sqrt{72}.", "\\boxed{\\sqrt{72}}", "6\\sqrt{2}", false},
                                           {"Simplify \\sqrt{72}.", "\\boxed{6\\sqrt2}", "6\\sqrt{2}", true},
                                           {"What is 84 / 2?", "84/2", "42", false},
                                           {"What is 2^{10}?", "\\boxed{2^{10}}", "1024", false},
                                           {"Write 1024 as a power of 2.", "\\boxed{1024}", "2^{10}", true},
                                           {"Solve 2x = 6.", "\\boxed{2x=6}", "x=3", false},
                                           {"Is it (A) 2\\pi or (B) 3\\pi?", "\\boxed{2\\pi}", "2\\pi", true},
                                           {"The probability is 3/4 or 1/4.", "\\boxed{3/4}", "\\frac{3}{4}", true},
                                           {"Is it Tuesday?", "\\boxed{Tuesday}", "\\text{tuesday}", true}}) {
    EXPECT_EQ(right(a.said, a.gold, a.question), a.right) << a.said << " to " << a.question;
    EXPECT_TRUE(right(a.said, a.gold) || a.gold == "x=3") << "the pair is vacuous: " << a.said << " for " << a.gold;
  }
}

// The tolerance is 1e-9: 1.41421356 (six parts in 1e9 off) is not the root of 2, 1.4142135624 is.
TEST(MathAnswer, a_decimal_stands_for_an_irrational_number_to_one_part_in_a_billion_and_no_more) {
  EXPECT_TRUE(math_equal("1.4142135624", "\\sqrt{2}"));
  EXPECT_TRUE(math_equal("0.3333333333", "\\frac{1}{3}"));
  EXPECT_FALSE(math_equal("1.41421356", "\\sqrt{2}"));
  EXPECT_FALSE(math_equal("1.41", "\\sqrt{2}"));
  EXPECT_FALSE(math_equal("0.333", "\\frac{1}{3}"));
  EXPECT_FALSE(math_equal("100.5", "100"));
  EXPECT_FALSE(math_equal("123456789.01", "123456789")) << "finite decimals are not rounded";
  EXPECT_FALSE(math_equal("4115226300.5", "\\frac{12345678901}{3}")) << "right to 1e-10, but not to its own last digit";
}

TEST(MathAnswer, integers_are_exact_at_any_size) {
  EXPECT_FALSE(math_equal("9007199254740993", "9007199254740992"));
  EXPECT_TRUE(math_equal("2^{53}+1", "9007199254740993"));
  EXPECT_FALSE(math_equal("10^{300}+1", "10^{300}"));
  EXPECT_TRUE(math_equal("(10^{300}+1)(10^{300}-1)", "10^{600}-1"));
}

TEST(MathAnswer, a_digit_group_is_one_number_and_a_list_is_not) {
  EXPECT_FALSE(math_equal("1,2", "12"));
  EXPECT_FALSE(math_equal("1{,}2", "12"));
  EXPECT_FALSE(math_equal("1,23", "123"));
  EXPECT_TRUE(math_equal("1{,}234{,}567", "1234567"));
  EXPECT_TRUE(math_equal("1\\,234", "1234"));
  EXPECT_TRUE(math_equal("1 234", "1234"));
}

TEST(MathAnswer, is_the_same_on_every_thread) {
  const auto table = pairs();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t k = static_cast<size_t>(t); k < table.size(); k += 2)
        wrong[t] += right(table[k].response, table[k].gold) != table[k].truth;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

std::string times(const std::string& s, size_t n) {
  std::string out;
  for (size_t k = 0; k < n; ++k) out += s;
  return out;
}

TEST(MathAnswer, huge_and_hostile_answers_cost_little_and_are_nothing_but_themselves) {
  const std::string hostile[] = {"10^{10^{10}}",
                                 "9^(9^9)",
                                 "9^9^9^9^9^9",
                                 "(10^9)!",
                                 "99999!!!!!!",
                                 "\\binom{10^{9}}{10^{8}}",
                                 "2^{2^{2^{2^{2^{2}}}}}",
                                 "e^{e^{e^{e^{9}}}}",
                                 "\\sin(10^{10^{5}})",
                                 "\\sin 2^{60000}",
                                 "x^{10^{9}}",
                                 "(x+1)^{100000}",
                                 "\\sqrt[999]{" + times("7", 3000) + "}",
                                 "1e9999",
                                 times("9", 4000),
                                 times("9", 1000000),
                                 "0." + times("3", 4000),
                                 times("(", 2000) + "1" + times(")", 2000),
                                 times("{", 2000) + "1" + times("}", 2000),
                                 times("\\frac{1}{1+", 300) + "1" + times("}", 300),
                                 times("\\sqrt{", 600) + "2" + times("}", 600),
                                 times("-", 4000) + "1",
                                 times("1+", 2000) + "1",
                                 times("2^", 2000) + "2",
                                 times("x(x+1)", 600),
                                 times("9999999^{999}*", 150) + "1",
                                 times("(-\\infty,1)\\cup", 200) + "(2,3)",
                                 times("1,", 2000) + "1",
                                 times("\\pm", 1000) + "1",
                                 times("\\sin ", 800) + "x",
                                 times("1/", 1500) + "0",
                                 times("\\text{", 600) + "a" + times("}", 600),
                                 times("\\begin{pmatrix}", 200),
                                 times("|", 3001),
                                 times("\\boxed{", 500) + "1" + times("}", 500)};
  for (const std::string& h : hostile) {
    const double s = seconds_of([&] {
      EXPECT_FALSE(math_equal(h + "7", "7")) << h.substr(0, 60);
      math_equal(h, h);
      math_equal(h, "x+1");
      math_equal("\\{1,2\\}", h);
      extract_math_answer("the answer is " + h);
    });
    EXPECT_LT(s, 2) << h.substr(0, 60);
  }
}

TEST(MathAnswer, extraction_is_linear_in_the_length_of_the_text) {
  for (const std::string& part : {std::string("\\boxed{"), std::string("$ "), std::string("answer "), std::string("\\[ 1 "),
                                  std::string("the answer is 3. "), std::string("((( "), std::string("#### ")}) {
    const std::string text = times(part, 2000000 / part.size());
    EXPECT_LT(seconds_of([&] { extract_math_answer(text); }), 3) << part;
  }
}

// Pieces of the table's answers, cut, doubled and spliced at random: no crash, no endless work, no growing memory.
TEST(MathAnswer, mutated_answers_neither_crash_nor_stall) {
  const auto table = pairs();
  std::mt19937_64 random(7);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const std::string spices[] = {"^",      "_",     "{",    "}",  "(",       ")", "[", "]",   "\\frac",
                                "\\sqrt", "!",     "%",    "$",  "\\text{", "9", "e", "|",   "\\pm",
                                ",",      "\\cup", "\xE2", "\\", "=",       "<", ":", "\\{", "\\}"};
  const auto mutated = [&](std::string s) {
    for (size_t n = 1 + below(4); n > 0; --n) {
      const size_t at = s.empty() ? 0 : below(s.size());
      switch (below(4)) {
        case 0:
          s.insert(at, spices[below(std::size(spices))]);
          break;
        case 1:
          s.erase(at, 1 + below(3));
          break;
        case 2: {
          const std::string& other = table[below(table.size())].gold;
          s.insert(at, other.substr(below(other.size())));
          break;
        }
        default:
          s.insert(at, s.substr(at, 1 + below(6)));
      }
    }
    return s;
  };
  double slowest = 0;
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int k = 0; k < 20000; ++k) {
    const Pair& p = table[below(table.size())];
    const std::string answer = mutated(p.gold), response = mutated(p.response);
    slowest = std::max(slowest, seconds_of([&] {
                         right(response, p.gold);
                         math_equal(answer, p.gold);
                         math_equal(p.gold, answer);
                       }));
  }
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(slowest, 1);
#ifndef __SANITIZE_ADDRESS__  // which keeps what was freed
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024) << "KiB";
#endif
}

TEST(MathAnswer, threads_that_compared_leave_no_memory_behind) {
  const auto compare = [] { EXPECT_TRUE(math_equal("e^{\\pi} + \\ln 2 + \\sqrt{2}", "\\sqrt{2} + e^{\\pi} + \\ln 2")); };
  constexpr int kThreads = 200;
  std::thread(compare).join();
  const size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < kThreads; ++i) std::thread(compare).join();
  EXPECT_LT(::mallinfo2().uordblks, before + kThreads * 100);
}

}  // namespace
}  // namespace r1
