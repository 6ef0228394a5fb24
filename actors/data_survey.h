// One source read whole, as one node of a graph reads it: every record parsed, rendered and tokenised, in file order, on all
// cores. Says what is wrong with the first record that is, and counts what will not be learned from.
//
// Not which sources a graph reads (actors/data_check.h).
// Thread rule: survey_source() uses threads of its own and returns when they are done.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "rewards/expression.h"
#include "tasks/contamination.h"
#include "tasks/source.h"

namespace r1 {

// An expression that reads facts of prompts, and the names in it that are no facts.
struct FactReader {
  RewardExpression expression;
  std::vector<std::string> models;
};

struct SurveyTask {
  std::string spec;  // located
  SourceUse use;
  std::string used_by;  // for messages: "stage 'sft'"
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string model;               // for messages: the node that names the tokenizer and the positions
  int64_t positions = 0;           // of the model
  int64_t max_tokens = 0;          // prompts: that may be sampled behind each; 0: none are
  bool too_long_is_error = false;  // prompts; examples longer than the model always are
  bool drops_pairs = false;        // pairs longer than the model are left out, not an error
  bool sees_answer = false;        // pairs: what the reward model is shown
  std::vector<FactReader> readers;
  std::shared_ptr<const EvaluationGrams> grams;  // what nothing is to be learned from; null: not looked for
};

// So many records, and the number of the first one's line.
struct Finding {
  int64_t count = 0;
  int line = 0;
};

struct Survey {
  int64_t records = 0, tokenised = 0;                  // tokenised < records: only a sample of them was
  int64_t tokens = 0;                                  // of those tokenised
  Finding too_long;                                    // prompts and pairs that leave no room, examples never
  Finding no_room;                                     // prompts behind which max_tokens do not fit
  Finding untrainable;                                 // examples of which no token would be learned
  Finding unread;                                      // records with a part of what is asked in a field that is not read ...
  std::string unread_field, unread_join;               // ... the first one's (Unread)
  Finding contaminated;                                // records that meet task.grams
  std::map<std::string, std::set<std::string>> facts;  // values of each fact, at most Source::kMaxFactValues
  std::map<std::string, int64_t> answered;             // by name that a reader uses: prompts that have such a fact
  int64_t with_answers = 0;                            // prompts
};

// The survey as text and back; from_text gives false for a text that is none.
std::string survey_text(const Survey&);
bool survey_from_text(const std::string& text, Survey& to);

struct SurveyProgress {
  std::function<void(int64_t done, int64_t of)> show;  // may be empty; called by one thread at a time, a few times a second
  std::function<void(const Source&)> opened;           // may be empty: called once, before anything is read
  std::function<bool()> late = [] { return false; };   // true: from here on only a sample is tokenised; any thread may ask
};

// Throws bad_input at file, line and column of the first record in file order that is broken, empty, longer than it may be, or
// that has a fact which a reader cannot use; the message counts the others. A source without an end is sampled.
Survey survey_source(const SurveyTask& task, const SurveyProgress& progress);

}  // namespace r1
