#!/usr/bin/env python3
"""Makes tests/tasks/golden/chat_templates.json: templates of our own, written with the constructs that the templates of published models use,
rendered by Hugging Face's apply_chat_template machinery (transformers' Jinja environment).

    python3 -m venv /tmp/v && /tmp/v/bin/pip install transformers jinja2
    /tmp/v/bin/python tools/golden/chat_templates.py [DIR_OF_JINJA_FILES ...]

With directories, writes instead to standard output the cases of every *.jinja file there (those of TRL's package, say), for a look at templates
that are not ours to commit: `test_tasks` reads the file that R1_CHAT_CASES names.
"""
import glob
import itertools
import json
import os
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a <city> & more",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "größe 中文"}, "days": {"type": "integer"}},
                   "required": ["city"]}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Bern", "days": 2, "exact": True, "share": 0.5}}}]}
CONVERSATIONS = [
    [{"role": "user", "content": "Hi there"}],
    [{"role": "system", "content": "  Be brief. "}, {"role": "user", "content": "What is 2+2?\n"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}, {"role": "user", "content": "c"}],
    [{"role": "user", "content": "a"}, CALL, {"role": "tool", "name": "get_weather", "content": "{\"t\": 3}"}, {"role": "user", "content": "and?"}],
    [{"role": "user", "content": [{"type": "text", "text": "in parts"}, {"type": "text", "text": " two"}]}],
    [{"role": "assistant", "content": "starts"}, {"role": "user", "content": "中文 x"}],
    [],
]

