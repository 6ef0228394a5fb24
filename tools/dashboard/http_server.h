// A small HTTP server for looking: one thread, GET and HEAD, answers from memory, and streams of events (server-sent events) of
// which every reader gets the newest that it has time for.
//
// Whoever connects can neither slow the run nor fill its memory: connections, streams, the bytes and the time of a request, the
// time for taking an answer and the bytes that wait to be taken are bounded; of connections that have not asked the oldest
// makes room for a new one; the thread has a lower priority than those that compute. One answer a connection. No TLS.
//
// Why not cpp-httplib: docs/decisions.md. Thread rule: construct, start and destroy in one thread; the site's functions run on
// the server's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/dashboard/http_request.h"

namespace r1::dashboard {

struct HttpAnswer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::shared_ptr<const std::string> body;  // null: empty
  std::vector<std::string> headers;         // whole lines, without their ends
  bool stream = false;                      // no body: the site's events follow
};

// The other end of a connection.
struct HttpPeer {
  int socket = -1;
};

struct HttpSite {
  std::function<HttpAnswer(const HttpRequest&, const HttpPeer&)> answer;
  // Every `event_s` seconds, and whenever a stream begins: the newest event as text of an event stream ("data: ...\n\n").
  std::function<std::shared_ptr<const std::string>()> event;
  double event_s = 1;
};

struct HttpLimits {
  size_t connections = 64;
  size_t streams = 16;
  size_t request_bytes = 8192;
  size_t waiting_bytes = size_t{16} << 20;  // of all answers together that were not taken yet
  double ask_s = 5;                         // from connecting to a whole request
  double read_s = 10;                       // from an answer (an event) to its last byte taken
};

class HttpServer {
 public:
  // Listens on `host` (a name or address) and `port`; 0: one that is free. Nothing is answered before start(). Throws bad_input
  // when that cannot be had.
  HttpServer(const std::string& host, int port, HttpLimits limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  // Whether all that it listens on is this machine's own.
  bool loopback() const;
  void start(HttpSite site);
  // Sends `last` to the streams that take it at once, and ends all connections. The site's functions are not called any more.
  void stop(const std::string& last = "");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1::dashboard
