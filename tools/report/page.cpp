#include "tools/report/page.h"

#include <fmt/format.h>

#include "actors/roles.h"
#include "base/error.h"
#include "base/files.h"
#include "tools/report/graph_picture.h"
#include "tools/report/html.h"
#include "tools/report/run_data.h"
#include "tools/report/sections.h"
#include "tools/report/stage_tokenizers.h"
#include "tools/report/style.h"

namespace r1::report {

namespace fs = std::filesystem;

namespace {

std::string graph_section(const std::string& actors, const std::string& text) {
  std::string out = "<section id=\"graph\"><h2>The graph</h2>\n";
  if (actors.empty())
    out +=
        "<p class=\"note\">Graphviz was not at hand to draw every actor; <code>r1-run GRAPH --draw | dot -Tsvg</code> "
        "does.</p>\n";
  else
    out +=
        "<details><summary>Every actor and channel</summary>\n<p class=\"sub\">Drawn by Graphviz from the effective graph. "
        "Red: weights; "
        "dashed: finished artifacts between stages. Scroll in both directions.</p>\n<div class=\"scroll actors-scroll\">" +
        actors + "</div></details>\n";
  return out + "<details><summary>The effective graph as text</summary><pre>" + escaped(text) + "</pre></details></section>\n";
}

}  // namespace

ReportWriter::ReportWriter(const GraphView& graph, const RoleRegistry& registry, const RunStore& store, fs::path run_dir,
                           fs::path graph_dir, std::string dot)
    : graph_(graph),
      registry_(registry),
      store_(store),
      run_dir_(std::move(run_dir)),
      graph_dir_(std::move(graph_dir)),
      dot_(std::move(dot)) {}

std::string ReportWriter::page() {
  if (!drawn_) actors_ = actor_picture(graph_, registry_, dot_);
  drawn_ = true;
  const RunData run = read_run(graph_, store_);
  StageTokenizers tokenizers(graph_, run_dir_, graph_dir_);
  const std::string comparisons = comparisons_section(run);
  std::string curves;
  for (const StageData& stage : run.stages)
    if (stage.started())
      curves += "<section>" + curves_of(run, stage) + held_out_samples_of(stage, store_) +
                samples_of(stage, store_, tokenizers.of(stage.index).get()) + "</section>\n";

  std::string nav = "<nav><a href=\"#pipeline\">Pipeline</a><a href=\"#stages\">Stages</a>";
  if (!comparisons.empty()) nav += "<a href=\"#comparisons\">Comparisons</a>";
  nav +=
      "<a href=\"#curves\">Curves and samples</a><a href=\"#cost\">Cost</a><a href=\"#proofs\">Promises</a><a "
      "href=\"#graph\">Graph</a></nav></header>\n";

  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n";
  out += fmt::format("<title>{}: report of a run</title>\n<style>{}</style>\n</head>\n<body>\n", escaped(graph_.name),
                     style_sheet());
  out += head_section(run) + nav + "<main>\n" + pipeline_section(run) + stages_section(run) + comparisons;
  if (!curves.empty())
    out +=
        "<section id=\"curves\"><h2>Curves and samples</h2>\n<p class=\"sub\">Lines are smoothed; what was measured stands "
        "faint "
        "behind. The number at a line’s end is its last (smoothed) value.</p></section>\n" +
        curves;
  out += cost_section(run) + proofs_section(run) + graph_section(actors_, graph_dot(graph_, registry_, false));
  out += fmt::format(
      "</main>\n<footer>Written by r1-run from the run store "
      "(<code>run.db</code>){}.</footer>\n<script>{}</script>\n</body>\n</html>\n",
      run.finished() || !run.failures.empty() ? "" : " while the run goes on", tooltip_script());
  return out;
}

void ReportWriter::write() { write_file_atomically(run_dir_ / "report.html", page()); }

void write_report(const fs::path& run_dir) {
  const auto store = RunStore::open_read_only(run_dir);
  const fs::path graph_dir = store->meta("graph_dir").value_or(".");
  // The files that the graph names may be gone; the report needs none of them.
  RoleRegistry registry = role_registry(graph_dir);
  registry.recorded = true;
  for (auto* specs : {&registry.roles, &registry.artifacts})
    for (RoleSpec& spec : *specs) spec.check = nullptr;
  const GraphView graph = load_graph(run_dir / "graph.graph", registry);
  ReportWriter(graph, registry, *store, run_dir, graph_dir).write();
}

}  // namespace r1::report
