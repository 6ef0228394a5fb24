#!/usr/bin/env python3
"""Writes tests/models/tokenizer/golden/*.json: small synthetic tokenizers and what huggingface/tokenizers does with tricky texts.

Needs the PyPI package `tokenizers` (0.23.3 wrote the committed files):
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3
    /tmp/venv/bin/python tools/golden/tokenizers.py tests/models/tokenizer/golden
"""
import json
import os
import random
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != here]  # this file has the package's name

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
]

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and it's the dog's turn now. They're here; we've seen them.",
    "for (int i = 0; i < 1024; ++i) {\n    total += values[i] * 3.14159;\n}\n\n    return total;\n",
    "Let x be 12345. Then x + 67890 = 80235, so the answer is 80235.\n\nTherefore x > 0.",
    "中文和日文のテスト。今天天气很好，我们去公园吧！",
    "résumé naïve café Straße ÅNGSTRÖM привет мир שלום",
]

TEXTS = [
    "", " ", "  ", "a", " a", "  a", "hello world", "The quick brown fox's dog, they're here.", "IT'S WE'LL I'D 'tis '' 's",
    "don\u2019t it\u0027\u017f x", "1234567 12 3 4567", "x=12345.678e-9", "\u0661\u0662\u0663\u0664 \u00bd\u00b2 \u2167",
    "line one\nline two\r\n\r\nline three\n\n\n", "\t\tindent\n   \n  x  y   ", "trailing   ", "a   b\u00a0\u00a0c\u3000d", " \n a \n ",
    "中文和日文のテスト。今天天气很好！", "中 文abc日本 123中", "cafe\u0301 caf\u00e9 A\u030a \u212b \ufb01 \uff21\uff11", "e\u0301\u0323 \u1100\u1161\u11a8 \uac01",
    "שלום עולם привет мир ελληνικά", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 ok \U0001f1e9\U0001f1ea", "a\u0300\u0301b \u0b95\u0bcd\u0bb7",
    "#include <stdio.h>\nint main(void){return 0;}", "!hello #tag @user $var .method ::ns", "\\frac{1}{2} \\boxed{42} $x^2$",
    "<think>\nstep 1\n</think>\n\nanswer", "a<think>b</think>c <think> d", "<bos><user> hi <bos>", "x<single>y <single> z.<single>!", "p <left> q <right>   r <left><right> s",
    "NORM norm Norm\u00e9 norme\u0301 x", "<|im_start|>user\nhi<|im_end|>\n", "aaaaaaaaaaaaaaaa", "the the the thethethe", "\u0000\u0001\u007f", "\ufffd \ufeffbom",
    "_under_score __init__ a_b", "50% off!!! (really?) [yes]... \u2014 \u201cquoted\u201d", "\u180e x\u0085y\u2028z\u200bw", "\r\r\n\n \r\n", "--- *** ===\n\n+++", "\u00df\u00a0\u00df",
]


def byte_level_bpe(vocab_size, **kwargs):
    tok = Tokenizer(models.BPE(**kwargs))
    return tok, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)


def splits(patterns):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
                                   + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def specials(tok):
    tok.add_special_tokens([AddedToken("<bos>", normalized=False), AddedToken("<user>", normalized=False)])
    tok.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])


def qwen2():
    tok, trainer = byte_level_bpe(400)
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = splits([QWEN2])
    tok.train_from_iterator(CORPUS, trainer)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    specials(tok)
    tok.add_special_tokens([AddedToken("<|im_start|>", normalized=False), AddedToken("<|im_end|>", normalized=False)])
    return tok


def llama3():
    tok, trainer = byte_level_bpe(400, ignore_merges=True)
    tok.pre_tokenizer = splits([LLAMA3])
    tok.train_from_iterator(CORPUS, trainer)
    # A whole-piece token that no merge makes: only ignore_merges finds it.
    data = json.loads(tok.to_str())
    data["model"]["vocab"]["\u0120world"] = len(data["model"]["vocab"])
    tok = Tokenizer.from_str(json.dumps(data))
    tok.decoder = decoders.ByteLevel()
    specials(tok)
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", tok.token_to_id("<bos>"))])])
    return tok


def deepseek():
    tok, trainer = byte_level_bpe(400)
    tok.normalizer = normalizers.Sequence([])
    tok.pre_tokenizer = splits(DEEPSEEK)
    tok.train_from_iterator(CORPUS, trainer)
    tok.decoder = decoders.ByteLevel()
    specials(tok)
    tok.add_special_tokens([AddedToken("<\uff5cUser\uff5c>", normalized=False), AddedToken("<\uff5cend\u2581of\u2581sentence\uff5c>", normalized=False)])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def misc():
    """Everything the families above do not use: GPT-2's own pattern with a prefix space, odd added tokens, a suffix token."""
    tok, trainer = byte_level_bpe(330)
    tok.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split("_", "merged_with_previous"),
        pre_tokenizers.Split(Regex(r"[.,]"), "merged_with_next"),
        pre_tokenizers.Split(Regex(r"[a-y!*=]"), "contiguous"),
        pre_tokenizers.Split(Regex(r"#+"), "removed"),
        pre_tokenizers.Split(Regex(r"[^\s]+"), "isolated", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)])
    tok.train_from_iterator(CORPUS, trainer)
    tok.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    specials(tok)
    tok.add_tokens([AddedToken("<single>", single_word=True, normalized=False), AddedToken("<left>", lstrip=True, normalized=False),
                    AddedToken("<right>", rstrip=True, normalized=False), AddedToken("norm", normalized=True),
                    AddedToken("norm\u00e9", normalized=True), AddedToken("the", normalized=True, single_word=True)])
    tok.post_processor = processors.TemplateProcessing(
        single="<bos> $A <user>", special_tokens=[("<bos>", tok.token_to_id("<bos>")), ("<user>", tok.token_to_id("<user>"))])
    return tok


def main(out):
    os.makedirs(out, exist_ok=True)
    rng = random.Random(0)
    for make in (qwen2, llama3, deepseek, misc):
        tok = make()
        data = json.loads(tok.to_str())
        if make is llama3:  # the older way to write merges
            data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        tok = Tokenizer.from_str(text)
        cases = []
        for t in TEXTS:
            ids = tok.encode(t).ids
            cases.append([t, ids, tok.decode(ids, skip_special_tokens=True)])
        top = max(tok.get_vocab().values()) + 3
        decodes = []
        for _ in range(12):
            ids = [rng.randrange(top) for _ in range(rng.randrange(1, 10))]
            decodes.append([ids, tok.decode(ids, skip_special_tokens=False)])
        with open(os.path.join(out, make.__name__ + ".json"), "w", encoding="utf-8") as f:
            json.dump({"tokenizer": text, "cases": cases, "decodes": decodes}, f, ensure_ascii=True, separators=(",", ":"))
            f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
