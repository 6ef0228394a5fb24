#include "tools/chat/conversation_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

TEST(ConversationFile, keeps_what_it_held_besides_the_messages) {
  const TemporaryDirectory dir;
  const auto file = dir.path() / "c.json";
  EXPECT_TRUE(read_conversation(file).messages.empty()) << "no file yet: a new conversation";
  write_file_atomically(file, R"({"title": "t", "messages": [{"role": "system", "content": "s"}]})");
  ConversationFile c = read_conversation(file);
  EXPECT_TRUE(c.waits_for_user());
  c.messages.push_back({{"role", "user"}, {"content", "四"}});
  EXPECT_FALSE(c.waits_for_user());
  write_conversation(file, c);
  const ConversationFile again = read_conversation(file);
  EXPECT_EQ(again.around.at("title"), "t");
  EXPECT_EQ(again.messages, c.messages);
  write_file_atomically(file, R"([{"role": "user", "content": "hi", "name": "kept"}])");
  const ConversationFile list = read_conversation(file);
  write_conversation(file, list);
  EXPECT_EQ(read_conversation(file).messages.at(0).at("name"), "kept");
}

TEST(ConversationFile, a_system_prompt_is_the_first_message_and_takes_the_place_of_another) {
  ConversationFile c;
  c.set_system("be brief");
  EXPECT_EQ(c.messages.dump(), R"([{"role":"system","content":"be brief"}])");
  c.messages.push_back({{"role", "user"}, {"content", "hi"}});
  c.set_system("be kind");
  EXPECT_EQ(c.messages.dump(), R"([{"role":"system","content":"be kind"},{"role":"user","content":"hi"}])");
  c.messages.erase(0);
  c.set_system("be brief");
  EXPECT_EQ(c.messages.dump(), R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])");
}

TEST(ConversationFile, what_is_no_conversation_is_bad_input_with_its_place) {
  const TemporaryDirectory dir;
  const auto file = dir.path() / "c.json";
  for (const char* text : {"", "{", "5", "{}", R"(["a"])", R"([{"role": "user"}])", R"([{"role": "king", "content": ""}])",
                           R"([{"role": "user", "content": [1]}])", R"({"messages": 1})", "[1e400]"}) {
    write_file_atomically(file, text);
    try {
      read_conversation(file);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << text;
      EXPECT_NE(std::string(e.what()).find("c.json"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace r1
