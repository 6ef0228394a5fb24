#include "base/json.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/clipped.h"
#include "base/files.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

// The text as an iterator that tells how far the parser has read.
struct CountedByte {
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  const char* at;
  const char** seen;

  reference operator*() const { return *at; }
  CountedByte& operator++() {
    *seen = ++at;
    return *this;
  }
  bool operator==(const CountedByte& o) const { return at == o.at; }
  bool operator!=(const CountedByte& o) const { return at != o.at; }
};

// What the parser says after "while parsing ...", as a user may read it.
std::string detail_of(const std::string& what) {
  std::string text = what;
  if (const size_t dash = text.find(" - "); dash != std::string::npos) text.erase(0, dash + 3);
  if (const size_t found = text.find("[json.exception"); found == 0) text.erase(0, text.find("] ") + 2);
  return clipped(text, 160);
}

// Builds the value from the parser's events, and stops at the first thing that is refused.
class Builder {
 public:
  Builder(std::string_view text, const Where& where, const JsonOptions& options)
      : text_(text), where_(where), options_(options), seen_(text.data()) {}

  Json build() {
    if (text_.size() > options_.max_bytes)
      throw bad_input(fmt::format("{} bytes of JSON are more than the {} allowed here", text_.size(), options_.max_bytes),
                      where_, options_.hint);
    refuse_utf16();
    const char* const end = text_.data() + text_.size();
    Json::sax_parse(CountedByte{text_.data(), &seen_}, CountedByte{end, &seen_}, this);
    if (problem_) throw *problem_;
    return std::move(root_);
  }

  // ---- the parser's events; false ends it ----
  bool null() { return value(Json()); }
  bool boolean(bool v) { return value(Json(v)); }
  bool number_integer(Json::number_integer_t v) { return value(Json(v)); }
  bool number_unsigned(Json::number_unsigned_t v) { return value(Json(v)); }
  bool number_float(Json::number_float_t v, const Json::string_t& literal) {
    if (options_.exact_integers && literal.find_first_of(".eE") == std::string::npos)
      return refuse(fmt::format("the integer {} is beyond 64 bits", literal.substr(0, 40)),
                    text_.rfind(literal, offset() - literal.size()), "in quotes, as a text, it stays as it is");
    return value(Json(v));
  }
  bool string(Json::string_t& v) { return value(Json(std::move(v))); }
  bool binary(Json::binary_t&) { return refuse("binary", offset()); }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(Json::string_t& name) {
    auto& object = open_.back()->get_ref<Json::object_t&>();
    const auto [it, fresh] = object.emplace(name, Json());
    if (!fresh && options_.unique_keys)
      return refuse(fmt::format("the key {} stands twice in one object", shown_json(Json(name))), key_begin());
    member_ = &it->second;
    return true;
  }
  bool parse_error(size_t position, const std::string& token, const nlohmann::detail::exception& e) {
    const std::string_view what = e.what();
    const auto says = [&](std::string_view part) { return what.find(part) != std::string_view::npos; };
    size_t at = position > 0 ? position - 1 : 0;
    if (dynamic_cast<const Json::out_of_range*>(&e) != nullptr)
      return refuse(fmt::format("the number {} is out of range", token.substr(0, 40)),
                    position - std::min(position, token.size()), "the largest is about 1.8e308");
    if (says("surrogate"))
      return refuse("half of a surrogate pair in a string (\\uD800 to \\uDFFF stand in pairs)", at,
                    "write the character itself in UTF-8, or both halves");
    if (says("ill-formed UTF-8")) return refuse("not UTF-8", at, "convert the file to UTF-8");
    if (says("invalid literal") &&
        (text_.substr(at_word(at)).starts_with("NaN") || text_.substr(at_word(at)).starts_with("Inf") ||
         text_.substr(at_word(at)).starts_with("-Inf")))
      return refuse("NaN and Infinity are no JSON", at_word(at), "write null, or leave the member out");
    return refuse("not JSON: " + detail_of(e.what()), at);
  }

 private:
  size_t offset() const { return static_cast<size_t>(seen_ - text_.data()); }

