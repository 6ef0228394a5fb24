#include "tools/report/html.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>

#include "models/tokenizer/utf8.h"

namespace r1::report {

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char c : utf8::replace_malformed(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
          out += "\xef\xbf\xbd";
        else
          out += c;
    }
  }
  return out;
}

size_t character_count(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return n;
}

std::string shortened(std::string_view text, size_t characters) {
  if (character_count(text) <= characters) return std::string(text);
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && seen++ + 1 == characters) break;
  return std::string(text.substr(0, end)) + "…";
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string grouped(int64_t value) {
  std::string digits = fmt::format("{}", value);
  const size_t sign = value < 0;
  for (size_t i = digits.size(); i > 3 + sign; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string number(double value) {
  if (!std::isfinite(value)) return "–";
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 9999.5) return size < 1e12 ? grouped(static_cast<int64_t>(std::llround(value))) : fmt::format("{:.2e}", value);
  if (size < 1e-3) {
    std::string text = fmt::format("{:.1e}", value);  // "2.0e-04" -> "2e-4"
    const size_t mark = text.find("e-");
    const std::string mantissa = text.substr(0, mark), exponent = text.substr(mark + 2);
    return (mantissa.ends_with(".0") ? mantissa.substr(0, mantissa.size() - 2) : mantissa) + "e-" +
           exponent.substr(exponent[0] == '0' ? 1 : 0);
  }
  return fmt::format("{:.3g}", value);
}

std::string count_text(double value) {
  const double size = std::abs(value);
  if (size < 1000) return fmt::format("{:.0f}", value);
  if (size < 999.5e3) return fmt::format("{:.{}f}k", value / 1e3, size < 99.95e3 ? 1 : 0);
  if (size < 999.5e6) return fmt::format("{:.{}f}M", value / 1e6, size < 99.95e6 ? 1 : 0);
  return fmt::format("{:.1f}G", value / 1e9);
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) bytes /= 1024, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit > 0 && bytes < 99.95 ? 1 : 0, kUnits[unit]);
}

std::string duration(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

std::string utc_time(double wall_s) {
  const auto seconds = static_cast<std::time_t>(wall_s);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc)};
}

std::string plural(int64_t n, const char* one) {
  const std::string_view word = one;
  if (n == 1) return fmt::format("1 {}", word);
  const bool sibilant = word.ends_with("ch") || word.ends_with("s");
  return fmt::format("{} {}{}", grouped(n), word, sibilant ? "es" : "s");
}

}  // namespace r1::report
