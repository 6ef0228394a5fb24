// What a checkpoint says about conversations, beside its weights, config.json and tokenizer.json: what the files of the model
// it came from said, and what it was taught since - so that whoever loads it renders, stops and is rendered as in the run.
// Thread rule: pure functions but for the files they read.
#pragma once

#include <map>
#include <string>

#include "actors/run_env.h"

namespace r1 {

// File name -> content:
//   chat_template.jinja      what template=auto means behind the stage of `trainer` (node_chat); none where that is none
//   tokenizer_config.json    that of the model's directory; of the special tokens eos_token is the end token of a template that
//                            the run named
//   special_tokens_map.json  that of the model's directory
//   generation_config.json   that of the model's directory, with every end token of `config`
// Throws bad_input for files of the model that are malformed.
std::map<std::string, std::string> chat_texts(const RunEnv&, const GraphView&, const NodePlan& trainer,
                                              const ModelConfig& config);

}  // namespace r1
