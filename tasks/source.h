// Where prompts and examples come from: the built-in tiny world, and JSONL files. Not what happens to them (rewards/, actors/).
//
// A source is a pure function of (seed, index): it has no state that changes, so a draw can be repeated after a crash, on
// another machine, in any order.
//
// Thread rule: sources are immutable after open_source; any thread may call.
#pragma once

#include <cstdint>
#include <map>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace r1 {

class ChatTemplate;

enum class RecordKind { prompt, example, pair };
const char* record_kind_name(RecordKind kind);  // "prompts", "examples", "pairs"

// Text is rendered with the chat template, beginning-of-sequence token included: tokenise it without adding special tokens.
struct Prompt {
  std::string text;                          // ends where the completion begins
  std::map<std::string, std::string> facts;  // what rewards need; the names are explained in rewards/reward_input.h
  // What was rendered, as Conversation::text() (tasks/chat_template.h): for whoever renders it with another template. "" for a
  // text without a template, which stands as it is.
  std::string conversation;
};

struct Example {
  std::string prompt;
  std::string completion;       // ends with the end-of-sequence token's text
  bool loss_on_prompt = false;  // pre-training documents: every token is a target
};

struct Pair {
  std::string prompt;
  std::string chosen;  // whole responses, thoughts and end token included
  std::string rejected;
};

// A field of a record that looks like a part of what is asked, has something in it and is not read. `field`: "" where there is
// none. `join`: the jq program that puts it, and what else is not read of the record, into what is asked; "" where its form is
// not known.
struct Unread {
  std::string field, join;
};

class Source {
 public:
  virtual ~Source();
  virtual RecordKind kind() const = 0;
  // Number of distinct records; nullopt: endless. Indices beyond it start over (a further epoch, in another order where
  // shuffled).
  virtual std::optional<uint64_t> size() const = 0;
  // The record of `index`. Calling one that is not of this source's kind is a broken invariant.
  virtual Prompt prompt(uint64_t index) const;
  virtual Example example(uint64_t index) const;
  virtual Pair pair(uint64_t index) const;
  // Where that record stands: file and line; {} for what is made, not read. May read the file: for messages.
  virtual Where place(uint64_t index) const;
  // The files that it reads, each with a stamp that says whether it was written to since another source was opened on it: equal
  // stamps, equal content. None for what is made.
  virtual std::vector<std::pair<std::filesystem::path, std::string>> stamps() const;
  // What it renders with; null for what comes rendered as it is.
  virtual const ChatTemplate* chat() const;
  // What the record of `index` says, without a template: what is asked (or the document), then each reply. As it is rendered
  // for what is made.
  virtual std::vector<std::string> texts(uint64_t index) const;
  virtual Unread unread(uint64_t index) const;  // none of what is made
  // Records of the files that SourceUse::left_out took out.
  virtual uint64_t left_out() const { return 0; }
  // For prompts: which values each fact takes (`answers` left out; at most kMaxFactValues values a fact), so that the names in
  // a reward expression can be checked before the run.
  static constexpr size_t kMaxFactValues = 200;
  virtual std::map<std::string, std::set<std::string>> fact_values() const;
};

// What a source is opened for.
struct SourceUse {
  std::optional<RecordKind> want = {};  // read records as these, where the spec does not say itself (as=) what they are
  bool in_file_order = false;           // whatever `shuffle` says
  std::shared_ptr<const ChatTemplate> chat = {};  // what template=auto means: of the model that reads it; null: none
  // Records of files (as texts() gives them) that are not there for this reader, whatever order it reads in; null: none.
  std::function<bool(const std::vector<std::string>& texts)> left_out = {};
};

// `spec` is NAME or NAME?OPTION=VALUE&OPTION=VALUE:
//   "tiny:reasoning", "tiny:pretrain?find=0.4&giveup_docs=0.5"   options: tasks/tiny/world.h
//   "jsonl:PATH", "jsonl:PATH?template=qwen2.5&shuffle=0"        format and options: tasks/jsonl.h
//   "jsonl:A?weight=3, jsonl:B?weight=1"                         several, mixed: tasks/mixture.h
// The parts of the latter; one for what is no mixture. They are cut at a comma behind which a blank or another "NAME:" stands.
std::vector<std::string> split_sources(const std::string& spec);

// `spec` with the path of each "jsonl:PATH", where it is relative, put below `dir`; every other part as it is.
std::string located_source(const std::string& spec, const std::filesystem::path& dir);

// Throws bad_input: unknown names and options with a suggestion, files with line numbers. Of a file only the first record is
// parsed: the others when they are asked for.
std::unique_ptr<Source> open_source(const std::string& spec, uint64_t seed, const SourceUse& use = {});

// The file that one source reads; nullopt for what is made. Throws bad_input for a spec that names nothing.
std::optional<std::filesystem::path> source_path(const std::string& spec);
// Whether the source reads a file; whether there is no end to it: a part of it is made.
bool reads_files(const std::string& spec);
bool is_endless(const std::string& spec);

// What is held out of a file by "split=" (tasks/jsonl.h): of the records with a hash below `share`, those are the test part.
struct HeldOutPart {
  bool test = false;
  double share = 0;
  uint64_t seed = 0;
};
std::optional<HeldOutPart> held_out_part(const std::string& spec);  // of one source

// What the source (its first part) renders with: its template=NAME, or (auto, the default) `model`; the tiny world's for the
// tiny world. Looks at no file. Throws bad_input as open_source does.
std::shared_ptr<const ChatTemplate> source_chat(const std::string& spec, const std::shared_ptr<const ChatTemplate>& model);
// The template that the spec names itself; "" for auto, "none" for none.
std::string named_template(const std::string& spec);

// What the source will give, for the type check of a graph: looks at no more than the first record of a file. Checks names and
// options as open_source does.
RecordKind source_kind(const std::string& spec);
// A hint for who needs records of one of `wanted`, of a source that gives others: which options make one of the first record of
// its first file, '?completion=response makes examples of d.jsonl', or why none do; "" when no file is named.
std::string how_to_read(const std::string& spec, const std::vector<RecordKind>& wanted);
// Of a file of prompts without answers: the option that may be meant to name them; "".
std::string likely_answer(const std::string& spec);

// The built-in names ("tiny:cold_start", ...) and "jsonl:PATH".
std::vector<std::string> source_names();

// Joins accepted answers into the fact `answers`: separated by '|', a bar inside an answer becomes "\|".
std::string join_answers(const std::vector<std::string>& answers);

}  // namespace r1
