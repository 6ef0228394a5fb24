"""A GRPO step of r1 beside one of TRL: the same weights, prompts, reward, number of samples and lengths. Part of `run`, which says how to start it.

A model with random weights, as a Hugging Face directory, is what both begin with. Its end token is never sampled, in either program and without an
option of either: the first value of every hidden state is a constant, which the heads of the three special tokens multiply by -1000. So every
completion has all of its tokens. The reward is which of twelve letters a completion has, each with another weight, in r1 as rules and in TRL as a
function: a group hardly ever has equal ones, so that none is left out. One optimizer step a batch, AdamW, a KL term with a frozen reference, no vLLM.

A step of r1 lasts from the commit of a batch to that of the next one, as a reader of run.db sees them; TRL's from the end of an optimizer step to
that of the next one. Both are medians without the first steps. Beside the time there is the CPU time that all processes and threads take for a
step, as a mean: other work on the machine hardly moves it (with OMP_WAIT_POLICY=PASSIVE, or PyTorch's threads spin while they wait for each other).
Before any ratio it is looked at that both trained the same number of groups and of sampled tokens in every step, behind prompts of the same number
of tokens.
"""
import importlib.metadata
import json
import os
import pathlib
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

from bundled import program

# groups x samples a step; tokens of a prompt, of a completion.
SHAPES = {
    "0.36M": dict(vocab=300, hidden=96, layers=3, heads=4, kv=4, head=24, ffn=256, groups=32, samples=8, prompt=32, tokens=64),
    "28M": dict(vocab=5120, hidden=512, layers=8, heads=8, kv=4, head=64, ffn=1536, groups=8, samples=8, prompt=32, tokens=64),
}
PRECISIONS = {"f32": dict(weights="float32", autocast=False),
              "autocast": dict(weights="float32", autocast=True),   # f32 masters and bf16 products, as r1 has them
              "bf16": dict(weights="bfloat16", autocast=True)}      # no f32 masters: what an update adds is rounded away
LR, BETA2, EPSILON = 1e-5, 0.999, 0.2
FIRST = 2       # steps that do not count: memory is touched for the first time, with staleness 1 the pipeline fills
LAST = 2        # batches more that r1 is asked for: the last ones do not wait for samples of the next
POLL_S = 0.003
PROMPT_CHARACTERS = "0123456789+-*="


LETTERS = {letter: 2.0 ** -i for i, letter in enumerate("abcdefghijkl")}
REWARDS = " + ".join(f"{weight} * regex('{letter}')" for letter, weight in LETTERS.items())


def reward(text):
    return sum(weight for letter, weight in LETTERS.items() if letter in text)


# In the virtual environment.

def byte_level_tokenizer(vocab):
    """Three special tokens, the 256 bytes, and pairs of printable characters that no prompt has: a prompt is one token a character."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    byte = [""] * 256
    for b in visible:
        byte[b] = chr(b)
    for i, b in enumerate(hidden):
        byte[b] = chr(256 + i)
    pairs = [chr(b) for b in range(33, 127) if chr(b) not in PROMPT_CHARACTERS]
    merges = [[x, y] for x in pairs for y in pairs][:vocab - 259]
    special = ["<pad>", "<bos>", "<eos>"]
    tokens = special + byte + [x + y for x, y in merges]
    assert len(tokens) == vocab
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "added_tokens": [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                             for i, t in enumerate(special)],
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}


def make_model(p):
    """Writes p["dir"]; tells the number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    s = p["sizes"]
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=s["vocab"], hidden_size=s["hidden"], num_hidden_layers=s["layers"], num_attention_heads=s["heads"], num_key_value_heads=s["kv"],
        head_dim=s["head"], intermediate_size=s["ffn"], max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1,
        eos_token_id=2)).float()
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings[:, 0] = 0.1
        embeddings[:3] = 0
        embeddings[:3, 0] = -1000
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
    directory = pathlib.Path(p["dir"])
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(json.dumps(byte_level_tokenizer(s["vocab"])))
    (directory / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="PreTrainedTokenizerFast", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=256)))
    return sum(x.numel() for x in model.parameters())


