"""Golden values of whole models: logits and loss gradients of tiny random models from Hugging Face transformers, in f32.

Writes tests/models/golden/NAME.safetensors: metadata "config" (the model's config.json), tensors weight/..., grad/... (of the mean
negative log-likelihood over all tokens after the first of all sequences), ids/S (I32), logits/S, loss.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers safetensors numpy
    /tmp/golden/bin/python tools/golden/models.py
"""
import pathlib
import sys

sys.path.pop(0)  # this folder has a tokenizers.py, which is not the library of that name

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM  # noqa: E402

SIZES = dict(vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager")
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=16)
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rms_norm_eps=1e-5, attention_bias=True, mlp_bias=True,
                                                  rope_parameters=LLAMA3_ROPE, tie_word_embeddings=False)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=6, tie_word_embeddings=False)),
}
LENGTHS = (21, 4, 33)


def main():
    out = pathlib.Path(__file__).resolve().parents[2] / "tests" / "models" / "golden"
    out.mkdir(parents=True, exist_ok=True)
    for seed, (name, make) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = make().float().eval()
        with torch.no_grad():
            for p_name, p in model.named_parameters():
                p.copy_(torch.randn_like(p) * 0.3 + (1.0 if "norm" in p_name else 0.0))
        tensors, total, count = {}, 0.0, sum(n - 1 for n in LENGTHS)
        for i, n in enumerate(LENGTHS):
            ids = torch.randint(0, SIZES["vocab_size"], (n,))
            logits = model(input_ids=ids[None]).logits[0]
            total = total + torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum") / count
            tensors[f"ids/{i}"] = ids.to(torch.int32)
            tensors[f"logits/{i}"] = logits.detach().contiguous()
        total.backward()
        tensors["loss"] = total.detach().reshape(1)
        for p_name, p in model.named_parameters():
            tensors["weight/" + p_name] = p.detach().clone()
            tensors["grad/" + p_name] = p.grad.clone()
        save_file(tensors, out / f"{name}.safetensors", metadata={"config": model.config.to_json_string(use_diff=False)})
        print(name, float(total.detach()))


if __name__ == "__main__":
    main()