  // Where the word that the parser stopped in begins.
  size_t at_word(size_t at) const {
    at = std::min(at, text_.size());
    while (at > 0 && std::string_view(" \t\r\n,:[{").find(text_[at - 1]) == std::string_view::npos) --at;
    return at;
  }
  // Where the key that was just read begins; its closing quote is the last byte read.
  size_t key_begin() const {
    size_t at = offset();
    for (at = at > 1 ? at - 2 : 0; at > 0; --at) {
      if (text_[at] != '"') continue;
      size_t slashes = 0;
      while (slashes < at && text_[at - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) break;
    }
    return at;
  }

  void refuse_utf16() const {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text_[i]); };
    if (text_.size() < 2) return;
    const bool mark = (byte(0) == 0xFF && byte(1) == 0xFE) || (byte(0) == 0xFE && byte(1) == 0xFF);
    if (mark || (byte(0) == 0) != (byte(1) == 0))
      throw bad_input("this is UTF-16, not UTF-8", place(0), "convert it: iconv -f UTF-16 -t UTF-8");
  }

  Where place(size_t at) const {
    Where where = where_;
    where.line = std::max(where.line, 1);
    const std::string_view before = text_.substr(0, std::min(at, text_.size()));
    where.line += static_cast<int>(std::count(before.begin(), before.end(), '\n'));
    const size_t line_begin = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    where.column = static_cast<int>(before.size() - line_begin) + 1;
    return where;
  }
  bool refuse(const std::string& what, size_t at, const char* hint = nullptr) {
    problem_ = bad_input(what, place(at), hint != nullptr ? hint : options_.hint);
    return false;
  }

  Json* put(Json&& v) {
    if (open_.empty()) return &(root_ = std::move(v));
    if (open_.back()->is_array()) return &open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(v));
    return &(*member_ = std::move(v));
  }
  bool value(Json&& v) {
    put(std::move(v));
    return true;
  }
  bool open(Json&& v) {
    if (open_.size() >= static_cast<size_t>(options_.max_depth))
      return refuse(fmt::format("lists and objects are nested more than {} deep", options_.max_depth), offset() - 1);
    open_.push_back(put(std::move(v)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string_view text_;
  const Where& where_;
  const JsonOptions& options_;
  const char* seen_;
  Json root_;
  std::vector<Json*>
      open_;                // the lists and objects around the place; stable: an outer one does not grow while an inner is open
  Json* member_ = nullptr;  // the value of the last key
  std::optional<Error> problem_;
};

}  // namespace

Json parse_json(std::string_view text, const Where& where, const JsonOptions& options) {
  return Builder(text, where, options).build();
}

std::string read_small_file(const std::filesystem::path& path, size_t max_bytes) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) throw bad_input("no such file", {path.string()});
  if (!S_ISREG(st.st_mode)) throw bad_input("not a regular file", {path.string()});
  if (static_cast<uint64_t>(st.st_size) > max_bytes)
    throw bad_input(fmt::format("{} bytes are more than the {} that such a file may have", st.st_size, max_bytes),
                    {path.string()});
  return read_file(path);
}

Json read_json_file(const std::filesystem::path& path, const JsonOptions& options) {
  return parse_json(read_small_file(path, options.max_bytes), {path.string()}, options);
}

std::optional<Json> try_parse_json(std::string_view text) {
  try {
    return parse_json(text, {});
  } catch (const Error&) {
    return std::nullopt;
  }
}

nlohmann::ordered_json ordered_json_or_null(std::string_view text) {
  return try_parse_json(text) ? nlohmann::ordered_json::parse(text) : nlohmann::ordered_json();
}

std::optional<int64_t> json_integer(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return value.get<int64_t>();
}

std::string shown_json(const Json& value, size_t most) {
  return clipped(value.dump(-1, ' ', false, Json::error_handler_t::replace), most);
}

void rethrow_json_error(const Where& where, const char* hint) {
  try {
    throw;
  } catch (const Json::exception& e) {
    throw bad_input("unexpected JSON: " + detail_of(e.what()), where, hint);
  }
}

}  // namespace r1
