#!/usr/bin/env python3
"""Measure decoding against the length of a shared prompt, sharing on and off, and plot it as SVG.

Each point is `coppice bench engine` in a process of its own: 32 requests with a prompt in common,
64 tokens of their own and 64 tokens of output.  The rate plotted is requests over the median step,
which a few disturbed steps do not move; the mean rate is in the JSON too.

Usage:
    bench_shared_prefix.py --coppice build/release/coppice --json OUT.json --svg OUT.svg
        [--prefixes 1024,2048,4096,8192,16384] [--shape 160m] [--priority 15,5]
    bench_shared_prefix.py --from OUT.json --svg OUT.svg     # the plot again, from earlier numbers
--priority ON,OFF: the measured process runs ON seconds with real-time priority, then OFF seconds without, in turn, for
a machine that is not idle and has other users.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time

from line_plot import COLOURS, line_plot

REQUESTS = 32
UNIQUE = 64
OUTPUT = 64


def set_priority(process, realtime):
    policy, level = (os.SCHED_FIFO, 20) if realtime else (os.SCHED_OTHER, 0)
    try:
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            os.sched_setscheduler(int(thread), policy, os.sched_param(level))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended


def run(command, priority):
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        begin = time.monotonic()
        while process.poll() is None:
            if priority:
                place = (time.monotonic() - begin) % sum(priority)
                set_priority(process, place < priority[0])
            time.sleep(0.25)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed")
        out.seek(0)
        lines = [line for line in out.read().splitlines() if line.startswith("{")]
    return json.loads(lines[-1])


def measure(options):
    priority = [float(x) for x in options.priority.split(",")] if options.priority else None
    points = []
    for prefix in (int(x) for x in options.prefixes.split(",")):
        for sharing in ("on", "off"):
            result = run(
                [options.coppice, "bench", "engine", "--device", "cpu", "--shape", options.shape,
                 "--requests", str(REQUESTS), "--shared-prefix", str(prefix), "--unique-prefix", str(UNIQUE),
                 "--output", str(OUTPUT), "--max-model-len", str(prefix + UNIQUE + OUTPUT + 16),
                 "--sharing", sharing, "--json"],
                priority)  # fmt: skip
            result.update(shared_prefix=prefix, sharing=sharing)
            result["decode_tokens_per_s_p50"] = REQUESTS / result["step_ms_p50"] * 1e3
            points.append(result)
            print(f"{prefix:6d} sharing {sharing:3s}: {result['decode_tokens_per_s_p50']:.0f} tokens/s by the median "
                  f"step, {result['decode_tokens_per_s']:.0f} mean, attention {result['attention_share']:.2f} "
                  f"of the time", flush=True)  # fmt: skip
            if options.json:  # what there is so far
                write_json(options, points)
    return {"shape": options.shape, "points": points}


def write_json(options, points):
    with open(options.json, "w") as file:
        json.dump({"shape": options.shape, "points": points}, file, indent=1)
        file.write("\n")


def plot(data):
    lines = []
    for sharing, colour in zip(("on", "off"), COLOURS):
        points = [(point["shared_prefix"], point["decode_tokens_per_s_p50"]) for point in data["points"]
                  if point["sharing"] == sharing]  # fmt: skip
        if points:
            lines.append((f"sharing {sharing}", colour, False, sorted(points)))
    title = f"Decoding {REQUESTS} requests, {data['shape']}"
    return line_plot(title, "shared prompt tokens", "tokens a second", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", default="build/release/coppice")
    parser.add_argument("--from", dest="earlier")
    parser.add_argument("--json")
    parser.add_argument("--svg")
    parser.add_argument("--shape", default="160m")
    parser.add_argument("--prefixes", default="1024,2048,4096,8192,16384")
    parser.add_argument("--priority", default="")
    options = parser.parse_args()
    if options.earlier:
        with open(options.earlier) as file:
            data = json.load(file)
    else:
        data = measure(options)
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(plot(data))


if __name__ == "__main__":
    main()
