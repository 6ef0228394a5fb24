#include "tools/terminal/text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace r1::terminal {
namespace {

// Bytes of the piece at `text[at]` (a colour sequence or a character) and its columns.
struct Piece {
  size_t bytes = 1, columns = 0;
};
Piece piece_at(std::string_view text, size_t at) {
  if (text[at] == '\033') {
    const size_t end = text.find('m', at);
    return {end == std::string_view::npos ? text.size() - at : end + 1 - at, 0};
  }
  utf8proc_int32_t code = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                  static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  if (n <= 0) return {1, 1};
  return {static_cast<size_t>(n), static_cast<size_t>(std::max(0, utf8proc_charwidth(code)))};
}

}  // namespace

size_t width_of(std::string_view text) {
  size_t columns = 0;
  for (size_t at = 0; at < text.size();) {
    const Piece p = piece_at(text, at);
    columns += p.columns;
    at += p.bytes;
  }
  return columns;
}

std::string fit(std::string_view text, size_t width) {
  if (width_of(text) <= width) return std::string(text);
  if (width == 0) return "";
  std::string out;
  size_t columns = 0;
  bool full = false;
  for (size_t at = 0; at < text.size();) {
    const Piece p = piece_at(text, at);
    if (p.columns > 0 && !full && columns + p.columns > width - 1) {
      out += "…";
      full = true;
    }
    // Behind the cut only what ends a colour goes on.
    if (!full || p.columns == 0) out.append(text.substr(at, p.bytes));
    if (!full) columns += p.columns;
    at += p.bytes;
  }
  return out;
}

std::string padded(std::string_view text, size_t width) {
  std::string out = fit(text, width);
  out.append(width - std::min(width, width_of(out)), ' ');
  return out;
}

std::string bar(double share, size_t width) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double x = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0;
  const auto eighths = static_cast<size_t>(std::lround(x * static_cast<double>(width) * 8));
  std::string out;
  for (size_t i = 0; i < eighths / 8; ++i) out += "█";
  out += kEighths[eighths % 8];
  return padded(out, width);
}

std::string sparkline(std::span<const double> values, size_t width) {
  static constexpr const char* kHeights[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty() || width == 0) return "";
  const size_t columns = std::min(width, values.size());
  std::vector<double> means(columns, std::numeric_limits<double>::quiet_NaN());
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (size_t c = 0; c < columns; ++c) {
    double sum = 0, n = 0;
    for (size_t i = values.size() * c / columns; i < values.size() * (c + 1) / columns; ++i)
      if (std::isfinite(values[i])) sum += values[i], n += 1;
    if (n == 0) continue;
    means[c] = sum / n;
    low = std::min(low, means[c]);
    high = std::max(high, means[c]);
  }
  std::string out;
  for (double m : means) {
    if (!std::isfinite(m))
      out += ' ';
    else
      out += kHeights[high > low ? std::min<size_t>(7, static_cast<size_t>((m - low) / (high - low) * 8)) : 3];
  }
  return out;
}

std::string without_controls(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
      out += fmt::format("\\x{:02x}", c);
    else if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0)  // C1 controls
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    else
      out += text[i];
  }
  return out;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60) : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string short_count(double n) {
  if (n >= 999'950) return fmt::format("{:.1f}M", n / 1e6);
  return n >= 1000 ? fmt::format("{:.1f}k", n / 1e3) : fmt::format("{:.0f}", n);
}

std::string share_text(double x, int digits) {
  std::string text = fmt::format("{:.{}f}", x, digits);
  const size_t zero = text.find("0.");
  if (zero == 0 || (zero == 1 && text[0] == '-')) text.erase(zero, 1);
  return text;
}

}  // namespace r1::terminal
