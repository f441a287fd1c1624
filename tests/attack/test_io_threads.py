"""Health is answered at once while clients do the worst that they may, and a signal ends the server under it."""

import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from health_prober import PAUSE_S
from raw_http import exchange, post
from running_server import RunningServer

PROBER = pathlib.Path(__file__).with_name("health_prober.py")
PROBE_S = 2.5
# docs/security.md promises an answer within 50 ms whatever others send. What the machine adds is not the server's: with
# all cores busy, a thread that wakes up waits for one. So an idle server beside the attacked one is asked the same at
# the same time, and the median and nine in ten of the attacked one may be 50 ms above those of the idle one.
PROMISED_S = 0.05
# A server that holds its I/O threads up is late every time; a machine that is busy with something else is not.
TRIES = 4

WORST = {
    "tokenize": post("/tokenize", {"prompt": "a " * 500_000}),
    "tokenize blanks": post("/tokenize", {"prompt": " " * 1_000_000}),
    "too much text": post("/tokenize", {"prompt": "a " * 7_500_000}),
    "many prompts": post("/v1/completions", {"prompt": ["word " * 190] * 1000, "max_tokens": 1}),
    "many choices": post("/v1/completions", {"prompt": ["a"] * 16, "n": 128, "max_tokens": 1}),
    "a prediction": post(
        "/v1/completions",
        {"prompt": "a", "max_tokens": 1, "prediction": {"type": "content", "content": "a " * 100_000}},
    ),
    "keys": post(
        "/v1/chat/completions",
        b'{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{'
        + b",".join(b'"k%d":1' % i for i in range(200_000))
        + b"}}",
    ),
    "values": post(
        "/v1/chat/completions",
        b'{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"a":[' + b"0," * 1_900_000 + b"0]}}",
    ),
    "messages": post("/v1/chat/completions", {"messages": [{"role": "user", "content": "<s> " * 60}] * 4096}),
    "logprobs": post("/v1/completions", {"prompt": [[5] * 500] * 20, "prompt_logprobs": 20, "max_tokens": 1}),
    "streamed echo": post(
        "/v1/completions",
        {"prompt": [[5] * 2000], "echo": True, "logprobs": 0, "max_tokens": 1, "n": 128, "stream": True},
    ),
    "detokenize": post("/detokenize", {"tokens": [300] * 65_000}),
    "corpora": post("/v1/speculation/corpora", {"name": "c", "texts": ["a b c"] * 100_000}),
    "blanks": post("/v1/completions", b" " * (15 << 20)),
}


def start_prober(server):
    command = [sys.executable, str(PROBER), server.host, str(server.port), str(PROBE_S)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def quantiles_s(prober):
    """The times within which half and nine in ten health requests are answered, whenever they come.

    The prober asks one after the other, so it meets a halt of a second once, where clients that come by the clock would
    meet it all that time. So each answer counts for those too that would have come while it was awaited.
    """
    output, _ = prober.communicate(timeout=120)
    assert prober.returncode == 0
    times = []
    for seconds in json.loads(output):
        while seconds > 0:
            times.append(seconds)
            seconds -= PAUSE_S
    times.sort()
    return times[len(times) // 2], times[len(times) * 9 // 10]


def late_s(server, idle):
    """By how much the attacked server is later than the idle one: the median, and nine in ten."""
    probers = [start_prober(server), start_prober(idle)]
    ours, others = [quantiles_s(prober) for prober in probers]
    return [round(late - usual, 4) for late, usual in zip(ours, others)]


@pytest.fixture(scope="module")
def idle(binary):
    with RunningServer(binary, "demo") as running:
        yield running
        assert running.stop() == 0


class Attack:
    """Eight clients that repeat one request. `with Attack(server, sent): ...`"""

    def __init__(self, server, sent):
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(server, sent)) for _ in range(8)]

    def run(self, server, sent):
        while not self.over.is_set():
            try:
                exchange(server, sent, timeout=60)
            except OSError:
                time.sleep(0.05)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("name", WORST)
def test_health_while_eight_clients_do_their_worst(server, idle, name):
    seen = []
    with Attack(server, WORST[name]):
        time.sleep(0.2)
        while not seen or (max(seen[-1]) > PROMISED_S and len(seen) < TRIES):
            seen.append(late_s(server, idle))
    print(f"{name}: {seen}")
    assert max(seen[-1]) <= PROMISED_S, f"{name}: the median and nine in ten are {seen} s above an idle server's"
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] in (200, 429)


@pytest.mark.parametrize("name", ["tokenize", "many prompts", "keys", "values"])
def test_a_signal_ends_the_server_under_attack(binary, name):
    with RunningServer(binary, "demo", "--drain-timeout", "2") as running:
        with Attack(running, WORST[name]):
            time.sleep(1)
            started = time.monotonic()
            running.terminate()
            assert running.process.wait(30) == 0
            assert time.monotonic() - started < 12


def test_a_client_that_leaves_stops_its_job(server):
    for _ in range(40):
        with server.connect() as connection:
            connection.sendall(WORST["many prompts"])
    started = time.monotonic()
    assert server.post("/tokenize", {"prompt": "a " * 9000})[0] == 200
    assert time.monotonic() - started < 5
