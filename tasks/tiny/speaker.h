// Writes the words of a thought or an answer in a language that may switch from clause to clause.
// Thread rule: belongs to one thread.
#pragma once

#include <string>
#include <string_view>

#include "base/rng.h"
#include "tasks/tiny/vocabulary.h"

namespace r1::tiny {

class Speaker {
 public:
  // `switching`: probability, at the start of every clause, of going on in the other language.
  Speaker(Rng& rng, Lang lang, double switching = 0) : rng_(rng), lang_(lang), switching_(switching) {}

  // A new clause begins.
  Speaker& clause() {
    if (switching_ > 0 && rng_.chance(switching_)) lang_ = other(lang_);
    return *this;
  }
  Speaker& word(std::string_view english) {
    text_ += ' ';
    text_ += say(english, lang_);
    return *this;
  }
  // A number >= 0 in words, digit by digit.
  Speaker& number(int n) {
    if (n >= 10) number(n / 10);
    text_ += ' ';
    text_ += digit_word(n % 10, lang_);
    return *this;
  }
  Lang lang() const { return lang_; }
  const std::string& text() const { return text_; }  // every word with its leading space

 private:
  Rng& rng_;
  Lang lang_;
  double switching_;
  std::string text_;
};

}  // namespace r1::tiny