FAMILIES = {
    # ChatML with a default system text, as Qwen2.5's and SmolLM2's.
    "chatml": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Help.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + (message['content'] if message['content'] is string else '[parts]') + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    # Thoughts of earlier turns dropped, a namespace found by a backward loop, tools, as Qwen3's.
    "thoughts": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages and messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "Tools:" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and not(message.content is string and message.content.startswith('{')) %}
        {%- set ns.searching = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role in ['user', 'system'] and not (message.role == 'system' and loop.first and tools) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- if '</think>' in content and loop.index0 < ns.last %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' ~ content }}
        {%- for call in message.tool_calls or [] %}
            {%- if loop.first and content or not loop.first %}{{ '\\n' }}{% endif %}
            {%- set call = call.function if call.function else call %}
            {{- '<tool_call>{"name": "' ~ call.name ~ '", "arguments": ' ~ (call.arguments if call.arguments is string else call.arguments | tojson) ~ '}</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<r>' + content + '</r><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    # A first system message taken off, trims, defaults that are set when undefined, as Llama-3.1's.
    "headers": """{{- bos_token }}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = 'today' %}{%- else %}{%- set date_string = "1 Jan 2024" %}{%- endif %}
{%- endif %}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- tools | tojson(indent=4) + "\\n\\n" }}{%- endif %}
{{- "Date: " + date_string + "\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at a time") }}{%- endif %}
        {%- for name, value in message.tool_calls[0].function.arguments | items %}{{- name + '="' + value|string + '"' }}{%- if not loop.last %}{{ ", " }}{% endif %}{%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}""",
    # Roles that must alternate, exceptions, a space before each turn, as Mistral's.
    "alternating": """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles!') }}{% endif %}{% endfor %}""",
    # State kept in a namespace over the whole conversation, as DeepSeek's.
    "state": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=true, is_tool=false, system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = ns.system + message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{ '<U>' ~ (message['content'] if message['content'] is string else message['content'] | map(attribute='text') | join('')) }}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<A>' + content + '<E>' }}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ ('<T>' if ns.is_first else '<t>') + message['content'] }}{%- set ns.is_first = false %}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{ '<A><think>\\n' }}{% endif %}""",
    # Macros with defaults, recursion, dictsort, call blocks, filter blocks.
    "macros": """{%- macro show(value, depth=0) -%}
{%- if value is mapping -%}{%- for k, v in value | dictsort -%}{{ k }}:{{ show(v, depth + 1) }};{%- endfor -%}
{%- elif value is string -%}"{{ value | replace('a', 'A') }}"
{%- elif value is sequence -%}[{%- for v in value -%}{{ show(v, depth=depth + 1) }}{{ "," if not loop.last }}{%- endfor -%}]
{%- elif value is boolean -%}{{ 'yes' if value else 'no' }}
{%- else -%}{{ value }}@{{ depth }}
{%- endif -%}
{%- endmacro -%}
{%- macro box(title) -%}<{{ title }}>{{ caller('!') }}</{{ title }}>{%- endmacro -%}
{% for m in messages %}{% call(mark) box(m.role) %}{{ show(m.content) }}{{ mark }}{% endcall %}{% endfor %}
{% filter trim | replace('e', 'E') %}  {{ show(tools) if tools else 'none' }}  {% endfilter %}""",
}

# Single constructs: (template, variables).
CONSTRUCTS = [
    ("  {% if true %}\n  a\n  {%- endif %}\nb\n", {}), ("{%+ if true %} a {%+ endif +%}\nb", {}), ("x\n\n{#- gone -#}\n\n y {# stays #}\nz", {}),
    ("{% raw %}{{ not }} {% this %}{% endraw %}!", {}), ("a\r\nb\r\n", {}), ("{{ '{{' }}{{ \"}}\" }}", {}), ("{{ {'a': {'b': 1}}['a']['b'] }}", {}),
    ("{% set x = 1 %}{% for i in [1, 2] %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", {}), ("{% if true %}{% set x = 2 %}{% endif %}{{ x }}", {}),
    ("{% set x %}a{{ 1 + 1 }}b{% endset %}{{ x | upper }}", {}), ("{% set a, b = 1, 'two' %}{{ a }}{{ b }}", {}), ("{% set x | upper %}abc{% endset %}{{ x }}", {}),
    ("{% for i in range(5) if i is odd %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% else %}none{% endfor %}", {}), ("{% for i in [] %}x{% else %}none{% endfor %}", {}),
    ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", {}),
    ("{% for i in 'añ中' %}{{ i }}-{{ loop.revindex }}{{ loop.previtem }}{{ loop.nextitem }}|{% endfor %}", {}), ("{{ loop is defined }}", {}),
    ("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 1.0 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }}", {}),
    ("{{ -2 | abs }} {{ 1 + 2 ~ 3 }} {{ not false and true or x }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' 'b' }} {{ 'ab' * 3 }}", {}),
    ("{{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-2:] }} {{ [1,2,3,4][::2] }} {{ [1,2,3][5:] }} {{ 'añ中'[1] }} {{ [1,2][-1] }} {{ (1,)|length }}", {}),
    ("{{ x.y is defined }} {{ x is defined }} {{ x or 'd' }} {{ x | default('e') }} {{ none | default('f') }} {{ '' | default('g', true) }} {{ x | length }}", {}),
    ("{{ x.y.z }}", {}), ("{{ 'a' + 1 }}", {}), ("{{ nothing() }}", {}), ("{{ [1] | nofilter }}", {}), ("{{ 1 is notest }}", {}), ("{{ 1 / 0 }}", {}), ("{% for a, b in [1] %}{% endfor %}", {}),
    ("{{ none }} {{ true }} {{ [none, true, 'it\\'s', \"q\\\"\", 1.5, {'k': [1]}] }} {{ {'a': 'b\\n'} }}", {}),
    ("{{ d | tojson }} {{ d | tojson(indent=2) }} {{ d | tojson(ensure_ascii=true) }}", {"d": {"z": 1, "a": ["é", 1.5, None, True, {}], "e": [], "<": "&\"\\\u0001"}}),
    ("{{ d.items() | list | length }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.get('a') }} {{ d.get('q', 5) }} {{ d.q }} {{ d['a'] }} {{ 'a' in d }} {{ d | length }}", {"d": {"a": 1, "b": "x"}}),
    ("{% for k, v in d | dictsort %}{{ k }}{{ v }} {% endfor %}{% for k, v in d | dictsort(by='value') %}{{ k }}{{ v }} {% endfor %}{% for k, v in d | items %}{{ k }}{% endfor %}", {"d": {"b": 2, "A": 3, "c": 1}}),
    ("{{ '  a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}", {}),
    ("{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aXb'.replace('X', '--') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'abcb'.find('b') }} {{ 'abcb'.count('b') }} {{ ', '.join(['a', 'b']) }} {{ 'a\nb'.splitlines() }}", {}),
    ("{{ [3, 1, 2] | sort }} {{ ['b', 'A'] | sort }} {{ [3, 1] | sort(reverse=true) }} {{ [1, 2, 1] | unique | list }} {{ [1, 2] | sum }} {{ [1, 2] | first }} {{ [1, 2] | last }} {{ [3, 9, 4] | max }} {{ [1, 2] | reverse | list }} {{ [1.25, 2] | join('-') }}", {}),
    ("{{ l | map(attribute='n') | join(',') }} {{ l | selectattr('n', 'equalto', 1) | list | length }} {{ l | rejectattr('n', 'gt', 1) | map(attribute='n') | list }} {{ [1, 0, 2] | select | list }} {{ [1, 2, 3] | reject('odd') | list }} {{ ['a', 'b'] | map('upper') | list }} {{ l | sort(attribute='n') | map(attribute='n') | list }}", {"l": [{"n": 2}, {"n": 1}]}),
    ("{{ 'a\nb\n\nc' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ '12' | int + 1 }}|{{ 'x' | int(7) }}|{{ '1.5' | float }}|{{ 2.567 | round(1) }}|{{ 'aé' | length }}|{{ 3 | string ~ 4 }}", {}),
    ("{{ 1 is number }} {{ 'a' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ 1 is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ true is true }} {{ 3 is divisibleby 3 }} {{ 3 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 'a' is in ['a'] }} {{ x is undefined }} {{ none is none }} {{ 1 is not none }}", {}),
    ("{{ 'yes' if 1 > 2 }}|{{ ('a' if false else 'b') ~ 'c' }}|{{ 1 if x is defined else 2 }}", {}),
    ("{% for g in [[1, [2, 3]], [4, [5]]] %}{{ g.0 }}{% for h in g[1] %}{{ h }}{{ loop.last }}{% endfor %}{% endfor %}", {}),
    ("{% macro m(a, b='d') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{% set c = 'late' %}{{ m(1) }}{{ m(1, b=2) }}{{ m(b=3, a=4) }}", {}),
    ("{% generation %}{{ 'x' }}{% endgeneration %}", {}), ("{{ \"\\u00e9\\n\\t\\\\\" }}", {}), ("{{ raise_exception('no') }}", {}), ("{{ dict(a=1, b=2) }}", {}),
    ("{% if a %}x", {}), ("{{ 1", {}), ("{% endfor %}", {}), ("{{ 1 + }}", {}), ("{% set 1 = 2 %}", {}), ("{{ 'a }}", {}), ("{% unknown %}", {}), ("{{ (1, 2 }}", {}),
]


def rendered(template, variables):
    try:
        compiled = _compile_jinja_template(template)
        compiled.globals = {k: v for k, v in compiled.globals.items() if k != "strftime_now"}  # a prompt must not depend on the day
        return {"rendered": compiled.render(**json.loads(json.dumps(variables)))}
    except Exception as e:  # whatever Python calls it: ours must refuse too
        return {"error": f"{type(e).__name__}: {e}"[:200]}


def conversations(name, template):
    cases = []
    for messages, tools, prompt, extra in itertools.product(CONVERSATIONS, [None, TOOLS], [False, True], [{}, {"enable_thinking": False}]):
        variables = {"messages": messages, "tools": tools, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **extra}
        cases.append({"name": name, "variables": variables, **rendered(template, variables)})
    return cases


def main():
    if len(sys.argv) > 1:
        cases = []
        for path in sorted(p for d in sys.argv[1:] for p in glob.glob(os.path.join(d, "*.jinja"))):
            template = open(path, encoding="utf8").read()
            cases += [{**c, "template": template} for c in conversations(os.path.basename(path), template)]
        return json.dump({"templates": {}, "cases": cases}, sys.stdout, ensure_ascii=True)
    cases = [c for name, template in FAMILIES.items() for c in conversations(name, template)]
    cases += [{"name": f"construct {i}", "template": t, "variables": v, **rendered(t, v)} for i, (t, v) in enumerate(CONSTRUCTS)]
    path = os.path.join(os.path.dirname(__file__), "../../tests/tasks/golden/chat_templates.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf8") as f:
        f.write('{"templates": ' + json.dumps(FAMILIES, ensure_ascii=False) + ',\n"cases": [\n')
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")
    print(len(cases), "cases,", sum("error" in c for c in cases), "of them errors")


if __name__ == "__main__":
    main()
