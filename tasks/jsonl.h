// JSONL files as sources: one JSON object a line, all of one kind. docs/data.md has every form with its meaning; in short:
//
//   examples   {"prompt": TEXT, "completion": TEXT}
//              {"messages": [{"role": "user", "content": TEXT}, ..., {"role": "assistant", "content": TEXT}]}
//              {"text": TEXT}                                     a pre-training document: loss on every token
//   prompts    {"prompt": TEXT, "answer": TEXT or number}         or "answers": [...]; every further field with a plain value
//              {"messages": [...], "answer": ...}                 becomes a fact: "kind", "domain", "language", "harm", ...
//              {"question": TEXT, "answer": "... #### 72"}        GSM8K: the answer is 72
//              {"prompt": TEXT}                                   (no answer: checkable=0)
//   pairs      {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}
// A "prompt" may be a list of messages everywhere; "completion", "chosen" and "rejected" may be lists that end with the
// assistant.
//
// Facts that are not given: checkable (are there answers?), domain (reasoning with answers, general without), harm=0,
// language (zh when the prompt has more Han characters than Latin words, else en).
//
// Options: template=auto|none|NAME (tasks/chat_template.h; default auto: the template of the model that reads the source),
// shuffle=0|1 (default 1: every epoch in an order of its own, from the seed; 0: file order), as=prompts|examples|pairs (where a
// record could be more than one), and the names of fields: prompt=question, answer=solution, completion=, messages=, text=,
// answers=, chosen=, rejected=. split=train|test&held_out=SHARE (and split_seed=N, default 0) is one part of the file: every
// record is in the test part or the train part by a hash of its line and split_seed, whatever the run's seed and order.
//
// Files may be compressed (.gz, .zst).
//
// Thread rule: as Source. Opening a file finds its lines; each is parsed when it is asked for (whoever wants all of them
// checked asks for all: actors/data_check.h). The texts stay in the file.
#pragma once

#include <memory>

#include "tasks/source.h"
#include "tasks/spec.h"

namespace r1 {

// `whole`: the spec as the user wrote it, for messages. Throws bad_input with file and line.
std::unique_ptr<Source> open_jsonl(const SourceSpec& spec, const std::string& whole, uint64_t seed, const SourceUse& use);
RecordKind jsonl_kind(const SourceSpec& spec, const std::string& whole);
std::string jsonl_how_to_read(const SourceSpec& spec, const std::string& whole, const std::vector<RecordKind>& wanted);
// Of the first record: the option that names the field in which answers may be, "answer=reward_model.ground_truth"; "".
std::string jsonl_likely_answer(const SourceSpec& spec, const std::string& whole);
std::optional<HeldOutPart> jsonl_held_out(const SourceSpec& spec, const std::string& whole);
// The file that the spec names. Throws bad_input when it names none.
std::filesystem::path jsonl_path(const SourceSpec& spec, const std::string& whole);

// A permutation of 0..n-1 chosen by `key`: where `index` goes. n >= 1, index < n.
uint64_t permute(uint64_t index, uint64_t n, uint64_t key);

}  // namespace r1
