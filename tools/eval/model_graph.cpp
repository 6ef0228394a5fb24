#include "tools/eval/model_graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/roles.h"
#include "base/error.h"

namespace r1 {

namespace {

constexpr const char* kGraph = R"dot(digraph evaluation {
  model [kind=model, path="."];
  subgraph cluster_evaluation { evaluation [role=evaluator, source="tiny:reasoning_test", rewards="format", greedy=false]; }
  model -> evaluation;
})dot";

// "--set evaluation.max_tokens=0" -> "--max-tokens 0": the option that was given.
std::string option_of(const std::string& file) {
  constexpr std::string_view kSet = "--set ";
  if (!file.starts_with(kSet)) return file;
  const size_t dot = file.find('.'), equals = file.find('=', dot);
  if (dot == std::string::npos || equals == std::string::npos) return file;
  std::string name = file.substr(dot + 1, equals - dot - 1);
  const std::string value = file.substr(equals + 1);
  if (name == "path") return "MODEL " + value;
  if (name == "source") return "--data " + value;
  if (name == "problems") name = "limit";
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name + " " + value;
}

}  // namespace

Where as_option(Where where) {
  if (where.file == "r1-eval") where = {};
  where.file = option_of(where.file);
  return where;
}

Error as_option_error(const Error& e) { return Error(e.code(), e.message(), as_option(e.where()), e.hint()); }

std::string data_source(const std::string& data) {
  return data.starts_with("tiny:") || data.starts_with("jsonl:") ? data : "jsonl:" + data;
}

ModelGraph model_graph(const ModelGraphSpec& spec) {
  if (spec.data.empty()) throw bad_input("no data to evaluate on", {}, "--data FILE.jsonl");
  std::string sources;
  for (const std::string& data : spec.data) {
    if (data.find(',') != std::string::npos)
      throw bad_input("a comma parts sources", {"--data " + data}, "give --data several times, and file names without commas");
    sources += (sources.empty() ? "" : ", ") + data_source(data);
  }
  std::vector<Override> overrides = {{"model", "path", spec.model},
                                     {"evaluation", "source", sources},
                                     {"graph", "precision", spec.precision},
                                     {"graph", "device", spec.device},
                                     {"graph", "seed", spec.seed}};
  if (!spec.tokenizer.empty()) overrides.push_back({"model", "tokenizer", spec.tokenizer});
  for (const auto& [name, value] : spec.evaluator) overrides.push_back({"evaluation", name, value});
  try {
    ModelGraph out;
    const std::filesystem::path here = std::filesystem::current_path();
    const auto once = std::make_shared<ReadOnce>();
    out.graph = load_graph_text(kGraph, "r1-eval", role_registry(here, once), overrides);
    out.env = make_run_env(out.graph, {}, here, once);
    out.evaluator = out.graph.node("evaluation");
    return out;
  } catch (const Error& e) {
    throw as_option_error(e);
  }
}

}  // namespace r1
