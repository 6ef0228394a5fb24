// Text for the page: escaping, and numbers as people read them.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace r1::report {

// Safe between tags and inside quoted attributes: & < > " ' are entities, control characters but newline and tab become
// U+FFFD, malformed UTF-8 too.
std::string escaped(std::string_view text);

// The first `characters` characters (not bytes) of UTF-8 text, with an ellipsis when something is cut.
std::string shortened(std::string_view text, size_t characters);
size_t character_count(std::string_view text);

std::string percent(double share);               // 0.8734 -> "87.3"; the caller writes the sign
std::string number(double value);                // four significant digits: "0.0123", "1.5", "12,300", "2e-4"
std::string count_text(double value);            // "950", "12.3k", "4.56M"
std::string grouped(int64_t value);              // "1,234,567"
std::string bytes_text(double bytes);            // "812 B", "1.2 MiB"
std::string duration(double seconds);            // "0.8 s", "42 s", "4 min 12 s", "2 h 05 min"
std::string utc_time(double wall_s);             // "2025-11-24 03:14 UTC"
std::string plural(int64_t n, const char* one);  // "1 stage", "3 stages", "2 batches"

}  // namespace r1::report
