#include "rewards/math/units.h"

#include <algorithm>

namespace r1::math {

namespace {

struct Unit {
  std::string_view name, dimension;
  long top, bottom;
};

constexpr Unit kUnits[] = {{"m", "length", 1, 1},
                           {"meter", "length", 1, 1},
                           {"metre", "length", 1, 1},
                           {"cm", "length", 1, 100},
                           {"centimeter", "length", 1, 100},
                           {"centimetre", "length", 1, 100},
                           {"mm", "length", 1, 1000},
                           {"millimeter", "length", 1, 1000},
                           {"km", "length", 1000, 1},
                           {"kilometer", "length", 1000, 1},
                           {"kilometre", "length", 1000, 1},
                           {"in", "length", 254, 10000},
                           {"inch", "length", 254, 10000},
                           {"inche", "length", 254, 10000},
                           {"ft", "length", 3048, 10000},
                           {"foot", "length", 3048, 10000},
                           {"feet", "length", 3048, 10000},
                           {"yd", "length", 9144, 10000},
                           {"yard", "length", 9144, 10000},
                           {"mi", "length", 1609344, 1000},
                           {"mile", "length", 1609344, 1000},
                           {"g", "mass", 1, 1},
                           {"gram", "mass", 1, 1},
                           {"kg", "mass", 1000, 1},
                           {"kilogram", "mass", 1000, 1},
                           {"mg", "mass", 1, 1000},
                           {"lb", "mass", 45359237, 100000},
                           {"pound", "mass", 45359237, 100000},
                           {"", "time", 1, 1},
                           {"second", "time", 1, 1},
                           {"sec", "time", 1, 1},
                           {"min", "time", 60, 1},
                           {"minute", "time", 60, 1},
                           {"h", "time", 3600, 1},
                           {"hr", "time", 3600, 1},
                           {"hour", "time", 3600, 1},
                           {"day", "time", 86400, 1},
                           {"week", "time", 604800, 1},
                           {"usd", "money", 1, 1},
                           {"$", "money", 1, 1},
                           {"dollar", "money", 1, 1},
                           {"buck", "money", 1, 1},
                           {"cent", "money", 1, 100},
                           {"l", "volume", 1, 1},
                           {"L", "volume", 1, 1},
                           {"liter", "volume", 1, 1},
                           {"litre", "volume", 1, 1},
                           {"ml", "volume", 1, 1000},
                           {"milliliter", "volume", 1, 1000},
                           {"degree", "angle", 1, 1},
                           {"deg", "angle", 1, 1},
                           {"unit", "", 1, 1}};

struct Known {
  std::string dimension;
  mpq_class factor = 1;
};

Known known(std::string_view text) {
  std::string s(text);
  int power = 1;
  const auto ends = [&](std::string_view tail) {
    if (!s.ends_with(tail)) return false;
    s.resize(s.size() - tail.size());
    return true;
  };
  const auto starts = [&](std::string_view head) {
    if (!s.starts_with(head)) return false;
    s.erase(0, head.size());
    return true;
  };
  if (ends("^2") || ends(" squared") || starts("square ") || starts("sq ")) power = 2;
  if (ends("^3") || ends(" cubed") || starts("cubic ")) power = 3;
  while (!s.empty() && s.back() == ' ') s.pop_back();
  if (!s.empty() && s.back() == 's') s.pop_back();
  Known out{s + "^" + std::to_string(power)};
  for (const Unit& u : kUnits) {
    if (u.name != s) continue;
    out.dimension = std::string(u.dimension) + "^" + std::to_string(power);
    mpq_class one(u.top, static_cast<unsigned long>(u.bottom));
    one.canonicalize();
    for (int k = 0; k < power; ++k) out.factor *= one;
  }
  return out;
}

}  // namespace

std::optional<mpq_class> conversion(std::string_view a, std::string_view b) {
  if (a == b) return mpq_class(1);
  const Known x = known(a), y = known(b);
  if (x.dimension != y.dimension) return std::nullopt;
  return mpq_class(x.factor / y.factor);
}

}  // namespace r1::math
