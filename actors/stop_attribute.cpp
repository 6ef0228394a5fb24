#include "actors/stop_attribute.h"

#include <fmt/format.h>

#include "actors/run_env.h"

namespace r1 {

namespace {

constexpr const char* kForm = "stop=\"</answer>\", or several in single quotes: stop=\"'</answer>', '\\n\\n'\"";

class StopReader {
 public:
  StopReader(const std::string& text, const Where& where) : text_(text), where_(where) {}

  std::vector<std::string> all() {
    std::vector<std::string> out;
    if (text_.empty()) return out;
    if (text_[0] != '\'') {
      out.push_back(upto_quote(false));
    } else {
      do {
        skip_blanks();
        if (at_ >= text_.size() || text_[at_] != '\'') fail("a text in single quotes is expected");
        ++at_;
        out.push_back(upto_quote(true));
        skip_blanks();
      } while (at_ < text_.size() && text_[at_++] == ',');
      if (at_ < text_.size() || text_.back() == ',') fail("a comma and a further text are expected");
    }
    if (out.size() > kMostStopTexts) fail(fmt::format("{} texts, at most {} are looked for", out.size(), kMostStopTexts));
    for (const std::string& one : out) {
      if (one.empty()) fail("a text is empty");
      if (one.size() > kLongestStopText) fail(fmt::format("a text of {} bytes, at most {}", one.size(), kLongestStopText));
    }
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw bad_input("stop: " + what, where_, kForm); }
  void skip_blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  std::string upto_quote(bool quoted) {
    std::string out;
    for (; at_ < text_.size(); ++at_) {
      if (quoted && text_[at_] == '\'') {
        ++at_;
        return out;
      }
      if (text_[at_] != '\\') {
        out += text_[at_];
        continue;
      }
      if (++at_ == text_.size()) fail("a backslash with nothing behind it");
      const char c = text_[at_];
      if (c != 'n' && c != 't' && c != 'r' && c != '\\' && c != '\'') fail(fmt::format("unknown escape \\{}", c));
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    if (quoted) fail("a quote is not closed");
    return out;
  }

  const std::string& text_;
  const Where& where_;
  size_t at_ = 0;
};

}  // namespace

std::vector<std::string> parse_stop_texts(const std::string& attribute, const Where& where) {
  return StopReader(attribute, where).all();
}

std::shared_ptr<const StopTexts> node_stop_texts(const NodePlan& node, const Tokenizer& tokenizer) {
  std::vector<std::string> texts = parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
  return texts.empty() ? nullptr : std::make_shared<const StopTexts>(tokenizer, std::move(texts));
}

}  // namespace r1
