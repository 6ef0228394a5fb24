// report.html: a run as one self-contained page. No network, no fonts, no script but tooltips.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1::report {

// Makes the page of one run, again and again as it goes on. Thread rule: one thread at a time; the store may be written to
// by others meanwhile. All references outlive the object.
class ReportWriter {
 public:
  // `graph_dir`: where relative paths in the graph start (tokenizers). `dot`: the program that draws actors.
  ReportWriter(const GraphView& graph, const RoleRegistry& registry, const RunStore& store, std::filesystem::path run_dir,
               std::filesystem::path graph_dir, std::string dot = "dot");

  std::string page();
  // Writes RUN_DIR/report.html atomically. Throws failure when that cannot be done.
  void write();

 private:
  const GraphView& graph_;
  const RoleRegistry& registry_;
  const RunStore& store_;
  const std::filesystem::path run_dir_, graph_dir_;
  const std::string dot_;
  bool drawn_ = false;
  std::string actors_;  // dot's picture, made once; "" without dot
};

// The report of a run directory, finished or not, read-only but for report.html itself. Throws bad_input when there is no run.
void write_report(const std::filesystem::path& run_dir);

}  // namespace r1::report
