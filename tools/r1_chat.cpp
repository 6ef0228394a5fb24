// r1-chat: talks to a model. See docs/architecture.md section 7.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/files.h"
#include "base/say.h"
#include "tools/chat/chat_command.h"
#include "tools/chat/chat_session.h"
#include "tools/chat/conversation_file.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/terminal/colours.h"
#include "tools/terminal/text.h"

namespace r1 {
namespace {

constexpr const char* kExamples = R"(Examples:
  r1-chat models/qwen                                       a conversation; /help lists its commands, Ctrl-C stops a reply
  r1-chat models/qwen --system "Answer in one word." -p "The capital of France?"      prints the reply, and nothing else
  r1-chat models/qwen --conversation talk.json              goes on with a conversation, and keeps it there
  r1-chat runs/r1_full/checkpoints/sft -p "compute 1 2 + 3" --temperature 0 --show-thinking

The model's own chat template is used; --template NAME takes a built-in one, none the text as it stands.
Exit codes: 0 done, 1 no reply, 2 bad input, 130 interrupted.)";

// What the handler can see has to be global.
std::atomic<bool> stop_reply{false};

extern "C" void on_interrupt(int) { stop_reply = true; }

// SIGINT ends what the program waits for, not the program; every other signal as usual.
void catch_interrupt() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
}

struct Arguments {
  std::filesystem::path model, conversation;
  std::string prompt, system, chat_template = "auto", precision = "auto", device = "cpu";
  ChatSettings settings;
  bool once = false, show_thinking = false;
};

// What is typed, line by line. On a terminal Ctrl-C begins a new line.
class Input {
 public:
  enum class Got { line, end, interrupted };
  Got line(std::string& to) {
    for (;;) {
      if (const size_t end = waiting_.find('\n'); end != std::string::npos) {
        to += waiting_.substr(0, end);
        waiting_.erase(0, end + 1);
        if (!to.ends_with('\\')) return Got::line;
        to.back() = '\n';
        continue;
      }
      char buffer[4096];
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (n > 0) {
        waiting_.append(buffer, static_cast<size_t>(n));
      } else if (n < 0 && errno == EINTR) {
        if (stop_reply) return Got::interrupted;
      } else {
        to += std::exchange(waiting_, {});
        return to.empty() ? Got::end : Got::line;
      }
    }
  }

 private:
  std::string waiting_;
};

class Chat {
 public:
  explicit Chat(Arguments args)
      : args_(std::move(args)), terminal_(::isatty(STDOUT_FILENO) == 1), colours_(terminal::shows_colours(STDOUT_FILENO)) {
    if (!args_.conversation.empty()) {
      file_ = read_conversation(args_.conversation);
      // Looked at before anything is said: what cannot be kept would be lost.
      if (const std::filesystem::path folder = behind_links(std::filesystem::absolute(args_.conversation)).parent_path();
          ::access(folder.c_str(), W_OK) != 0)
        throw bad_input(fmt::format("no file can be written in {}: {}", folder.string(), std::strerror(errno)),
                        {args_.conversation.string()});
    }
    if (!args_.system.empty()) file_.set_system(args_.system);
    session_.emplace(args_.model, args_.chat_template, args_.precision, args_.device);
    if (const ChatTemplate& chat = *session_->chat().chat; chat.what_is_missing() != nullptr)
      r1::say("warning: {}; a text is continued as it stands ({})\n", *chat.what_is_missing(), chat.hint());
  }

  // -p: one reply. Its thought is not a part of it unless it was asked for.
  int once() {
    say(args_.prompt);
    const ChatSession::Reply reply = answer();
    if (reply.stopped) {
      r1::say("\nr1-chat: interrupted\n");
      return static_cast<int>(ExitCode::interrupted);
    }
    if (!shown_any_) {
      if (!reply.finished)
        throw failure(fmt::format("no reply within {} tokens: {}", reply.tokens,
                                  thought_any_ ? "the model was still thinking" : "the model gave no text"),
                      {}, thought_any_ ? "--max-tokens, or --show-thinking to read it" : "--max-tokens N allows more");
      throw failure(fmt::format("no reply: the model ended by itself after {} tokens", reply.tokens), {},
                    thought_any_ ? "--show-thinking prints what it thought" : "");
    }
    return 0;
  }

  int talk() {
    const bool asks = terminal_ && ::isatty(STDIN_FILENO) == 1;
    if (asks) fmt::print("{}: /help lists commands, /quit ends\n", args_.model.string());
    bool came = !file_.waits_for_user();
    if (came) answer();
    Input input;
    for (;;) {
      stop_reply = false;
      if (asks) fmt::print("{}> {}", colours_ ? "\033[1m" : "", colours_ ? "\033[0m" : "");
      std::fflush(stdout);
      std::string line;
      const Input::Got got = input.line(line);
      if (got == Input::Got::end) break;
      if (got == Input::Got::interrupted) {
        if (!asks) return static_cast<int>(ExitCode::interrupted);
        fmt::print("\n(/quit or Ctrl-D ends)\n");
        continue;
      }
      if (line.find_first_not_of(" \t\r\n") == std::string::npos) continue;
      came = true;
      try {
        if (!handle(parse_chat_line(line, args_.settings))) break;
      } catch (const Error& e) {
        if (!asks) throw;
        fmt::print("{}\n", e.what());
      }
    }
    if (asks) fmt::print("\n");
    if (!asks && !came) throw bad_input("nothing was asked", {"standard input"}, "-p TEXT asks one question");
    return 0;
  }

