// The forms in which people have data: fields of other names, conversations, GSM8K, compressed files; and what is said of those
// that are broken (docs/data.md).
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tasks/chat_template.h"
#include "tasks/line_file.h"
#include "tasks/record.h"
#include "tasks/source.h"
#include "tasks/text_stream.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

class DataForms : public testing::Test {
 protected:
  DataForms() {
    dir_ = fs::temp_directory_path() / ("r1_forms_" + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  ~DataForms() override { fs::remove_all(dir_); }

  std::string file(const std::string& bytes, const std::string& name = "d.jsonl") {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    return (dir_ / name).string();
  }
  std::unique_ptr<Source> open(const std::string& text, const std::string& options = "") {
    return open_source("jsonl:" + file(text) + options, 0, {std::nullopt, true});
  }
  Error error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& e) {
      return e;
    }
    return bad_input("accepted");
  }
  Error first_record_error(const std::string& text, const std::string& options = "") {
    return error_of([&] {
      const auto s = open(text, options);
      if (s->kind() == RecordKind::prompt) s->prompt(0);
      if (s->kind() == RecordKind::example) s->example(0);
      if (s->kind() == RecordKind::pair) s->pair(0);
    });
  }
  static std::string gzip(const std::string& text) {
    z_stream z{};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&z, text.size()) + 64, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    deflate(&z, Z_FINISH);
    out.resize(out.size() - z.avail_out);
    deflateEnd(&z);
    return out;
  }
  static std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    ZSTD_CCtx* c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);  // as the program zstd does
    out.resize(ZSTD_compress2(c, out.data(), out.size(), text.data(), text.size()));
    ZSTD_freeCCtx(c);
    return out;
  }

  fs::path dir_;
};

TEST_F(DataForms, a_prompt_may_be_a_list_of_messages) {
  const auto s = open(R"({"prompt": [{"role": "user", "content": "compute 1 + 1"}], "answer": "2"})", "?template=tiny");
  ASSERT_EQ(s->kind(), RecordKind::prompt);
  EXPECT_EQ(s->prompt(0).text, "<bos><user> compute 1 + 1<asst>");
  EXPECT_EQ(s->prompt(0).facts.count("prompt"), 0u);
}

TEST_F(DataForms, the_parts_of_a_content_are_joined) {
  const auto s =
      open(R"({"prompt": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  EXPECT_EQ(s->prompt(0).text, "ab");
}

TEST_F(DataForms, gsm8k_is_read_as_it_is_published) {
  const auto s = open("{\"question\": \"Q?\", \"answer\": \"48/2 = 24\\n#### 1,072\"}\n");
  ASSERT_EQ(s->kind(), RecordKind::prompt);
  EXPECT_EQ(s->prompt(0).text, "Q?");
  EXPECT_EQ(s->prompt(0).facts.at("answers"), "1072");
  EXPECT_EQ(s->prompt(0).facts.count("question"), 0u);
}

TEST(AfterHashes, only_a_last_line_of_hashes_is_taken_for_the_answer) {
  EXPECT_EQ(after_hashes("... #### 72"), "72");
  EXPECT_EQ(after_hashes("#### -1,000.5\n"), "-1000.5");
  EXPECT_EQ(after_hashes("x\n#### blue, red"), "blue, red");
  EXPECT_EQ(after_hashes("#### Heading\ntext"), "#### Heading\ntext");
  EXPECT_EQ(after_hashes("##### 5"), "##### 5");
  EXPECT_EQ(after_hashes("a####5"), "a####5");
  EXPECT_EQ(after_hashes("####"), "####");
  EXPECT_EQ(after_hashes("72"), "72");
}

TEST_F(DataForms, an_answer_may_be_a_list_of_accepted_ones) {
  EXPECT_EQ(open(R"({"prompt": "Q", "answer": ["4", "four", 4]})")->prompt(0).facts.at("answers"), "4|four|4");
}

TEST_F(DataForms, fields_of_other_names_are_mapped) {
  const auto s = open(R"({"problem": "Q", "gold": 7, "level": 1})", "?prompt=problem&answer=gold");
  EXPECT_EQ(s->prompt(0).text, "Q");
  EXPECT_EQ(s->prompt(0).facts.at("answers"), "7");
  EXPECT_EQ(s->prompt(0).facts.at("level"), "1");
  EXPECT_EQ(s->prompt(0).facts.count("gold"), 0u);
  const auto e = open(R"({"question": "Q", "answer": "A"})", "?prompt=question&completion=answer");
  ASSERT_EQ(e->kind(), RecordKind::example) << "a field that is mapped to something else is no answer any more";
  EXPECT_EQ(e->example(0).completion, "A");
  const auto deep = open(R"({"prompt": "Q", "reward_model": {"ground_truth": "9"}})", "?answer=reward_model.ground_truth");
  EXPECT_EQ(deep->prompt(0).facts.at("answers"), "9");
}

TEST_F(DataForms, completions_and_pairs_may_be_conversations) {
  EXPECT_EQ(open(R"({"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]})")
                ->example(0)
                .completion,
            "A");
  const std::string user = R"({"role": "user", "content": "Q"})";
  const auto s = open(R"({"chosen": [)" + user + R"(, {"role": "assistant", "content": "good"}], "rejected": [)" + user +
                      R"(, {"role": "assistant", "content": "bad"}]})");
  EXPECT_EQ(s->pair(0).prompt, "Q");
  EXPECT_EQ(s->pair(0).chosen, "good");
  EXPECT_EQ(s->pair(0).rejected, "bad");
}

