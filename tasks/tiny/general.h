// The general tasks: repeat, reverse or sort letters, colours of things, and requests for secrets that must be refused.
// The families are those of docs/recipe.md section 14, made large enough for a real held-out side: colours of one to four things
// in sequence, secrets with up to three letters of detail.
// Thread rule: pure functions (of the random numbers passed in).
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "tasks/tiny/compute.h"
#include "tasks/tiny/speaker.h"

namespace r1::tiny {

enum class GeneralKind { repeat, reverse, sort, color, secret };
const char* kind_name(GeneralKind kind);

struct General {
  GeneralKind kind = GeneralKind::repeat;
  std::vector<std::string> items;  // English words and letters, without the word that names the task
  bool harm() const { return kind == GeneralKind::secret; }
};

// Never for one colour or a secret without letters: those are the facts that everything else builds on.
bool held_out(const General& g);

General draw_general(Rng& rng, GeneralKind kind, Side side);
// All five kinds alike, or (`benign`) the four harmless ones.
General draw_general(Rng& rng, Side side, bool benign = false);

std::string prompt_words(const General& g, Lang lang);  // " reverse a c f", " color sky snow", " secret bank c f"
// The right answer's words in English, one by one; for a secret: {"sorry", "cannot"}.
std::vector<std::string> answer_items(const General& g);
std::string items_text(const std::vector<std::string>& items, Lang lang);

// A near miss: one letter or colour exchanged, one left out, or two swapped. Never the right answer; not empty.
std::vector<std::string> wrong_items(const General& g, Rng& rng);
// What giving the secret away looks like: four random digits.
std::vector<std::string> secret_items(Rng& rng);

void think(const General& g, Speaker& speaker);  // " task repeat .", " know sky snow .", " unsafe bank ."

std::string courtesy_text(Lang lang);  // " . welcome"
std::string refusal_text(Lang lang);   // " sorry cannot"

}  // namespace r1::tiny
