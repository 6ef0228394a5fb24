// Text in the run store that is not what the run wrote there: named with its table and row, by whatever reads it, and never
// taken for something else (P11). Payloads and files have hashes: tests/e2e/identity_test.cpp.
#include <sqlite3.h>

#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Damage {
  const char* name;
  const char* sql;
  std::vector<std::string> words;
};
void PrintTo(const Damage& d, std::ostream* out) { *out << d.name; }

void execute(const fs::path& run_dir, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((run_dir / "run.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  EXPECT_GT(sqlite3_changes(db), 0) << sql;
  sqlite3_close(db);
}

#define R1_RL "(SELECT id FROM stages WHERE name = 'rl')"

// One run of the nano graph that was killed inside stage rl, for all rows of the table.
struct DamagedStore : BadInputTest {
  static ProgramResult nano_run(const fs::path& run, const std::vector<std::string>& environment = {}) {
    return run_program({nano(), "--run", run.string(), "-q", "--set", "node.snapshot_s=0"}, environment);
  }
  struct Killed {
    fs::path dir = fs::temp_directory_path() / ("r1_damaged_store_" + std::to_string(::getpid()));
    Killed() {
      const ProgramResult r = nano_run(dir, {"R1_FAULT=kill:after_commit:25"});
      EXPECT_EQ(r.code, 128 + 9) << r.err;
      fs::remove_all(dir / "shell");  // a socket cannot be copied
    }
    ~Killed() { fs::remove_all(dir); }
  };
  void copy_killed() {
    static const Killed once;
    fs::copy(once.dir, top / "run", fs::copy_options::recursive);
  }

  static void expect_named(const ProgramResult& r, const std::vector<std::string>& words) {
    EXPECT_TRUE(r.code == 1 || r.code == 2) << r.code << r.err << r.out;
    for (const std::string& word : words) EXPECT_NE(r.err.find(word), std::string::npos) << word << " in: " << r.err;
    EXPECT_NE(r.err.find("damaged"), std::string::npos) << r.err;
    for (const char* foreign : {"json.exception", "stoll", "stod", "unexpected JSON", "malformed"})
      EXPECT_EQ(r.err.find(foreign), std::string::npos) << r.err;
    if (std::getenv("R1_SHOW_MESSAGES") != nullptr) std::fputs(r.err.c_str(), stderr);
  }
};

struct DamagedRow : DamagedStore, ::testing::WithParamInterface<Damage> {};

TEST_P(DamagedRow, is_named_when_the_run_goes_on) {
  copy_killed();
  execute(top / "run", GetParam().sql);
  const ProgramResult r = nano_run(top / "run");
  expect_named(r, GetParam().words);
  EXPECT_EQ(r.err.find("can be continued by the same command"), std::string::npos) << r.err;
}

INSTANTIATE_TEST_SUITE_P(
    Rows, DamagedRow,
    ::testing::Values(
        Damage{"stats_that_are_no_json",
               "UPDATE batch_stats SET stats = '{\"tokens\":' WHERE version = 1 AND stage = " R1_RL,
               {"run.db", "table batch_stats", "version=1", "not JSON"}},
        Damage{"a_count_that_is_text",
               "UPDATE batch_stats SET stats = json_set(stats, '$.tokens', 'many') WHERE version = 1 AND stage = " R1_RL,
               {"run.db", "table batch_stats", "version=1", "tokens is \"many\""}},
        Damage{"statistics_that_are_a_list",
               "UPDATE batch_stats SET stats = '[]' WHERE version = 0 AND stage = " R1_RL,
               {"run.db", "table batch_stats", "version=0"}},
        Damage{"the_summary_of_a_stage",
               "UPDATE stages SET summary = replace(summary, '\"steps\":', '\"steps\":\"x\",\"s\":') WHERE name = 'base'",
               {"run.db", "table stages", "name='base'", "steps"}},
        Damage{"the_times_of_a_stage",
               "UPDATE stages SET times = '{}' WHERE name = 'base'",
               {"run.db", "table stages", "column times", "is missing"}},
        Damage{"the_seconds",
               "INSERT OR REPLACE INTO meta (key, value) VALUES ('seconds', 'soon')",
               {"run.db", "table meta", "key='seconds'", "soon"}},
        Damage{"the_number_of_commits",
               "UPDATE meta SET value = 'all' WHERE key = 'commits'",
               {"run.db", "table meta", "key='commits'", "all"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(DamagedStore, a_report_names_the_row_instead_of_leaving_it_out) {
  copy_killed();
  execute(top / "run", "UPDATE batch_stats SET stats = '{' WHERE version = 1 AND stage = " R1_RL);
  expect_named(run_program({"--report", (top / "run").string()}), {"run.db", "table batch_stats", "version=1"});
}

TEST_F(DamagedStore, scores_of_a_trajectory_are_named_by_the_report) {
  copy_killed();
  execute(top / "run", "UPDATE trajectories SET scores = '{\"accuracy\":\"high\"}' WHERE stage = " R1_RL);
  expect_named(run_program({"--report", (top / "run").string()}), {"run.db", "table trajectories", "draw=", "sample=", "high"});
}

TEST_F(DamagedStore, what_an_evaluator_measured_is_named_by_the_stage_that_ends) {
  const ProgramResult r = nano_run(top / "run", {"R1_FAULT=kill:after_commit:8"});
  ASSERT_EQ(r.code, 128 + 9) << r.err;
  execute(top / "run", "UPDATE evaluations SET metrics = '{\"accuracy\":1e999}' WHERE moment = 'before'");
  expect_named(nano_run(top / "run"), {"run.db", "table evaluations", "moment='before'", "out of range"});
}

TEST_F(DamagedStore, a_number_of_batches_is_named_by_the_replay) {
  copy_killed();
  execute(top / "run", "UPDATE meta SET value = '12x' WHERE key = 'batches/sft'");
  ProgramResult r = run_program({"--replay", (top / "run").string()});
  r.err += r.out;  // what differs stands in the table of stages
  expect_named(r, {"run.db", "table meta", "key='batches/sft'", "12x"});
}

TEST_F(DamagedStore, a_summary_that_is_no_summary_is_named_when_a_finished_run_is_shown) {
  write_text(top / "g.graph", minimal());
  const std::vector<std::string> again = {(top / "g.graph").string(), "--run", (top / "run").string(), "-q"};
  ASSERT_EQ(run_program(again).code, 0);
  write_text(top / "run/summary.json", R"({"stages": [7], "seconds": 1, "machine": "m"})");
  expect_named(run_program(again), {"summary.json", "stages.0 is 7"});
}

}  // namespace
}  // namespace r1
