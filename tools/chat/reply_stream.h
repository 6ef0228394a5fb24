// A reply as it is sampled, token by token: whole characters (a token may end within one), thoughts apart from what the reader
// is told, tags taken out. Not what it looks like on a terminal. Thread rule: one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace r1 {

class ReplyStream {
 public:
  struct Piece {
    bool thought = false;
    std::string text;
  };
  // `in_thought`: the prompt has opened the thought (it ends with "<think>").
  explicit ReplyStream(bool in_thought) : in_thought_(in_thought) {}

  // What can be shown for sure after these bytes: a character that is not complete, and what may become a tag, waits. Bytes
  // that are no UTF-8 become U+FFFD.
  std::vector<Piece> add(std::string_view bytes);
  // All that still waits.
  std::vector<Piece> finish();
  bool in_thought() const { return in_thought_; }

 private:
  void give(std::vector<Piece>& to, std::string_view text);
  std::vector<Piece> take(bool all);
  std::string waiting_;
  bool in_thought_, at_start_ = true;  // at_start_: of a part, whose first line ends are left out
};

}  // namespace r1
