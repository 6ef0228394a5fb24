// Datasets that a stage leaves for later ones: JSON lines, written by filters (and by judges that write their scores), read by
// trainers. A line of a filter's holds what was said, not how the model that said it writes conversations, so that a student of
// another family learns it in its own way. Thread rule: pure functions but for the file and the run store.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "actors/messages.h"
#include "actors/run_env.h"
#include "models/sequence.h"
#include "runtime/flow/stage_memory.h"
#include "tasks/chat_template.h"

namespace r1 {

// {"prompt": [messages], "completion": [the assistant's message]} with "tools" and "chat_template_kwargs" where the prompt had
// them, and "finished": false where the reply was cut off: no end token is taught then. A prompt without a template:
// {"prompt": TEXT, "completion": TEXT, "rendered": true}. `chat`: what the prompt was rendered with.
std::string dataset_line(const PromptMessage& prompt, const Completion& completion, bool finished, const ChatTemplate& chat);
// The batches of the stage, whose payloads are lines of the dataset, in order: datasets/STAGE.jsonl and the artifact "dataset".
void write_dataset(const RunEnv&, const std::string& stage, StageJournal&);
// One example after the other, tokenised, but those that `left_out` (of SourceUse) names: their number. Throws failure naming
// file and line.
uint64_t read_dataset(const RunEnv&, const std::filesystem::path& file, const Tokenizer& tokenizer,
                      const std::shared_ptr<const ChatTemplate>& chat, const std::function<void(const Sequence&)>& each,
                      const std::function<bool(const std::vector<std::string>&)>& left_out = {});
// What the trainer at the end of the edge renders it with: `template` of a node [kind=dataset], else its model's (node_chat).
std::shared_ptr<const ChatTemplate> dataset_chat(const RunEnv&, const GraphView&, const EdgePlan& edge);
// Throws bad_input at the edge when a stage leaves conversations to a trainer whose model has no template for them, or one with
// tags that its tokenizer lacks.
void check_dataset_edges(const RunEnv&, const GraphView&);
// Where the dataset of an edge lies: the file of the stage it comes from, or the path of a node [kind=dataset].
std::filesystem::path dataset_path(const RunEnv&, const GraphView&, const EdgePlan& edge);

}  // namespace r1
