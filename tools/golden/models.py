"""Golden values of whole models: logits and loss gradients of tiny random models from Hugging Face transformers, in f32.

Writes tests/models/golden/NAME.safetensors: metadata "config" (the model's config.json), tensors weight/..., grad/... (of the mean
negative log-likelihood over all tokens after the first of all sequences), ids/S (I32), logits/S, loss. Names are those of published
checkpoints: the experts that transformers stacks in memory are written one by one. transformers masks groups of experts with -inf as
we do (versions that masked with 0.0 differ where a kept score plus bias is negative). A model with a multi-token prediction module
also has mtp_logits/S (rows 0 to n-2), and its gradients include 0.3 times the module's mean negative log-likelihood.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers safetensors numpy
    /tmp/golden/bin/python tools/golden/models.py [NAME ...]
"""
import pathlib
import sys

sys.path.pop(0)  # this folder has a tokenizers.py, which is not the library of that name

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config,  # noqa: E402
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)
from transformers.modeling_layers import MtpModel  # noqa: E402

SIZES = dict(vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager")
MTP_WEIGHT = 0.3
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=16)
DEEPSEEK = dict(vocab_size=23, hidden_size=16, intermediate_size=24, moe_intermediate_size=6, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=4, n_shared_experts=2, n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2,
                first_k_dense_replace=1, routed_scaling_factor=2.5, kv_lora_rank=6, q_lora_rank=8, qk_nope_head_dim=5, qk_rope_head_dim=6,
                v_head_dim=7, max_position_embeddings=64, num_mtp_layers=0, attn_implementation="eager", experts_implementation="eager")
YARN_ROPE = dict(rope_type="yarn", rope_theta=100.0, factor=4.0, beta_fast=4.0, beta_slow=0.5, mscale=1.0, mscale_all_dim=0.7,
                 original_max_position_embeddings=16)


def deepseek(**changes):
    return DeepseekV3ForCausalLM(DeepseekV3Config(**{**DEEPSEEK, **changes}))


MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rms_norm_eps=1e-5, attention_bias=True, mlp_bias=True,
                                                  rope_parameters=LLAMA3_ROPE, tie_word_embeddings=False)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=6, tie_word_embeddings=False)),
    "deepseek_v3": lambda: deepseek(),
    "deepseek_v3_plain": lambda: deepseek(q_lora_rank=None, rope_interleave=False, norm_topk_prob=False, n_group=1, topk_group=1,
                                          first_k_dense_replace=0, num_hidden_layers=1),
    "deepseek_v3_yarn": lambda: deepseek(rope_parameters=YARN_ROPE, num_hidden_layers=1, first_k_dense_replace=0),
    "deepseek_v3_mtp": lambda: deepseek(num_mtp_layers=1, num_hidden_layers=1),
}
LENGTHS = (21, 4, 33)


def published(name, value):
    """(name, tensor) of the published checkpoints for a tensor of transformers' model in memory."""
    for stacked, parts in {"experts.gate_up_proj": ("gate_proj", "up_proj"), "experts.down_proj": ("down_proj",)}.items():
        if name.endswith(stacked):
            prefix = name[:-len(stacked)] + "experts"
            for e, of_expert in enumerate(value):
                for part, rows in zip(parts, of_expert.chunk(len(parts))):
                    yield f"{prefix}.{e}.{part}.weight", rows.clone()
            return
    yield name, value.clone()


def mtp_name(name, layer):
    """The published name of a parameter of transformers' MtpModel; None for those shared with the main model."""
    if not name.startswith("layers.0."):
        return None
    name = name.removeprefix("layers.0.").removeprefix("mtp_block.").replace("post_norm.", "shared_head.norm.")
    return f"model.layers.{layer}.{name}"


def main():
    out = pathlib.Path(__file__).resolve().parents[2] / "tests" / "models" / "golden"
    out.mkdir(parents=True, exist_ok=True)
    for seed, (name, make) in enumerate(MODELS.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        torch.manual_seed(seed)
        model = make().float().eval()
        parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        mtp = MtpModel(model, 1).float().eval() if getattr(model.config, "num_mtp_layers", 0) else None
        if mtp:
            layer = model.config.num_hidden_layers
            parameters |= {mtp_name(n, layer): p for n, p in mtp.named_parameters() if mtp_name(n, layer)}
            buffers |= {mtp_name(n, layer): b for n, b in mtp.named_buffers() if mtp_name(n, layer)}
        with torch.no_grad():
            for p_name, p in parameters.items():
                p.copy_(torch.randn_like(p) * 0.3 + (1.0 if "norm" in p_name else 0.0))
            biases = {n: b for n, b in buffers.items() if n.endswith("e_score_correction_bias")}
            for b in biases.values():
                b.copy_(torch.randn_like(b) * 0.05)
        tensors, total, ahead, count = {}, 0.0, 0.0, sum(n - 1 for n in LENGTHS)
        for i, n in enumerate(LENGTHS):
            ids = torch.randint(0, SIZES["vocab_size"], (n,))
            result = model(input_ids=ids[None], output_hidden_states=True)
            logits = result.logits[0]
            total = total + torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum") / count
            tensors[f"ids/{i}"] = ids.to(torch.int32)
            tensors[f"logits/{i}"] = logits.detach().contiguous()
            if mtp:
                # hidden_states[-1] stands behind the final norm: it is what the head reads.
                rows = mtp.forward_layer(0, result.hidden_states[-1][:, :-1], torch.arange(n - 1)[None], None, input_ids=ids[None, 1:])
                logits = model.lm_head(rows)[0]
                loss = torch.nn.functional.cross_entropy(logits[:-1], ids[2:], reduction="sum")
                ahead = ahead + loss / sum(n - 2 for n in LENGTHS)
                tensors[f"mtp_logits/{i}"] = logits.detach().contiguous()
        (total + MTP_WEIGHT * ahead).backward()
        tensors["loss"] = total.detach().reshape(1)
        for p_name, p in parameters.items():
            for kind, value in (("weight/", p.detach()), ("grad/", p.grad)):
                for n, part in published(p_name, value):
                    tensors[kind + n] = part
        for n, b in biases.items():
            tensors["weight/" + n] = b.clone()
        save_file(tensors, out / f"{name}.safetensors", metadata={"config": model.config.to_json_string(use_diff=False)})
        print(name, float(total.detach()))


if __name__ == "__main__":
    main()
