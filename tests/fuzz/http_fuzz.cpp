// What comes to the dashboard's port, and its gate. Of one text whole, letter by letter and in uneven pieces the same is read,
// and no more than the limit is held; a request that is taken has nothing in it that ends a line, is within its counts, and
// written as text is the same request again; and nobody comes in who has not shown the token.
#include <algorithm>

#include "tests/fuzz/fuzz.h"
#include "tools/dashboard/gate.h"
#include "tools/dashboard/http_request.h"

namespace {

using namespace r1;
using namespace r1::dashboard;

struct Read {
  std::optional<int> status;
  HttpRequest request;
  bool operator==(const Read&) const = default;
};

template <class PieceSize>
Read read(std::string_view text, size_t most_bytes, PieceSize piece_size) {
  HttpRequestReader reader(most_bytes);
  Read r;
  for (size_t at = 0, piece = 0; at < text.size() && !r.status; at += piece) {
    piece = piece_size(at);
    r.status = reader.take(text.substr(at, piece), r.request);
  }
  return r;
}

std::string encoded(const std::string& text) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string to;
  for (const char c : text) to += {'%', kHex[static_cast<unsigned char>(c) >> 4], kHex[c & 15]};
  return to;
}

std::string text_of(const HttpRequest& r) {
  std::string text = (r.head_only ? "HEAD " : "GET ") + r.path + "?";
  for (const auto& [name, value] : r.query) text += encoded(name) + "=" + encoded(value) + "&";
  text += " HTTP/1.1\r\n";
  for (const auto& [name, value] : r.headers) text += name + ":" + value + "\r\n";
  return text + "\r\n";
}

void check(const HttpRequest& r) {
  if (!r.path.starts_with('/') || r.header("host").empty()) fuzz::finding("a request without a path or host");
  if (r.headers.size() > 64 || r.query.size() > 32) fuzz::finding("more headers or arguments than are allowed");
  const auto ends_a_line = [](const std::string& s) { return s.find_first_of(std::string_view("\0\r\n", 3)) != s.npos; };
  if (ends_a_line(r.path) || std::any_of(r.headers.begin(), r.headers.end(),
                                         [&](const auto& h) { return ends_a_line(h.first) || ends_a_line(h.second); }))
    fuzz::finding("a path or header of two lines");
  HttpRequest again;
  if (parse_http_request(text_of(r), again) != 0 || again != r) fuzz::finding("written as text it is another request");

  static const std::string kToken = "0123456789abcdef0123456789abcdef01234567";
  static const Gate gates[] = {{kToken, true, 80}, {kToken, false, 80}};
  const auto shows = [](const std::string& s) { return s.find(kToken) != s.npos; };
  const bool shown = shows(r.argument("token")) || shows(r.header("cookie")) || shows(r.header("authorization"));
  for (const Gate& gate : gates)
    if ((gate.allows(r, HttpPeer{}) || !gate.cookie(r).empty()) && !shown) fuzz::finding("the gate is open");
  names_loopback(r.header("host"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  for (const size_t most_bytes : {HttpLimits().request_bytes, size_t{128}}) {
    const Read whole = read(text, most_bytes, [&](size_t) { return text.size(); });
    if (whole != read(text, most_bytes, [](size_t) { return size_t{1}; }) ||
        whole != read(text, most_bytes, [&](size_t at) { return 1 + (at * 7 + size) % 13; }))
      fuzz::finding("another request when it comes in pieces");
    if (!whole.status && size > most_bytes) fuzz::finding("more is waited for than the limit");
    if (whole.status == 0) check(whole.request);
  }
  return 0;
}