// Prints everything, in order.
std::shared_ptr<const ChatTemplate> shows_all() {
  ChatFiles files;
  files.place = "shows_all";
  files.templates = {{"default",
                      "{% for m in messages %}[{{ m | tojson }}]{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
                      "{% if deep is defined %}{{ deep }}{% endif %}{% if add_generation_prompt %}{% endif %}"}};
  return ChatTemplate::of_model(files, {});
}

TEST_F(DataForms, tools_calls_and_variables_reach_the_template_in_their_order) {
  const std::string tools = R"("tools": [{"type": "function", "function": {"name": "f", "a": 1}}])";
  const std::string text =
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [{"z": 1, "a": 2}]}, {"role": "tool", "name": "f", "content": "r"}, {"role": "user", "content": "again"}], )" +
      tools + R"(, "chat_template_kwargs": {"deep": 3}})";
  const auto s = open_source("jsonl:" + file(text), 0, {.chat = shows_all()});
  EXPECT_EQ(
      s->prompt(0).text,
      R"([{"role": "system", "content": "s"}][{"role": "user", "content": "q"}][{"role": "assistant", "tool_calls": [{"z": 1, "a": 2}]}])"
      R"([{"role": "tool", "name": "f", "content": "r"}][{"role": "user", "content": "again"}])"
      R"([{"type": "function", "function": {"name": "f", "a": 1}}]3)");
  EXPECT_EQ(shows_all()->prompt(Conversation::parse(s->prompt(0).conversation)), s->prompt(0).text);
  EXPECT_NE(
      std::string(first_record_error(R"({"prompt": "q", )" + tools + "}", "?template=chatml").what()).find("has no tools"),
      std::string::npos);
}

