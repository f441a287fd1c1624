#!/usr/bin/env python3
"""Measure decoding against the number of requests for several weight formats, beside the machine's bound; plot it.

Each point is the median of --repeats runs of `coppice bench engine --speculation off`, a process each; formats take
turns. The bound of a point is that of its run: weights and KV cache over the read bandwidth, or the products over the
peak of their arithmetic, whichever is more, both measured by that process.

Usage:
    bench_batch_sizes.py --coppice build/release/coppice --json OUT.json --svg OUT.svg [--shape 160m]
        [--quants none,int8,int4] [--batches 1,2,4,8,16,32,64] [--repeats 3] [--output 64] [--before "chrt -f 20"]
    bench_batch_sizes.py --from OUT.json --svg OUT.svg     # the plot and the table again, from earlier numbers
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess

from line_plot import COLOURS, line_plot


def run(options, quant, batch):
    command = [options.coppice, "bench", "engine", "--device", "cpu", "--shape", options.shape, "--quant", quant]
    command += ["--requests", str(batch), "--unique-prefix", "32", "--output", str(options.output)]
    command += ["--prefix-cache", "off", "--speculation", "off", "--json"]
    done = subprocess.run(shlex.split(options.before) + command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(options):
    points = []
    quants = options.quants.split(",")
    for batch in (int(word) for word in options.batches.split(",")):
        runs = {quant: [] for quant in quants}
        for _ in range(options.repeats):
            for quant in quants:
                runs[quant].append(run(options, quant, batch))
        for quant in quants:
            rates = [result["decode_tokens_per_s"] for result in runs[quant]]
            shares = [result["roofline"] for result in runs[quant]]
            bounds = [rate / share for rate, share in zip(rates, shares)]
            points.append({
                "quant": quant, "batch": batch, "decode_tokens_per_s": rates, "share_of_bound": shares,
                "bound_tokens_per_s": bounds, "machine": [result["machine"] for result in runs[quant]],
            })  # fmt: skip
            rate, share = statistics.median(rates), statistics.median(shares)
            print(f"{quant} {batch}: {rate:.0f} tokens/s, {share:.2f} of the bound", flush=True)
    return {"shape": options.shape, "output": options.output, "points": points}


def plot(data):
    lines = []
    for quant, colour in zip(dict.fromkeys(point["quant"] for point in data["points"]), COLOURS):
        name = "bf16" if quant == "none" else quant
        for key, dashed in ("decode_tokens_per_s", False), ("bound_tokens_per_s", True):
            own = [point for point in data["points"] if point["quant"] == quant]
            line = [(point["batch"], statistics.median(point[key])) for point in own]
            lines.append((f"{name} bound" if dashed else name, colour, dashed, line))
    return line_plot(f"Decoding, shape {data['shape']}", "requests", "tokens a second", lines)


def table(data):
    quants = list(dict.fromkeys(point["quant"] for point in data["points"]))
    names = ["bf16" if quant == "none" else f"`{quant}`" for quant in quants]
    lines = ["| requests | " + " | ".join(f"{name}, tokens/s | of its bound" for name in names) + " |"]
    lines.append("| --- |" + " --- | --- |" * len(quants))
    for batch in dict.fromkeys(point["batch"] for point in data["points"]):
        row = f"| {batch} |"
        for quant in quants:
            point = next(p for p in data["points"] if p["batch"] == batch and p["quant"] == quant)
            row += f" {statistics.median(point['decode_tokens_per_s']):,.0f} |"
            row += f" {statistics.median(point['share_of_bound']):.2f} |"
        lines.append(row)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", default="build/release/coppice")
    parser.add_argument("--from", dest="earlier", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    parser.add_argument("--shape", default="160m")
    parser.add_argument("--quants", default="none,int8,int4")
    parser.add_argument("--batches", default="1,2,4,8,16,32,64")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--before", default="")
    options = parser.parse_args()
    data = json.loads(options.earlier.read_text()) if options.earlier else measure(options)
    if options.json and not options.earlier:
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    print(table(data))
    if options.svg:
        options.svg.write_text(plot(data))


if __name__ == "__main__":
    main()
