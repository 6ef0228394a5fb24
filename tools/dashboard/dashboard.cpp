#include "tools/dashboard/dashboard.h"

#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "tools/dashboard/gate.h"
#include "tools/dashboard/http_server.h"
#include "tools/dashboard/page.h"
#include "tools/dashboard/prometheus_text.h"
#include "tools/dashboard/state_json.h"
#include "tools/dashboard/trajectories.h"
#include "tools/report/run_data.h"
#include "tools/report/sections.h"
#include "tools/report/stage_tokenizers.h"

namespace r1::dashboard {

namespace fs = std::filesystem;

namespace {

constexpr double kPictureAge_s = 0.9;  // a younger one is shown again: what many ask for is made once
constexpr const char* kHtml = "text/html; charset=utf-8";
constexpr const char* kJson = "application/json";
constexpr size_t kMostPart = size_t{4} << 20;

std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

std::optional<int64_t> integer(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

HttpAnswer refused(int status, const std::string& why) {
  HttpAnswer a{status};
  a.body = shared(why + "\n");
  return a;
}

}  // namespace

Address parse_address(const std::string& text) {
  Address address;
  const size_t colon = text.rfind(':');
  std::string host = colon == text.npos ? "" : text.substr(0, colon);
  const auto port = integer(colon == text.npos ? text : text.substr(colon + 1));
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool plain = std::all_of(host.begin(), host.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           (bracketed && (c == ':' || c == '%'));
  });
  if (!port || *port < 0 || *port > 65535 || !plain || (colon != text.npos && host.empty()) || text.size() > 300)
    throw bad_input(fmt::format("--dashboard: '{}' is no PORT and no HOST:PORT", text.substr(0, 100)), {},
                    "such as 8080, 0.0.0.0:8080 or [::1]:8080; port 0: any that is free");
  if (!host.empty()) address.host = host;
  address.port = static_cast<int>(*port);
  return address;
}

struct Dashboard::Impl {
  std::string host, token;
  HttpServer server;
  Gate gate;

  Impl(const Address& address, const fs::path& run_dir)
      : host(address.host),
        token(dashboard_token(run_dir)),
        server(address.host, address.port),
        gate(token, server.loopback(), server.port()) {}
};

namespace {

// A run that is shown. Made on main()'s thread, used on the server's.
class Shown {
 public:
  Shown(HttpServer& server, const Gate& gate, const GraphView& graph, fs::path run_dir, const fs::path& graph_dir,
        RunLabels labels, ShellSources sources)
      : server_(server),
        gate_(gate),
        graph_(graph),
        nonce_(random_hex(16)),
        sources_(std::move(sources)),
        taker_(graph, run_dir, std::move(labels), sources_),
        tokenizers_(graph, run_dir, graph_dir),
        page_(shared(dashboard_page(graph.name, nonce_))),
        graph_json_(shared(graph_json(graph))) {
    HttpSite site;
    site.answer = [this](const HttpRequest& request, const HttpPeer& peer) { return answer(request, peer); };
    site.event = [this] { return event(); };
    server_.start(std::move(site));
  }
  ~Shown() { server_.stop("event: end\ndata: \n\n"); }

 private:
  const RunPicture& picture() {
    if (!picture_ || clock_.now_s() - taken_s_ > kPictureAge_s) {
      picture_ = taker_.take();
      taken_s_ = clock_.now_s();
      state_ = nullptr;
      metrics_ = nullptr;
    }
    return *picture_;
  }
  std::shared_ptr<const std::string> event() {
    const RunPicture& now = picture();
    if (!state_) state_ = shared("data: " + state_json(now) + "\n\n");
    return state_;
  }

  HttpAnswer answer(const HttpRequest& request, const HttpPeer& peer) {
    if (!gate_.allows(request, peer))
      return refused(403,
                     "This run is not shown to you. Its user finds the token in the file keys/dashboard of the run directory: "
                     "add ?token=... to the address, or send it as \"Authorization: Bearer ...\".");
    HttpAnswer a;
    a.headers = {"X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
                 "Cross-Origin-Resource-Policy: same-origin"};
    if (request.path == "/") {
      a.type = kHtml;
      a.body = page_;
      a.headers.push_back(page_policy(nonce_));
      if (const std::string cookie = gate_.cookie(request); !cookie.empty()) a.headers.push_back(cookie);
    } else if (request.path == "/events") {
      a.type = "text/event-stream";
      a.stream = true;
    } else if (request.path == "/metrics") {
      const RunPicture& now = picture();
      if (!metrics_) metrics_ = shared(prometheus_text(now));
      a.type = kPrometheusType;
      a.body = metrics_;
    } else if (request.path == "/graph.json") {
      a.type = kJson;
      a.body = graph_json_;
    } else if (request.path.starts_with("/part/")) {
      return part(request, std::move(a));
    } else {
      return refused(404, "Nothing is here. The page is /, Prometheus finds /metrics.");
    }
    return a;
  }