def trl_steps(p):
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    torch.set_num_threads(p["threads"])
    s, precision, ends, work = p["sizes"], PRECISIONS[p["precision"]], [], []

    def score(completions, prompts, completion_ids, **columns):
        scores = [reward(text) for text in completions]
        n = s["samples"]
        work.append(dict(groups=sum(len(set(scores[i:i + n])) > 1 for i in range(0, len(scores), n)), sampled=sum(map(len, completion_ids)),
                         prompts=sum(len(tokenizer.encode(x, add_special_tokens=False)) for x in prompts[::n])))
        return scores

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            ends.append((time.monotonic(), time.process_time()))

    tokenizer = AutoTokenizer.from_pretrained(p["model"], padding_side="left")
    with open(p["prompts"]) as file:
        prompts = [json.loads(line)["prompt"] for line in file]
    with tempfile.TemporaryDirectory() as tmp:
        trainer = GRPOTrainer(model=p["model"], reward_funcs=score, train_dataset=Dataset.from_list([{"prompt": x} for x in prompts]),
                              processing_class=tokenizer, callbacks=[Clock()], args=GRPOConfig(
            output_dir=tmp, use_cpu=p["device"] == "cpu", bf16=precision["autocast"], model_init_kwargs={"dtype": precision["weights"]}, use_vllm=False,
            per_device_train_batch_size=s["groups"] * s["samples"], gradient_accumulation_steps=1, num_generations=s["samples"],
            max_completion_length=s["tokens"], pad_to_multiple_of=None, temperature=1.0, top_k=0, top_p=1.0, beta=p["kl"], epsilon=EPSILON,
            loss_type="grpo", scale_rewards="group", num_iterations=1, learning_rate=LR, lr_scheduler_type="constant", adam_beta2=BETA2,
            weight_decay=0.0, max_grad_norm=1.0, max_steps=p["steps"], gradient_checkpointing=False, shuffle_dataset=False, seed=0,
            logging_strategy="no", save_strategy="no", report_to="none", disable_tqdm=True))
        before = [x.detach().clone() for x in trainer.model.parameters()]
        trainer.train()
    if all(torch.equal(x, y) for x, y in zip(before, trainer.model.parameters())):
        raise RuntimeError("TRL trained nothing")
    return dict(ends=ends, work=work)


# Outside of it.

def varints(blob, at):
    while True:
        value = shift = 0
        while True:
            b = blob[at]
            at += 1
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                break
        yield value, at


def sampled_tokens(blob):
    """(tokens of the prompt, tokens that the model sampled) of a `sequence`: docs/formats.md, "Blobs"."""
    numbers = varints(blob, 1)
    tokens, at = next(numbers)
    numbers = varints(blob, at + 4 * tokens)
    runs, sampled = next(numbers)[0], 0
    for _ in range(runs):
        length, value = next(numbers)[0], next(numbers)[0]
        sampled += length if value == 2 else 0  # zigzag: 2 is 1
    return tokens - sampled, sampled


GRAPH = """digraph grpo {
  graph [device="%(device)s"];
  base [kind=model, path="%(model)s"];
  subgraph cluster_rl {
    prompts   [role=prompter,  source="jsonl:%(prompts)s?template=none&shuffle=0", groups_per_batch=%(groups)d];
    policy    [role=generator, samples=%(samples)d, temperature=1, max_tokens=%(tokens)d];
    judge     [role=judge,     rewards="%(rewards)s"];
    groups    [role=filter];
    reference [role=reference];
    trainer   [role=trainer,   objective=grpo, lr="%(lr)g", beta2="%(beta2)g", clip_low="%(epsilon)g", clip_high="%(epsilon)g", kl="%(kl)g",
               micro_batch_tokens=2048, until="batches(%(batches)d)"];
    prompts -> policy -> judge -> groups -> reference -> trainer;
    trainer -> policy [carries=weights, staleness=%(staleness)d];
  }
  base -> trainer;
}
"""


def cpu_seconds(root):
    """Of a process, its descendants, and those that it has waited for."""
    ticks, parents = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        parents[int(entry)], ticks[int(entry)] = int(fields[1]), sum(map(int, fields[11:15]))
    total = 0
    for process in ticks:
        above = process
        while above in parents and above != root:
            above = parents[above]
        total += ticks[process] if above == root else 0
    return total / os.sysconf("SC_CLK_TCK")


def commits(db, run):
    """[(when a batch was there for a reader, CPU seconds until then)] until `run` ends."""
    seen, rows = [], None
    while run.poll() is None:
        time.sleep(POLL_S)
        try:
            rows = rows or sqlite3.connect(f"file:{db}?mode=ro", uri=True)
            version = rows.execute("SELECT max(version) FROM batches").fetchone()[0]
        except sqlite3.OperationalError:  # not made yet
            continue
        if version is not None and version >= len(seen):
            seen += [(time.monotonic(), cpu_seconds(run.pid))] * (version + 1 - len(seen))
    if rows:
        rows.close()
    return seen