TEST_F(DataForms, tools_may_be_the_text_of_a_list_and_nothing_else_is_left_out_in_silence) {
  const std::string asked = R"({"messages": [{"role": "user", "content": "q"}], )";
  const auto shown = [&](const std::string& member) {
    return open_source("jsonl:" + file(asked + member + "}"), 0, {.chat = shows_all()})->prompt(0).text;
  };
  const std::string list = shown(R"("tools": [{"z": 1, "a": "x"}])");
  EXPECT_NE(list.find(R"([{"z": 1, "a": "x"}])"), std::string::npos) << list;
  EXPECT_EQ(shown(R"("tools": "[{\"z\": 1, \"a\": \"x\"}]")"), list);
  EXPECT_EQ(shown(R"("chat_template_kwargs": "{\"deep\": 3}")"), shown(R"("chat_template_kwargs": {"deep": 3})"));
  for (const char* none :
       {R"("tools": null)", R"("tools": [])", R"("tools": "")", R"("tools": "[]")", R"("chat_template_kwargs": {})"})
    EXPECT_EQ(shown(none), R"([{"role": "user", "content": "q"}])") << none;
  const auto refused = [&](const std::string& member, const std::string& what) {
    const Error e = first_record_error(asked + member + "}", "?template=chatml");
    EXPECT_EQ(e.code(), ExitCode::bad_input) << member;
    EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    EXPECT_EQ(e.where().column, static_cast<int>(asked.size()) + 1) << e.what();
  };
  refused(R"("tools": "get_weather")", "\"tools\": expected a list of objects");
  refused(R"("tools": ["get_weather"])", "\"tools\": expected a list of objects");
  refused(R"("tools": {"name": "f"})", "\"tools\": expected a list of objects");
  refused(R"("tools": true)", "\"tools\": expected a list of objects");
  refused(R"("chat_template_kwargs": [1])", "\"chat_template_kwargs\": expected an object");
  EXPECT_NE(
      std::string(
          first_record_error(
              R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "tool_calls": "[]"}]})")
              .what())
          .find("messages[1]: \"tool_calls\""),
      std::string::npos);
}

TEST_F(DataForms, a_flag_that_is_neither_true_nor_false_is_refused) {
  for (const char* name : {"finished", "rendered"}) {
    const std::string record = R"({"prompt": "q", "completion": "a", ")" + std::string(name) + "\": ";
    for (const char* value : {"\"false\"", "0", "[]"})
      EXPECT_NE(std::string(first_record_error(record + value + "}").what()).find("expected true or false"), std::string::npos)
          << name << " " << value;
    EXPECT_EQ(open(record + "null}")->example(0).completion, "a");
  }
}

TEST_F(DataForms, a_pair_is_asked_all_that_stands_before_its_last_reply) {
  const auto said = [](const char* role, const char* text) {
    return std::string(R"({"role": ")") + role + R"(", "content": ")" + text + "\"}";
  };
  const std::string q = said("user", "q"), a = said("assistant", "a"), r = said("user", "r");
  const std::string good = said("assistant", "good"), bad = said("assistant", "bad");
  const auto pair = [&](const std::string& prompt, const std::string& led) {
    const std::string before = led.empty() ? "" : led + ", ";
    return (prompt.empty() ? "{" : R"({"prompt": )" + prompt + ", ") + R"("chosen": [)" + before + good +
           R"(], "rejected": [)" + before + bad + "]}";
  };
  const auto asked = [&](const std::string& prompt, const std::string& led) {
    return open(pair(prompt, led), "?template=tiny")->pair(0).prompt;
  };
  const std::string whole = "<bos><user> q<asst>a<eos><user> r<asst>";
  EXPECT_EQ(asked("", q + ", " + a + ", " + r), whole);
  EXPECT_EQ(asked("[" + q + ", " + a + ", " + r + "]", ""), whole);
  EXPECT_EQ(asked(R"("q")", a + ", " + r), whole) << "steps behind the prompt";
  EXPECT_EQ(asked(R"(" q\n")", q + ", " + a + ", " + r), whole) << "the prompt again, its first message";
  EXPECT_EQ(asked(R"("r")", q + ", " + a + ", " + r), whole) << "the prompt again, its last message";
  EXPECT_EQ(asked(R"("q")", q), "<bos><user> q<asst>");
  EXPECT_NE(std::string(first_record_error(pair(R"("other")", q), "?template=tiny").what()).find("is no part of"),
            std::string::npos);
  EXPECT_NE(std::string(first_record_error(
                            R"({"prompt": "q", "chosen": [)" + a + ", " + r + ", " + good + R"(], "rejected": [)" + bad + "]}",
                            "?template=tiny")
                            .what())
                .find("different conversations"),
            std::string::npos);
  EXPECT_NE(std::string(first_record_error(R"({"chosen": "a", "rejected": "b"})").what()).find("no \"prompt\""),
            std::string::npos);
}

TEST_F(DataForms, an_assistant_that_only_calls_a_tool_is_an_example) {
  const auto s = open_source(
      "jsonl:" +
          file(
              R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]}]})"),
      0, {.chat = shows_all()});
  EXPECT_EQ(s->example(0).completion, R"([{"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]}])");
  EXPECT_NE(
      std::string(first_record_error(R"({"messages": [{"role": "usr", "content": "q"}]})").what()).find("unknown role 'usr'"),
      std::string::npos);
  EXPECT_NE(std::string(first_record_error(R"({"messages": [{"role": "user"}]})").what()).find("messages[0]"),
            std::string::npos);
}

