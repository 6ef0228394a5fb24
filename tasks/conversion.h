// Commands that turn data of well-known forms into records that are read as they are: for hints. jq programs, and the command
// line around them. Nothing is converted here. Thread rule: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace r1 {

// jq -c 'PROGRAM' FILE > NEW, for a POSIX shell; NEW lies beside FILE: STEM_SUFFIX.jsonl. A compressed file is unpacked on the
// way.
std::string jq_command(const std::string& program, const std::string& file, const std::string& suffix);

// The same of a table with a line of names, by python3: of commas, or of tabs (.tsv).
std::string csv_command(const std::string& file);

// The member `name` as jq spells it; "a.b" is the member b of the member a.
std::string jq_path(const std::string& name);

// Whose form a list of messages has, where it is not ours, and what makes "messages" of it.
struct ForeignMessages {
  const char* whose = nullptr;  // null: nobody's that is known
  const char* members = nullptr;
  std::string program;
};
// Of the list at `name` in `record`. ShareGPT's {"from": "human", "value": TEXT}: with the record's "system" in front, and
// texts of "chosen" and "rejected" that are such messages. Gemini's {"role": "model", "parts": [{"text": TEXT}]}: with
// "systemInstruction" in front.
ForeignMessages foreign_messages(const nlohmann::json& list, const std::string& name, const nlohmann::json& record);

// Whether a text is a dialogue as Anthropic's HH set writes it: "\n\nHuman: ...\n\nAssistant: ...".
bool is_hh_dialogue(const std::string& text);
// Makes messages of the dialogues "chosen" and "rejected" at these names. Pairs that differ before their last reply, or in
// nothing, and empty replies are left out.
std::string hh_program(const std::string& chosen, const std::string& rejected);

// The role that people call `role`: "user" for "human"; "" for one that is none of them.
std::string usual_role(const std::string& role);
// Renames the roles of the messages at `name`.
std::string roles_program(const std::string& name);

// Takes the last of the messages at `name` for the answer.
std::string answering_program(const std::string& name);

// Puts `parts` (input, context: behind the text; system, system_prompt, history: in front of it, as messages) into what is
// asked at `asked`, which is a text or, with `is_list`, a list of messages.
std::string joining_program(const std::vector<std::string>& parts, const std::string& asked, bool is_list);

}  // namespace r1
