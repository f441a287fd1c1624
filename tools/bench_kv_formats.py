#!/usr/bin/env python3
"""Decoding of the same requests with two formats of the KV cache, in turn.

Both engines (`coppice bench engine --kv-dtype F`) are alive at once; one runs while the other is stopped, for --slice
seconds each, so that both see the same machine. The decode steps between two stops are a slice; a slice's time is the
median of its steps, without the one that was interrupted.

Usage:
    bench_kv_formats.py --coppice build/release/coppice [--shape 160m] [--formats bf16,int8] [--requests 8]
        [--context 4096] [--output 900] [--slice 2] [--before "chrt -f 20"]
"""

import argparse
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile


def start(options, name, log):
    command = [options.coppice, "bench", "engine", "--device", "cpu", "--shape", options.shape, "--kv-dtype", name]
    command += ["--requests", str(options.requests), "--unique-prefix", str(options.context)]
    command += ["--output", str(options.output), "--max-model-len", str(options.context + options.output + 1)]
    command += ["--prefix-cache", "off", "--speculation", "off", "--step-log", str(log), "--json"]
    process = subprocess.Popen(shlex.split(options.before) + command, stdout=subprocess.DEVNULL)
    os.kill(process.pid, signal.SIGSTOP)
    return process


def take_turns(processes, seconds):
    while any(process.poll() is None for process in processes):
        for process in processes:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGSTOP)


def slices_of(log, requests, seconds):
    """Milliseconds of the steps that decode all requests and nothing else, by slice."""
    slices = [[]]
    for line in log.read_text().splitlines()[1:]:
        fields = line.split("\t")
        spent = float(fields[-1])
        if spent > 900 * seconds:
            slices.append([])
        elif int(fields[1]) == requests:
            slices[-1].append(spent)
    return [steps for steps in slices if len(steps) > 5]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--shape", default="160m")
    parser.add_argument("--formats", default="bf16,int8")
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--output", type=int, default=900)
    parser.add_argument("--slice", type=float, default=2)
    parser.add_argument("--before", default="")
    options = parser.parse_args()
    names = options.formats.split(",")
    with tempfile.TemporaryDirectory() as folder:
        logs = [pathlib.Path(folder) / name for name in names]
        processes = [start(options, name, log) for name, log in zip(names, logs)]
        try:
            take_turns(processes, options.slice)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        for name, log, process in zip(names, logs, processes):
            if process.returncode != 0:
                sys.exit(f"{name}: the engine ended with {process.returncode}")
            times = [statistics.median(steps) for steps in slices_of(log, options.requests, options.slice)]
            if not times:
                sys.exit(f"{name}: no turn had six steps that decode all requests; ask for more --output")
            rates = [1000 * options.requests / time for time in times]
            print(f"{name}: {len(times)} slices; a step {statistics.median(times):.2f} ms "
                  f"({min(times):.2f}-{max(times):.2f}); {statistics.median(rates):.1f} tokens/s")  # fmt: skip


if __name__ == "__main__":
    main()
