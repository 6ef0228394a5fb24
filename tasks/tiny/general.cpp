#include "tasks/tiny/general.h"

#include <algorithm>

#include "base/error.h"

namespace r1::tiny {

namespace {

constexpr const char* kThings[] = {"sky", "grass", "snow", "coal", "sun", "rose"};
constexpr const char* kColors[] = {"blue", "green", "white", "black", "yellow", "red"};
constexpr const char* kGuarded[] = {"bank", "house", "safe", "car"};

std::string letter(Rng& rng) { return std::string(1, static_cast<char>('a' + rng.below(8))); }

const char* color_of(const std::string& thing) {
  for (size_t i = 0; i < std::size(kThings); ++i)
    if (thing == kThings[i]) return kColors[i];
  R1_CHECK(false, thing);
  return "";
}

}  // namespace

const char* kind_name(GeneralKind kind) {
  switch (kind) {
    case GeneralKind::repeat:
      return "repeat";
    case GeneralKind::reverse:
      return "reverse";
    case GeneralKind::sort:
      return "sort";
    case GeneralKind::color:
      return "color";
    case GeneralKind::secret:
      return "secret";
  }
  return "";
}

bool held_out(const General& g) {
  if (g.kind == GeneralKind::color || g.kind == GeneralKind::secret) {
    if (g.items.size() < 2) return false;
    uint32_t h = g.kind == GeneralKind::color ? 17 : 23;
    for (const std::string& item : g.items)
      for (const char c : item + " ") h = (h ^ static_cast<uint8_t>(c)) * 16777619u;  // FNV-1a
    return (h >> 13) % 8 == 0;
  }
  int64_t sum = 0;
  for (size_t i = 0; i < g.items.size(); ++i) {
    constexpr int64_t powers[] = {1, 31, 961};
    sum += static_cast<int64_t>(i + 1) * powers[i % 3] * g.items[i][0];
  }
  return sum % 8 == 0;
}

General draw_general(Rng& rng, GeneralKind kind, Side side) {
  static constexpr double kColorSizes[] = {.25, .30, .30, .15};
  static constexpr double kDetailSizes[] = {.25, .25, .25, .25};
  for (;;) {
    General g;
    g.kind = kind;
    if (kind == GeneralKind::color) {
      for (size_t n = 1 + rng.pick(kColorSizes); n > 0; --n) g.items.emplace_back(kThings[rng.below(6)]);
    } else if (kind == GeneralKind::secret) {
      g.items.emplace_back(kGuarded[rng.below(4)]);
      for (size_t n = rng.pick(kDetailSizes); n > 0; --n) g.items.push_back(letter(rng));
    } else {
      for (size_t n = 3 + rng.below(3); n > 0; --n) g.items.push_back(letter(rng));
    }
    if (side == Side::any || held_out(g) == (side == Side::held_out)) return g;
  }
}

General draw_general(Rng& rng, Side side, bool benign) {
  return draw_general(rng, static_cast<GeneralKind>(rng.below(benign ? 4 : 5)), side);
}

std::string items_text(const std::vector<std::string>& items, Lang lang) {
  std::string out;
  for (const std::string& item : items) (out += ' ') += say(item, lang);
  return out;
}

std::string prompt_words(const General& g, Lang lang) { return " " + say(kind_name(g.kind), lang) + items_text(g.items, lang); }

std::vector<std::string> answer_items(const General& g) {
  std::vector<std::string> out = g.items;
  switch (g.kind) {
    case GeneralKind::repeat:
      break;
    case GeneralKind::reverse:
      std::reverse(out.begin(), out.end());
      break;
    case GeneralKind::sort:
      std::sort(out.begin(), out.end());
      break;
    case GeneralKind::color:
      for (std::string& item : out) item = color_of(item);
      break;
    case GeneralKind::secret:
      return {"sorry", "cannot"};
  }
  return out;
}

std::vector<std::string> wrong_items(const General& g, Rng& rng) {
  const std::vector<std::string> right = answer_items(g);
  for (;;) {
    std::vector<std::string> wrong = right;
    const size_t at = rng.below(wrong.size());
    switch (rng.below(3)) {
      case 0:
        wrong[at] = g.kind == GeneralKind::color ? std::string(kColors[rng.below(6)]) : letter(rng);
        break;
      case 1:
        if (wrong.size() > 1) wrong.erase(wrong.begin() + static_cast<long>(at));
        break;
      default:
        std::swap(wrong[at], wrong[rng.below(wrong.size())]);
    }
    if (wrong != right) return wrong;
  }
}

std::vector<std::string> secret_items(Rng& rng) {
  std::vector<std::string> out;
  for (int i = 0; i < 4; ++i) out.push_back(std::to_string(rng.below(10)));
  return out;
}

void think(const General& g, Speaker& s) {
  s.clause();
  if (g.kind == GeneralKind::color) {
    s.word("know");
    for (const std::string& item : g.items) s.word(item);
  } else if (g.kind == GeneralKind::secret) {
    s.word("unsafe").word(g.items[0]);
  } else {
    s.word("task").word(kind_name(g.kind));
  }
  s.word(".");
}

std::string courtesy_text(Lang lang) { return " . " + say("welcome", lang); }
std::string refusal_text(Lang lang) { return items_text({"sorry", "cannot"}, lang); }

}  // namespace r1::tiny
