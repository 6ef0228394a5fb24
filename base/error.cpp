#include "base/error.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clipped.h"
#include "base/utf8_text.h"

namespace r1 {

std::string Where::str() const {
  if (file.empty()) return {};
  std::string s = file;
  if (line > 0) s += ":" + std::to_string(line);
  if (line > 0 && column > 0) s += ":" + std::to_string(column);
  return s;
}

// Whatever a user gave or a program said, a message stays one that can be read, and be kept in a run store: UTF-8, not too
// long.
static constexpr size_t kMostMessageBytes = 16'384;

static std::string one_line(const std::string& what, const Where& where, const std::string& hint) {
  std::string s = where.str();
  if (!s.empty()) s += ": ";
  s += what;
  if (!hint.empty()) s += " (" + hint + ")";
  return s;
}

Error::Error(ExitCode code, std::string what, Where where, std::string hint)
    : std::runtime_error(utf8_text(one_line(shortened(what, kMostMessageBytes), where, shortened(hint, kMostMessageBytes)))),
      code_(code),
      message_(utf8_text(shortened(what, kMostMessageBytes))),
      where_(std::move(where)),
      hint_(utf8_text(shortened(hint, kMostMessageBytes))) {}

Error bad_input(std::string what, Where where, std::string hint) {
  return Error(ExitCode::bad_input, std::move(what), std::move(where), std::move(hint));
}

Error failure(std::string what, Where where, std::string hint) {
  return Error(ExitCode::failed, std::move(what), std::move(where), std::move(hint));
}

Error final_failure(std::string what, Where where, std::string hint) {
  Error error = failure(std::move(what), std::move(where), std::move(hint));
  error.final_ = true;
  return error;
}

// Of long words: more edits than these are another word, and every edit more costs two steps a byte.
constexpr size_t kFarthest = 16;

// Over the diagonals that a distance of `most` can reach; any larger number when the distance is larger.
static size_t edit_distance(std::string_view a, std::string_view b, size_t most) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > most) return most + 1;
  std::vector<size_t> row(b.size() + 1, most + 1);
  for (size_t j = 0; j <= std::min(b.size(), most); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    const size_t first = i > most ? i - most : 1, last = std::min(b.size(), i + most);
    size_t diagonal = row[first - 1], nearest = most + 1;
    row[first - 1] = first == 1 ? i : most + 1;
    if (first == 1) nearest = std::min(nearest, i);
    for (size_t j = first; j <= last; ++j) {
      const size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      nearest = std::min(nearest, row[j]);
      diagonal = up;
    }
    if (nearest > most) return most + 1;
  }
  return row[b.size()];
}

std::string nearest_word(std::string_view word, const std::string* known, size_t count) {
  std::string best;
  size_t best_distance = 0;
  if (word.size() > 256) return best;
  for (size_t i = 0; i < count; ++i) {
    if (known[i].size() > 256) continue;
    size_t most = std::min(2 * std::max(word.size(), known[i].size()) / 5, kFarthest);
    if (!best.empty()) most = std::min(most, best_distance - 1);
    const size_t d = edit_distance(word, known[i], most);
    if (d > most) continue;
    best = known[i], best_distance = d;
    if (d == 0) break;
  }
  return best;
}

void check_failed(const char* file, int line, const char* condition, const std::string& values) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s  %s\n", file, line, condition, values.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace r1
