// One HTTP/1.x request without a body, read from text: what a browser, curl or Prometheus sends to look at something. Not an
// HTTP library: no bodies, no pipelining, no upgrades, no ranges, no compression.
// Thread rule: values and pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace r1::dashboard {

struct HttpRequest {
  bool head_only = false;                                    // HEAD; else GET
  std::string path;                                          // from '/' to '?', as it was sent
  std::map<std::string, std::string> query;                  // percent-decoded; of equal names the first
  std::map<std::string, std::string> headers;                // names in small letters; of equal names the first
  const std::string& header(const std::string& name) const;  // "" when absent
  const std::string& argument(const std::string& name) const;
  bool operator==(const HttpRequest&) const = default;
};

// What is wrong with a request, as a status: 400, 405 or 505; 0: nothing is, and `to` holds it. `head`: all up to the empty
// line. Refused beyond what RFC 9112 forbids: control characters, targets that are no path, a Host header that is missing or
// twice, more than 64 headers or 32 arguments.
int parse_http_request(std::string_view head, HttpRequest& to);

const char* http_reason(int status);  // "Not Found"

// The end of a request's head in `text`, behind the first empty line at or after `from`; npos while it is not there.
size_t end_of_head(std::string_view text, size_t from = 0);

// A request as its bytes come: it is the same in whatever pieces they do. Holds `most_bytes` of them at most.
class HttpRequestReader {
 public:
  explicit HttpRequestReader(size_t most_bytes) : most_bytes_(most_bytes) {}
  // Nothing while more is to come; then, once, what parse_http_request says of the head, or 431 when it has no end within
  // `most_bytes`. What follows the head is not looked at.
  std::optional<int> take(std::string_view bytes, HttpRequest& to);

 private:
  size_t most_bytes_;
  std::string head_;
};

}  // namespace r1::dashboard
