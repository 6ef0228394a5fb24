// A model that is talked to: it holds the weights and continues conversations, token by token. Not the terminal
// (tools/r1_chat.cpp) and not the template (actors/model_chat.h). Thread rule: one thread; `stop` may be set by any, also by a
// signal handler.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "actors/model_chat.h"
#include "kernels/device.h"
#include "models/weights.h"
#include "models/generation/generation.h"
#include "tools/chat/reply_stream.h"

namespace r1 {

struct ChatSettings {
  double temperature = 0.6, top_p = 0.95;  // 0: greedy
  int64_t max_tokens = 2048;
  uint64_t seed = 0;
};

class ChatSession {
 public:
  // Loads the model. `chat_template`: "auto" or a name. Throws bad_input.
  ChatSession(const std::filesystem::path& model_dir, const std::string& chat_template, const std::string& precision,
              const std::string& device);

  struct Reply {
    std::string content;    // as the assistant's message of the conversation: with the thought, without the end token
    bool finished = false;  // by itself
    bool stopped = false;   // by `stop`
    int64_t tokens = 0;
    double seconds = 0;
  };
  // Continues the conversation; `show` is given what can be shown as it comes. `turn`: with the seed it decides what is
  // sampled. Throws bad_input for a conversation that the template cannot say or the model has no room for.
  Reply reply(const Conversation& conversation, const ChatSettings& settings, uint64_t turn,
              const std::function<void(const ReplyStream::Piece&)>& show, const std::atomic<bool>& stop);

  const ModelChat& chat() const { return chat_; }

 private:
  ModelChat chat_;
  Device& device_;
  std::shared_ptr<const WeightSet> weights_;
};

}  // namespace r1
