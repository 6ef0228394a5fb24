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

// The member `name` as jq spells it; "a.b" is the member b of the member a.
std::string jq_path(const std::string& name);

// Whether this is a list of ShareGPT's messages, {"from": "human", "value": TEXT}.
bool is_sharegpt(const nlohmann::json& list);
// Makes "messages" of the ShareGPT conversation at `name`, with the record's "system" in front, and texts of "chosen" and
// "rejected" that are such messages.
std::string sharegpt_program(const std::string& name, const nlohmann::json& record);

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
