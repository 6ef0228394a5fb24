// A model and the prompts to measure it on, as the graph that r1-run would be given: one model, one evaluator. So the checks,
// the end tokens, the templates and the loading of r1-eval are those of a run. Thread rule: reads files; one thread.
#pragma once

#include <string>
#include <vector>

#include "actors/run_env.h"
#include "base/error.h"

namespace r1 {

// What a command line says of it; texts as they were given, so that the graph's own checks judge them.
struct ModelGraphSpec {
  std::string model;                                           // a model directory
  std::string tokenizer;                                       // "": the one in there
  std::vector<std::string> data;                               // sources; a plain FILE is jsonl:FILE
  std::vector<std::pair<std::string, std::string>> evaluator;  // attributes: {"rewards", "math"}
  std::string precision = "auto", device = "cpu", seed = "0";
};

struct ModelGraph {
  GraphView graph;
  RunEnv env;                           // no run directory; paths are relative to where the program runs
  const NodePlan* evaluator = nullptr;  // in `graph`
};

// Throws bad_input that names the option (--max-tokens for the attribute max_tokens) instead of a place in a file.
ModelGraph model_graph(const ModelGraphSpec& spec);

// A place in that graph as one on the command line: the option. And an error or a warning about it.
Where as_option(Where where);
Error as_option_error(const Error& e);

// "jsonl:FILE" for a plain FILE, any other source as it is.
std::string data_source(const std::string& data);

}  // namespace r1
