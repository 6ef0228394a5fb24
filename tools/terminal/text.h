// Text for a terminal: how wide it is, cut to fit, bars, sparklines, short numbers. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace r1::terminal {

// Columns that UTF-8 text takes: 2 for Chinese, 0 for combining marks and for colour sequences (ESC [ ... m).
size_t width_of(std::string_view text);
// The text, cut to at most `width` columns with an ellipsis when it is longer. Colour sequences stay whole.
std::string fit(std::string_view text, size_t width);
// fit(), filled up with spaces.
std::string padded(std::string_view text, size_t width);

// "████▌     ": `share` of `width` columns, in eighths; share is cut to [0, 1].
std::string bar(double share, size_t width);
// The last values as blocks of eight heights, at most `width` columns: when there are more values, each column is the mean of
// several. A constant series is a line in the middle; NaN is a blank.
std::string sparkline(std::span<const double> values, size_t width);

// What would steer the terminal (control characters but tabs and line ends) as an escape: "\\x1b".
std::string without_controls(std::string_view text);

std::string clock_text(double seconds);        // "0:07", "12:30", "1:02:03"
std::string short_count(double n);             // "812", "23.1k", "1.4M"
std::string share_text(double x, int digits);  // ".853", "1.000", "-.12": no zero before the point

}  // namespace r1::terminal
