"""r1 beside llama.cpp and transformers on a real model: the same tokens, the same logits, the same perplexity.

    tools/fetch-smollm2 DIR
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install llama-cpp-python transformers torch
    /tmp/peers/bin/python tools/bench/peers/real_model.py DIR/SmolLM2-135M-Instruct.Q4_1.gguf [--bin build/release/bin] [--prompts 20]

llama.cpp multiplies quantised weights by activations that it quantises too (q8_1), so a file in Q4_1 is compared twice: `file` is llama.cpp
on the file itself, `f32` llama.cpp on the same weights as r1-convert writes them in f32 - there both compute the same thing.
r1's greedy tokens are read off its logits over llama.cpp's text: they are the same up to the first place where the largest logit is
another one. A divergence is excused when r1's margin there (largest logit minus that of llama.cpp's token) is no more than the largest difference of
logits before it. Exit code 1 when one is not, when perplexities differ by more than 0.5 %, or when transformers warns or disagrees.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np

QUESTIONS = ["What is the capital of France?", "What is 17 + 25?", "Name three colours.", "Write a short poem about the sea.",
             "Explain photosynthesis in two sentences.", "Who wrote Hamlet?", "How do I boil an egg?", "Translate 'good morning' to Spanish.",
             "What is a prime number?", "Why is the sky blue?", "Give me a recipe for pancakes.", "What is the speed of light?",
             "List the planets.", "Write a Python function that adds two numbers.", "What is gravity?", "Summarise the story of Cinderella.",
             "How many days are in a leap year?", "What do bees make?", "Tell me a joke.", "What is the largest ocean?"]
TEXT = """The history of the lighthouse begins long before the invention of the lamp. Sailors who came near the coast at night looked for fires
that were lit on hills, and later for fires on platforms of stone. In the third century before our era a tower was built on an island in front
of Alexandria; it stood for more than a thousand years, and its name became the word for lighthouse in several languages. Modern lighthouses
use lenses that were calculated by Augustin Fresnel in 1822: rings of glass, each a prism, that bend the light of a small lamp into one beam.
Such a lens weighs a fraction of a solid one and loses little light. Today most of them are automatic. A sensor switches the lamp on at dusk, a
second lamp waits in case the first one fails, and nobody lives in the tower. Still, at 12 nautical miles, the flash is what it was: a promise that
there is land, and that somebody thought of those at sea."""


THREADS = 2  # of llama.cpp; its threads wait for each other by spinning, so 1 is faster on a busy machine


def llama(path):
    from llama_cpp import Llama
    return Llama(str(path), n_ctx=1024, n_batch=1024, logits_all=True, verbose=False, n_threads=THREADS, n_threads_batch=THREADS)


def llama_logits(model, tokens):
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[:len(tokens) - 1], dtype=np.float32)


def greedy(model, tokens, count):
    """llama.cpp's greedy continuation, token by token; ends behind an end token."""
    model.reset()
    model.eval(tokens)
    out = []
    for _ in range(count):
        out.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        if model._model.token_eos() == out[-1]:
            break
        model.eval(out[-1:])
    return out


def r1_logits(bin_dir, model, sequences, dtype, vocab):
    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "logits.f32"
        lines = "".join(json.dumps({"tokens": s}) + "\n" for s in sequences)
        subprocess.run([bin_dir / "r1-bench", "logits", model, "--out", out, "--dtype", dtype], input=lines, text=True, check=True,
                       stdout=subprocess.DEVNULL)
        rows = np.memmap(out, np.float32, "r").reshape(-1, vocab)
        at = 0
        for s in sequences:
            yield np.array(rows[at:at + len(s) - 1])
            at += len(s) - 1


def nll(logits, tokens):
    x = logits.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), tokens[1:]]))


