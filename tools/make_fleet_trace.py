#!/usr/bin/env python3
"""A trace of requests of several kinds, each kind with its own long beginning, for tools/bench_fleet.py.

    make_fleet_trace.py OUT.jsonl [--kinds 12] [--requests 60] [--seconds 24] [--words 200] [--seed 1]

A kind is drawn for each request, and times are those of a Poisson process. The lines are what `coppice bench serve
--trace` reads as sessions with text; each request is a session of its own.
"""

import argparse
import json
import pathlib
import random

WORDS = "red blue green cat dog sun moon tree house river stone bird cloud road light gate".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--kinds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=24)
    parser.add_argument("--words", type=int, default=200, help="in the beginning of a kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    beginnings = [f"Kind {kind}: " + " ".join(draw.choices(WORDS, k=options.words)) for kind in range(options.kinds)]
    at, lines = 0.0, []
    for number in range(options.requests):
        at += draw.expovariate(options.requests / options.seconds)
        text = f"{draw.choice(beginnings)}. Request {number}: " + " ".join(draw.choices(WORDS, k=10))
        lines.append(json.dumps({"timestamp": int(at * 1e6), "input": text, "output": "a short answer of a few words",
                                 "session_id": str(number)}))
    pathlib.Path(options.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
