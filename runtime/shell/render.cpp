#include "runtime/shell/render.h"

#include <fmt/format.h>

#include <algorithm>
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

std::string render_table(const Json& answer, size_t width) {
  std::vector<std::string> columns;
  for (const Json& column : answer.at("columns")) columns.push_back(cell(column));
  std::vector<std::vector<std::string>> lines{columns};
  std::vector<bool> right(columns.size(), true);
  for (const Json& row : answer.at("rows")) {
    std::vector<std::string> line;
    for (size_t c = 0; c < columns.size(); ++c) {
      const Json value = row.is_object() && row.contains(columns[c]) ? row.at(columns[c]) : Json();
      line.push_back(cell(value));
      right[c] = right[c] && (value.is_number() || value.is_null());
    }
    lines.push_back(std::move(line));
  }
  if (lines.size() == 1) return fmt::format("{}: none\n", answer.contains("title") ? cell(answer["title"]) : "rows");
  std::vector<size_t> widths(columns.size(), 0);
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], text_width(line[c]));
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (size_t c = 0; c < line.size(); ++c) {
      const std::string gap(widths[c] - text_width(line[c]), ' ');
      if (c > 0) text += "  ";
      text += right[c] ? gap + line[c] : line[c] + gap;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += (width > 0 ? cut(text, width) : text) + "\n";
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
  return render_table(answer, static_cast<size_t>(std::max(0, width)));
}

bool is_error_answer(const std::string& json) {
  const Json answer = ordered_json_or_null(json);
  return !answer.is_object() || answer.contains("error");
}

}  // namespace r1
