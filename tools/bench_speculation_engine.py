#!/usr/bin/env python3
"""Measure what speculation gains in the engine, and that it never costs: the tables of docs/performance/speculation.md.

Two questions, each answered by `coppice bench engine` with --speculation on and off in turns, a process each:
  repeated   MODELs answer the same prompts twice, greedily; the second pass is measured: drafts come from the first
  fresh      random weights at temperature 1 never repeat themselves: drafts can only cost
The median of --repeats runs counts; on and off take turns, so that a machine that is not quiet treats them alike.

Usage:
    bench_speculation_engine.py --coppice build/release/coppice --json OUT.json [--table OUT.md] [--plot OUT.svg]
        [--model demo --model FOLDER …] [--shape 160m] [--batches 1,2,4,8] [--fresh-batches 1,8,32] [--repeats 3]
        [--output 200] [--before "chrt -f 20"] [--rest 1.0]
    bench_speculation_engine.py --from OUT.json --table OUT.md --plot OUT.svg
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import time

COLOURS = ["#1f6f4a", "#b5542c", "#3b5b92", "#8a6d1d"]


def run(command, before, rest):
    begin = time.monotonic()
    done = subprocess.run(before + command, capture_output=True, text=True)
    time.sleep((time.monotonic() - begin) * rest)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure_pair(options, arguments):
    """Medians of decode rates with speculation on and off, and of tokens a step with it on."""
    rates = {"on": [], "off": []}
    steps = []
    shares = []
    drafted = accepted = 0
    for _ in range(options.repeats):
        for mode in ("off", "on"):
            command = [options.coppice, "bench", "engine", *arguments, "--speculation", mode, "--json"]
            result = run(command, shlex.split(options.before), options.rest)
            rates[mode].append(result["decode_tokens_per_s"])
            if mode == "on":
                steps.append(result["accepted_per_step"])
                shares.append(result["speculation_share"])
                drafted += result["draft_tokens"]
                accepted += result["accepted_tokens"]
    on, off = statistics.median(rates["on"]), statistics.median(rates["off"])
    return {
        "on": on,
        "off": off,
        "speedup": on / off,
        "tokens_per_step": statistics.median(steps),
        "speculation_share": statistics.median(shares),
        "accepted_of_drafted": [accepted, drafted],
        "runs": rates,
    }


def measure(options):
    rows = []
    for model in options.model or ["demo"]:
        for batch in map(int, options.batches.split(",")):
            arguments = [model, "--requests", str(batch), "--unique-prefix", "32", "--output", str(options.output)]
            row = measure_pair(options, [*arguments, "--repeat", "2", "--device", "cpu"])
            rows.append({"kind": "repeated", "model": pathlib.Path(model).name, "batch": batch, **row})
            print(json.dumps({key: rows[-1][key] for key in ("model", "batch", "speedup", "tokens_per_step")}))
    for batch in map(int, options.fresh_batches.split(",")):
        arguments = ["--shape", options.shape, "--requests", str(batch), "--unique-prefix", "32", "--output", "64"]
        row = measure_pair(options, [*arguments, "--temperature", "1", "--device", "cpu"])
        rows.append({"kind": "fresh", "model": options.shape, "batch": batch, **row})
        print(json.dumps({key: rows[-1][key] for key in ("model", "batch", "speedup", "tokens_per_step")}))
    return {"command": options.command, "date": time.strftime("%Y-%m-%d"), "rows": rows}


def table(results):
    lines = [
        "| output | model | batch | off, tokens/s | on, tokens/s | on / off | tokens a step | accepted of drafted "
        "| share of the time spent on speculation |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["rows"]:
        lines.append(
            f"| {row['kind']} | {row['model']} | {row['batch']} | {row['off']:.0f} | {row['on']:.0f} "
            f"| {row['speedup']:.2f} | {row['tokens_per_step']:.2f} | {row['accepted_of_drafted'][0]} of "
            f"{row['accepted_of_drafted'][1]} | {100 * row['speculation_share']:.2f} % |"
        )
    return "\n".join(lines) + "\n"


def plot(results):
    """Speedup against batch size, a line a model, as SVG text."""
    width, height, left, top = 640, 360, 60, 30
    repeated = [row for row in results["rows"] if row["kind"] == "repeated"]
    batches = sorted({row["batch"] for row in repeated})
    most = max([row["speedup"] for row in repeated] + [1]) * 1.1

    def x(batch):
        return left + (width - left - 20) * (batches.index(batch) + 0.5) / len(batches)

    def y(speedup):
        return height - 50 - (height - 50 - top) * speedup / most

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18" font-size="14">Decode throughput with speculation over without, second pass</text>',
    ]
    step = max(1, round(most / 6))
    for value in range(0, int(most) + 1, step):
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for batch in batches:
        out.append(f'<text x="{x(batch):.1f}" y="{height - 30}" text-anchor="middle">{batch}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">batch</text>')
    for index, model in enumerate(sorted({row["model"] for row in repeated})):
        colour = COLOURS[index % len(COLOURS)]
        rows = sorted((row for row in repeated if row["model"] == model), key=lambda row: row["batch"])
        points = " ".join(f"{x(row['batch']):.1f},{y(row['speedup']):.1f}" for row in rows)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for row in rows:
            out.append(f'<circle cx="{x(row["batch"]):.1f}" cy="{y(row["speedup"]):.1f}" r="3" fill="{colour}"/>')
        out.append(f'<text x="{width - 150}" y="{top + 16 * index + 10}" fill="{colour}">{model}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--coppice", default="build/release/coppice")
    parser.add_argument("--json")
    parser.add_argument("--table")
    parser.add_argument("--plot")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--model", action="append")
    parser.add_argument("--shape", default="160m")
    parser.add_argument("--batches", default="1,2,4,8")
    parser.add_argument("--fresh-batches", default="1,8,32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=int, default=200)
    parser.add_argument("--before", default="")
    parser.add_argument("--rest", type=float, default=0.0)
    options = parser.parse_args()
    options.command = "tools/bench_speculation_engine.py"
    results = json.loads(pathlib.Path(options.source).read_text()) if options.source else measure(options)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    if options.table:
        pathlib.Path(options.table).write_text(table(results))
    if options.plot:
        pathlib.Path(options.plot).write_text(plot(results))


if __name__ == "__main__":
    main()
