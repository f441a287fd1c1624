#!/usr/bin/env python3
"""One trace against one server and against scripts/fleet with several policies, as JSON and as a Markdown table.

    bench_fleet.py --coppice build/release/coppice --trace FOLDER --json OUT.json [--policies round_robin,cache_aware]
        [--repeats 3] [-- FLAGS OF coppice bench serve]
    bench_fleet.py --from OUT.json     # the table again

The one server is a fleet of one: the router stands before it too, so that all runs have the same way to go.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
START_SECONDS = 150
KEPT = ["requests", "errors", "wall_s", "ttft_ms_p50", "ttft_ms_p99", "inter_token_ms_p50", "prompt_tokens",
        "cached_tokens", "output_tokens", "send_late_ms_p99", "slo", "goodput_requests_per_s", "goodput_share"]


def metric(url, name):
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def measure(options, replicas, policy):
    command = [sys.executable, ROOT / "scripts" / "fleet", options.model, "--coppice", options.coppice, "--port", "0",
               "--every", "3600", "--replicas", replicas, "--policy", policy, "--", "--kv-memory", options.kv_memory,
               *options.serve_flag]
    fleet = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, text=True)
    giving_up = threading.Timer(START_SECONDS, fleet.terminate)
    giving_up.start()
    try:
        urls, router = {}, None
        for line in fleet.stdout:
            if found := re.match(r"replica (\d+): (http://\S+)", line):
                urls[found[1]] = found[2]
            if found := re.match(r"router: (http://\S+)", line):
                router = found[1]
                break
        if router is None:
            raise SystemExit(f"the fleet did not start: {command}")
        giving_up.cancel()
        time.sleep(2)  # for the router to have read the first events
        load = ["bench", "serve", "--url", router, "--model", pathlib.Path(options.model).name, "--trace",
                options.trace, "--json"]
        done = subprocess.run([options.coppice, *load, *options.flags], stdout=subprocess.PIPE, check=True, text=True)
        report = json.loads(done.stdout)
        result = {"replicas": replicas, "policy": policy, **{name: report[name] for name in KEPT if name in report}}
        result["requests_of_each"] = [metric(url, "vllm:request_success_total") for url in urls.values()]
        result["load_average"] = os.getloadavg()[0]
        return result
    finally:
        giving_up.cancel()
        fleet.send_signal(signal.SIGINT)
        fleet.communicate()


def table(report):
    rows = ["| servers | policy | runs | cache hit | requests of each, first run | TTFT p50 | p99 | goodput | share "
            "| failed | load |", "| " + "--- | " * 11]
    groups = {}
    for run in report["runs"]:
        groups.setdefault((run["replicas"], run["policy"]), []).append(run)
    for (replicas, policy), runs in groups.items():

        def middle(value, runs=runs):
            return statistics.median(value(run) for run in runs)

        hit = 100 * middle(lambda run: run["cached_tokens"] / max(1, run["prompt_tokens"]))
        each = ", ".join(f"{count:.0f}" for count in runs[0]["requests_of_each"])
        rows.append(f"| {replicas} | {policy} | {len(runs)} | {hit:.1f} % | {each} | "
                    f"{middle(lambda run: run['ttft_ms_p50']):.0f} ms | "
                    f"{middle(lambda run: run['ttft_ms_p99']):.0f} ms | "
                    f"{middle(lambda run: run['goodput_requests_per_s']):.2f}/s | "
                    f"{100 * middle(lambda run: run['goodput_share']):.1f} % | {sum(run['errors'] for run in runs)} | "
                    f"{middle(lambda run: run['load_average']):.1f} |")
    return "\n".join(row.rstrip() for row in rows)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it has started is ended
    arguments, flags = sys.argv[1:], []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, flags = arguments[:place], arguments[place + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", default=str(ROOT / "build" / "release" / "coppice"))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--trace")
    parser.add_argument("--kv-memory", default="64MiB")
    parser.add_argument("--serve-flag", action="append", default=[], help="one more argument for each server")
    parser.add_argument("--repeats", type=int, default=1, help="of all runs; the table has the medians")
    parser.add_argument("--policies", default="round_robin,cache_aware,kv_aware")
    parser.add_argument("--json")
    parser.add_argument("--from", dest="earlier")
    options = parser.parse_args(arguments)
    options.flags = flags
    if options.earlier:
        print(table(json.loads(pathlib.Path(options.earlier).read_text())))
        return
    report = {"trace": pathlib.Path(options.trace).name, "model": pathlib.Path(options.model).name,
              "kv_memory": options.kv_memory, "serve_flags": options.serve_flag,
              "flags": flags, "cores": os.cpu_count(), "runs": []}
    fleets = [(1, "round_robin"), *[(2, policy) for policy in options.policies.split(",")]]
    for replicas, policy in fleets * options.repeats:
        report["runs"].append(measure(options, replicas, policy))
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