 private:
  bool handle(const ChatCommand& command) {
    using Kind = ChatCommand::Kind;
    switch (command.kind) {
      case Kind::say:
        say(command.text);
        try {
          answer();
        } catch (...) {
          file_.messages.erase(file_.messages.size() - 1);  // what could not be said
          throw;
        }
        break;
      case Kind::settings:
      case Kind::help:
        fmt::print("{}{}", command.text, command.text.ends_with('\n') ? "" : "\n");
        break;
      case Kind::system:
      case Kind::reset:
        reset(command.kind == Kind::system ? std::optional(command.text) : std::nullopt);
        break;
      case Kind::quit:
        return false;
    }
    return true;
  }

  // A new conversation; the system prompt stays unless there is another one.
  void reset(const std::optional<std::string>& system) {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    if (system && !system->empty())
      messages.push_back({{"role", "system"}, {"content", *system}});
    else if (!system && !file_.messages.empty() && file_.messages[0]["role"] == "system")
      messages.push_back(file_.messages[0]);
    file_.messages = std::move(messages);
    keep();
    fmt::print("(a new conversation)\n");
  }

  void say(const std::string& text) { file_.messages.push_back({{"role", "user"}, {"content", text}}); }

  ChatSession::Reply answer() {
    Conversation conversation;
    conversation.messages = file_.messages;
    // A model without a template continues a single text as it stands.
    if (session_->chat().chat->is_none() && file_.messages.size() == 1)
      conversation = Conversation::of_user(file_.messages[0]["content"].get<std::string>());
    const ChatSession::Reply reply = session_->reply(
        conversation, args_.settings, file_.messages.size(), [this](const auto& piece) { show(piece); }, stop_reply);
    end_of_reply(reply);
    file_.messages.push_back({{"role", "assistant"}, {"content", reply.content}});
    keep();
    return reply;
  }

  void keep() const {
    if (!args_.conversation.empty()) write_conversation(args_.conversation, file_);
  }

  void show(const ReplyStream::Piece& piece) {
    thought_any_ |= piece.thought;
    if (piece.thought && args_.once && !args_.show_thinking) return;
    if (piece.thought != in_thought_) {
      if (colours_)
        fmt::print("{}", piece.thought ? "\033[2m" : "\033[0m\n\n");
      else
        fmt::print("{}", piece.thought ? "<think>\n" : "\n</think>\n\n");
      in_thought_ = piece.thought;
    }
    const std::string text = terminal_ ? terminal::without_controls(piece.text) : piece.text;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    shown_any_ = true;
  }

  void end_of_reply(const ChatSession::Reply& reply) {
    if (in_thought_) fmt::print("{}", colours_ ? "\033[0m" : "\n</think>");
    in_thought_ = false;
    if (shown_any_) fmt::print("\n");
    if (!args_.once && (reply.stopped || !reply.finished))
      fmt::print("({})\n", reply.stopped ? "stopped" : "cut off: /max_tokens allows more");
    std::fflush(stdout);
  }

  Arguments args_;
  const bool terminal_, colours_;
  ConversationFile file_;
  std::optional<ChatSession> session_;
  bool in_thought_ = false, shown_any_ = false, thought_any_ = false;
};

int main_checked(int argc, char** argv) {
  Arguments args;
  CLI::App app("Talks to a model.", "r1-chat");
  add_common_flags(app, kExamples);
  app.add_option("model", args.model, "a Hugging Face model directory, a GGUF file, or a checkpoint of a run")->required();
  const auto* prompt = app.add_option("-p,--prompt", args.prompt, "one question: prints the reply and ends")->type_name("TEXT");
  app.add_option("--system", args.system, "what the model is told in front of it all")->type_name("TEXT");
  app.add_option("--conversation", args.conversation, "a JSON conversation to go on with; it is kept there")->type_name("FILE");
  app.add_option("--temperature", args.settings.temperature, "of sampling; 0: the likeliest token each time; default 0.6")
      ->check(zero_or_number_from(kLeastTemperature, kMostTemperature))
      ->type_name("T");
  app.add_option("--top-p", args.settings.top_p, "share of the probability that is sampled from; default 0.95")
      ->check(number_from(kLeastTopP, 1))
      ->type_name("P");
  app.add_option("--max-tokens", args.settings.max_tokens, "longest reply; default 2048")
      ->check(CLI::Range(int64_t{1}, int64_t{16777216}))
      ->type_name("N");
  app.add_option("--seed", args.settings.seed, "of sampling; default 0")
      ->check(CLI::Range(int64_t{0}, int64_t{9007199254740991}))
      ->type_name("N");
  app.add_option("--template", args.chat_template, "auto (the model's own), none, or a built-in one")->type_name("NAME");
  app.add_option("--precision", args.precision, "of weights and activations; default auto")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}));
  app.add_option("--device", args.device, "where ops run; default cpu")->type_name("D");
  app.add_flag("--show-thinking", args.show_thinking, "with -p: print the thought too");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  args.once = prompt->count() > 0;
  if (args.once && args.prompt.find_first_not_of(" \t\r\n") == std::string::npos)
    throw bad_input("-p: nothing was asked", {},
                    "-p TEXT asks one question; without it a conversation is read from standard input");
  Chat chat(std::move(args));
  catch_interrupt();
  return prompt->count() > 0 ? chat.once() : chat.talk();
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-chat", argc, argv, r1::main_checked); }
