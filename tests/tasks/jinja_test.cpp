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

// Found by fuzzing, under LeakSanitizer: a namespace that held itself was never freed.
TEST(ChatTemplates, a_namespace_may_hold_itself_and_is_freed) {
  EXPECT_EQ(
      rendered("{% set ns = namespace(x=1) %}{% set ns.self = ns %}{% set ns.list = [ns] %}{{ ns.self.list[0].x }}{{ ns }}"),
      "1<namespace>");
}

TEST(ChatTemplates, values_inside_each_other_are_bounded_however_they_come_about) {
  const std::string loop = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}";
  for (const std::string& source :
       {loop + "{% set ns.x = [ns.x] %}{% endfor %}", loop + "{% set ns.x = {'a': ns.x} %}{% endfor %}",
        loop + "{% set ns.x = {'a': ns.x}.get %}{% endfor %}"}) {
    EXPECT_THROW(rendered(source), Error) << source;
  }
  EXPECT_EQ(rendered(loop + "{% set ns.x = namespace(x=ns.x) %}{% endfor %}{{ ns.x is defined }}"), "True");
}

TEST(ChatTemplates, nodes_inside_each_other_are_bounded_over_calls_of_macros) {
  std::string inside = "{{ m(n + 1) }}";
  for (int i = 0; i < 95; ++i) inside = "{% if n >= 0 %}" + inside + "{% endif %}";
  EXPECT_THROW(rendered("{% macro m(n) %}" + inside + "{% endmacro %}{{ m(0) }}"), Error);
}

// Each is small in memory and would take minutes, or gigabytes, to be gone through once.
TEST(ChatTemplates, what_is_reached_many_times_costs_as_often) {
  const std::string doubled =
      "{% set ns = namespace(x=[1, 1], y=[1, 1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  const std::string large = "{% set s = 'a' * 16000000 %}", half = "{% set h = 'a' * 8000000 ~ 'b' %}";
  for (const std::string& source :
       {doubled + "{{ ns.x }}", doubled + "{{ ns.x | tojson }}", doubled + "{{ ns.x == ns.y }}", doubled + "{{ ns.x < ns.y }}",
        doubled + "{{ ns.x is eq(ns.y) }}", doubled + "{{ [ns.x, ns.y] | unique }}", doubled + "{{ [ns.x, ns.y] | sort }}",
        doubled + "{{ ns.x in [ns.y] }}", std::string("{{ range(100000) | unique | length }}"),
        std::string("{{ [range(90000)] | map('unique') | list | length }}"), large + "{{ s | replace('', s) }}",
        std::string("{{ ('\n' * 16000000) | indent(1000, true, true) }}"), large + "{% for c in s %}{% endfor %}",
        large + "{% for i in range(99999) %}{% if s == s ~ '' %}{% endif %}{% endfor %}",
        large + "{% for i in range(99999) %}{% if 'b' in s %}{% endif %}{% endfor %}",
        large + "{% for i in range(99999) %}{% set t = s[5] %}{% endfor %}",
        large + "{% for i in range(99999) %}{% set t = s | length %}{% endfor %}",
        large + "{% for i in range(99999) %}{% set t = s.find('b') %}{% endfor %}",
        large + "{% for i in range(99999) %}{% set t %}{{ s }}{% endset %}{% endfor %}"})
    EXPECT_THROW(rendered(source), Error) << source.substr(source.size() - 60);
  // A separator that almost occurs everywhere is looked for in linear time.
  EXPECT_EQ(rendered(large + half + "{{ s.find(h) }} {{ h in s }} {{ s.split(h) | length }} {{ s.rsplit(h) | length }}"),
            "-1 False 1 1");
}

TEST(ChatTemplates, names_are_bounded_in_number) {
  std::string many, literal = "{{ {";
  for (int i = 0; i < 20'000; ++i) {
    many += "{% set a" + std::to_string(i) + " = 1 %}";
    literal += "'" + std::to_string(i) + "': 1, ";
  }
  EXPECT_THROW(rendered(many), Error);
  EXPECT_THROW(rendered(literal + "} }}"), Error);
}

TEST(ChatTemplates, cut_texts_by_characters_from_either_end) {
  EXPECT_EQ(
      rendered(
          "{{ 'aéz'[1] }}{{ 'aéz'[-1] }}{{ 'aéz'[::-1] }}{{ 'aéz'[1:] }}{{ 'aéz'[::2] }}{{ 'aéz' | length }}{{ 'aéz'[3] }}"),
      "ézzéaézaz3");
  EXPECT_EQ(rendered("{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a--b'.rsplit('--') }}{{ 'aaa'.rsplit('aa') }}"),
            "['a-b', 'c']['a', 'b']['a', '']");
}

TEST(ChatTemplates, find_texts_that_overlap_with_themselves) {
  EXPECT_EQ(
      rendered("{{ 'aabaabaaab'.find('aabaaab') }} {{ 'abab'.find('ba') }} {{ 'abac'.find('d') }} {{ 'aaaa'.count('aa') }} "
               "{{ 'aaab'.find('aab') }} {{ 'ab'.find('abc') }} {{ 'x--y--z'.replace('--', '+') }} {{ 'abcabd'.find('') }}"),
      "3 1 -1 2 1 -1 x+y+z 0");
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
