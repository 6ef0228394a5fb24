// Chat templates, literal by literal as docs/recipe.md section 2 describes them.
#include "tasks/chat_template.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace r1 {
namespace {

using Chat = std::vector<ChatMessage>;
const Chat kTurns = {{ChatRole::system, "Be brief."},
                     {ChatRole::user, "Hi"},
                     {ChatRole::assistant, "<think>\nhm\n</think>\n\nHello"},
                     {ChatRole::user, "1+1?"}};
const Chat kOne = {{ChatRole::user, "1+1?"}};

TEST(ChatTemplate, r1_starts_the_thought_and_drops_earlier_ones) {
  EXPECT_EQ(chat_prompt(ChatFamily::r1, kOne), "<｜begin▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n");
  EXPECT_EQ(chat_prompt(ChatFamily::r1, kTurns),
            "<｜begin▁of▁sentence｜>Be "
            "brief.<｜User｜>Hi<｜Assistant｜>\n\nHello<｜end▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n");
  EXPECT_EQ(chat_completion(ChatFamily::r1, "<think>\na\n</think>\n\n2"), "a\n</think>\n\n2<｜end▁of▁sentence｜>");
  EXPECT_EQ(chat_completion(ChatFamily::r1, "a</think>2<｜end▁of▁sentence｜>"), "a</think>2<｜end▁of▁sentence｜>");
}

TEST(ChatTemplate, qwen25_has_a_default_system_message) {
  EXPECT_EQ(chat_prompt(ChatFamily::qwen25, kOne),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat_prompt(ChatFamily::qwen25, kTurns),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nhm\n</"
            "think>\n\nHello<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat_completion(ChatFamily::qwen25, "2"), "2<|im_end|>");
}

TEST(ChatTemplate, qwen3_prefills_an_empty_thought_only_when_not_thinking) {
  EXPECT_EQ(chat_prompt(ChatFamily::qwen3, kOne), "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat_prompt(ChatFamily::qwen3_no_think, kOne),
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  EXPECT_EQ(chat_prompt(ChatFamily::qwen3, kTurns),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat_completion(ChatFamily::qwen3, "<think>\na\n</think>\n\n2"), "<think>\na\n</think>\n\n2<|im_end|>");
  EXPECT_EQ(chat_completion(ChatFamily::qwen3_no_think, "<think>\na\n</think>\n\n2"), "2<|im_end|>");
}

TEST(ChatTemplate, r1_zero_fills_the_papers_template) {
  const std::string text = chat_prompt(ChatFamily::r1_zero, kOne);
  EXPECT_TRUE(
      text.starts_with("A conversation between User and Assistant. The user asks a question, and the Assistant solves it."));
  EXPECT_TRUE(text.ends_with("<answer> answer here </answer>. User: 1+1?. Assistant:"));
  EXPECT_THROW(chat_prompt(ChatFamily::r1_zero, kTurns), Error);
}

TEST(ChatTemplate, tiny_puts_a_space_before_every_word) {
  EXPECT_EQ(chat_prompt(ChatFamily::tiny, Chat{{ChatRole::user, "compute 4  + 3 "}}), "<bos><user> compute 4 + 3<asst>");
  EXPECT_EQ(chat_prompt(ChatFamily::tiny,
                        Chat{{ChatRole::user, "a"}, {ChatRole::assistant, "<answer> b</answer>"}, {ChatRole::user, " c"}}),
            "<bos><user> a<asst><answer> b</answer><eos><user> c<asst>");
  EXPECT_THROW(chat_prompt(ChatFamily::tiny, kTurns), Error);
}

TEST(ChatTemplate, names_are_checked) {
  for (const std::string& name : chat_family_names()) EXPECT_NO_THROW(chat_family(name));
  EXPECT_EQ(chat_family("r1_distill"), ChatFamily::r1);
  try {
    chat_family("qwen25");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'qwen2.5'?"), std::string::npos);
  }
}

}  // namespace
}  // namespace r1