  HttpAnswer part(const HttpRequest& request, HttpAnswer a) {
    const std::string what = request.path.substr(6);
    const RunStore& store = taker_.store();
    std::string text;
    if (what == "pipeline" || what == "stages") {
      const report::RunData run = run_data();
      text = what == "pipeline" ? pipeline_section(run) : stages_section(run);
    } else {
      const std::string& name = request.argument("stage");
      const auto plan =
          std::find_if(graph_.stages.begin(), graph_.stages.end(), [&](const StagePlan& s) { return s.name == name; });
      const std::vector<StageRow> rows = store.stages();
      const auto row = std::find_if(rows.begin(), rows.end(), [&](const StageRow& r) { return r.name == name; });
      if (plan == graph_.stages.end() || row == rows.end()) return refused(404, "There is no such stage.");
      const int index = static_cast<int>(plan - graph_.stages.begin());
      if (what == "curves") {
        report::RunData run = report::read_head(graph_, store);
        run.stages.push_back(report::read_stage(graph_, index, &*row, store, run.cores));
        text = report::curves_of(run, run.stages.back());
      } else if (what == "trajectories") {
        TrajectoryQuestion q;
        const std::string& order = request.argument("order");
        using enum TrajectoryQuestion::Order;
        q.order = order == "first" ? first : order == "best" ? best : order == "worst" ? worst : last;
        q.outcome = request.argument("outcome");
        q.beyond = integer(request.argument("beyond")).value_or(-1);
        q.limit = integer(request.argument("limit")).value_or(q.limit);
        text = trajectory_list(store, row->id, q, tokenizers_.of(index).get());
      } else if (what == "group") {
        const auto draw = integer(request.argument("draw"));
        if (!draw || *draw < 0) return refused(404, "That is no draw.");
        text = trajectory_group(store, row->id, *draw, tokenizers_.of(index).get());
      } else {
        return refused(404, "Nothing is here.");
      }
    }
    if (text.size() > kMostPart) return refused(503, "That is more than a page should hold; r1-shell and report.html show it.");
    a.type = kHtml;
    a.body = shared(std::move(text));
    return a;
  }

  // Of stages that have ended what was read once stays.
  report::RunData run_data() {
    const RunStore& store = taker_.store();
    report::RunData run = report::read_head(graph_, store);
    std::map<std::string, StageRow> rows;
    for (StageRow& row : store.stages()) rows[row.name] = row;
    for (size_t i = 0; i < graph_.stages.size(); ++i) {
      const auto row = rows.find(graph_.stages[i].name);
      const auto known = ended_.find(graph_.stages[i].name);
      if (known != ended_.end()) {
        run.stages.push_back(known->second);
        continue;
      }
      run.stages.push_back(
          report::read_stage(graph_, static_cast<int>(i), row == rows.end() ? nullptr : &row->second, store, run.cores));
      report::StageData& stage = run.stages.back();
      if (!stage.ended()) continue;
      stage.curves.clear();  // these sections show none
      stage.expert_load.clear();
      stage.resolutions.clear();
      ended_[stage.plan->name] = stage;
    }
    return run;
  }

  HttpServer& server_;
  const Gate& gate_;
  const GraphView& graph_;
  const std::string nonce_;
  const ShellSources sources_;
  SystemClock clock_;
  PictureTaker taker_;
  report::StageTokenizers tokenizers_;
  const std::shared_ptr<const std::string> page_, graph_json_;
  std::optional<RunPicture> picture_;
  double taken_s_ = 0;
  std::shared_ptr<const std::string> state_, metrics_;  // of that picture
  std::map<std::string, report::StageData> ended_;
};

}  // namespace

Dashboard::Dashboard(const Address& address, const fs::path& run_dir) : impl_(std::make_unique<Impl>(address, run_dir)) {}
Dashboard::~Dashboard() = default;

std::string Dashboard::url() const {
  const auto at = [&](const std::string& host) {
    const std::string url =
        fmt::format("http://{}:{}/", host.find(':') == host.npos ? host : "[" + host + "]", impl_->server.port());
    return impl_->server.loopback() ? url : url + "?token=" + impl_->token;
  };
  const std::string& host = impl_->host;
  if (host != "0.0.0.0" && host != "::") return at(host);
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || *name == 0) return at("127.0.0.1");
  return at(name) + "  here: " + at(host == "::" ? "::1" : "127.0.0.1");
}

std::shared_ptr<void> Dashboard::show(const GraphView& graph, fs::path run_dir, const fs::path& graph_dir, RunLabels labels,
                                      ShellSources sources) {
  try {
    return std::make_shared<Shown>(impl_->server, impl_->gate, graph, std::move(run_dir), graph_dir, std::move(labels),
                                   std::move(sources));
  } catch (const Error& e) {
    log_warn(fmt::format("the dashboard shows nothing: {}", e.what()));
    return nullptr;
  }
}

}  // namespace r1::dashboard
