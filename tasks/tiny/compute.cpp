#include "tasks/tiny/compute.h"

#include <utility>

#include "base/error.h"

namespace r1::tiny {

namespace {

constexpr int kPowers[] = {1, 10, 100, 1000, 10000, 100000};

struct Column {
  int x, y;
  bool in;  // carry or borrow from the column before
  int digit;
  bool out;
};

Column right_column(const Compute& c, int place, bool in) {
  const int x = c.a / kPowers[place] % 10, y = c.b / kPowers[place] % 10;
  const int value = c.minus ? x - y - in : x + y + in;
  return {x, y, in, (value + 10) % 10, c.minus ? value < 0 : value >= 10};
}

void write(const Compute& c, const Column& col, Speaker& s) {
  const char* mark = c.minus ? "borrow" : "carry";
  s.clause().number(col.x).word(c.minus ? "minus" : "plus").number(col.y);
  if (col.in) s.word(mark);
  s.word("is").number(col.digit);
  if (col.out) s.word(mark);
  s.word(".");
}

// All columns from the units; returns the result they give.
int columns(const Compute& c, const ComputeErrors& errors, Rng& rng, Speaker& s) {
  int result = 0;
  bool in = false;
  for (int place = 0; place < c.digits; ++place) {
    Column col = right_column(c, place, in);
    if (errors.column > 0 && rng.chance(errors.column)) {
      Column wrong = col;
      if (rng.chance(0.75))
        wrong.digit = static_cast<int>((static_cast<uint64_t>(col.digit) + 1 + rng.below(9)) % 10);
      else
        wrong.out = !wrong.out;
      write(c, wrong, s);
      if (rng.chance(errors.repair)) {
        s.word("wait");
        write(c, col, s);
      } else {
        col = wrong;
      }
    } else {
      write(c, col, s);
    }
    result += col.digit * kPowers[place];
    in = col.out;
  }
  if (in && !c.minus) {
    s.clause().word("carry").word("is").number(1).word(".");
    result += kPowers[c.digits];
  }
  return result;
}

}  // namespace

bool held_out(const Compute& c) {
  if (c.digits < 2) return false;
  const int64_t h = 7919ll * c.a + 104729ll * c.b + (c.minus ? 15485863ll : 0);
  return (h >> 3) % 8 == 0;
}

Compute draw_compute(Rng& rng, const std::array<double, 4>& weights, Side side) {
  for (;;) {
    Compute c;
    c.digits = 1 + static_cast<int>(rng.pick(weights));
    if (side == Side::held_out && c.digits < 2) continue;
    const int low = c.digits == 1 ? 0 : kPowers[c.digits - 1];
    const auto span = static_cast<uint64_t>(kPowers[c.digits] - low);
    c.a = low + static_cast<int>(rng.below(span));
    c.b = low + static_cast<int>(rng.below(span));
    c.minus = rng.chance(0.5);
    if (c.minus && c.a < c.b) std::swap(c.a, c.b);
    if (side == Side::any || held_out(c) == (side == Side::held_out)) return c;
  }
}

std::string digits_text(int n) {
  std::string out;
  for (const char d : std::to_string(n)) (out += ' ') += d;
  return out;
}

std::string prompt_words(const Compute& c, Lang lang) {
  return " " + say("compute", lang) + digits_text(c.a) + (c.minus ? " -" : " +") + digits_text(c.b);
}

int think(const Compute& c, ComputeStyle style, const ComputeErrors& errors, Rng& rng, Speaker& s) {
  switch (style) {
    case ComputeStyle::none:
      return c.result();
    case ComputeStyle::terse: {
      const int top = kPowers[c.digits - 1];
      s.clause().word("so").number(c.a / top).word(c.minus ? "minus" : "plus").number(c.b / top).word(".");
      return c.result();
    }
    case ComputeStyle::columns:
      return columns(c, errors, rng, s);
    case ComputeStyle::check: {
      const int first = columns(c, errors, rng, s);
      s.clause().word("check");
      const int second = columns(c, errors, rng, s);
      s.clause().word(first == second ? "ok" : "wait").word(".");
      return second;
    }
  }
  return 0;
}

}  // namespace r1::tiny