TEST_F(DataForms, a_completion_of_several_messages_is_kept_whole) {
  const auto s = open_source(
      "jsonl:" +
          file(
              R"({"prompt": "q", "completion": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]})"),
      0, {.chat = ChatTemplate::named("tiny")});
  EXPECT_EQ(s->example(0).prompt, "<bos><user> q<asst>a<eos><user> b<asst>");
  EXPECT_EQ(s->example(0).completion, "c<eos>");
}

TEST_F(DataForms, a_reply_that_was_cut_off_has_no_end_token) {
  EXPECT_EQ(open(R"({"prompt": "q", "completion": "a", "finished": false})", "?template=tiny")->example(0).completion, "a");
  EXPECT_EQ(open(R"({"prompt": "q", "completion": "a", "finished": true})", "?template=tiny")->example(0).completion, "a<eos>");
}

TEST_F(DataForms, a_completion_makes_an_example_whatever_else_is_there) {
  const std::string both = R"({"prompt": "Q", "completion": "A", "answer": "3"})";
  EXPECT_EQ(open(both)->kind(), RecordKind::example);
  EXPECT_EQ(open(both, "?as=prompts")->prompt(0).facts.at("answers"), "3");
  const auto wanted = open_source("jsonl:" + file(R"({"prompt": "Q", "answer": "3"})"), 0, {RecordKind::example, false});
  EXPECT_NE(std::string(error_of([&] { wanted->example(0); }).what()).find("no \"completion\""), std::string::npos);
}

TEST_F(DataForms, a_missing_field_comes_with_the_mapping_that_may_be_meant) {
  EXPECT_EQ(
      first_record_error(R"({"problem": "Q", "solution": "A"})").hint(),
      "if it is \"problem\" here, say so: ?prompt=problem&answer=solution, or &completion=solution where it is to be learned");
  EXPECT_EQ(first_record_error(R"({"instruction": "Q", "input": "", "output": "A"})").hint(),
            "if it is \"instruction\" here, say so: ?prompt=instruction&completion=output");
  EXPECT_EQ(first_record_error(R"({"instruction": "Q", "output": "A"})", "?as=examples").hint(),
            "if it is \"instruction\" here, say so: ?prompt=instruction&completion=output");
  EXPECT_EQ(first_record_error(R"({"prompt": "Q", "response": "A"})", "?as=examples").hint(),
            "if it is \"response\" here, say so: ?completion=response");
  EXPECT_NE(first_record_error(R"({"prompt": "Q", "zzz": "A"})", "?as=examples").hint().find("\"prompt\", \"zzz\""),
            std::string::npos);
}

