// r1-eval: measures a model on held-out prompts. See docs/architecture.md section 7.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "actors/data_check.h"
#include "actors/evaluation.h"
#include "actors/evaluation_metrics.h"
#include "actors/model_chat.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/output_file.h"
#include "base/say.h"
#include "base/thread_count.h"
#include "rewards/expression.h"
#include "tools/eval/model_graph.h"
#include "tools/eval/pass_statistics.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/interrupts.h"
#include "tools/status_line.h"
#include "tools/terminal/text.h"

namespace r1 {
namespace {

constexpr const char* kExamples = R"(Examples:
  r1-eval models/qwen --data gsm8k.jsonl.gz --rewards math            pass@1 of 4 samples a question, and cons@4
  r1-eval models/qwen --data "gsm8k.jsonl?prompt=question&answer=answer&template=qwen2.5" --rewards math --limit 200
  r1-eval runs/r1_full/checkpoints/sft --data tiny:reasoning_test --rewards accuracy --limit 500
  r1-eval models/qwen --data aime.jsonl --rewards math --samples 64 --max-tokens 32768 --out responses.jsonl
  r1-eval models/qwen --data test.jsonl --rewards "choice" --greedy --json

Data are sources as a graph spells them (docs/data.md); a plain FILE is jsonl:FILE. Rewards are a judge's (docs/rewards.md).
A response passes when its reward is at least --pass-at. Equal seeds give equal responses.
Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.)";

struct Arguments {
  ModelGraphSpec graph;
  std::string rewards, temperature = "0.6", top_p = "0.95", max_tokens, max_running = "32";
  std::string samples = "4", limit;
  std::filesystem::path out;
  double pass_at = 1;
  bool greedy = false, json = false, quiet = false;
};

// How many prompts there are at most in one of the sources.
int64_t most_prompts(const ModelGraph& g, const std::vector<std::string>& sources) {
  uint64_t most = 0;
  for (const std::string& source : sources) {
    const auto size = open_data(g.env, located_source(source, g.env.graph_dir), g.env.seed)->size();
    if (!size) throw bad_input("this source never ends", {"--data " + source}, "say how many prompts: --limit 500");
    most = std::max(most, *size);
  }
  return static_cast<int64_t>(std::max<uint64_t>(most, 1));
}

// The graph is loaded twice where the number of prompts or the longest response is left open: the first time tells them.
ModelGraph load(Arguments& args) {
  auto& attrs = args.graph.evaluator;
  attrs = {{"rewards", args.rewards},
           {"temperature", args.greedy ? "0" : args.temperature},
           {"top_p", args.greedy ? "1" : args.top_p},
           {"samples", args.greedy ? "1" : args.samples},
           {"max_running", args.max_running},
           {"keep_samples", "0"}};
  const auto with = [&](const std::string& limit, const std::string& max_tokens) {
    ModelGraphSpec spec = args.graph;
    spec.evaluator.emplace_back("problems", limit);
    spec.evaluator.emplace_back("max_tokens", max_tokens);
    return model_graph(spec);
  };
  if (!args.limit.empty() && !args.max_tokens.empty()) return with(args.limit, args.max_tokens);
  const ModelGraph first = with(args.limit.empty() ? "1" : args.limit, args.max_tokens.empty() ? "1" : args.max_tokens);
  if (args.limit.empty())
    args.limit = std::to_string(most_prompts(first, evaluation_spec(first.env, *first.evaluator).sources));
  constexpr int64_t kDefaultMaxTokens = 2048;
  if (args.max_tokens.empty())
    args.max_tokens =
        std::to_string(std::min(kDefaultMaxTokens, start_config(first.env, first.graph, *first.evaluator).max_positions));
  return with(args.limit, args.max_tokens);
}

// Says how many responses have no reward, and why the first one has none.
void warn_of_errors(const PassStatistics& total, const std::vector<const EvaluatedSource*>& sources) {
  for (const EvaluatedSource* source : sources)
    for (const EvaluatedPrompt& p : source->prompts)
      for (const EvaluatedResponse& r : p.responses)
        if (!r.score.error.empty())
          return say("warning: {} of {} responses have no reward; the first, prompt {} of {}: {}\n", total.reward_errors,
                     total.responses, p.index, source->name, r.score.error);
}

int evaluate(Arguments args) {
  const bool own_max_tokens = !args.max_tokens.empty();
  ModelGraph g = load(args);
  EvaluationSpec spec = evaluation_spec(g.env, *g.evaluator);
  std::error_code none;
  for (const InputFile& input : input_files(g.env, g.graph))
    if (std::filesystem::equivalent(input.path, args.out, none))
      throw bad_input("is read itself", {"--out " + args.out.string()}, "give the responses another name");
  std::optional<OutputFile> out;
  if (!args.out.empty()) out.emplace(args.out);
  StatusLine progress(args.quiet || args.json ? StatusLine::Shown::never : StatusLine::Shown::everywhere);
  DataCheckOptions check;
  check.memory = survey_memory();
  check.show = [&](const std::string& line) { progress.show(line); };
  for (const DataWarning& warning : check_data(g.env, g.graph, check, SystemClock()).warnings) {
    const DataWarning shown{as_option(warning.where), warning.text};
    if (!own_max_tokens && shown.where.file.starts_with("--max-tokens"))
      continue;  // nobody asked for more than there is room for
    progress.clear();
    say("warning: {}\n", shown.str());
  }
  progress.show("loading " + args.graph.model);
  const EvaluatedModel model{load_start_weights(g.env, g.graph, *g.evaluator, g.env.precision),
                             node_tokenizer(g.env, g.graph, *g.evaluator)};
  spec.chat = node_chat(g.env, g.graph, *g.evaluator, model.tokenizer);
  const RewardExpression expression = RewardExpression::parse(spec.rewards, spec.rewards_where);
  const std::vector<std::string> names = reward_names(spec);
  Scorer scorer(expression, {}, open_programs(expression, spec.programs));
  SystemClock clock;
  const double begin = clock.now_s();
  std::string source_name;
  double source_begin = begin;
  EvaluationHooks hooks;
  hooks.progress = [&](const EvaluationProgress& p) {
    const double seconds = clock.now_s() - source_begin;
    const double left = p.prompts > 0 ? seconds / static_cast<double>(p.prompts) * static_cast<double>(p.of - p.prompts) : 0;
    progress.show(fmt::format("{}: {}/{} prompts, {:.0f} tokens/s{}", source_name, p.prompts, p.of,
                              static_cast<double>(p.tokens) / std::max(seconds, 1e-9),
                              p.prompts > 0 ? ", " + terminal::clock_text(left) + " left" : ""));
  };
  hooks.answered = [&](const std::string& source, const EvaluatedPrompt& p) {
    if (!out) return;
    for (size_t i = 0; i < p.responses.size(); ++i)
      out->write(response_json(source, p, i, args.pass_at).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                 "\n");
  };
  std::vector<EvaluatedSource> answered;
  for (const std::string& source : spec.sources) {
    if (source_kind(located_source(source, g.env.graph_dir)) != RecordKind::prompt)
      throw bad_input("these are no prompts", {"--data " + source}, "?as=prompts takes them for that where they have answers");
    source_name = source;
    source_begin = clock.now_s();
    answered.push_back(answer_source(g.env, spec, source, args.greedy, model, &scorer, hooks));
  }
  const double seconds = clock.now_s() - begin;
  progress.clear();

  std::vector<std::pair<std::string, PassStatistics>> rows;
  std::vector<const EvaluatedSource*> all;
  const std::vector<std::string> labels = source_labels(spec.sources);
  for (size_t i = 0; i < answered.size(); ++i) {
    all.push_back(&answered[i]);
    rows.emplace_back(labels[i], pass_statistics({&answered[i]}, names, args.pass_at));
  }
  const PassStatistics total = pass_statistics(all, names, args.pass_at);
  if (total.responses == 0) throw failure("nothing was measured: every prompt is longer than the model");
  if (out) out->finish();
  if (total.reward_errors > 0) warn_of_errors(total, all);
  if (args.json) {
    nlohmann::ordered_json j;
    j["model"] = args.graph.model;
    j["sources"] = spec.sources;
    j["rewards"] = spec.rewards;
    j["pass_at"] = args.pass_at;
    j["k"] = spec.samples;
    j["greedy"] = args.greedy;
    j["temperature"] = args.greedy ? 0.0 : spec.temperature;
    j["top_p"] = spec.top_p;
    j["max_tokens"] = spec.max_tokens;
    j["seed"] = spec.seed;
    j.update(statistics_json(total));
    if (rows.size() > 1)
      for (const auto& [label, s] : rows) j["by_source"][label] = statistics_json(s);
    j["seconds"] = seconds;
    j["tokens_per_second"] = static_cast<double>(total.tokens) / std::max(seconds, 1e-9);
    std::cout << j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    if (rows.size() > 1) rows.emplace_back("all", total);
    fmt::print("{}\n{} tokens in {}, {:.0f} a second{}\n", statistics_table(rows, spec.samples), total.tokens,
               terminal::clock_text(seconds), static_cast<double>(total.tokens) / std::max(seconds, 1e-9),
               total.too_long > 0 ? fmt::format("; {} prompts are longer than the model and left out", total.too_long) : "");
    if (total.without_answer > 0)
      fmt::print("{} of {} prompts have no answer to compare with: pass@1{} and reward are without them\n",
                 total.without_answer, total.prompts, spec.samples > 1 ? ", cons@k, pass@k" : "");
  }
  if (total.without_answer == total.prompts && total.parts.empty())
    throw failure(
        fmt::format("nothing was measured: no prompt has an answer to compare with, as rewards=\"{}\" does", spec.rewards), {},
        "an answer is the field \"answer\"; if it has another name, say so: --data 'FILE?answer=NAME'");
  if (total.reward_errors == total.responses) throw failure("no response has a reward: nothing was measured");
  return 0;
}

int main_checked(int argc, char** argv) {
  catch_interrupts();
  Arguments args;
  CLI::App app("Measures a model on held-out prompts: pass@1, cons@k, rewards.", "r1-eval");
  add_common_flags(app, kExamples);
  app.add_option("model", args.graph.model, "a Hugging Face model directory, a GGUF file, or a checkpoint of a run")
      ->required();
  app.add_option("--data", args.graph.data, "prompts with answers; may be given several times")
      ->required()
      ->type_name("SOURCE")
      ->allow_extra_args(false);
  app.add_option("--rewards", args.rewards, "an expression as of a judge: \"math\", \"format * accuracy\"")
      ->required()
      ->type_name("EXPR");
  app.add_option("--samples", args.samples, "responses a prompt (k); default 4")->type_name("K");
  app.add_option("--temperature", args.temperature, "of sampling; default 0.6")->type_name("T");
  app.add_option("--top-p", args.top_p, "share of the probability that is sampled from; default 0.95")->type_name("P");
  app.add_flag("--greedy", args.greedy, "the likeliest token each time, one response a prompt");
  app.add_option("--max-tokens", args.max_tokens, "longest response; default 2048, or the model's positions")->type_name("N");
  app.add_option("--limit,--problems", args.limit, "at most so many prompts of each source")->type_name("N");
  app.add_option("--pass-at", args.pass_at, "a response passes with at least this reward; default 1")
      ->check(number_from(-1e9, 1e9).description(""))
      ->type_name("X");
  app.add_option("--out", args.out, "every response as JSON lines; FILE.partial until all are there")->type_name("FILE");
  app.add_option("--tokenizer", args.graph.tokenizer, "a tokenizer.json; default: the model's own")->type_name("FILE");
  app.add_option("--seed", args.graph.seed, "of sampling and of shuffled sources; default 0")->type_name("N");
  app.add_option("--precision", args.graph.precision, "auto, f32 or bf16")->type_name("P");
  app.add_option("--device", args.graph.device, "where ops run; default cpu")->type_name("D");
  app.add_option("--max-running", args.max_running, "responses sampled at once; default 32")->type_name("N");
  app.add_flag("--json", args.json, "print JSON instead of a table, and no progress");
  app.add_flag("-q,--quiet", args.quiet, "no progress");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  try {
    return evaluate(std::move(args));
  } catch (const Error& e) {
    throw as_option_error(e);
  }
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-eval", argc, argv, r1::main_checked); }
