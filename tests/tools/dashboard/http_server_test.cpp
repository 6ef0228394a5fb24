// Who attacks a dashboard: others are answered all the same, and memory stays.
#include "tools/dashboard/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <list>
#include <stdexcept>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "tests/resident_memory.h"
#include "tests/tools/dashboard/client.h"

namespace r1::dashboard {
namespace {

struct Served : testing::Test {
  HttpLimits limits;
  std::atomic<int> events{0}, answers{0};
  size_t event_bytes = 0;
  std::unique_ptr<HttpServer> server;
  SystemClock clock;

  void serve() {
    server = std::make_unique<HttpServer>("127.0.0.1", 0, limits);
    HttpSite site;
    site.event_s = 0.02;
    site.answer = [this](const HttpRequest& request, const HttpPeer&) {
      ++answers;
      if (request.path == "/throws") throw std::runtime_error("on purpose");
      HttpAnswer a;
      a.stream = request.path == "/events";
      if (!a.stream)
        a.body = std::make_shared<const std::string>(request.path == "/big" ? std::string(1 << 20, 'x') : "hello\n");
      return a;
    };
    site.event = [this] {
      return std::make_shared<const std::string>("data: " + std::to_string(++events) + std::string(event_bytes, ' ') + "\n\n");
    };
    server->start(std::move(site));
  }
  int port() const { return server->port(); }
  void expect_others_are_answered() {
    const double begin = clock.now_s();
    EXPECT_NE(get(port(), "/").find("hello"), std::string::npos);
    EXPECT_LT(clock.now_s() - begin, 4) << "seconds";
  }
};

TEST_F(Served, a_request_is_answered_and_the_connection_ends) {
  serve();
  const std::string text = get(port(), "/");
  EXPECT_EQ(text.rfind("HTTP/1.1 200 OK\r\n", 0), 0u) << text;
  EXPECT_NE(text.find("\r\nContent-Length: 6\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\nhello\n")) << text;
  Client head(port());
  head.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(head.all().ends_with("\r\n\r\n"));
  Client post(port());
  post.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  const std::string refused = post.all();
  EXPECT_EQ(refused.rfind("HTTP/1.1 405 ", 0), 0u) << refused;
  EXPECT_NE(refused.find("Allow: GET, HEAD"), std::string::npos) << refused;
  EXPECT_EQ(get(port(), "/throws").rfind("HTTP/1.1 500 ", 0), 0u) << "an answer that cannot be made ends nothing";
  expect_others_are_answered();
}

TEST_F(Served, sixty_four_connections_that_say_nothing_hold_up_nobody) {
  serve();
  std::list<Client> idle;
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(idle.emplace_back(port()).connected());
  expect_others_are_answered();
}

TEST_F(Served, slow_letters_are_cut_after_their_time_and_hold_up_nobody) {
  limits.ask_s = 0.5;
  serve();
  std::list<Client> slow;
  for (int i = 0; i < 20; ++i) slow.emplace_back(port());
  bool all_cut = false;
  for (int letter = 0; letter < 100 && !all_cut; ++letter) {
    all_cut = true;
    for (Client& client : slow) {
      if (!client.over()) client.send("G");
      client.some(1);
      all_cut = all_cut && client.over();
    }
    if (letter == 3) expect_others_are_answered();
  }
  EXPECT_TRUE(all_cut);
  EXPECT_EQ(answers, 1) << "of the other one";
}

TEST_F(Served, a_request_without_an_end_is_refused_and_takes_no_memory) {
  serve();
  expect_others_are_answered();
  const long before = test::resident_kib();
  const std::string block(1 << 16, 'x');
  for (const std::string& begin : {std::string("GET /"), std::string("GET / HTTP/1.1\r\nHost: a\r\nX: ")}) {
    Client client(port());
    client.send(begin);
    size_t sent = 0;
    for (int i = 0; i < 4096 && client.send(block); ++i) sent += block.size();
    EXPECT_LT(sent, size_t{1} << 25) << "of 256 MiB";
  }
  Client shorter(port());
  shorter.send("GET /" + std::string(9000, 'x'));
  EXPECT_EQ(shorter.all().rfind("HTTP/1.1 431 ", 0), 0u);
  EXPECT_LT(test::resident_kib() - before, 8 * 1024);
  expect_others_are_answered();
}

TEST_F(Served, readers_that_take_nothing_cost_bounded_memory_and_hold_up_nobody) {
  limits.waiting_bytes = size_t{4} << 20;
  serve();
  std::list<Client> lazy;
  for (int i = 0; i < 40; ++i) {
    lazy.emplace_back(port(), 4096);
    lazy.back().send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  expect_others_are_answered();
  int answered = 0;
  for (int i = 0; i < 10; ++i) answered += get(port(), "/big").rfind("HTTP/1.1 503 ", 0) == 0;
  EXPECT_EQ(answered, 10) << "what waits to be taken is full";
}

TEST_F(Served, a_stream_gets_the_newest_event_and_not_all_that_it_missed) {
  event_bytes = 1 << 20;  // more than the kernel keeps
  serve();
  Client stream(port(), 4096);
  stream.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
  while (events < 40) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::string text;
  const int stalled = events;
  for (const double begin = clock.now_s(); clock.now_s() - begin < 8 && events < stalled + 20;) text += stream.some(20);
  int seen = 0, last = 0;
  for (size_t at = text.find("data: "); at != text.npos; at = text.find("data: ", at + 1)) {
    const int n = std::atoi(text.c_str() + at + 6);
    EXPECT_GT(n, last) << "in order";
    last = n;
    ++seen;
  }
  EXPECT_GT(last, stalled);
  EXPECT_LT(seen, last) << "those in between were left out";
  expect_others_are_answered();
}

TEST_F(Served, streams_are_counted_and_hear_the_last_word) {
  limits.streams = 3;
  serve();
  std::list<Client> streams;
  for (int i = 0; i < 3; ++i) {
    streams.emplace_back(port());
    streams.back().send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_NE(streams.back().some(10'000).find("text/plain"), std::string::npos);
  }
  EXPECT_EQ(get(port(), "/events").rfind("HTTP/1.1 503 ", 0), 0u);
  std::list<Client> idle;
  for (int i = 0; i < 100; ++i) idle.emplace_back(port());
  expect_others_are_answered();
  server->stop("event: end\ndata: \n\n");
  for (Client& stream : streams) EXPECT_NE(stream.all().find("event: end"), std::string::npos) << "no idle one pushed it out";
}

TEST_F(Served, a_port_that_is_taken_is_bad_input) {
  serve();
  try {
    HttpServer("127.0.0.1", port());
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_NE(std::string(e.what()).find(std::to_string(port())), std::string::npos) << e.what();
  }
  EXPECT_THROW(HttpServer("no such host", 0), Error);
  EXPECT_TRUE(server->loopback());
  EXPECT_FALSE(HttpServer("0.0.0.0", 0).loopback());
}

}  // namespace
}  // namespace r1::dashboard
