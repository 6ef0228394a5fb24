// r1-run --dashboard: a run that is watched is the run that it is without.
#include <list>

#include "tests/e2e/program.h"
#include "tests/free_port.h"
#include "tests/tools/dashboard/client.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using dashboard::get;

const std::string kNano = (source_dir() / "tests/e2e/graphs/nano.graph").string();

struct DashboardRun : ProgramTest {};

TEST_F(DashboardRun, shows_a_run_at_work_and_changes_nothing) {
  const fs::path dir = top / "watched";
  const int port = test::free_port();
  Program run({kNano, "--run", dir.string(), "-q", "--dashboard", std::to_string(port)});
  std::string metrics, event;
  for (int i = 0; i < 600 && metrics.find("r1_batches_total") == metrics.npos && !run.wait(0.05); ++i)
    metrics = get(port, "/metrics");
  EXPECT_NE(metrics.find("r1_stage_status{stage="), std::string::npos) << metrics;
  {
    dashboard::Client stream(port);
    stream.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    event = stream.some(5000) + stream.some(5000);
    EXPECT_NE(event.find("text/event-stream"), std::string::npos) << event;
  }
  EXPECT_NE(get(port, "/").find("<title>"), std::string::npos);
  EXPECT_NE(get(port, "/part/pipeline").find("<svg"), std::string::npos);
  EXPECT_EQ(get(port, "/metrics", "", "evil.example").rfind("HTTP/1.1 403", 0), 0u);
  // Meanwhile somebody hammers at it.
  std::list<dashboard::Client> idle;
  while (!run.wait(0.02)) {
    idle.emplace_back(port);
    if (idle.size() > 80) idle.pop_front();
  }
  EXPECT_EQ(run.result().code, 0) << run.result().err;
  const fs::path alone = top / "alone";
  ASSERT_EQ(run_program({kNano, "--run", alone.string(), "-q"}).code, 0);
  EXPECT_EQ(summary_hashes(dir), summary_hashes(alone));
}

TEST_F(DashboardRun, a_port_that_cannot_be_had_is_said_before_anything_starts) {
  for (const std::string address : {"70000", "nowhere.invalid:80", "a b"}) {
    const ProgramResult r = run_program({kNano, "--run", (top / "run").string(), "--dashboard", address});
    EXPECT_EQ(r.code, 2) << address << r.err;
    EXPECT_NE(r.err.find("dashboard"), std::string::npos) << r.err;
  }
}

}  // namespace
}  // namespace r1
