#include "base/utf8_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace r1 {

std::string utf8_text(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0x80) == 0; }))
    return std::string(text);
  using nlohmann::json;
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

}  // namespace r1
