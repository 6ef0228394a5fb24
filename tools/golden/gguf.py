"""Golden GGUF files: what the package `gguf` writes and reads, for models/gguf*.

Writes tests/models/golden/gguf/llama.gguf (a tiny random llama: tensors of every type that r1 reads whose rows fit 32 values, rows of q
and k interleaved as llama.cpp has them, a byte-level BPE tokenizer whose vocabulary lacks bytes, a chat template),
llama.safetensors (its tensors as published, dequantised by the package), llama_tokens.json (what huggingface/tokenizers makes of texts with
that vocabulary) and blocks.safetensors (random blocks of each type, raw and as f32).

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install gguf==0.19.0 safetensors tokenizers==0.23.3 torch
    /tmp/golden/bin/python tools/golden/gguf.py
"""
import json
import pathlib
import sys

here = str(pathlib.Path(__file__).resolve().parent)
sys.path = [p for p in sys.path if str(pathlib.Path(p or ".").resolve()) != here]  # this file has the package's name

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from gguf import GGMLQuantizationType as T  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

OUT = pathlib.Path(here).parents[1] / "tests" / "models" / "golden" / "gguf"
HIDDEN, FFN, HEADS, KV, HEAD, LAYERS = 32, 64, 4, 2, 8, 2
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CORPUS = ["The quick brown fox jumps over the lazy dog, and it's the dog's turn now.", "for (int i = 0; i < 1024; ++i) total += 3.14;\n",
          "Let x be 12345. Then x + 67890 = 80235."] * 3
TEXTS = ["", "hello world", "it's 2024, x=12345.6", "a  b\n\n c", "\u00e9t\u00e9 \u4e2d\u6587 ok", "<|im_start|>user\nhi<|im_end|>\n", "\u0000\u0007tab\t",
         "The quick brown fox's lazy dog 80235"]


def tokenizer():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    plain = [c for b, c in gguf_bytes().items() if 0x20 <= b < 0x7F or b == 0x0A]  # no other byte has a token
    specials = [AddedToken(t, normalized=False, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=140, initial_alphabet=plain, special_tokens=specials, show_progress=False))
    return tok


def gguf_bytes():
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    rest = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(rest)}


def interleave(rows, heads):  # LlamaModel.permute of convert_hf_to_gguf.py
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tok = tokenizer()
    vocab = tok.get_vocab()
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    merges = json.loads(tok.to_str())["model"]["merges"]
    padded = tokens + ["[PAD0]", "[PAD1]"]

    w = gguf.GGUFWriter(OUT / "llama.gguf", "llama")
    w.add_block_count(LAYERS)
    w.add_context_length(128)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_rope_freq_base(100000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(HEAD)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(padded)
    w.add_token_types([gguf.TokenType.CONTROL if t.startswith("<|") else gguf.TokenType.NORMAL for t in tokens] + [gguf.TokenType.UNUSED] * 2)
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_bos_token_id(vocab["<|im_start|>"])
    w.add_eos_token_id(vocab["<|im_end|>"])
    w.add_unk_token_id(vocab["<|endoftext|>"])
    w.add_pad_token_id(vocab["<|im_end|>"])
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    published = {}

    def add(name, hf, shape, kind, heads=0):
        value = (rng.standard_normal(shape) * (0.1 if len(shape) > 1 else 0.2) + (0 if len(shape) > 1 else 1)).astype(np.float32)
        stored = interleave(value, heads) if heads else value
        raw = gguf.quants.quantize(stored, kind)
        w.add_tensor(name, raw, raw_dtype=kind)
        back = gguf.quants.dequantize(raw, kind).reshape(shape).astype(np.float32)
        if heads:  # the inverse of interleave()
            back = back.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
        published[hf] = np.ascontiguousarray(back)

    add("token_embd.weight", "model.embed_tokens.weight", (len(padded), HIDDEN), T.Q8_0)
    for n, kinds in enumerate(((T.Q4_1, T.Q4_0, T.F16, T.BF16), (T.BF16, T.Q8_0, T.Q4_1, T.F32))):
        b, m = f"blk.{n}.", f"model.layers.{n}."
        q, k, o, f = kinds
        add(b + "attn_norm.weight", m + "input_layernorm.weight", (HIDDEN,), T.F32)
        add(b + "attn_q.weight", m + "self_attn.q_proj.weight", (HEADS * HEAD, HIDDEN), q, HEADS)
        add(b + "attn_k.weight", m + "self_attn.k_proj.weight", (KV * HEAD, HIDDEN), k, KV)
        add(b + "attn_v.weight", m + "self_attn.v_proj.weight", (KV * HEAD, HIDDEN), q)
        add(b + "attn_output.weight", m + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD), o)
        add(b + "ffn_norm.weight", m + "post_attention_layernorm.weight", (HIDDEN,), T.F32)
        add(b + "ffn_gate.weight", m + "mlp.gate_proj.weight", (FFN, HIDDEN), f)
        add(b + "ffn_up.weight", m + "mlp.up_proj.weight", (FFN, HIDDEN), T.Q8_0)
        add(b + "ffn_down.weight", m + "mlp.down_proj.weight", (HIDDEN, FFN), T.Q4_1)
    add("output_norm.weight", "model.norm.weight", (HIDDEN,), T.F32)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save_file(published, OUT / "llama.safetensors")

    cases = [[t, tok.encode(t).ids] for t in TEXTS]
    (OUT / "llama_tokens.json").write_text(json.dumps({"cases": cases, "template": TEMPLATE}) + "\n")

    blocks = {}
    for kind in (T.Q4_0, T.Q4_1, T.Q8_0, T.Q6_K, T.F16, T.BF16):
        size, width = gguf.GGML_QUANT_SIZES[kind]
        n = max(1, 256 // size) * 2
        raw = rng.integers(0, 256, (n, width), dtype=np.uint8)
        if size > 1:  # the halves are finite
            for at in {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q8_0: [0], T.Q6_K: [208]}[kind]:
                raw[:, at:at + 2] = (rng.standard_normal(n) * 0.1).astype(np.float16).view(np.uint8).reshape(n, 2)
        else:
            values = rng.standard_normal(n).astype(np.float32)
            raw = gguf.quants.quantize(values.reshape(1, -1), kind).view(np.uint8).reshape(n, width)
        blocks[f"{kind.name}/raw"] = raw.reshape(-1)
        blocks[f"{kind.name}/f32"] = gguf.quants.dequantize(raw.reshape(1, -1), kind).reshape(-1).astype(np.float32)
    values = (rng.standard_normal(256) * 3).astype(np.float32)
    values[32:64] = 0
    blocks["values"] = values
    for kind in (T.Q8_0, T.BF16, T.F16):
        blocks[f"{kind.name}/quantised"] = np.ascontiguousarray(gguf.quants.quantize(values.reshape(1, -1), kind)).view(np.uint8).reshape(-1)
    save_file(blocks, OUT / "blocks.safetensors")


if __name__ == "__main__":
    main()
