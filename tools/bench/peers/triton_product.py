#!/usr/bin/env python3
"""What exactness costs a product on a card, beside a batch-invariant one by Triton: r1's Linear, cuBLASLt's kernel of its own choice (as
r1-bench calls it), torch's matmul and a Triton kernel of fixed tiles, on the shapes of `r1-bench kernels --filter Linear --large`.

    tools/bench/peers/triton_product.py --device gpu:0                                 # a torch that finds the card, and triton
    TRITON_INTERPRET=1 tools/bench/peers/triton_product.py --device cpu --size small   # no card: the kernel's results alone, nothing is timed

The kernel is what is called batch invariant elsewhere: persistent programs, tiles of one size whatever the number of rows, one f32 accumulator an
element over the summed index from its beginning to its end, never split; bf16 in and out. Before a time is taken its result is compared with
torch's in f32, and its rows alone, in fewer and at other places with the same rows among all: their bits have to be equal. How torch's matmul does
in that is told and not asked. Times are of r1-bench's kind - issuing and waiting, the caches full of other data, the best of some -; torch and
Triton are issued by a CUDA graph, as Python would be timed otherwise. Exit code 0 when everything was right and all was measured.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import torch
import triton
import triton.language as tl

sys.dont_write_bytecode = True  # beside the sources
from bundled import program  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[3]
ROWS_TILE, OUT_TILE, STEP, TOGETHER = 128, 128, 64, 8
FEWER = (1, 2, 15, 16, 63, 64, 65, 127, 128, 129, 512, 1000)  # rows whose bits are looked at
TOLERANCE = 0.03  # of the value and of the root mean square: as r1-bench has it for bf16
TIMED_S, LEAST, MOST = 0.1, 3, 30
FLUSH_BYTES = 1 << 30
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # its tl.dot takes bf16 for integers


@triton.jit(do_not_specialize=["rows"])  # one binary, whatever the number of rows
def product_kernel(x, w, y, rows, outs, depth, x_row, w_row, y_row, ROWS_TILE: tl.constexpr, OUT_TILE: tl.constexpr, STEP: tl.constexpr,
                   TOGETHER: tl.constexpr, WIDE: tl.constexpr):
    down, across = tl.cdiv(rows, ROWS_TILE), tl.cdiv(outs, OUT_TILE)
    for tile in range(tl.program_id(0), down * across, tl.num_programs(0)):
        # Tiles that are worked on at a time share rows and weights in the second-level cache.
        group = tile // (TOGETHER * across) * TOGETHER
        height = min(down - group, TOGETHER)
        inside = tile % (TOGETHER * across)
        r = (group + inside % height) * ROWS_TILE + tl.arange(0, ROWS_TILE)
        o = inside // height * OUT_TILE + tl.arange(0, OUT_TILE)
        k = tl.arange(0, STEP)
        x_at = x + r[:, None].to(tl.int64) * x_row + k[None, :]
        w_at = w + o[None, :].to(tl.int64) * w_row + k[:, None]
        total = tl.zeros((ROWS_TILE, OUT_TILE), dtype=tl.float32)
        for first in range(0, depth, STEP):
            a = tl.load(x_at + first, mask=(r[:, None] < rows) & (first + k[None, :] < depth), other=0.0)
            b = tl.load(w_at + first, mask=(o[None, :] < outs) & (first + k[:, None] < depth), other=0.0)
            total = tl.dot(a.to(tl.float32), b.to(tl.float32), total) if WIDE else tl.dot(a, b, total)
        y_at = y + r[:, None].to(tl.int64) * y_row + o[None, :]
        tl.store(y_at, total.to(tl.bfloat16), mask=(r[:, None] < rows) & (o[None, :] < outs))


def programs(device):
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def product(x, w, y=None):
    """x [rows, in] times w [out, in], both bf16 with rows without gaps inside: [rows, out] bf16."""
    rows, outs = x.shape[0], w.shape[0]
    y = torch.empty((rows, outs), dtype=torch.bfloat16, device=x.device) if y is None else y
    tiles = triton.cdiv(rows, ROWS_TILE) * triton.cdiv(outs, OUT_TILE)
    grid = (min(programs(x.device), tiles),)
    product_kernel[grid](x, w, y, rows, outs, x.shape[1], x.stride(0), w.stride(0), y.stride(0), ROWS_TILE=ROWS_TILE, OUT_TILE=OUT_TILE, STEP=STEP,
                         TOGETHER=TOGETHER, WIDE=INTERPRETED, num_warps=8, num_stages=3)
    return y


def wrong(got, want):
    """What is not within the tolerance, in words; "" where all is."""
    got, want = got.float(), want.float()
    away = (got - want).abs() / (want.abs() + want.square().mean().sqrt())
    worst = away.max().item()
    return "" if worst <= TOLERANCE else f"away from torch's by {worst:.3g} of the value and the root mean square"  # NaN too


def other_bits(multiply, x, w):
    """Numbers of rows with which a row has other bits than among all, at the beginning or further on."""
    half = x.shape[1] // 2  # every sum is 0 but for what was rounded on its way, so that nothing hides behind the rounding to bf16
    x, w = torch.cat([x[:, :half]] * 2, 1), torch.cat([w[:, :half], -w[:, :half]], 1)
    whole, found = multiply(x, w), []
    for n in sorted({n for n in FEWER if n < x.shape[0]}):
        for first in {0, (x.shape[0] - n) // 2, x.shape[0] - n}:
            if not torch.equal(multiply(x[first:first + n], w).view(torch.int16), whole[first:first + n].view(torch.int16)):
                found.append(n)
                break
    return found


def timed(issue, device, flush):
    """Seconds."""
    issue()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        issue()
    best, total, n = None, 0.0, 0
    graph.replay()
    while n < LEAST or n < MOST and total < TIMED_S:
        flush.fill_(1)
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize(device)
        took = time.perf_counter() - begin
        best, total, n = took if best is None else min(best, took), total + took, n + 1
    return best


def r1_cases(a):
    """(what r1-bench says of the machine, its Linear cases)."""
    words = [*program(a.bin, "r1-bench"), "kernels", "--device", a.device, "--filter", "Linear", "--dtype", "bf16", "--json"]
    done = subprocess.run([*words, *([f"--{a.size}"] if a.size != "usual" else [])], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError("r1-bench: " + (done.stderr.strip() or done.stdout[-300:]))
    report = json.loads(done.stdout)
    return report["machine"] + "\n" + report["fingerprint"], [c for c in report["cases"] if "rows" in c]


def micro(seconds):
    return "-" if seconds is None else f"{1e6 * seconds:.1f}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", type=lambda s: pathlib.Path(s).resolve(), default=TOP / "build/release/bin")
    p.add_argument("--device", default="gpu:0", help="cpu, or a card as r1 names it")
    p.add_argument("--size", choices=["small", "usual", "large"], default="large", help="of r1-bench")
    a = p.parse_args()
    device = torch.device(a.device.replace("gpu", "cuda"))
    card = device.type == "cuda"
    if card == INTERPRETED:
        p.error("TRITON_INTERPRET=1 goes with --device cpu, and with no card")
    machine, cases = r1_cases(a)
    print(f"{machine}\ntorch {torch.__version__}, triton {triton.__version__}, tiles of {ROWS_TILE} x {OUT_TILE}, steps of {STEP}\n")
    torch.manual_seed(0)
    most = max(cases, key=lambda c: c["rows"])
    x = torch.randn(int(most["rows"]), int(most["in"])).to(torch.bfloat16).to(device)
    w = (torch.randn(int(most["out"]), int(most["in"])) * 0.05).to(torch.bfloat16).to(device)
    if bad := wrong(product(x, w), x.float() @ w.float().T):
        print(f"triton: {bad}")
        return 1
    if bad := other_bits(product, x, w):
        print(f"triton: other bits with {bad} rows than with {x.shape[0]}")
        return 1
    theirs = other_bits(lambda x, w: x @ w.T, x, w)
    print(f"triton: torch's result; a row's bits are the same in any number of rows\ntorch: "
          + (f"other bits with {', '.join(map(str, theirs))} rows than with {x.shape[0]}" if theirs else "the same bits in all that were tried") + "\n")
    flush = torch.empty(FLUSH_BYTES // 4, device=device) if card else None
    print("| product | r1, us | cuBLASLt, us | Triton, us | torch, us | r1 / Triton | r1 / torch |\n|---|---|---|---|---|---|---|")
    shares, complete = [], True
    for c in sorted(cases, key=lambda c: c["rows"]):
        rows = int(c["rows"])
        part, y = x[:rows].clone(), torch.empty(rows, w.shape[0], dtype=torch.bfloat16, device=device)
        ours, lt = c["measured_ns"] * 1e-9, c.get("cublaslt_ns")
        fixed = timed(lambda: product(part, w, y), device, flush) if card else None
        free = timed(lambda: torch.matmul(part, w.T, out=y), device, flush) if card else None
        complete = complete and c["verified"] and (not card or lt is not None)
        ratio = [f"{ours / t:.2f}" if t else "-" for t in (fixed, free)]
        shares.append(f"{rows}: {ratio[0]}")
        print(f"| {rows} x {w.shape[1]} x {w.shape[0]} | {micro(ours if card else None)} | {micro(lt and lt * 1e-9)} | {micro(fixed)} | {micro(free)} | "
              f"{' | '.join(ratio)} |")
    if not card:
        print("\nnothing was timed: there is no card")
        return 0
    print(f"\nr1's time as a share of Triton's, by rows: {', '.join(shares)}" + ("" if complete else "; not all was measured"))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
