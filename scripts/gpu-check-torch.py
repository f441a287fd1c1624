#!/usr/bin/env python3
"""PyTorch's scaled_dot_product_attention on the shapes of `coppice bench attention`, for scripts/gpu-check.

Every leaf of a tree is a decoding sequence of the same length, so a batch is dense: one query token a sequence, keys
and values of its own, nothing shared, nothing padded.  Timed as our own: calls one after the other over several copies
of K and V, together larger than 256 MiB, so that no call finds its keys in the L2 cache; captured in a CUDA graph where
that works; the quickest of the repetitions.

Each back end is tried with query heads as they are and enable_gqa ("gqa"), with the query heads of a key head as query
rows, which reads keys once ("grouped"), and with K and V repeated to all heads where that fits memory ("expanded"; the
repeating itself is not timed).  The quickest counts and is named.  Prints a JSON object a setting, on a line each.

Usage: torch_attention.py --tree "256_256 1_1024" --heads "16/2" [--dim 128] [--dtype f16] [--backends flash,cudnn]
       [--seconds 0.1] [--budget 60]
"""

import argparse
import json
import time

COLD_BYTES = 256 << 20
CALLS = 16  # in a graph


def sizes_of(tree):
    nodes, tokens = ([int(x) for x in part.split(",")] for part in tree.split("_"))
    return nodes[-1], sum(tokens)


class Shape:
    """Queries and several copies of K and V of one setting, on the GPU."""

    def __init__(self, torch, tree, heads, dim, dtype):
        self.torch = torch
        self.batch, self.length = sizes_of(tree)
        self.query_heads, self.key_heads = (int(x) for x in heads.split("/"))
        self.dim = dim
        self.dtype = dtype
        self.bytes = 2 * self.batch * self.length * self.key_heads * dim * 2
        torch.cuda.empty_cache()
        self.free = torch.cuda.mem_get_info()[0]

    def fits(self):
        return self.bytes < self.free * 0.85

    def make(self):
        torch = self.torch
        copies = max(1, min(COLD_BYTES // self.bytes + 1, int(self.free * 0.85) // self.bytes, 64))
        shape = (self.batch, self.length, self.key_heads, self.dim)

        def random():
            values = torch.empty(shape, device="cuda", dtype=self.dtype)
            return values.normal_().transpose(1, 2)  # [batch, heads, length, dim], a token's heads together in memory

        self.keys = [(random(), random()) for _ in range(copies)]
        self.query = torch.empty((self.batch, self.query_heads, 1, self.dim), device="cuda", dtype=self.dtype).normal_()

    def variants(self):
        """Name, query, list of (K, V), further arguments."""
        group = self.query_heads // self.key_heads
        if group == 1:
            yield "plain", self.query, self.keys, {}
            return
        yield "gqa", self.query, self.keys, {"enable_gqa": True}
        rows = self.query.view(self.batch, self.key_heads, group, self.dim)
        yield "grouped", rows, self.keys, {}
        if self.bytes * (group + 1) * len(self.keys) < self.free * 0.8:
            expanded = [tuple(x.repeat_interleave(group, dim=1) for x in pair) for pair in self.keys]
            yield "expanded", self.query, expanded, {}


def time_calls(torch, call, copies, seconds):
    """Microseconds of one call; `call(i)` works on copy i."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for i in range(min(copies, 3)):
            call(i)
    stream.synchronize()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    how = "graph"
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(CALLS):
                call(i % copies)
        play = graph.replay
    except Exception:  # a back end that cannot be captured
        how = "eager"
        torch.cuda.synchronize()

        def play():
            for i in range(CALLS):
                call(i % copies)

    play()
    torch.cuda.synchronize()
    best = float("inf")
    until = time.monotonic() + seconds
    rounds = 0
    while rounds < 3 or time.monotonic() < until:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        play()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) * 1e3 / CALLS)
        rounds += 1
    return best, how


def measure_backend(torch, shape, backend, seconds):
    from torch.nn.attention import sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    found = {}
    errors = {}
    for name, query, keys, more in shape.variants():
        try:
            with sdpa_kernel([backend]), torch.inference_mode():
                us, how = time_calls(
                    torch,
                    lambda i, query=query, keys=keys, more=more: scaled_dot_product_attention(query, *keys[i], **more),
                    len(keys), seconds)  # fmt: skip
            found[name] = (us, how)
        except Exception as error:  # not every back end takes every form
            errors[name] = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            torch.cuda.synchronize()
        del query, keys
    if not found:
        return {"error": errors}
    best = min(found, key=lambda name: found[name][0])
    return {"us": found[best][0], "form": best, "timed": found[best][1],
            "forms": {name: us for name, (us, _) in found.items()}}  # fmt: skip


def measure(torch, tree, heads, options):
    from torch.nn.attention import SDPBackend

    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
    shape = Shape(torch, tree, heads, options.dim, torch.float16 if options.dtype == "f16" else torch.bfloat16)
    report = {"tree": tree, "heads": heads, "head_dim": options.dim, "kv_dtype": options.dtype,
              "torch": torch.__version__, "batch": shape.batch, "length": shape.length}  # fmt: skip
    if not shape.fits():
        return report | {"left_out": f"KV of {shape.bytes / 2**30:.1f} GiB, {shape.free / 2**30:.1f} free"}
    shape.make()
    for name in options.backends.split(","):
        report[name] = measure_backend(torch, shape, backends[name], options.seconds)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", required=True, help="trees with blanks between")
    parser.add_argument("--heads", default="32/8", help="query heads / key heads, with blanks between")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16"])
    parser.add_argument("--backends", default="flash,cudnn")
    parser.add_argument("--seconds", type=float, default=0.05, help="how long to repeat each form")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds; settings after that are left out")
    options = parser.parse_args()
    begin = time.monotonic()
    import torch

    for heads in options.heads.split():
        for tree in options.tree.split():
            if time.monotonic() - begin > options.budget:
                report = {"tree": tree, "heads": heads, "left_out": f"the {options.budget:g} s are over"}
            else:
                try:
                    report = measure(torch, tree, heads, options)
                except Exception as error:  # out of memory, mostly; the others go on
                    lines = str(error).strip().splitlines() or [type(error).__name__]
                    report = {"tree": tree, "heads": heads, "left_out": lines[0][:200]}
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
