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
import math
import os
import subprocess
import tempfile
import time

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


def nice_step(most, count=5):
    raw = most / count
    power = 10 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw)


def plot(data):
    width, height, left, right, top, bottom = 640, 400, 64, 110, 40, 52
    prefixes = sorted({point["shared_prefix"] for point in data["points"]})
    rates = [point["decode_tokens_per_s_p50"] for point in data["points"]]
    step = nice_step(max(rates))
    most = math.ceil(max(rates) / step) * step
    span = max(1e-9, math.log2(prefixes[-1]) - math.log2(prefixes[0]))

    def x(prefix):
        return left + (math.log2(prefix) - math.log2(prefixes[0])) / span * (width - left - right)

    def y(rate):
        return height - bottom - rate / most * (height - top - bottom)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="14">Decoding {REQUESTS} requests, {data["shape"]}</text>',
    ]
    rate = 0
    while rate <= most:
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:g}</text>')
        rate += step
    for prefix in prefixes:
        out.append(f'<text x="{x(prefix):.1f}" y="{height - bottom + 18}" text-anchor="middle">{prefix:,}</text>')
    middle = (left + width - right) / 2
    out.append(f'<text x="{middle}" y="{height - 12}" text-anchor="middle">shared prompt tokens</text>')
    out.append(f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">tokens a second</text>')
    for sharing, colour in (("on", "#1668b0"), ("off", "#c0492b")):
        line = [(point["shared_prefix"], point["decode_tokens_per_s_p50"]) for point in data["points"]
                if point["sharing"] == sharing]  # fmt: skip
        if not line:
            continue
        path = " ".join(f"{x(prefix):.1f},{y(rate):.1f}" for prefix, rate in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for prefix, rate in line:
            out.append(f'<circle cx="{x(prefix):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>')
        prefix, rate = line[-1]
        out.append(f'<text x="{x(prefix) + 8:.1f}" y="{y(rate) + 4:.1f}" fill="{colour}">sharing {sharing}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


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
