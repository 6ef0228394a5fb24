"""A reward model that r1 trained, in transformers and back: the same scores, no warning.

    /tmp/peers/bin/python tools/bench/peers/classifier.py runs/r1_full/checkpoints/helpful [--bin build/release/bin]

Loads the checkpoint as AutoModelForSequenceClassification, compares its scores of random tokens with r1's; saves it by save_pretrained and
lets r1 read that. Also tiny random classifiers of each architecture that transformers made. Needs torch and transformers.
"""
import argparse
import json
import logging
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import (AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification, Qwen2Config,
                          Qwen2ForSequenceClassification, Qwen3Config, Qwen3ForSequenceClassification)

SIZES = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, num_labels=1, pad_token_id=0)


def r1_scores(bin_dir, model, sequences):
    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "scores.f32"
        lines = "".join(json.dumps({"tokens": s}) + "\n" for s in sequences)
        subprocess.run([bin_dir / "r1-bench", "logits", model, "--out", out], input=lines, text=True, check=True, stdout=subprocess.DEVNULL)
        return np.fromfile(out, np.float32)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("checkpoint", type=pathlib.Path, nargs="*")
    arguments.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    a = arguments.parse_args()
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    random.seed(0)
    torch.manual_seed(0)
    ok = True

    def compare(name, model, directory):
        nonlocal ok
        vocab = model.config.vocab_size
        sequences = [[random.randrange(1, vocab) for _ in range(random.randrange(2, 40))] for _ in range(20)]
        with torch.no_grad():
            theirs = np.array([float(model.float().eval()(torch.tensor([s])).logits[0, 0]) for s in sequences])
        worst = float(np.abs(theirs - r1_scores(a.bin, directory, sequences)).max())
        ok = ok and worst < 1e-4 * max(1.0, float(np.abs(theirs).max())) and not said
        print(json.dumps(dict(model=name, scores=[round(float(theirs.min()), 3), round(float(theirs.max()), 3)], largest_difference=worst, warnings=said)))
        said.clear()

    with tempfile.TemporaryDirectory() as tmp:
        for checkpoint in a.checkpoint:
            model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
            compare(f"{type(model).__name__} of r1", model, checkpoint)
            model.save_pretrained(pathlib.Path(tmp) / "saved")
            said.clear()
            compare("the same, saved by transformers", model, pathlib.Path(tmp) / "saved")
        for config, cls in ((LlamaConfig, LlamaForSequenceClassification), (Qwen2Config, Qwen2ForSequenceClassification),
                            (Qwen3Config, Qwen3ForSequenceClassification)):
            model = cls(config(**SIZES))
            directory = pathlib.Path(tmp) / cls.__name__
            model.save_pretrained(directory)
            said.clear()
            compare(cls.__name__, model, directory)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