def compare(name, bin_dir, model_for_r1, path, prompts, count, dtype="f32"):
    model = llama(path)
    vocab = model.n_vocab()
    texts = [(p, greedy(model, p, count)) for p in prompts]
    full = [p + g for p, g in texts]
    theirs_all = [llama_logits(model, s) for s in full]
    text = model.tokenize(TEXT.encode(), add_bos=False, special=False)
    theirs_text = llama_logits(model, text)
    equal, excused, bad, generated, worst, places = 0, 0, 0, 0, 0.0, []
    *ours_all, ours_text = list(r1_logits(bin_dir, model_for_r1, full + [text], dtype, vocab))
    for (prompt, gen), ours, theirs in zip(texts, ours_all, theirs_all):
        first = len(prompt) - 1
        generated += len(gen)
        chosen = ours[first:].argmax(axis=1)
        differing = np.nonzero(chosen != np.array(gen))[0]
        gap = float(np.abs(ours[:first + (int(differing[0]) if len(differing) else len(gen))] - theirs[:first + (int(differing[0]) if len(differing) else len(gen))]).max())
        worst = max(worst, gap)
        if not len(differing):
            equal += 1
            continue
        at = int(differing[0])
        margin = float(ours[first + at].max() - ours[first + at][gen[at]])
        places.append((at, round(margin, 5), round(gap, 5)))
        excused, bad = (excused + 1, bad) if margin <= gap else (excused, bad + 1)
    a, b = np.exp(nll(ours_text, np.array(text))), np.exp(nll(theirs_text, np.array(text)))
    result = dict(comparison=name, r1=dtype, prompts=len(prompts), generated_tokens=generated, equal=equal, diverged_within_the_noise=excused,
                  diverged=bad, divergences_token_margin_gap=places, largest_difference_of_logits=round(worst, 5), perplexity_r1=round(float(a), 4),
                  perplexity_llama_cpp=round(float(b), 4), perplexity_difference=round(float(abs(a / b - 1)), 6))
    model.close()
    print(json.dumps(result), flush=True)
    return result


def with_transformers(bin_dir, directory, prompts, tokenizer_of_llama):
    """A directory that r1-convert wrote: no warning, the same tokens as llama.cpp's tokenizer, logits of r1."""
    import logging
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = AutoModelForCausalLM.from_pretrained(directory).float().eval()
        tok = AutoTokenizer.from_pretrained(directory)
    said += [str(w.message) for w in caught if "transformers" in str(w.filename)]
    tokens_differ = sum(tok.encode(t, add_special_tokens=False) != tokenizer_of_llama(t) for t in QUESTIONS + [TEXT, "x = 1234\n\n\t\u00e9\u4e2d"])
    worst = 0.0
    for p, ours in zip(prompts, r1_logits(bin_dir, directory, prompts, "f32", model.config.vocab_size)):
        with torch.no_grad():
            worst = max(worst, float((model(torch.tensor([p])).logits[0, :-1] - torch.from_numpy(ours)).abs().max()))
    chat = tok.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    result = dict(comparison="transformers", warnings=said, texts_with_other_tokens=tokens_differ, largest_difference_of_logits=round(worst, 6), chat=chat)
    print(json.dumps(result), flush=True)
    return not said and tokens_differ == 0 and worst < 1e-2


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("gguf", type=pathlib.Path)
    arguments.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    arguments.add_argument("--prompts", type=int, default=len(QUESTIONS))
    arguments.add_argument("--tokens", type=int, default=100)
    arguments.add_argument("--without-transformers", action="store_true")
    arguments.add_argument("--threads", type=int, default=THREADS)
    a = arguments.parse_args()
    globals()["THREADS"] = a.threads
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        convert = a.bin / "r1-convert"
        for arguments in ([tmp / "f32.gguf", "--to", "gguf", "--type", "f32"], [tmp / "hf", "--to", "hf", "--dtype", "f32"]):
            subprocess.run([convert, a.gguf, *arguments], check=True, stdout=subprocess.DEVNULL)
        model = llama(a.gguf)
        frame = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
        prompts = [model.tokenize(frame.format(q).encode(), add_bos=False, special=True) for q in QUESTIONS[:a.prompts]]
        tokenizer = lambda text: model.tokenize(text.encode(), add_bos=False, special=False)  # noqa: E731
        ok = a.without_transformers or with_transformers(a.bin, tmp / "hf", prompts, tokenizer)
        exact = compare("llama.cpp, f32 as r1-convert wrote it", a.bin, a.gguf, tmp / "f32.gguf", prompts, a.tokens)
        file = compare("llama.cpp, the file itself", a.bin, a.gguf, a.gguf, prompts, a.tokens)
        ok = ok and not exact["diverged"] and exact["perplexity_difference"] < 0.005 and file["perplexity_difference"] < 0.05
        model.close()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
