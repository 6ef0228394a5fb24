// Is a piece of markup well-formed? Tags balanced and nested, attributes quoted and not repeated, entities known. For tests; a
// page may hold HTML's void elements and a doctype.
#pragma once

#include <cctype>
#include <set>
#include <string>
#include <vector>

namespace r1 {

// "" when it is, else what is wrong and where.
inline std::string markup_complaint(const std::string& text) {
  static const std::set<std::string> kVoid = {"meta", "br"};
  static const std::set<std::string> kRaw = {"style", "script"};
  std::vector<std::string> open;
  const auto at_text = [&](size_t at) { return " at " + text.substr(at, 60); };
  const auto entity_ok = [&](size_t at) {
    for (const char* known : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#45;", "&#160;"})
      if (text.compare(at, std::string(known).size(), known) == 0) return true;
    return false;
  };
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '&' && !entity_ok(at)) return "a bare ampersand" + at_text(at);
    if (text[at] == '>') return "a bare >" + at_text(at);
    if (text[at] != '<') {
      ++at;
      continue;
    }
    const size_t begin = at;
    if (text.compare(at, 2, "<!") == 0) {
      at = text.find('>', at) + 1;
      continue;
    }
    const bool closing = text.compare(at, 2, "</") == 0;
    at += closing ? 2 : 1;
    std::string name;
    while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0)) name += text[at++];
    if (name.empty()) return "a bare <" + at_text(begin);
    std::set<std::string> attributes;
    bool empty = false;
    while (true) {
      while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
      if (at >= text.size()) return "a tag that does not end" + at_text(begin);
      if (text[at] == '>') break;
      if (text[at] == '/') {
        empty = true;
        ++at;
        continue;
      }
      std::string attribute;
      while (at < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[at])) != 0 || text[at] == '-' || text[at] == ':'))
        attribute += text[at++];
      if (attribute.empty()) return "not an attribute" + at_text(at);
      if (!attributes.insert(attribute).second) return "twice the attribute " + attribute + at_text(begin);
      if (text[at] != '=') {
        if (attribute != "open") return "an attribute without a value" + at_text(begin);
        continue;
      }
      if (text[at + 1] != '"') return "an attribute without quotes" + at_text(begin);
      for (at += 2; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '<') return "a bare < in an attribute" + at_text(begin);
        if (text[at] == '&' && !entity_ok(at)) return "a bare ampersand in an attribute" + at_text(begin);
      }
      ++at;
    }
    ++at;
    if (closing) {
      if (open.empty() || open.back() != name)
        return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + at_text(begin);
      open.pop_back();
    } else if (!empty && kVoid.count(name) == 0) {
      open.push_back(name);
      if (kRaw.count(name) != 0) at = text.find("</" + name, at);
    }
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

}  // namespace r1
