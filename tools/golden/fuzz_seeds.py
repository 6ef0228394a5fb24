"""Seeds of the fuzz targets that are not text: tests/fuzz/corpus/gguf/*.

Small enough for a fuzzer to change any byte of them: a llama of one layer whose tokenizer has a few tokens. Needs nothing but Python.

    python3 tools/golden/fuzz_seeds.py
"""
import pathlib
import struct

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fuzz" / "corpus" / "gguf"
U32, I32, F32, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9  # kinds of values
TENSOR_F32, TENSOR_Q8_0 = 0, 8
TOKENS = ["<|im_start|>", "<|im_end|>", "a", "b", "ab", "\u0120", "2", "\u010a"]  # of GPT-2's alphabet: \u0120 is a blank
HIDDEN, FFN = 32, 32


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == TEXT:
        return text(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def entry(key, kind, v):
    if isinstance(v, list):
        return text(key) + struct.pack("<IIQ", ARRAY, kind, len(v)) + b"".join(value(kind, x) for x in v)
    return text(key) + struct.pack("<I", kind) + value(kind, v)


def gguf(entries, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entry(*e) for e in entries)
    data = b""
    for name, shape, kind in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        values = 1
        for n in shape:
            values *= n
        data += bytes(4 * values if kind == TENSOR_F32 else 34 * (values // 32))
        data += bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + data


def model(arch, pre):
    return [("general.architecture", TEXT, arch), (f"{arch}.context_length", U32, 16), (f"{arch}.embedding_length", U32, HIDDEN),
            (f"{arch}.block_count", U32, 1), (f"{arch}.feed_forward_length", U32, FFN), (f"{arch}.attention.head_count", U32, 4),
            (f"{arch}.attention.head_count_kv", U32, 2), (f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5),
            (f"{arch}.rope.freq_base", F32, 100.0), ("tokenizer.ggml.model", TEXT, "gpt2"), ("tokenizer.ggml.pre", TEXT, pre),
            ("tokenizer.ggml.tokens", TEXT, TOKENS), ("tokenizer.ggml.token_type", I32, [3, 3] + [1] * (len(TOKENS) - 2)),
            ("tokenizer.ggml.merges", TEXT, ["a b"]), ("tokenizer.ggml.eos_token_id", U32, 1), ("tokenizer.ggml.bos_token_id", U32, 0),
            ("tokenizer.ggml.add_bos_token", BOOL, True),
            ("tokenizer.chat_template", TEXT, "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    few = [("token_embd.weight", [len(TOKENS), HIDDEN], TENSOR_Q8_0), ("blk.0.attn_q.weight", [32, HIDDEN], TENSOR_Q8_0),
           ("output_norm.weight", [HIDDEN], TENSOR_F32)]
    (OUT / "llama").write_bytes(gguf(model("llama", "llama-bpe"), few))
    (OUT / "qwen2").write_bytes(gguf(model("qwen2", "qwen2"), few[:1]))
    (OUT / "empty").write_bytes(gguf([("general.alignment", U32, 64)], []))


if __name__ == "__main__":
    main()
