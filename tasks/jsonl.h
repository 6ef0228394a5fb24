// JSONL files as sources: one JSON object a line, all of one kind.
//
//   examples   {"prompt": TEXT, "completion": TEXT}
//              {"messages": [{"role": "user", "content": TEXT}, ..., {"role": "assistant", "content": TEXT}]}
//              {"text": TEXT}                                     a pre-training document: loss on every token
//   prompts    {"prompt": TEXT, "answer": TEXT or number}         or "answers": [...]; every further field with a plain value
//              {"messages": [...], "answer": ...}                 becomes a fact: "kind", "domain", "language", "harm", ...
//              {"prompt": TEXT}                                   (no answer: checkable=0)
//   pairs      {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}
//
// Facts that are not given: checkable (are there answers?), domain (reasoning with answers, general without), harm=0,
// language (zh when the prompt has more Han characters than Latin words, else en).
//
// Options: template=NAME (tasks/chat_template.h; default none: texts are used as they are), shuffle=0|1 (default 1: every epoch
// in an order of its own, from the seed; 0: file order).
//
// Thread rule: as Source. Every line is checked when the file is opened; the texts stay in the memory-mapped file.
#pragma once

#include <memory>

#include "tasks/source.h"
#include "tasks/spec.h"

namespace r1 {

// `whole`: the spec as the user wrote it, for messages. Throws bad_input with file and line.
std::unique_ptr<Source> open_jsonl(const SourceSpec& spec, const std::string& whole, uint64_t seed);
RecordKind jsonl_kind(const SourceSpec& spec, const std::string& whole);

// A permutation of 0..n-1 chosen by `key`: where `index` goes. n >= 1, index < n.
uint64_t permute(uint64_t index, uint64_t n, uint64_t key);

}  // namespace r1
