#include "runtime/shell/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

// Characters, not bytes: continuation bytes of UTF-8 take no place.
size_t text_width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string cut(const std::string& text, size_t width) {
  if (text_width(text) <= width) return text;
  size_t bytes = 0, taken = 0;
  while (bytes < text.size() && (taken < width || (text[bytes] & 0xC0) == 0x80)) taken += (text[bytes++] & 0xC0) != 0x80;
  return text.substr(0, bytes);
}

std::string cell(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return value.is_null() ? "" : value.dump();
}

// One line for people: fields of what is nested stand in a row. Scripts are given the JSON itself.
std::string flat(const Json& value) {
  std::string text;
  for (const auto& [name, field] : value.items()) {
    const std::string own = field.is_object() ? flat(field) : cell(field);
    if (!own.empty()) text += fmt::format("{}{}{}", text.empty() ? "" : "  ", field.is_object() ? "" : name + " ", own);
  }
  return text;
}

// The lines of a cell: a list of objects takes one each.
std::vector<std::string> cell_lines(const Json& value) {
  if (value.is_object()) return {flat(value)};
  if (!value.is_array() || value.empty() || !value.front().is_object()) return {cell(value)};
  std::vector<std::string> lines;
  for (const Json& element : value) lines.push_back(flat(element));
  return lines;
}

// Columns that are together wider than the screen: the widest give way, so that whatever stands to the right is still seen.
void fit(std::vector<size_t>& widths, size_t screen) {
  constexpr size_t kNarrow = 12;  // no column for the sake of others
  size_t total = 2 * (widths.size() - 1);
  for (const size_t w : widths) total += w;
  for (; total > screen; --total) {
    size_t& widest = *std::max_element(widths.begin(), widths.end());
    if (widest <= kNarrow) return;
    --widest;
  }
}

// A curve of as many columns as there is room for, eight levels to a line; where a value is missing, a gap.
std::string render_plot(const Json& answer, size_t width) {
  constexpr int kLines = 8, kLevels = 8;
  constexpr const char* kBlocks[kLevels + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr size_t kLabel = 11;
  std::vector<double> values;
  for (const Json& row : answer.at("rows")) {
    const Json value = row.value(cell(answer.at("plot")), Json());
    values.push_back(value.is_number() ? value.get<double>() : std::nan(""));
  }
  const size_t columns = std::min(values.size(), width - std::min(width, kLabel + 2));
  if (columns < 2) return "";
  std::vector<double> means;
  double low = INFINITY, high = -INFINITY;
  for (size_t c = 0; c < columns; ++c) {
    double sum = 0;
    int n = 0;
    for (size_t i = c * values.size() / columns; i < (c + 1) * values.size() / columns; ++i)
      if (std::isfinite(values[i])) sum += values[i], ++n;
    means.push_back(n > 0 ? sum / n : std::nan(""));
    if (n > 0) low = std::min(low, means.back()), high = std::max(high, means.back());
  }
  if (!(low <= high)) return "";
  std::string out;
  for (int line = kLines - 1; line >= 0; --line) {
    out += fmt::format("{:>{}} ",
                       line == kLines - 1 ? fmt::format("{:.4g}", high)
                       : line == 0        ? fmt::format("{:.4g}", low)
                                          : "",
                       kLabel);
    for (const double mean : means) {
      const double level = high > low ? (mean - low) / (high - low) * (kLines * kLevels - 1) + 1 : kLevels / 2.0;
      out += std::isfinite(mean) ? kBlocks[std::clamp(static_cast<int>(level) - line * kLevels, 0, kLevels)] : " ";
    }
    out.erase(out.find_last_not_of(' ') + 1);
    out += "\n";
  }
  return out;
}

std::string render_table(const Json& answer, size_t width) {
  std::vector<std::string> columns;
  for (const Json& column : answer.at("columns")) columns.push_back(cell(column));
  std::vector<std::vector<std::string>> lines{columns};
  std::vector<bool> right(columns.size(), true);
  for (const Json& row : answer.at("rows")) {
    const size_t first = lines.size();
    lines.emplace_back(columns.size());
    for (size_t c = 0; c < columns.size(); ++c) {
      const Json value = row.is_object() && row.contains(columns[c]) ? row.at(columns[c]) : Json();
      const std::vector<std::string> own = cell_lines(value);
      if (lines.size() < first + own.size()) lines.resize(first + own.size(), std::vector<std::string>(columns.size()));
      for (size_t i = 0; i < own.size(); ++i) lines[first + i][c] = own[i];
      right[c] = right[c] && (value.is_number() || value.is_null());
    }
  }
  if (lines.size() == 1) return fmt::format("{}: none\n", answer.contains("title") ? cell(answer["title"]) : "rows");
  std::vector<size_t> widths(columns.size(), 0);
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], text_width(line[c]));
  if (width > 0) fit(widths, width);
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (size_t c = 0; c < line.size(); ++c) {
      const std::string own = text_width(line[c]) <= widths[c] ? line[c] : cut(line[c], widths[c] - 1) + "…";
      const std::string gap(widths[c] - text_width(own), ' ');
      if (c > 0) text += "  ";
      text += right[c] ? gap + own : own + gap;
    }
    if (width > 0) text = cut(text, width);
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  return out;
}

}  // namespace

std::string render_answer(const std::string& json, int width) {
  const Json answer = ordered_json_or_null(json);
  if (!answer.is_object()) return json + "\n";
  if (answer.contains("error")) {
    const std::string hint = answer.contains("hint") ? cell(answer["hint"]) : "";
    return cell(answer["error"]) + (hint.empty() ? "" : " (" + hint + ")") + "\n";
  }
  if (answer.contains("text")) return cell(answer["text"]) + "\n";
  if (!answer.contains("rows") || !answer.contains("columns")) return answer.dump(2) + "\n";
  const auto columns = static_cast<size_t>(std::max(0, width));
  const bool plotted = columns > 0 && answer.contains("plot") && answer["rows"].size() > 1;
  return (plotted ? render_plot(answer, columns) : "") + render_table(answer, columns);
}

bool is_error_answer(const std::string& json) {
  const Json answer = ordered_json_or_null(json);
  return !answer.is_object() || answer.contains("error");
}

}  // namespace r1
