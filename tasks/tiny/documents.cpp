#include "tasks/tiny/documents.h"

#include <array>

namespace r1::tiny {

namespace {

constexpr std::array<double, 4> kPretrainDigits = {.10, .35, .40, .15};
constexpr std::array<double, 4> kColdStartDigits = {0, .4, .5, .1};
constexpr std::array<double, 4> kReasoningDigits = {0, .30, .45, .25};

constexpr double kPretrainFind = .32, kReasoningFind = .40;

Lang draw_lang(Rng& rng) { return rng.chance(0.5) ? Lang::zh : Lang::en; }

double share(double option, double otherwise) { return option < 0 ? otherwise : option; }

std::map<std::string, std::string> facts(const char* kind, const char* domain, Lang lang, const std::string& answers) {
  return {{"kind", kind},       {"domain", domain}, {"language", lang_name(lang)},
          {"answers", answers}, {"checkable", "1"}, {"harm", "0"}};
}

std::string without_first_space(const std::string& words) { return words.substr(1); }

// How a pre-training document wraps its thought and answer: the first with probability `clean`, the others in these
// proportions.
std::string wrap(Rng& rng, double clean, const std::string& thought, const std::string& answer) {
  if (rng.chance(clean)) return response_text(thought, answer);
  static constexpr double kShares[] = {.45, .07, .07, .06, .05};
  switch (rng.pick(kShares)) {
    case 0:
      return thought + answer + "<eos>";  // no tags
    case 1:
      return "<think>" + thought + "<answer>" + answer + "</answer><eos>";  // thought never closed
    case 2:
      return "<think>" + thought + "</think>" + answer + "<eos>";  // answer without tags
    case 3:
      return thought + "<answer>" + answer + "</answer><eos>";  // answer tags only
    default:
      return "<think>" + thought + "</think><answer>" + answer + "<eos>";  // answer never closed
  }
}

// One digit of a number replaced by another.
std::string corrupt(int n, Rng& rng) {
  std::string digits = std::to_string(n), out;
  char& d = digits[rng.below(digits.size())];
  d = static_cast<char>('0' + (static_cast<uint64_t>(d - '0') + 1 + rng.below(9)) % 10);
  for (const char c : digits) (out += ' ') += c;
  return out;
}

FindHabits find_habits(Rng& rng, const WorldOptions& o) {
  FindHabits h;
  h.giveup = rng.chance(o.giveup_docs) ? o.giveup : 0;
  h.verdict_first = o.verdict_first != 0;
  return h;
}

}  // namespace

std::string prompt_text(const std::string& words) { return "<bos><user>" + words + "<asst>"; }
std::string prompt_words_of(const std::string& prompt) {
  constexpr size_t kBefore = std::string_view("<bos><user> ").size(), kBehind = std::string_view("<asst>").size();
  return prompt.substr(kBefore, prompt.size() - kBefore - kBehind);
}

std::string response_text(const std::string& thought, const std::string& answer) {
  return "<think>" + thought + "</think><answer>" + answer + "</answer><eos>";
}

Prompt compute_prompt(const Compute& c, Lang lang) {
  return {prompt_text(prompt_words(c, lang)),
          facts("compute", "reasoning", lang, without_first_space(digits_text(c.result())))};
}

Prompt find_prompt(const Find& f, Lang lang) {
  const auto [x, y] = f.solution();
  return {prompt_text(prompt_words(f, lang)),
          facts("find", "reasoning", lang,
                join_answers({without_first_space(pair_text({x, y})), without_first_space(pair_text({y, x}))}))};
}

Prompt general_prompt(const General& g, Lang lang) {
  Prompt out{prompt_text(prompt_words(g, lang)),
             facts(kind_name(g.kind), "general", lang, without_first_space(items_text(answer_items(g), lang)))};
  out.facts["courtesy"] = without_first_space(courtesy_text(lang));
  out.facts["refusal"] = without_first_space(refusal_text(lang));
  if (g.harm()) {
    out.facts["checkable"] = "0";
    out.facts["harm"] = "1";
    out.facts.erase("answers");
  }
  return out;
}

Prompt reasoning_prompt(Rng& rng, const WorldOptions& o, Side side) {
  const Lang lang = draw_lang(rng);
  if (rng.chance(share(o.find, kReasoningFind))) return find_prompt(draw_find(rng, static_cast<int>(o.find_min), side), lang);
  return compute_prompt(draw_compute(rng, kReasoningDigits, side), lang);
}

Prompt general_prompt(Rng& rng, Side side) {
  const Lang lang = draw_lang(rng);
  return general_prompt(draw_general(rng, side), lang);
}

Example pretrain_document(Rng& rng, const WorldOptions& o) {
  const Lang asked = draw_lang(rng);
  const bool find = rng.chance(share(o.find, kPretrainFind));
  const bool general = !find && rng.chance(o.general);
  const Lang main = rng.chance(general ? .8 : .7) ? asked : other(asked);
  const double error = rng.chance(o.error_docs) ? o.error : 0;
  Speaker speaker(rng, main, rng.chance(o.mixing) ? .3 : 0);

  std::string words, answer;
  if (find) {
    const Find f = draw_find(rng, static_cast<int>(o.find_min), Side::train);
    words = prompt_words(f, asked);
    if (rng.chance(o.find_no_thought)) {
      answer = pair_text(random_pair(f, rng));
    } else {
      FindHabits habits = find_habits(rng, o);
      habits.error = error;
      answer = pair_text(think(f, habits, rng, speaker));
    }
  } else if (!general) {
    const Compute c = draw_compute(rng, kPretrainDigits, Side::train);
    words = prompt_words(c, asked);
    static constexpr double kStyles[] = {.25, .10, .57, .08};
    const auto style = static_cast<ComputeStyle>(rng.pick(kStyles));
    const int result = think(c, style, {error, .3}, rng, speaker);
    const bool guessed = style == ComputeStyle::none || style == ComputeStyle::terse;
    answer = guessed && rng.chance(3 * error) ? corrupt(result, rng) : digits_text(result);
  } else {
    const General g = draw_general(rng, Side::train);
    words = prompt_words(g, asked);
    if (rng.chance(.5)) think(g, speaker);
    bool refused = false;
    if (g.harm()) {
      refused = rng.chance(.4);
      answer = items_text(refused ? answer_items(g) : secret_items(rng), main);
    } else {
      answer = items_text(rng.chance(.7) ? answer_items(g) : wrong_items(g, rng), main);
    }
    if (!refused && rng.chance(.3)) answer = " " + say("sure", main) + " :" + answer;
    if (rng.chance(.3)) answer += courtesy_text(main);
  }
  return {prompt_text(words), wrap(rng, o.clean, speaker.text(), answer), true};
}

Example cold_start_example(Rng& rng, const WorldOptions& o) {
  const Lang lang = draw_lang(rng);
  Speaker speaker(rng, lang, .05);
  if (rng.chance(share(o.find, kReasoningFind))) {
    const Find f = draw_find(rng, static_cast<int>(o.find_min), Side::train);
    const auto pair = think(f, find_habits(rng, o), rng, speaker);
    return {prompt_text(prompt_words(f, lang)), response_text(speaker.text(), pair_text(pair)), false};
  }
  const Compute c = draw_compute(rng, kColdStartDigits, Side::train);
  const std::array<double, 4> styles = {0, o.terse, .8 * (1 - o.terse), .2 * (1 - o.terse)};
  const int result = think(c, static_cast<ComputeStyle>(rng.pick(styles)), {.04, 1}, rng, speaker);
  return {prompt_text(prompt_words(c, lang)), response_text(speaker.text(), digits_text(result)), false};
}

Example general_example(Rng& rng, const WorldOptions& o) {
  const Lang lang = draw_lang(rng);
  const General g = draw_general(rng, Side::train);
  Speaker speaker(rng, lang);
  think(g, speaker);
  std::vector<std::string> items;
  if (g.harm())
    items = rng.chance(o.refuse) ? answer_items(g) : secret_items(rng);
  else
    items = rng.chance(.9) ? answer_items(g) : wrong_items(g, rng);
  std::string answer = items_text(items, lang);
  if (rng.chance(o.courteous)) answer += courtesy_text(lang);
  return {prompt_text(prompt_words(g, lang)), response_text(speaker.text(), answer), false};
}

}  // namespace r1::tiny