TEST_F(DataForms, records_of_another_kind_come_with_the_options_that_make_the_wanted_one_of_them) {
  const auto how = [&](const std::string& text, RecordKind wanted) {
    const std::string path = file(text), hint = how_to_read("jsonl:" + path, {wanted});
    const std::string end = fmt::format(" makes {} of {}", record_kind_name(wanted), path);
    if (!hint.ends_with(end)) return hint;
    const std::string options = hint.substr(0, hint.size() - end.size());
    EXPECT_EQ(source_kind("jsonl:" + path + options), wanted) << text << ": " << options << " makes something else";
    return options;
  };
  using enum RecordKind;
  EXPECT_EQ(how(R"({"prompt": "Q", "response": "A"})", example), "?completion=response");
  EXPECT_EQ(how(R"({"question": "Q", "answer": "A"})", example), "?completion=answer");
  EXPECT_EQ(how(R"({"prompt": "Q", "answer": "3", "solution": "A"})", example), "?completion=solution");
  EXPECT_EQ(how(R"({"problem": "Q", "answer": "3", "solution": "A"})", example), "?prompt=problem&completion=solution");
  EXPECT_EQ(how(R"({"messages": [{"role": "user", "content": "Q"}], "output": "A"})", example), "?completion=output");
  EXPECT_EQ(how(R"({"text": "A", "answer": "3"})", example), "?as=examples");
  EXPECT_EQ(how(R"({"prompt": "Q", "chosen": "A", "rejected": "B"})", example), "?completion=chosen&as=examples");
  EXPECT_EQ(how(R"({"prompt": "Q", "completion": "A"})", prompt), "?as=prompts");
  EXPECT_EQ(how(R"({"prompt": "Q", "preferred": "A", "dispreferred": "B"})", pair), "?chosen=preferred&rejected=dispreferred");
  EXPECT_NE(how(R"({"prompt": "Q", "zzz": "A"})", example).find("no \"completion\"; the fields here are \"prompt\", \"zzz\""),
            std::string::npos);
  EXPECT_NE(how(R"({"prompt": "Q", "answer": 3})", example).find("no \"completion\""), std::string::npos) << "3 is no reply";
  EXPECT_NE(how(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})", prompt)
                .find("must not end with the assistant"),
            std::string::npos);
  EXPECT_EQ(how_to_read("tiny:reasoning", {example}), "");
}

TEST_F(DataForms, what_is_wrong_is_named_with_line_and_column) {
  const auto at = [&](const std::string& text, const std::string& what, int column, const std::string& options = "") {
    const Error e = first_record_error(text, options);
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    EXPECT_EQ(e.where().line, 1) << e.what();
    EXPECT_EQ(e.where().column, column) << e.what();
  };
  at(R"({"prompt": "", "answer": "1"})", "the prompt is empty", 2);
  at(R"({"prompt": " \n", "answer": "1"})", "the prompt is empty", 2);
  at(R"({"prompt": "a", "completion": ""})", "\"completion\": is empty", 17);
  at(R"({"text": ""})", "\"text\": is empty", 2);
  at(R"({"prompt": "a", "chosen": "b", "rejected": ""})", "\"rejected\": is empty", 32);
  at(R"({"prompt":"x","completion":null})", "\"completion\": expected a string, not null", 15);
  at(R"({"x": {"prompt": 1}, "prompt": 5})", "\"prompt\": expected a string, not number", 22);
  at(R"({"prompt":"a","answer":1e400})", "out of range", 24);
  at(R"({"prompt":"a","answer":12345678901234567890123})", "beyond 64 bits", 24);
  at(R"([{"prompt": "a"}])", "not a list", 1);
  EXPECT_NE(std::string(first_record_error(R"({"prompt":"a \ud800 b","answer":"1"})").what()).find("surrogate"),
            std::string::npos);
  EXPECT_NE(std::string(first_record_error("{\"prompt\":\"a \xff b\"}").what()).find("not UTF-8"), std::string::npos);
}

TEST_F(DataForms, utf16_is_named_as_such) {
  std::string text("\xFF\xFE", 2);
  for (const char c : std::string("{\"prompt\": \"a\"}\n")) text += std::string{c, '\0'};
  EXPECT_NE(std::string(first_record_error(text).what()).find("UTF-16"), std::string::npos);
  EXPECT_NE(std::string(first_record_error(text.substr(2)).what()).find("UTF-16"), std::string::npos) << "without its mark";
}

