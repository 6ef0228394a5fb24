"""What transformers takes for keys that a config.json leaves out: tests/models/golden/config_defaults.json.

For each model type a config.json with every key that r1 reads, and for each key that has a default in transformers the value that its
configuration class (or, for head_dim, its attention) has without it.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers
    /tmp/golden/bin/python tools/golden/config_defaults.py
"""
import json
import pathlib
import sys

sys.path.pop(0)  # this folder has a tokenizers.py, which is not the library of that name

from transformers import AutoConfig  # noqa: E402

COMMON = dict(vocab_size=1000, hidden_size=4096, intermediate_size=512, num_hidden_layers=4, num_attention_heads=64, num_key_value_heads=16,
              max_position_embeddings=512, rms_norm_eps=0.5, rope_theta=77.0, tie_word_embeddings=True, bos_token_id=7, eos_token_id=8,
              hidden_act="silu")
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=99)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=99)
FULL = {
    "llama": COMMON | dict(head_dim=32, attention_bias=True, mlp_bias=True, rope_scaling=LLAMA3),
    "qwen2": COMMON | dict(rope_scaling=YARN),
    "qwen3": COMMON | dict(head_dim=32, attention_bias=True, rope_scaling=YARN),
    "deepseek_v3": COMMON | dict(num_attention_heads=128, num_key_value_heads=128, q_lora_rank=64, kv_lora_rank=64, qk_nope_head_dim=32,
                                 qk_rope_head_dim=16, v_head_dim=32, n_routed_experts=64, n_shared_experts=2, num_experts_per_tok=2,
                                 moe_intermediate_size=64, first_k_dense_replace=1, n_group=16, topk_group=2, routed_scaling_factor=1.5,
                                 norm_topk_prob=False, rope_interleave=False, rope_scaling=YARN),
}
NEVER = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}  # r1 refuses a config without


def value(config, key):
    if key == "rope_theta":
        return config.rope_parameters["rope_theta"]
    if key == "original_max_position_embeddings":
        return config.rope_parameters[key]
    if key == "rope_scaling":
        return config.rope_parameters["rope_type"]
    if key == "head_dim":
        return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return getattr(config, key)


def main():
    out = []
    for kind, full in FULL.items():
        for key in [k for k in full if k not in NEVER] + ["original_max_position_embeddings"]:
            left = {k: v for k, v in full.items() if k != key}
            if key == "original_max_position_embeddings":
                left["rope_scaling"] = {k: v for k, v in full["rope_scaling"].items() if k != key}
            config = AutoConfig.for_model(kind, **json.loads(json.dumps(left)))
            out.append({"model_type": kind, "without": key, "config": {"model_type": kind} | left, "value": value(config, key)})
    path = pathlib.Path(__file__).resolve().parents[2] / "tests" / "models" / "golden" / "config_defaults.json"
    path.write_text("[\n" + ",\n".join(json.dumps(o) for o in out) + "\n]\n")


if __name__ == "__main__":
    main()
