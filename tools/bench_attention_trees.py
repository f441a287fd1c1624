#!/usr/bin/env python3
"""Measure attention over the trees of the PAT benchmark and write the table of docs/performance/attention.md.

Its twenty trees are in attention_trees.txt; each is measured with the benchmark's four head settings. Each tree and
head setting is measured in a process of its own, --repeats times; the quickest shared and the quickest unshared run
of all repeats count, because other work on a machine only ever makes a run slower. Before and after, `coppice bench
machine` measures what the machine can do.

The bound of a tree is the larger of two times: its multiply-adds at the machine's peak, and its K, V, Q and output once
at the machine's read bandwidth.

Trees whose KV cache is larger than --kv-gib are left out, and the table says so.

Usage:
    bench_attention_trees.py --coppice build/release/coppice --json OUT.json [--table OUT.md] [--seconds 0.5]
        [--repeats 2] [--kv-gib 5] [--before "chrt -f 20"] [--rest 1.0] [--only SUBSTRING] [--heads 32/8]
    bench_attention_trees.py --from OUT.json --table OUT.md     # the table again, from earlier numbers
--before is put in front of every measured command (a real-time priority, on a machine that is not idle); --rest
sleeps that many times as long as the command took, so that others get their share.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import time

TREES_FILE = pathlib.Path(__file__).with_name("attention_trees.txt")
TREES = [line for line in TREES_FILE.read_text().split("\n") if line and not line.startswith("#")]
HEADS = ["32/32", "16/8", "32/8", "64/8"]
HEAD_DIM = 128
BYTES_PER_NUMBER = 2  # bf16
KV_SPARE = 1.1  # pages that are not full


def kv_gib(tree, heads):
    nodes, tokens = ([int(x) for x in part.split(",")] for part in tree.split("_"))
    unique = sum(n * t for n, t in zip(nodes, tokens))
    return unique * int(heads.split("/")[1]) * HEAD_DIM * 2 * BYTES_PER_NUMBER * KV_SPARE / 2**30


def run(command, before, rest):
    begin = time.monotonic()
    done = subprocess.run(before + command, capture_output=True, text=True)
    time.sleep((time.monotonic() - begin) * rest)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def better(machine, other):
    """Of two measurements of the machine, the better of each figure."""
    return {key: max(machine[key], value) if isinstance(value, (int, float)) else value for key, value in other.items()}


def measure(options):
    before = shlex.split(options.before)
    machine_command = [options.coppice, "bench", "machine", "--json"]
    machine = run(machine_command, before, options.rest)
    rows = []
    for heads in [options.heads] if options.heads else HEADS:
        for tree in TREES:
            if options.only and options.only not in tree:
                continue
            size = kv_gib(tree, heads)
            if size > options.kv_gib:
                rows.append({"tree": tree, "heads": heads, "left_out": f"KV of {size:.1f} GiB"})
                continue
            row = None
            for _ in range(options.repeats):
                result = run(
                    [options.coppice, "bench", "attention", "--device", "cpu", "--tree", tree, "--heads", heads,
                     "--dim", str(HEAD_DIM), "--seconds", str(options.seconds), "--json"],
                    before, options.rest)  # fmt: skip
                if row is None:
                    row = result
                for key in ("us", "us_unshared", "us_plan", "us_plan_update"):
                    row[key] = min(row[key], result[key])
                row["max_rel_error"] = max(row["max_rel_error"], result["max_rel_error"])
            row.update(tree=tree, heads=heads)
            rows.append(row)
            print(f"{heads:6s} {tree:45s} shared {row['us']:9.0f} us, unshared {row['us_unshared']:9.0f} us, "
                  f"ratio {row['us_unshared'] / row['us']:.3f}", flush=True)  # fmt: skip
        machine = better(machine, run(machine_command, before, options.rest))
    return {"machine": machine, "seconds": options.seconds, "repeats": options.repeats, "rows": rows}


def table(data):
    machine = data["machine"]
    peak = machine["bf16_gflops"]
    read = machine["read_gb_per_s"]
    lines = [
        f"Machine: {machine['cores']} cores, {machine['isa']}, at most {peak:.0f} GFLOP/s and {read:.0f} GB/s.",
        "",
        "| tree | heads | shared, us | unshared, us | unshared / shared | keys read, unshared / shared | plan, us "
        "| update, us | error | GFLOP/s | GB/s | bound / shared |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in data["rows"]:
        if "left_out" in row:
            lines.append(f"| `{row['tree']}` | {row['heads']} | left out: {row['left_out']} ||||||||||")
            continue
        query_heads = int(row["heads"].split("/")[0])
        flops = 4.0 * row["keys_attended"] * query_heads * HEAD_DIM
        bound_us = max(flops / peak, row["bytes_min"] / read) / 1e3
        lines.append(
            f"| `{row['tree']}` | {row['heads']} | {row['us']:,.0f} | {row['us_unshared']:,.0f} "
            f"| {row['us_unshared'] / row['us']:.2f} | {row['keys_read_unshared'] / row['keys_read']:.1f} "
            f"| {row['us_plan']:.0f} | {row['us_plan_update']:.1f} | {row['max_rel_error']:.1e} "
            f"| {flops / row['us'] / 1e3:.0f} | {row['bytes_min'] / row['us'] / 1e3:.1f} "
            f"| {bound_us / row['us']:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", default="build/release/coppice")
    parser.add_argument("--from", dest="earlier")
    parser.add_argument("--json")
    parser.add_argument("--table")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kv-gib", type=float, default=5.0)
    parser.add_argument("--before", default="")
    parser.add_argument("--rest", type=float, default=0.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--heads", default="", choices=["", *HEADS])
    options = parser.parse_args()
    if options.earlier:
        with open(options.earlier) as file:
            data = json.load(file)
    else:
        data = measure(options)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(data, file, indent=1)
            file.write("\n")
    if options.table:
        with open(options.table, "w") as file:
            file.write(table(data))
    else:
        print(table(data))


if __name__ == "__main__":
    main()
