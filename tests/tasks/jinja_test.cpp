// The renderer of chat templates against Hugging Face's, over a committed table (tools/golden/chat_templates.py), and its
// bounds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "tasks/jinja/template.h"
#include "tests/source_dir.h"

namespace r1::jinja {
namespace {

using Json = nlohmann::ordered_json;

std::string rendered(const std::string& source, const Json& variables = Json::object()) {
  Dict given;
  for (const auto& [name, value] : variables.items()) given.emplace_back(name, Value::from_json(value));
  return Template::parse(source, "t").render(given);
}

// Renders every case of `file`; texts must be equal, and what Python refuses must be refused.
void check_cases(const std::filesystem::path& file, size_t at_least) {
  const Json golden = Json::parse(read_file(file));
  size_t checked = 0, refused = 0;
  for (const Json& c : golden["cases"]) {
    const std::string source = c.contains("template") ? c["template"] : golden["templates"][c["name"].get<std::string>()];
    std::string got;
    try {
      got = rendered(source, c["variables"]);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_GT(e.where().line, 0) << e.what();
      EXPECT_TRUE(c.contains("error")) << c["name"] << ": " << source << "\n" << e.what();
      ++refused;
      continue;
    }
    ++checked;
    ASSERT_TRUE(c.contains("rendered")) << c["name"] << ": " << source << "\nwas not refused: " << c["error"];
    EXPECT_EQ(got, c["rendered"].get<std::string>()) << c["name"] << ": " << source << "\n" << c["variables"].dump();
  }
  EXPECT_GE(checked, at_least);
  EXPECT_GT(refused, 0u);
}

TEST(ChatTemplates, render_what_hugging_face_renders) {
  check_cases(source_dir() / "tests/tasks/golden/chat_templates.json", 300);
}

TEST(ChatTemplates, of_other_people_render_what_hugging_face_renders) {
  const char* file = std::getenv("R1_CHAT_CASES");
  if (file == nullptr) GTEST_SKIP() << "R1_CHAT_CASES names no file";
  check_cases(file, 1);
}

TEST(ChatTemplates, are_bounded_in_nesting_steps_calls_and_output) {
  const std::string deep(100'000, '(');
  for (const std::string& source :
       {"{{ " + deep + "1 }}", "{{ " + std::string(100'000, '[') + " }}",
        "{% if 1 %}" +
            [] {
              std::string s;
              for (int i = 0; i < 20'000; ++i) s += "{% if 1 %}";
              return s;
            }(),
        std::string("{{ not ") +
            [] {
              std::string s;
              for (int i = 0; i < 50'000; ++i) s += "not ";
              return s + "1 }}";
            }(),
        std::string("{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"),
        std::string("{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% "
                    "endfor %}{% endfor %}"),
        std::string(
            "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"),
        std::string("{{ 'ab' * 9223372036854775807 }}"), std::string("{{ range(1000000000) }}"),
        std::string("{% for a in range(99999) %}{% for b in range(99999) %}{% break %}{% endfor %}{% endfor %}"),
        std::string("{% set s = 'x' * 16000000 %}{% for a in range(99999) %}{% set t = s | replace('x', 'y') %}{% endfor %}"),
        std::string("{{ 99999999999999999999 }}"), std::string("{{ 9223372036854775807 + 1 }}"),
        std::string("{{ -9223372036854775807 - 2 }}"), std::string("{{ 3 ** 99999999 }}"), std::string(kMaxTemplate + 1, 'x')})
    EXPECT_THROW(rendered(source), Error) << source.substr(0, 60);
}

TEST(ChatTemplates, a_macro_may_be_called_after_its_block_has_ended) {
  EXPECT_EQ(rendered("{% set ns = namespace() %}{% for i in [7] %}{% macro m() %}{{ i }}{% endmacro %}{% set ns.m = m %}{% "
                     "endfor %}{{ ns.m() }}"),
            "7");
}

TEST(ChatTemplates, know_no_date) { EXPECT_EQ(rendered("{{ strftime_now is defined }}"), "False"); }

TEST(ChatTemplates, say_where_they_refuse) {
  try {
    rendered("line one\nline two {{ messages[0].role.x }}", Json::parse(R"({"messages": []})"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.where().str(), "t:2");
    EXPECT_NE(std::string(e.what()).find("is undefined"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace r1::jinja