def r1_steps(a, directory, sizes, staleness, steps):
    with tempfile.TemporaryDirectory(dir=directory) as tmp:
        tmp = pathlib.Path(tmp)
        graph, db, said = tmp / "grpo.graph", tmp / "run" / "run.db", tmp / "said"
        graph.write_text(GRAPH % dict(sizes, model=directory / "model", prompts=directory / "prompts.jsonl", rewards=REWARDS, device=a.device, lr=LR, beta2=BETA2,
                                      epsilon=EPSILON, kl=a.kl, staleness=staleness, batches=steps + LAST))
        with open(said, "w") as out:
            run = subprocess.Popen([*program(a.bin, "r1-run"), graph, "--run", tmp / "run", "--quiet"], stdout=out, stderr=out, env=a.environment,
                                   preexec_fn=lambda: os.sched_setaffinity(0, a.cores))
            try:
                seen = commits(db, run)
            finally:
                run.terminate()
                run.wait()
        if run.returncode != 0:
            raise RuntimeError("r1-run: " + said.read_text()[-300:].strip())
        rows = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
        batches = [version for (version,) in rows.execute("SELECT version FROM batches WHERE NOT skipped ORDER BY version")][:steps]
        work = []
        for version in batches:
            draws = [draw for (draw,) in rows.execute("SELECT draw FROM resolutions WHERE batch = ?", [version])]
            groups = [[sampled_tokens(blob) for (blob,) in rows.execute("SELECT payload FROM trajectories WHERE draw = ?", [draw])] for draw in draws]
            work.append(dict(groups=len(draws), sampled=sum(n for group in groups for _, n in group), prompts=sum(group[0][0] for group in groups)))
        machine = dict(rows.execute("SELECT key, value FROM meta WHERE key IN ('machine', 'fingerprint')"))
        rows.close()
        return dict(ends=seen[:steps], work=work), machine["machine"] + "\n" + machine["fingerprint"]


def rates(tokens, steps):
    """Tokens a second, tokens a second of CPU time."""
    ends = steps["ends"][FIRST - 1:]
    return (tokens / statistics.median(y[0] - x[0] for x, y in zip(ends, ends[1:])), tokens * (len(ends) - 1) / (ends[-1][1] - ends[0][1]))


def prepare(a, peer, shape):
    """A folder with model/ and prompts.jsonl, made once a shape."""
    directory = a.scratch / shape
    if (directory / "prompts.jsonl").exists():
        return directory
    sizes = SHAPES[shape]
    (directory / "model").mkdir(parents=True)
    print(f"GRPO {shape}: {peer('grpo_model', dir=str(directory / 'model'), sizes=sizes):,} parameters", file=sys.stderr, flush=True)
    rng = random.Random(0)
    (directory / "prompts.jsonl").write_text("".join(
        json.dumps({"prompt": "".join(rng.choices(PROMPT_CHARACTERS, k=sizes["prompt"]))}) + "\n" for _ in range(sizes["groups"] * (a.steps + LAST + 2))))
    return directory


def measure(a, peer, shape, precision):
    """{what: (r1's, TRL's) sampled tokens a second of whole steps}, and what r1 says of the machine."""
    directory, sizes = prepare(a, peer, shape), SHAPES[shape]
    tokens = sizes["groups"] * sizes["samples"] * sizes["tokens"]
    wanted = dict(groups=sizes["groups"], sampled=tokens, prompts=sizes["groups"] * sizes["prompt"])

    def checked(name, steps):
        if len(steps["work"]) != a.steps or len(steps["ends"]) != a.steps:
            raise RuntimeError(f"{name} trained {len(steps['work'])} of {a.steps} steps, {len(steps['ends'])} were seen")
        for i, work in enumerate(steps["work"]):
            if work != wanted:
                raise RuntimeError(f"not the same work: step {i} of {name} was {work}, not {wanted}")
        return rates(tokens, steps)

    ours = {}
    for staleness in (0, 1):
        steps, machine = r1_steps(a, directory, sizes, staleness, a.steps)
        ours[staleness] = checked("r1", steps)
    theirs = checked("TRL", peer("trl_steps", model=str(directory / "model"), prompts=str(directory / "prompts.jsonl"), sizes=sizes, kl=a.kl,
                                 steps=a.steps, precision=precision))
    kinds = ("", ", of CPU time") if a.device == "cpu" else ("",)
    return {f"GRPO {shape}, staleness {k}{of}": (ours[k][i], theirs[i]) for k in ours for i, of in enumerate(kinds)}, machine


def versions(names):
    """In the virtual environment: what of `names` is there, as "torch 2.9, ..."."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return ", ".join(found)
