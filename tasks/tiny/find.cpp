#include "tasks/tiny/find.h"

#include <algorithm>

#include "base/error.h"

namespace r1::tiny {

namespace {

bool contains(const Find& f, int y) { return std::find(f.numbers.begin(), f.numbers.end(), y) != f.numbers.end(); }

bool well_posed(const Find& f) {
  int pairs = 0;
  for (size_t i = 0; i < f.numbers.size(); ++i) {
    if (2 * f.numbers[i] == f.target) return false;
    for (size_t j = i + 1; j < f.numbers.size(); ++j) pairs += f.numbers[i] + f.numbers[j] == f.target;
  }
  return pairs == 1;
}

}  // namespace

std::pair<int, int> Find::solution() const {
  for (const int x : numbers)
    if (contains(*this, target - x)) return {x, target - x};
  R1_CHECK(false, "no pair sums to the target");
  return {};
}

bool held_out(const Find& f) {
  int64_t h = f.target;
  for (const int x : f.numbers) h = (31 * h + x) % 1000003;
  return h % 8 == 0;
}

Find draw_find(Rng& rng, int find_min, Side side) {
  static constexpr double kSizes[] = {.40, .35, .25};
  Find f;
  const size_t n = static_cast<size_t>(find_min) + rng.pick(kSizes);
  std::vector<int> digits = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  do {  // the size stays: dropping it with the list would change the shares of the sizes
    rng.shuffle(digits);
    f.numbers.assign(digits.begin(), digits.begin() + static_cast<long>(n));
    const auto [x, y] = random_pair(f, rng);
    f.target = x + y;
  } while (!well_posed(f) || (side != Side::any && held_out(f) != (side == Side::held_out)));
  return f;
}

std::string prompt_words(const Find& f, Lang lang) {
  std::string out = " " + say("find", lang) + digits_text(f.target) + " :";
  for (const int x : f.numbers) out += digits_text(x);
  return out;
}

std::string pair_text(std::pair<int, int> pair) { return digits_text(pair.first) + digits_text(pair.second); }

std::pair<int, int> random_pair(const Find& f, Rng& rng) {
  const size_t n = f.numbers.size();
  const size_t i = rng.below(n);
  const size_t j = (i + 1 + rng.below(n - 1)) % n;
  return {f.numbers[i], f.numbers[j]};
}

std::pair<int, int> think(const Find& f, const FindHabits& habits, Rng& rng, Speaker& s) {
  for (size_t i = 0; i < f.numbers.size(); ++i) {
    const int x = f.numbers[i];
    int need = std::max(0, f.target - x);
    const bool errs = habits.error > 0 && rng.chance(habits.error);
    const bool wrong_need = errs && rng.chance(0.5);
    if (wrong_need) need = static_cast<int>((static_cast<uint64_t>(need) + 1 + rng.below(9)) % 10);
    bool found = contains(f, need) && need != x;
    if (errs && !wrong_need) found = !found;
    s.clause().word("try").number(x).word("need").number(need);
    if (!habits.verdict_first) s.word(".");
    if (found) {
      s.word("ok").word(".");
      return {x, need};
    }
    const bool last = i + 1 == f.numbers.size();
    if (last || rng.chance(habits.giveup)) {
      if (habits.verdict_first) s.word(".");
      break;
    }
    s.word("wait");
  }
  s.clause().word("so").word(".");
  return random_pair(f, rng);
}

}  // namespace r1::tiny
