#include "tools/chat/chat_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/run_env.h"
#include "base/clock.h"
#include "base/rng.h"
#include "models/generation/generator_engine.h"

namespace r1 {

namespace {

// Ids beyond the tokenizer's are not sampled.
std::shared_ptr<const WeightSet> load_sampled(Device& device, const std::filesystem::path& model, DType dtype,
                                              const Tokenizer& tokenizer) {
  const auto weights = load_weights(device, model, dtype);
  weights->set_token_ids(tokenizer.vocab_size());
  return weights;
}

}  // namespace

ChatSession::ChatSession(const std::filesystem::path& model_dir, const std::string& chat_template, const std::string& precision,
                         const std::string& device)
    : chat_(load_model_chat(model_dir, chat_template)),
      device_(open_device(device)),
      weights_(load_sampled(device_, model_dir, resolve_precision(precision, device_), *chat_.tokenizer)) {
  if (weights_->config().scalar_head)
    throw bad_input("a reward model scores texts and writes none", {model_dir.string()}, "give a language model");
}

ChatSession::Reply ChatSession::reply(const Conversation& conversation, const ChatSettings& settings, uint64_t turn,
                                      const std::function<void(const ReplyStream::Piece&)>& show,
                                      const std::atomic<bool>& stop) {
  const std::string prompt = chat_.chat->prompt(conversation);
  GenRequest request;
  request.rng_key = rng_key(settings.seed, "chat", turn);
  request.prompt = chat_.tokenizer->encode(prompt, false);
  request.samples = 1;
  request.max_new_tokens = settings.max_tokens;
  request.temperature = static_cast<float>(settings.temperature);
  request.top_p = static_cast<float>(settings.top_p);
  request.stop_ids = chat_.end_ids;
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  const int64_t positions = weights_->config().max_positions;
  if (prompt_tokens == 0) throw bad_input("there is nothing to continue: the conversation is empty", {});
  if (prompt_tokens >= positions)
    throw bad_input(fmt::format("the conversation has {} tokens, the model takes {}", prompt_tokens, positions), {},
                    "start a new one (/reset)");
  size_t end = prompt.size();
  while (end > 0 && (prompt[end - 1] == '\n' || prompt[end - 1] == ' ')) --end;
  ReplyStream stream(std::string_view(prompt).substr(0, end).ends_with("<think>"));
  const auto is_end = [&](int32_t id) {
    return std::find(chat_.end_ids.begin(), chat_.end_ids.end(), id) != chat_.end_ids.end();
  };

  Reply out;
  SystemClock clock;
  const double begin = clock.now_s();
  GeneratorConfig config;
  config.max_running = 1;
  GeneratorEngine engine(device_, config, weights_, 0);
  engine.submit(std::move(request));
  std::vector<int32_t> sampled;
  const auto show_new = [&](std::span<const int32_t> tokens) {
    while (sampled.size() < tokens.size()) {
      const int32_t id = tokens[sampled.size()];
      sampled.push_back(id);
      if (is_end(id)) continue;
      for (const ReplyStream::Piece& piece : stream.add(chat_.tokenizer->decode_bytes({&id, 1}))) show(piece);
    }
  };
  while (engine.pending() > 0 && !stop) {
    const std::vector<GenResult> results = engine.step();
    if (results.empty()) {
      show_new(engine.sampled(0, 0));
      continue;
    }
    const std::vector<int32_t>& tokens = results[0].samples[0].tokens;
    show_new(std::span<const int32_t>(tokens).subspan(static_cast<size_t>(prompt_tokens)));
    out.finished = results[0].finished[0] != 0;
  }
  for (const ReplyStream::Piece& piece : stream.finish()) show(piece);
  out.stopped = !out.finished && stop;
  out.tokens = static_cast<int64_t>(sampled.size());
  out.seconds = clock.now_s() - begin;
  if (!sampled.empty() && is_end(sampled.back())) sampled.pop_back();  // the template may not know it
  out.content = chat_.chat->reply(prompt, chat_.tokenizer->decode(sampled, false));
  return out;
}

}  // namespace r1
