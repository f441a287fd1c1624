"""Two servers behind routers that other engines are used with: a prompt goes where its beginning is cached. Counted by
the servers' own metrics. Skipped where a router is not installed: pip install vllm-router smg (docs/fleet.md)."""

import collections
import contextlib
import json
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from running_server import RunningServer

START_SECONDS = 30
PREFIXES = 6
ASKS = 4  # of each prefix, after the first
LANDED_LEAST = 0.95


def find_program(name):
    beside = pathlib.Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url, body=None, timeout=30):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read() or "null")


@contextlib.contextmanager
def router(program, log, *arguments):
    """The router's address, once it answers."""
    path = find_program(program)
    if path is None:
        pytest.skip(f"{program} is not installed (pip install {program})")
    port = free_port()
    metrics = ["--prometheus-port", str(free_port())]
    command = [path, *arguments, "--host", "127.0.0.1", "--port", str(port), *metrics]
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
                fetch(url + "/v1/models", timeout=2)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def pair(binary):
    flags = ["--kv-events", "tcp://127.0.0.1:0", "--seed", "1"]
    with RunningServer(binary, "demo", *flags) as one, RunningServer(binary, "demo", *flags) as other:
        yield [one, other]
        for server in (one, other):
            assert server.process.poll() is None, "".join(server.log)
            assert server.stop() == 0, "".join(server.log)


def prefix(number):
    words = random.Random(number).choices("red blue green cat dog sun moon tree house river".split(), k=90)
    return f"Story {number}: " + " ".join(words) + "."


def asked(pair):
    return [server.metric("vllm:request_success_total") or 0 for server in pair]


def who_took_it(pair, before):
    counts = [after - was for after, was in zip(asked(pair), before)]
    assert sorted(counts) == [0, 1], counts
    return counts.index(1)


def play(pair, url, settle=0.0):
    """Asks for each prefix once, then again and again in a random order. The share of requests that landed where the
    prefix was first, and on how many servers the prefixes were spread."""
    homes, landed, hits = {}, 0, collections.Counter()
    order = [number for number in range(PREFIXES) for _ in range(ASKS)]
    random.Random(1).shuffle(order)
    for turn, number in enumerate(list(range(PREFIXES)) + order):
        before = asked(pair)
        body = {"model": "demo", "prompt": f"{prefix(number)} Part {turn}.", "max_tokens": 2, "temperature": 0}
        answer = fetch(url + "/v1/completions", body)
        where = who_took_it(pair, before)
        cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        if turn < PREFIXES:
            homes[number] = where
            time.sleep(settle)
        else:
            landed += where == homes[number]
            hits[cached > 0] += 1
    return landed / len(order), len(set(homes.values())), hits


def test_vllm_router_cache_aware(pair, tmp_path):
    workers = ["--worker-urls", *[server.url for server in pair], "--policy", "cache_aware"]
    with router("vllm-router", tmp_path / "log", *workers) as url:
        landed, _, hits = play(pair, url)
        assert landed >= LANDED_LEAST and hits[True] >= LANDED_LEAST * hits.total(), (tmp_path / "log").read_text()


def test_smg_cache_aware(pair, tmp_path):
    workers = ["launch", "--worker-urls", *[server.url for server in pair], "--policy", "cache_aware"]
    with router("smg", tmp_path / "log", *workers) as url:
        landed, _, hits = play(pair, url)
        assert landed >= LANDED_LEAST and hits[True] >= LANDED_LEAST * hits.total(), (tmp_path / "log").read_text()


def test_vllm_router_kv_aware(pair, tmp_path):
    """The router knows from KV events alone: what a server was asked for behind its back counts too."""
    workers = ["--worker-urls", *[server.url for server in pair], "--policy", "kv_aware"]
    with router("vllm-router", tmp_path / "log", *workers) as url:
        for number in range(PREFIXES):
            fetch(pair[number % 2].url + "/v1/completions", {"prompt": prefix(100 + number), "max_tokens": 1})
        time.sleep(1)
        landed = 0
        for turn in range(PREFIXES * ASKS):
            number = turn % PREFIXES
            before = asked(pair)
            body = {"model": "demo", "prompt": f"{prefix(100 + number)} Part {turn}.", "max_tokens": 2}
            fetch(url + "/v1/completions", body)
            landed += who_took_it(pair, before) == number % 2
        assert landed >= LANDED_LEAST * PREFIXES * ASKS, (tmp_path / "log").read_text()
