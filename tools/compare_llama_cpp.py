#!/usr/bin/env python3
"""Compare Coppice with the user's own build of llama.cpp on the same GGUF files, the two programs in turn.

For each file: prefill of 512 tokens and decode of one request, in-process (`coppice bench engine`, `llama-bench`);
decode of 8 and of 32 requests and a service whose requests share a prefix, over HTTP with one load generator for both
servers (`coppice bench serve`, `coppice serve`, `llama-server`). Prints a markdown table of the medians and of the
ratio Coppice over llama.cpp with its least and greatest value over the repetitions; --json writes every figure.

Formats are those of the files: give one for each, bf16, Q8_0, Q4_0, Q4_K_M. Speculation is off, so that both programs
run the model for every token.

Usage:
    compare_llama_cpp.py --llama-bench PATH --llama-server PATH MODEL.gguf [MODEL.gguf …]
        [--coppice build/release/coppice] [--threads N] [--repeat 3] [--shared 2000] [--clients 16] [--only decode]
        [--json OUT.json]
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PROMPT = 512  # tokens of the prefill
DECODE = 64  # tokens of each answer
READY_SECONDS = 300  # for a server to load its model


def run_json(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def coppice_engine(options, model, *flags):
    command = [options.coppice, "bench", "engine", model, "--json", "--requests", "1", "--speculation", "off"]
    return run_json([*command, "--device", "cpu", *flags], team(options))


def team(options):
    return {**os.environ, "OMP_NUM_THREADS": str(options.threads)}


def llama_bench(options, model, prompt, output):
    command = [options.llama_bench, "-m", model, "-p", prompt, "-n", output, "-t", options.threads]
    return run_json([str(part) for part in [*command, "-r", 1, "-o", "json"]])[0]["avg_ts"]


def prefill(options, model):
    figures = coppice_engine(options, model, "--unique-prefix", str(PROMPT), "--output", "2")
    return figures["prefill_tokens_per_s"], llama_bench(options, model, PROMPT, 0)


def decode(options, model):
    figures = coppice_engine(options, model, "--unique-prefix", "8", "--output", str(DECODE))
    return figures["decode_tokens_per_s"], llama_bench(options, model, 0, DECODE)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(command, port, environment):
    """A server that answers /health; ended at the end."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=environment)
        try:
            wait_until_ready(process, port, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(process, port, log):
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return
        time.sleep(0.2)
    log.seek(0)
    raise SystemExit(f"{process.args[0]} is not ready: {log.read()[-2000:].decode(errors='replace')}")


def load(options, port, shared, unique, clients):
    """Tokens of output a second, over all clients."""
    synthetic = f"shared={shared},unique={unique},output={DECODE},groups=1"
    command = [options.coppice, "bench", "serve", "--url", f"http://127.0.0.1:{port}", "--model", "model", "--json"]
    command += ["--synthetic", synthetic, "--concurrency", str(clients), "--requests", str(clients)]
    figures = run_json([*command, "--timeout", "1800"])
    if figures["errors"] or figures["output_tokens"] == 0:
        raise SystemExit(f"not every request was answered: {json.dumps(figures)[:2000]}")
    return figures["output_tokens_per_s"]


def service(shared, unique, clients):
    """Measures a new server each, so that no cache is warm."""

    def measure(options, model):
        rates = []
        # A word of the synthetic prompts is at most three tokens of a small vocabulary.
        context = clients * (3 * (shared + unique) + DECODE + 64)
        for name in "coppice", "llama":
            port = free_port()
            if name == "coppice":
                command = [options.coppice, "serve", model, "--port", port, "--grpc-port", "-1"]
                command += ["--served-model-name", "model", "--device", "cpu", "--speculation", "off"]
            else:
                command = [options.llama_server, "-m", model, "--port", port, "-c", context, "-np", clients]
                command += ["-t", options.threads]
            with serving(command, port, team(options)):
                rates.append(load(options, port, shared, unique, clients))
        return tuple(rates)

    return measure


def measurements(options):
    rows = {
        f"prefill of {PROMPT}": prefill,
        "decode, 1 request": decode,
        "decode, 8 requests": service(0, 8, 8),
        "decode, 32 requests": service(0, 8, 32),
        f"{options.clients} requests sharing {options.shared} words": service(options.shared, 20, options.clients),
    }
    return {name: measure for name, measure in rows.items() if options.only in name}


def table(figures):
    lines = [
        "| model | measurement | Coppice, tokens/s | llama.cpp, tokens/s | ratio (least, greatest) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (model, name), pairs in figures.items():
        ours, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        ratios = sorted(pair[0] / pair[1] for pair in pairs)
        ratio = f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f}, {ratios[-1]:.2f})"
        lines.append(f"| {model} | {name} | {ours:.1f} | {theirs:.1f} | {ratio} |")
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL.gguf")
    parser.add_argument("--llama-bench", required=True, type=pathlib.Path)
    parser.add_argument("--llama-server", required=True, type=pathlib.Path)
    parser.add_argument("--coppice", default="build/release/coppice", type=pathlib.Path)
    parser.add_argument("--threads", default=os.cpu_count(), type=int)
    parser.add_argument("--repeat", default=3, type=int)
    parser.add_argument("--shared", default=2000, type=int, help="words that the last row's requests begin with")
    parser.add_argument("--clients", default=16, type=int, help="requests of the last row")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    for path in (options.coppice, options.llama_bench, options.llama_server, *options.models):
        if not path.exists():
            parser.error(f"{path} does not exist")
    return options


def main():
    options = parse_arguments()
    figures = {}
    for repetition in range(options.repeat):
        for model in options.models:
            for name, measure in measurements(options).items():
                pair = measure(options, model)
                figures.setdefault((model.name, name), []).append(pair)
                done = f"{repetition + 1}/{options.repeat} {model.name}, {name}"
                print(f"{done}: {pair[0]:.1f} {pair[1]:.1f}", file=sys.stderr)
    print(table(figures), end="")
    if options.json:
        rows = [
            {"model": model, "measurement": name, "coppice": ours, "llama_cpp": theirs}
            for (model, name), pairs in figures.items()
            for ours, theirs in [tuple(zip(*pairs))]
        ]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
