"""Sampled tokens a second of r1-eval beside llama.cpp and transformers: the same model, prompts, greedy decoding and limit, in one run.

    tools/fetch-smollm2 DIR
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install llama-cpp-python transformers torch
    /tmp/peers/bin/python tools/bench/peers/eval_speed.py DIR/SmolLM2-135M-Instruct.Q4_1.gguf [--bin build/release/bin] [--prompts 32]

All three compute in bf16 (r1-convert writes the model for each) on THREADS threads. llama.cpp as its Python package evaluates a list
of prompts: one after the other; transformers in one padded batch of all prompts; r1-eval as it comes. Each counts the tokens that it
sampled itself, end tokens included, over the time between the first prompt and the last answer, loading left out. Rounds are
interleaved; the medians' ratios are what counts, on a machine that does nothing else.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

FRAME = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def questions(n):
    return [f"I have {i + 3} apples and buy {2 * i + 1} more. Explain step by step how many I have." for i in range(n)]


def r1_eval(a, model, data):
    out = subprocess.run([a.bin / "r1-eval", model, "--data", f"jsonl:{data}", "--rewards", "length", "--greedy", "--max-tokens", str(a.tokens),
                          "--max-running", str(a.prompts), "--precision", "bf16", "--json"], check=True, capture_output=True, text=True)
    j = json.loads(out.stdout)
    return j["tokens_per_second"]


def llama_cpp(a, model):
    tokens, begin = 0, time.perf_counter()
    for q in questions(a.prompts):
        prompt = model.tokenize(FRAME.format(q).encode(), add_bos=False, special=True)
        model.reset()
        for n, token in enumerate(model.generate(prompt, temp=0.0, repeat_penalty=1.0)):
            tokens += 1
            if token == model.token_eos() or n + 1 == a.tokens:
                break
    return tokens / (time.perf_counter() - begin)


def with_transformers(a, model, tokenizer):
    import torch
    begin = time.perf_counter()
    batch = tokenizer([FRAME.format(q) for q in questions(a.prompts)], return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        out = model.generate(**batch, max_new_tokens=a.tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    new = out[:, batch["input_ids"].shape[1]:]
    ended = (new == tokenizer.convert_tokens_to_ids("<|im_end|>")).int()
    lengths = [int(row.argmax()) + 1 if row.any() else row.numel() for row in ended]
    return sum(lengths) / (time.perf_counter() - begin)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("gguf", type=pathlib.Path)
    arguments.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    arguments.add_argument("--prompts", type=int, default=32)
    arguments.add_argument("--tokens", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    a = arguments.parse_args()
    import torch
    from llama_cpp import Llama
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        for to in ([tmp / "bf16.gguf", "--to", "gguf", "--type", "bf16"], [tmp / "hf", "--to", "hf", "--dtype", "bf16"]):
            subprocess.run([a.bin / "r1-convert", a.gguf, *to], check=True, stdout=subprocess.DEVNULL)
        data = tmp / "prompts.jsonl"
        data.write_text("".join(json.dumps({"prompt": q, "answer": "0"}) + "\n" for q in questions(a.prompts)))
        llama = Llama(str(tmp / "bf16.gguf"), n_ctx=1024, verbose=False, n_threads=a.threads, n_threads_batch=a.threads)
        model = AutoModelForCausalLM.from_pretrained(tmp / "hf", dtype=torch.bfloat16).eval()
        tokenizer = AutoTokenizer.from_pretrained(tmp / "hf", padding_side="left")
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        rates = {"r1-eval": [], "llama.cpp": [], "transformers": []}
        for _ in range(a.rounds):
            rates["r1-eval"].append(r1_eval(a, tmp / "hf", data))
            rates["llama.cpp"].append(llama_cpp(a, llama))
            rates["transformers"].append(with_transformers(a, model, tokenizer))
        medians = {name: statistics.median(r) for name, r in rates.items()}
        print(json.dumps({"prompts": a.prompts, "tokens": a.tokens, "threads": a.threads,
                          "tokens_a_second": {name: [round(x, 1) for x in r] for name, r in rates.items()},
                          "r1_over": {name: round(medians["r1-eval"] / r, 2) for name, r in medians.items() if name != "r1-eval"}}))
        llama.close()


if __name__ == "__main__":
    main()
