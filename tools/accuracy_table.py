#!/usr/bin/env python3
"""Measure what element types cost in accuracy: the perplexity of a text under each model in each of them.

Runs `coppice inspect MODEL --perplexity TEXT --json` for every model and type and prints a markdown table of the
perplexities and of their ratios to bf16 (above 1: worse than bf16). A type that the device has not at full speed, or
that the program does not know, is a dash, with the reason on stderr.

Usage:
    accuracy_table.py --text FILE --model demo [--model FOLDER …] [--coppice build/release/coppice]
        [--dtypes f32,bf16] [--quants none,int8] [--window 512] [--device cpu] [--json OUT.json]
"""

import argparse
import json
import pathlib
import subprocess
import sys

BASE = ("bf16", "none")


def measure(options, model, dtype, quant):
    """The figures of one run; None when it is refused."""
    command = [options.coppice, "inspect", model, "--perplexity", options.text, "--json", "--dtype", dtype]
    command += ["--quant", quant]
    command += ["--device", options.device] if options.device else []
    command += ["--window", str(options.window)] if options.window else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 2:
        print(f"{model}, {name_of(dtype, quant)}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def name_of(dtype, quant):
    return dtype if quant == "none" else f"{quant} ({dtype})"


def table(rows, kinds):
    """A line a model: perplexity, and in brackets its ratio to bf16."""
    lines = [
        "| model | tokens | " + " | ".join(name_of(*kind) for kind in kinds) + " |",
        "| --- |" + " --- |" * (len(kinds) + 1),
    ]
    for model, figures in rows.items():
        base = figures.get(BASE)
        known = [figure for figure in figures.values() if figure]
        cells = [pathlib.Path(model).name, str(known[0]["tokens"]) if known else "–"]
        for kind in kinds:
            figure = figures[kind]
            if figure is None:
                cells.append("–")
            elif base is None or kind == BASE:
                cells.append(f"{figure['perplexity']:.4f}")
            else:
                cells.append(f"{figure['perplexity']:.4f} ({figure['perplexity'] / base['perplexity']:.5f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--coppice", default="build/release/coppice")
    parser.add_argument("--text", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--quants", default="none")
    parser.add_argument("--window", type=int, default=0)
    parser.add_argument("--device", default="")
    parser.add_argument("--json")
    options = parser.parse_args()
    kinds = [(dtype, quant) for quant in options.quants.split(",") for dtype in options.dtypes.split(",")]
    rows = {model: {kind: measure(options, model, *kind) for kind in kinds} for model in options.model}
    print(table(rows, kinds), end="")
    if options.json:
        plain = [
            {"model": model, "dtype": dtype, "quant": quant, **(figure or {"refused": True})}
            for model, figures in rows.items()
            for (dtype, quant), figure in figures.items()
        ]
        pathlib.Path(options.json).write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main()
