// r1-chat as a user runs it.
#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/e2e/model_fixture.h"

namespace r1 {
namespace {

using nlohmann::json;

struct ChatTest : ModelTest {
  Result chat(const std::string& arguments, const std::string& input = "") const {
    return shell(std::string(R1_CHAT) + " " + model() + " --template tiny " + arguments, input);
  }
};

TEST_F(ChatTest, one_question_prints_the_reply_and_nothing_else) {
  const Result r = chat("-p 'compute 1 2' --temperature 0 --max-tokens 12"),
               again = chat("-p 'compute 1 2' --temperature 0 --max-tokens 12");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(r.out.empty());
  EXPECT_EQ(r.out.back(), '\n');
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out, again.out);
  for (const char* part : {"compute 1 2", "<asst>", "cut off", "<eos>"})
    EXPECT_EQ(r.out.find(part), std::string::npos) << r.out;
}

TEST_F(ChatTest, a_conversation_is_kept_and_gone_on_with) {
  const std::string file = (top / "talk.json").string(), ask = " --temperature 0 --max-tokens 8 --conversation " + file;
  ASSERT_EQ(chat("-p 'compute 1'" + ask).code, 0);
  json talk = json::parse(read_file(file));
  ASSERT_EQ(talk.size(), 2u);
  EXPECT_EQ(talk[0], (json{{"role", "user"}, {"content", "compute 1"}}));
  EXPECT_EQ(talk[1]["role"], "assistant");
  const Result r = chat(ask, "compute 2\n/reset\ncompute 3\n");
  ASSERT_EQ(r.code, 0) << r.err;
  talk = json::parse(read_file(file));
  ASSERT_EQ(talk.size(), 2u) << "a new conversation";
  EXPECT_EQ(talk[0]["content"], "compute 3");
}

TEST_F(ChatTest, a_conversation_is_kept_where_a_link_points_to) {
  std::filesystem::create_symlink("kept.json", top / "talk.json");
  ASSERT_EQ(chat("-p 'compute 1' --max-tokens 8 --conversation " + (top / "talk.json").string()).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(top / "talk.json"));
  EXPECT_EQ(json::parse(read_file(top / "kept.json")).size(), 2u);
}

TEST_F(ChatTest, commands_change_what_is_sampled_and_a_wrong_one_is_bad_input) {
  const Result r = chat("--max-tokens 6 --temperature 0.0",
                        "/temperature 0\n/max_tokens 3\n/settings\n/help\ncompute 1\n/quit\ncompute 2\n");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("temperature 0, top_p 0.95, max_tokens 3"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("/reset"), std::string::npos);
  const Result wrong = chat("", "/temprature 1\n");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("did you mean /temperature?"), std::string::npos) << wrong.err;
  for (const char* command :
       {"/temperature hot", "/temperature 1e-50", "/temperature 101", "/top_p 0", "/top_p 1e-50", "/top_p 2"})
    EXPECT_EQ(chat("", std::string(command) + "\n").code, 2) << command;
}

TEST_F(ChatTest, of_whom_nothing_was_asked_is_no_success) {
  const Result nothing = chat("", "\n  \n");
  EXPECT_EQ(nothing.code, 2);
  EXPECT_NE(nothing.err.find("nothing was asked (-p TEXT asks one question)"), std::string::npos) << nothing.err;
  EXPECT_EQ(chat("", "/quit\n").code, 0);
  const Result blank = chat("-p ' \n'");
  EXPECT_EQ(blank.code, 2);
  EXPECT_NE(blank.err.find("-p: nothing was asked"), std::string::npos) << blank.err;
}

TEST_F(ChatTest, a_model_that_gave_no_text_is_not_said_to_have_thought) {
  std::string bytes = read_file(top / "model/model.safetensors");
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::fill(bytes.begin() + 8 + static_cast<std::ptrdiff_t>(header), bytes.end(),
            '\0');  // of equal tokens the first is likeliest
  file("model/model.safetensors", bytes);
  std::string tokenizer = read_file(top / "model/tokenizer.json");
  for (size_t at; (at = tokenizer.find("<pad>")) != std::string::npos;) tokenizer.replace(at, 5, "\\n");
  file("model/tokenizer.json", tokenizer);
  const Result r = chat("-p 'compute 1' --temperature 0 --max-tokens 4");
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("no reply within 4 tokens: the model gave no text"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find("think"), std::string::npos) << r.err;
}

TEST_F(ChatTest, bad_input_is_exit_code_2_and_says_what_is_wrong) {
  for (const auto& [arguments, word] : std::vector<std::pair<std::string, std::string>>{
           {model() + " --template qwen3 -p x", "tokenizer"},
           {model() + " --template none-such -p x", "none-such"},
           {"no-such-model -p x", "no-such-model"},
           {model() + " --temperature -1 -p x", "temperature"},
           {model() + " --temperature 1e-50 -p x", "is not 0 or a number from 0.001 to 100"},
           {model() + " --top-p 0 -p x", "top-p"},
           {model() + " --top-p 1e-50 -p x", "top-p"},
           {model() + " --seed -1 -p x", "seed"},
           {model() + " --seed 99999999999999999999 -p x", "seed"},
           {model() + " --conversation no-such-folder/c.json -p x", "no-such-folder"},
           {model() + " --conversation " + file("c.json", "{") + " -p x", "c.json"},
           {model() + " --template tiny --system s -p x", "has no system message"}}) {
    const Result r = shell(std::string(R1_CHAT) + " " + arguments);
    EXPECT_EQ(r.code, 2) << arguments << r.err;
    EXPECT_NE(r.err.find(word), std::string::npos) << arguments << "\n" << r.err;
  }
}

TEST_F(ChatTest, a_model_without_a_template_continues_the_text_and_says_so) {
  const Result r = shell(std::string(R1_CHAT) + " " + model() + " -p 'compute 1' --temperature 0 --max-tokens 4");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("has no chat template"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("template=tiny"), std::string::npos) << r.err;
}

// A reply that would take minutes: the model has 65,536 positions and, always taking the likeliest token, no end.
TEST_F(ChatTest, an_interrupt_stops_the_reply_and_not_the_program) {
  json config = json::parse(read_file(top / "model" / "config.json"));
  config["max_position_embeddings"] = 65536;
  write_file_atomically(top / "model" / "config.json", config.dump());
  int in[2];
  ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
  const std::string out = file("out", "");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(::open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
    ::execl(R1_CHAT, R1_CHAT, model().c_str(), "--template", "tiny", "--temperature", "0", "--max-tokens", "60000", nullptr);
    ::_exit(99);
  }
  const auto said = [&](const std::string& part) {
    for (int i = 0; i < 6000; ++i) {
      if (read_file(out).find(part) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  };
  ASSERT_EQ(::write(in[1], "compute 1\n", 10), 10);
  EXPECT_TRUE(said(" "));
  ::kill(pid, SIGINT);
  EXPECT_TRUE(said("(stopped)")) << read_file(out);
  ASSERT_EQ(::write(in[1], "/settings\n", 10), 10);
  EXPECT_TRUE(said("max_tokens 60000")) << read_file(out);
  ::close(in[1]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::close(in[0]);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace r1
