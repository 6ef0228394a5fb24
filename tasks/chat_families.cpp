#include "tasks/chat_families.h"

#include <array>

namespace r1 {

namespace {

// The built-in world: <bos><user> WORDS<asst>; every word carries a leading space.
constexpr std::string_view kTiny = R"({{- '<bos>' }}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<user>' }}{%- for word in m.content.split() %}{{- ' ' + word }}{%- endfor %}
    {%- elif m.role == 'assistant' %}
        {{- '<asst>' + m.content + '<eos>' }}
    {%- else %}
        {{- raise_exception('the tiny chat template has no ' + m.role + ' message') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<asst>' }}{%- endif %})";

// DeepSeek-R1 and R1-Distill: the completion starts inside the thought. Thoughts of earlier replies are left out.
constexpr std::string_view kR1 = R"({{- '<｜begin▁of▁sentence｜>' }}
{%- for m in messages if m.role == 'system' %}{{- m.content }}{%- endfor %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' and loop.last %}
        {%- set reply = m.content[7:].lstrip('\n') if m.content.startswith('<think>') else m.content %}
        {{- '<｜Assistant｜><think>\n' + reply + '<｜end▁of▁sentence｜>' }}
    {%- elif m.role == 'assistant' %}
        {{- '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}
    {%- elif m.role != 'system' %}
        {{- raise_exception('the r1 chat template has no ' + m.role + ' message') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\n' }}{%- endif %})";

// DeepSeek-R1-Zero's prompt for a base model.
constexpr std::string_view kR1Zero = R"({%- for m in messages %}
    {%- if loop.first and m.role == 'user' %}
        {{- 'A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: ' + m.content + '. Assistant:' }}
    {%- elif loop.index0 == 1 and loop.last and m.role == 'assistant' %}
        {{- ' ' + m.content.lstrip(' ') + '<｜end▁of▁sentence｜>' }}
    {%- else %}
        {{- raise_exception('the r1_zero template takes exactly one user message') }}
    {%- endif %}
{%- endfor %})";

#define R1_CHATML_TURN "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
#define R1_CHATML_ROLES                                                                                                   \
  "{%- if m.role not in ['system', 'user', 'assistant'] %}{{- raise_exception('this chat template has no ' + m.role + ' " \
  "message') }}{%- endif %}"
#define R1_CHATML_GENERATE "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"

constexpr std::string_view kChatml =
    "{%- for m in messages %}" R1_CHATML_ROLES R1_CHATML_TURN "{%- endfor %}" R1_CHATML_GENERATE;

constexpr std::string_view kQwen25 =
    "{%- if not messages or messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. "
    "You "
    "are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}" R1_CHATML_ROLES R1_CHATML_TURN "{%- endfor %}" R1_CHATML_GENERATE;

// Thoughts of earlier replies are left out.
#define R1_QWEN3_EARLIER                                                               \
  "{%- if m.role == 'assistant' and not loop.last %}{{- '<|im_start|>assistant\\n' + " \
  "m.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}"

constexpr std::string_view kQwen3 = "{%- for m in messages %}" R1_CHATML_ROLES R1_QWEN3_EARLIER "{%- else %}" R1_CHATML_TURN
                                    "{%- endif %}{%- endfor %}" R1_CHATML_GENERATE;

// With an empty thought prefilled.
constexpr std::string_view kQwen3NoThink =
    "{%- for m in messages %}" R1_CHATML_ROLES R1_QWEN3_EARLIER
    "{%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + "
    "m.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}"
    "{%- else %}" R1_CHATML_TURN
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}{%- endif %}";

// Llama 3 Instruct.
constexpr std::string_view kLlama3 = R"({{- '<|begin_of_text|>' }}
{%- for m in messages %}
    {%- if m.role not in ['system', 'user', 'assistant'] %}{{- raise_exception('the llama3 chat template has no ' + m.role + ' message') }}{%- endif %}
    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %})";

constexpr std::string_view kDeepSeekEnd = "<｜end▁of▁sentence｜>";
constexpr std::array<std::string_view, 4> kTinyTags = {"<bos>", "<user>", "<asst>", "<eos>"};
constexpr std::array<std::string_view, 4> kR1Tags = {"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", kDeepSeekEnd};
constexpr std::array<std::string_view, 1> kR1ZeroTags = {kDeepSeekEnd};
constexpr std::array<std::string_view, 2> kChatmlTags = {"<|im_start|>", "<|im_end|>"};
constexpr std::array<std::string_view, 4> kLlama3Tags = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                                         "<|eot_id|>"};

constexpr std::array<ChatFamily, 9> kFamilies = {{{"tiny", kTiny, "<eos>", kTinyTags},
                                                  {"r1", kR1, kDeepSeekEnd, kR1Tags},
                                                  {"r1_distill", kR1, kDeepSeekEnd, kR1Tags},
                                                  {"r1_zero", kR1Zero, kDeepSeekEnd, kR1ZeroTags},
                                                  {"qwen2.5", kQwen25, "<|im_end|>", kChatmlTags},
                                                  {"qwen3", kQwen3, "<|im_end|>", kChatmlTags},
                                                  {"qwen3_no_think", kQwen3NoThink, "<|im_end|>", kChatmlTags},
                                                  {"llama3", kLlama3, "<|eot_id|>", kLlama3Tags},
                                                  {"chatml", kChatml, "<|im_end|>", kChatmlTags}}};

}  // namespace

std::span<const ChatFamily> chat_families() { return kFamilies; }

}  // namespace r1
