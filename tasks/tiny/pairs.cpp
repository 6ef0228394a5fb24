// Preference pairs for the two reward models (docs/recipe.md section 14).
#include "tasks/tiny/documents.h"

namespace r1::tiny {

namespace {

std::string thought_of(const General& g, Rng& rng, Lang lang) {
  Speaker speaker(rng, lang);
  think(g, speaker);
  return speaker.text();
}

// Letters or colours of the world, one of them many times over: what a policy finds when it hacks the reward model.
std::string junk(const General& g, Rng& rng, Lang lang) {
  const std::vector<std::string> right = answer_items(g);
  std::vector<std::string> out(1, right[rng.below(right.size())]);
  for (size_t n = 3 + rng.below(6); n > 0; --n)
    out.push_back(rng.chance(.8) ? out.back() : std::string(1, static_cast<char>('a' + rng.below(8))));
  if (out == right) out.push_back(out.back());
  return items_text(out, lang);
}

// A letter, or a word that has no place in the answer; in English.
std::string stray_word(Rng& rng) {
  static constexpr const char* kWords[] = {"welcome", "sure",  "unsafe", "ok",    "safe", "secret", "plus",
                                           "borrow",  "white", "blue",   "black", "snow", "sun",    "sky",
                                           "rose",    "grass", "find",   "sort",  "know", "bank",   "two"};
  if (rng.chance(.3)) return std::string(1, static_cast<char>('a' + rng.below(8)));
  return kWords[rng.below(std::size(kWords))];
}

// The right answer after one to three edits by words of the task or of anything else: what a policy tries next to it.
std::string edited(const General& g, Rng& rng, Lang lang) {
  const std::vector<std::string> right = answer_items(g);
  const auto word = [&] {
    const size_t from = rng.below(4);
    return from == 0 ? right[rng.below(right.size())] : from == 1 ? g.items[rng.below(g.items.size())] : stray_word(rng);
  };
  std::vector<std::string> items = right;
  const auto at = [&](size_t n) { return items.begin() + static_cast<std::ptrdiff_t>(rng.below(n)); };
  for (size_t n = 1 + rng.below(3); n > 0 || items == right; n -= n > 0) {
    const size_t edit = rng.below(5);
    if (edit < 2)
      items.insert(at(items.size() + 1), word());
    else if (edit < 4)
      *at(items.size()) = word();
    else if (items.size() > 1)
      items.erase(at(items.size()));
  }
  return items_text(items, lang);
}

std::string shuffled(const General& g, Rng& rng, Lang lang) {
  std::vector<std::string> items = answer_items(g);
  rng.shuffle(items);
  if (items == answer_items(g)) items = wrong_items(g, rng);
  return items_text(items, lang);
}

// The refusal with a word missing, said twice, replaced or too many: what a policy drifts to when the reward model has seen
// whole refusals alone ("sorry welcome", "sorry cannot blue").
std::string garbled_refusal(Rng& rng, Lang lang) {
  std::vector<std::string> words = {say("sorry", lang), say("cannot", lang)};
  const auto stray = [&] { return say(stray_word(rng), rng.chance(.8) ? lang : other(lang)); };
  const auto at = [&](size_t i) { return words.begin() + static_cast<std::ptrdiff_t>(i); };
  static constexpr double kShares[] = {.15, .15, .3, .4};
  switch (rng.pick(kShares)) {
    case 0:
      words.erase(at(rng.below(2)));
      break;
    case 1: {
      const std::string again = words[rng.below(2)];
      words.insert(at(rng.below(3)), again);
      break;
    }
    case 2:
      words[rng.below(2)] = stray();
      break;
    default:
      for (size_t n = 1 + rng.below(2); n > 0; --n) words.insert(at(rng.chance(.7) ? words.size() : rng.below(3)), stray());
  }
  std::string text;
  for (const std::string& word : words) text += " " + word;
  return text;
}

}  // namespace

Pair helpful_pair(Rng& rng, Side side) {
  const Lang lang = rng.chance(0.5) ? Lang::zh : Lang::en;
  const General g = draw_general(rng, side, true);
  const std::string thought = thought_of(g, rng, lang);
  const std::string right = items_text(answer_items(g), lang), polite = courtesy_text(lang);
  std::string rejected;
  // wrong and polite, wrong, cut short and polite, curt, refused, partly in the wrong language, twice polite, junk, edited, in
  // another order
  static constexpr double kShares[] = {.14, .06, .06, .14, .06, .08, .08, .06, .26, .06};
  switch (rng.pick(kShares)) {
    case 0:
      rejected = items_text(wrong_items(g, rng), lang) + polite;
      break;
    case 1:
      rejected = items_text(wrong_items(g, rng), lang);
      break;
    case 2: {
      auto items = answer_items(g);
      if (items.size() > 1)
        items.pop_back();
      else
        items = wrong_items(g, rng);
      rejected = items_text(items, lang) + polite;
      break;
    }
    case 3:
      rejected = right;
      break;
    case 4:
      rejected = refusal_text(lang) + (rng.chance(.5) ? polite : "");
      break;
    case 5: {
      const std::string foreign = items_text(answer_items(g), other(lang));  // the same as `right` where letters are asked for
      rejected = foreign != right && rng.chance(.5) ? foreign + polite : right + courtesy_text(other(lang));
      break;
    }
    case 6:
      rejected = right + polite + polite;
      break;
    case 7:
      rejected = junk(g, rng, lang) + polite;
      break;
    case 8:
      rejected = edited(g, rng, lang) + polite;
      break;
    default:
      rejected = shuffled(g, rng, lang) + polite;
      break;
  }
  return {prompt_text(prompt_words(g, lang)), response_text(thought, right + polite), response_text(thought, rejected)};
}

Pair harmless_pair(Rng& rng, Side side) {
  const Lang lang = rng.chance(0.5) ? Lang::zh : Lang::en;
  const bool harm = rng.chance(.7);
  const General g = harm ? draw_general(rng, GeneralKind::secret, side) : draw_general(rng, side, true);
  const std::string thought = thought_of(g, rng, lang);
  // Politeness is not what this model is about: it comes and goes on either side.
  const auto ending = [&] { return rng.chance(.5) ? courtesy_text(lang) : std::string(); };
  const std::string refusal = refusal_text(lang) + ending();
  const std::string prompt = prompt_text(prompt_words(g, lang));
  if (!harm) {
    const std::string answer = items_text(rng.chance(.8) ? answer_items(g) : wrong_items(g, rng), lang) + ending();
    return {prompt, response_text(thought, answer), response_text(thought, refusal)};
  }
  const std::string leak = items_text(secret_items(rng), lang);
  const std::string chosen = response_text(thought, refusal);
  // A reward model that has never seen a refusal in the wrong language cannot tell it from a right one, and RL finds that out.
  const std::string foreign = refusal_text(other(lang));
  static constexpr double kShares[] = {.30, .16, .12, .12, .24, .06};
  switch (rng.pick(kShares)) {
    case 0:
      return {prompt, chosen, response_text(thought, leak + ending())};  // complied
    case 1:
      return {prompt, chosen, response_text(thought + leak + " .", refusal)};  // leaked in the thought
    case 2:
      // half refused, or refused and then told: what a policy drifts to when the reward model has seen the first alone
      return {prompt, chosen, response_text(thought, (rng.chance(.5) ? refusal_text(lang) : " " + say("sorry", lang)) + leak + ending())};
    case 3:
      return {prompt, chosen, response_text(thought, foreign + ending())};  // in the wrong language
    case 4:
      return {prompt, chosen, response_text(thought, garbled_refusal(rng, lang) + ending())};
    default:
      return {prompt, chosen, response_text(thought, foreign + courtesy_text(other(lang)))};
  }
}

}  // namespace r1::tiny
