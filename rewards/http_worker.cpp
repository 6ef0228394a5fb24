#include "rewards/http_worker.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/clipped.h"
#include "base/error.h"
#include "rewards/score_protocol.h"

namespace r1 {
namespace {

struct EasyFreed {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
using Easy = std::unique_ptr<CURL, EasyFreed>;

// What both uses have in common: http and https alone, and no signals, which are the process's and not a thread's.
Easy easy(const std::string& url) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  Easy curl(curl_easy_init());
  if (!curl) throw failure("libcurl gives no handle");
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  return curl;
}

struct Transfer {
  std::string body;
  const std::atomic<bool>* stop = nullptr;
  bool too_long = false;
};

size_t take_body(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.body.size() + size * count > kLongestAnswer) {
    transfer.too_long = true;
    return 0;
  }
  transfer.body.append(data, size * count);
  return size * count;
}

int look_at_stop(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return *static_cast<Transfer*>(user)->stop ? 1 : 0;
}

class HttpWorker final : public ScoreWorker {
 public:
  HttpWorker(const ProgramCall& call, const ProgramOptions& options) : options_(options), curl_(easy(call.url)) {
    CURL* c = curl_.get();
    headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
    headers_ = curl_slist_append(headers_, "Expect:");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "r1");
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look_at_stop);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error_);
  }
  ~HttpWorker() override {
    curl_.reset();
    curl_slist_free_all(headers_);
  }

  // The time limit is for the completion, whatever is tried within it. No connection, and a server that says it is busy (429,
  // 503), are tried again as long as it lasts, ever more slowly; other failures of the server `retries` times.
  Outcome ask(const ScoreItem& item, const std::atomic<bool>& stop, bool last_try) override {
    Outcome outcome;
    const int64_t id = ++asked_;
    const std::string request = score_request(id, item);
    double spent = 0;
    int left = last_try ? 0 : options_.retries;
    for (double pause = 0.1;; pause = std::min(2 * pause, 5.0)) {
      const Failure failed = post(request, id, options_.timeout_s - spent, stop, outcome);
      spent += transfer_seconds() + pause;
      if (outcome.answered || stop) return outcome;
      outcome.result.error = failed.problem;
      if (failed.kind == Failure::Kind::final) return outcome;
      if (failed.kind == Failure::Kind::server && left-- <= 0) return outcome;
      if (last_try || spent >= options_.timeout_s) return outcome;
      sleep_unless(stop, pause);
    }
  }

 private:
  struct Failure {
    enum class Kind { none, connection, server, final } kind = Kind::none;
    std::string problem;
  };

  // Of the last one.
  double transfer_seconds() const {
    curl_off_t us = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_TOTAL_TIME_T, &us);
    return static_cast<double>(us) * 1e-6;
  }

  Failure post(const std::string& request, int64_t id, double seconds, const std::atomic<bool>& stop, Outcome& outcome) {
    CURL* c = curl_.get();
    Transfer transfer;
    transfer.stop = &stop;
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, &transfer);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, request.data());
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.size()));
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max(1.0, seconds * 1000)));
    error_[0] = 0;
    const CURLcode code = curl_easy_perform(c);
    const std::string why = error_[0] != 0 ? error_ : curl_easy_strerror(code);
    if (transfer.too_long) return {Failure::Kind::final, fmt::format("it answered with more than {} bytes", kLongestAnswer)};
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_SEND_ERROR ||
        code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING)
      return {Failure::Kind::connection, why};
    if (code == CURLE_OPERATION_TIMEDOUT)
      return {Failure::Kind::final, fmt::format("it did not answer within {:g} s", options_.timeout_s)};
    if (code != CURLE_OK) return {Failure::Kind::server, why};
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
      const std::string problem = fmt::format("it answered with HTTP status {}{}", status,
                                              transfer.body.empty() ? "" : ": " + clipped(transfer.body, 200));
      return {status == 429 || status == 503 ? Failure::Kind::connection
              : status >= 500                ? Failure::Kind::server
                                             : Failure::Kind::final,
              problem};
    }
    ScoreAnswer answer = read_score_answer(transfer.body, id);
    if (!answer.nonsense.empty()) return {Failure::Kind::server, answer.nonsense};
    outcome.result = std::move(answer.result);
    outcome.answered = true;
    return {};
  }

  ProgramOptions options_;
  Easy curl_;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  int64_t asked_ = 0;
};

}  // namespace

std::unique_ptr<ScoreWorker> make_http_worker(const ProgramCall& call, const ProgramOptions& options) {
  return std::make_unique<HttpWorker>(call, options);
}

std::string connection_problem(const std::string& url, double seconds) {
  const Easy curl = easy(url);
  char error[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(seconds * 1000));
  const CURLcode code = curl_easy_perform(curl.get());
  if (code == CURLE_OK) return "";
  return error[0] != 0 ? error : curl_easy_strerror(code);
}

}  // namespace r1
