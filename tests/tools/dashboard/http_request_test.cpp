#include "tools/dashboard/http_request.h"

#include <gtest/gtest.h>

namespace r1::dashboard {
namespace {

int status_of(const std::string& head) {
  HttpRequest request;
  return parse_http_request(head, request);
}

TEST(HttpRequests, what_a_browser_and_prometheus_send_is_read) {
  HttpRequest r;
  ASSERT_EQ(parse_http_request(
                "GET /part/group?stage=rl1&draw=12&x=a%20b+c HTTP/1.1\r\nHost: localhost:8080\r\nAccept:  */*  \r\n\r\n", r),
            0);
  EXPECT_EQ(r.path, "/part/group");
  EXPECT_EQ(r.argument("stage"), "rl1");
  EXPECT_EQ(r.argument("x"), "a b c");
  EXPECT_EQ(r.argument("none"), "");
  EXPECT_EQ(r.header("accept"), "*/*");
  EXPECT_FALSE(r.head_only);
  HttpRequest head;
  ASSERT_EQ(parse_http_request("HEAD / HTTP/1.0\nhost: a\n\n", head), 0) << "bare line feeds pass";
  EXPECT_TRUE(head.head_only);
}

TEST(HttpRequests, what_is_none_is_refused_with_its_status) {
  const std::string host = "Host: a\r\n";
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\n" + host + "\r\n"), 405);
  EXPECT_EQ(status_of("CONNECT a:1 HTTP/1.1\r\n" + host + "\r\n"), 405);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\n" + host + "\r\n"), 505);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400) << "no host";
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host + host + "\r\n"), 400) << "two hosts";
  EXPECT_EQ(status_of("GET http://a/ HTTP/1.1\r\n" + host + "\r\n"), 400) << "as to a proxy";
  EXPECT_EQ(status_of("GET /a b HTTP/1.1\r\n" + host + "\r\n"), 400);
  EXPECT_EQ(status_of("GET /%zz?a=%4 HTTP/1.1\r\n" + host + "\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET /\0 HTTP/1.1\r\n", 17) + host + "\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nno colon\r\n" + host + "\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n folded: x\r\n" + host + "\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: a\rb\r\n" + host + "\r\n"), 400);
  for (const char* text : {"", "\r\n", "GET", "GET /", " / HTTP/1.1", "\x16\x03\x01\x02"})
    EXPECT_EQ(status_of(text), 400) << text;
  std::string many = "GET / HTTP/1.1\r\n" + host;
  for (int i = 0; i < 64; ++i) many += "h" + std::to_string(i) + ": x\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 400);
  std::string arguments = "GET /?";
  for (int i = 0; i < 33; ++i) arguments += "a=1&";
  EXPECT_EQ(status_of(arguments + " HTTP/1.1\r\n" + host + "\r\n"), 400);
}

TEST(HttpRequests, a_head_ends_with_its_empty_line) {
  EXPECT_EQ(end_of_head("GET / HTTP/1.1\r\nHost: a\r\n"), std::string::npos);
  EXPECT_EQ(end_of_head("a\r\n\r\nrest"), 5u);
  EXPECT_EQ(end_of_head("a\n\nrest"), 3u);
  EXPECT_EQ(end_of_head("a\n\r\nb: c\r\n\r\n"), 4u) << "the line that parse_http_request takes for the last";
  EXPECT_EQ(end_of_head("a\r\n\r"), std::string::npos);
}

TEST(HttpRequests, one_is_the_same_in_whatever_pieces_it_comes) {
  const std::string head = "GET /a?b=c%20d HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", text = head + "body\n\n";
  HttpRequest whole;
  ASSERT_EQ(HttpRequestReader(head.size()).take(text, whole), 0);
  EXPECT_EQ(whole.header("x"), "y");
  for (size_t piece = 1; piece <= head.size(); ++piece) {
    HttpRequestReader reader(head.size());
    HttpRequest request;
    std::optional<int> status;
    size_t at = 0;
    for (; !status && at < text.size(); at += piece) status = reader.take(std::string_view(text).substr(at, piece), request);
    EXPECT_EQ(status, 0) << piece;
    EXPECT_LT(at, head.size() + piece) << "it waits for more than the head";
    EXPECT_EQ(request, whole) << piece;
  }
}

TEST(HttpRequests, one_that_is_longer_than_its_limit_is_refused_with_the_first_byte_beyond_it) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  HttpRequest request;
  EXPECT_EQ(HttpRequestReader(head.size() - 1).take(head, request), 431);
  HttpRequestReader reader(head.size() - 1);
  EXPECT_EQ(reader.take(head.substr(0, head.size() - 1), request), std::nullopt);
  EXPECT_EQ(reader.take(head.substr(head.size() - 1), request), 431);
}

}  // namespace
}  // namespace r1::dashboard
