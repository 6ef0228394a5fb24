// What Python's str does to texts, as chat templates use it. Letters beyond ASCII keep their case. Internal to tasks/jinja.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "tasks/jinja/value.h"

namespace r1::jinja {

// Where `what` begins in `text` at or behind `from`, else npos; in linear time, which std::string::find is not.
size_t find_text(const std::string& text, const std::string& what, size_t from = 0);
// Refuses a text of more than kMaxOutput bytes.
std::string bounded(std::string text);

std::string uppered(std::string s);
std::string lowered(std::string s);
std::string capitalized(std::string s);
std::string titled(std::string s);
// Blanks, or the characters of `chars`, off the left (-1), right (1) or both (0) ends.
std::string stripped(const std::string& s, const Value* chars, int side);
// `most` < 0: all of them.
std::string replaced(const std::string& s, const std::string& from, const std::string& to, int64_t most);
// At blanks where there is no separator.
List split(const std::string& s, const Value* separator, int64_t most, bool from_right);
// Whether it begins (`front`) or ends with `affix`, or with one of them.
bool affixed(const std::string& s, const Value& affix, bool front);
std::string joined(const List& items, const std::string& by);
std::string indented(const std::string& s, const std::string& by, bool first, bool blank);
// text[begin:end:by] of characters, `by` not 0, the bounds within the text.
std::string sliced(const std::string& s, int64_t begin, int64_t end, int64_t by);
// Characters of a text, members of what else there is.
int64_t length(const Value& v);

}  // namespace r1::jinja