TEST_F(DataForms, compressed_files_are_read_as_what_is_in_them) {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "{\"prompt\": \"number " + std::to_string(i) + "\", \"answer\": " + std::to_string(i) + "}\n";
  const size_t half = text.find('\n', text.size() / 2) + 1;
  for (const std::string& bytes : {text, gzip(text), zstd(text), gzip(text.substr(0, half)) + gzip(text.substr(half)),
                                   zstd(text.substr(0, half)) + zstd(text.substr(half))}) {
    const auto s = open_source("jsonl:" + file(bytes), 3), plain = open_source("jsonl:" + file(text, "plain"), 3);
    ASSERT_EQ(s->size(), 5000u);
    for (uint64_t i = 0; i < 5000; i += 61) ASSERT_EQ(s->prompt(i).text, plain->prompt(i).text);
    EXPECT_EQ(open_source("jsonl:" + file(bytes), 0, {std::nullopt, true})->place(4321).line, 4322);
  }
}

TEST_F(DataForms, a_compressed_file_that_is_cut_off_or_broken_is_bad_input) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "{\"prompt\": \"" + std::to_string(i * 7919) + "\"}\n";
  for (std::string bytes : {gzip(text), zstd(text)}) {
    const Error cut = error_of([&] { open(bytes.substr(0, bytes.size() - 9)); });
    EXPECT_EQ(cut.code(), ExitCode::bad_input);
    EXPECT_NE(std::string(cut.what()).find("cut off"), std::string::npos) << cut.what();
    for (size_t i = 0; i < 40; ++i) bytes[bytes.size() / 2 + i] = '\x55';
    EXPECT_NE(std::string(error_of([&] { open(bytes); }).what()).find("broken"), std::string::npos);
  }
}

TEST_F(DataForms, a_small_file_that_becomes_a_huge_one_is_refused) {
  const std::string bytes = zstd(std::string(size_t{300} << 20, ' '));
  EXPECT_NE(std::string(error_of([&] { open(bytes); }).what()).find("compressed bytes become more than"), std::string::npos);
}

TEST_F(DataForms, other_formats_are_named) {
  EXPECT_NE(std::string(error_of([&] { open(std::string("PAR1....")); }).what()).find("Parquet"), std::string::npos);
  EXPECT_NE(std::string(error_of([&] { open(std::string("PK\x03\x04....")); }).what()).find(".zip"), std::string::npos);
  EXPECT_NE(std::string(error_of([&] { open_source("jsonl:" + dir_.string(), 0); }).what()).find("directory"),
            std::string::npos);
}

TEST_F(DataForms, a_file_that_is_rewritten_while_it_is_read_is_an_error_with_its_name) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "{\"prompt\": \"" + std::to_string(i) + "\"}\n";
  const auto s = open(text);
  EXPECT_EQ(s->prompt(29999).text, "29999");
  file("{\"prompt\": \"0\"}\n");
  for (const uint64_t i : {29999, 0}) {
    const Error e = error_of([&] { s->prompt(i); });
    EXPECT_EQ(e.code(), ExitCode::failed);
    EXPECT_NE(std::string(e.what()).find("d.jsonl"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("has been changed"), std::string::npos) << e.what();
  }
}

TEST_F(DataForms, a_file_that_is_replaced_whole_is_still_the_old_one) {
  const auto s = open("{\"prompt\": \"old\"}\n");
  fs::rename(file("{\"prompt\": \"new\"}\n", "new.jsonl"), dir_ / "d.jsonl");
  EXPECT_EQ(s->prompt(0).text, "old");
}

TEST_F(DataForms, lines_without_text_do_not_count_and_numbers_are_those_of_the_file) {
  const std::string text = "\n  \r\n{\"prompt\": \"a\"}\r\n\n\t\n{\"prompt\": \"b\"}";
  const auto s = open(text);
  EXPECT_EQ(s->size(), 2u);
  EXPECT_EQ(s->prompt(1).text, "b");
  EXPECT_EQ(s->place(0).line, 3);
  EXPECT_EQ(s->place(1).line, 6);
}

TEST_F(DataForms, a_line_may_be_longer_than_a_piece_of_the_file) {
  const std::string big(700'000, 'x');
  const auto s = open("{\"prompt\": \"a\"}\n{\"prompt\": \"" + big + "\"}\n{\"prompt\": \"c\"}\n");
  EXPECT_EQ(s->prompt(1).text, big);
  EXPECT_EQ(s->prompt(2).text, "c");
}

}  // namespace
}  // namespace r1
