// The chat template and the special tokens that a model's files hold.
//
// Templates, the first that is there: chat_template.jinja (with additional_chat_templates/NAME.jinja beside it),
// "chat_template" of tokenizer_config.json (a text, or a list of {"name", "template"}), that of chat_template.json. Special
// tokens: the "bos_token", "eos_token", ... of tokenizer_config.json, and of special_tokens_map.json what is not there. Thread
// rule: pure functions but for the files they read.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "tasks/chat_template.h"

namespace r1 {

// Throws bad_input for files that are not what they should be; a directory without any of them has no template.
ChatFiles read_chat_files(const std::filesystem::path& model_dir);

// The same for a model that is no directory: `text` gives the files by their names above, nullopt for one that is not there.
// `place`: where they stand, for messages.
ChatFiles read_chat_files(const std::filesystem::path& place,
                          const std::function<std::optional<std::string>(const std::string& name)>& text);

}  // namespace r1
