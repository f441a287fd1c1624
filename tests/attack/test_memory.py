"""The memory that requests hold has bounds, for one, for a tenant and for all, and is given back."""

import threading
import time

import pytest

from raw_http import exchange, post, resident_bytes, status_of, wait_until
from running_server import RunningServer

MIB = 1 << 20


@pytest.fixture(scope="module")
def small(binary):
    """A server whose requests may hold little."""
    flags = ["--memory-per-request", "32MiB", "--memory-per-tenant", "64MiB", "--memory-of-requests", "96MiB"]
    with RunningServer(binary, "demo", "--max-running", "2", "--max-body", "16MiB", *flags) as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0


def together(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def warm(server):
    """A server whose engine has all the memory that it ever takes: KV pages, workspaces, what it drafts from."""
    assert server.post("/v1/completions", {"prompt": ["a b c " * 200] * 64, "n": 32, "max_tokens": 8})[0] == 200
    most = post("/v1/completions", {"prompt": ["a"] * 16, "n": 128, "max_tokens": 1})
    for _ in range(8):  # how many requests wait at once, and so what the engine grows to, is a matter of chance
        before = resident_bytes(server)
        together(8, lambda: exchange(server, most, timeout=120))
        if resident_bytes(server) < 1.02 * before:
            break
    return server


STOPS = ["%x" % i * 500 for i in range(16)]
STOPS = [stop[:512] for stop in STOPS]

CASES = {
    "stop strings of many choices": post(
        "/v1/completions", {"prompt": ["a"] * 16, "n": 128, "max_tokens": 1, "stop": STOPS}
    ),
    "template arguments": post(
        "/v1/chat/completions",
        b'{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"a":[' + b"[]," * 3_900_000 + b"[]]}}",
    ),
    "tools": post(
        "/v1/chat/completions",
        b'{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"a":['
        + b"{}," * 3_900_000
        + b"{}]}}]}",
    ),
    "logprobs of the prompt": post(
        "/v1/completions", {"prompt": [[5] * 510] * 400, "prompt_logprobs": 20, "max_tokens": 1}
    ),
    "echo with logprobs": post(
        "/v1/completions", {"prompt": ["a b c d"] * 1000, "echo": True, "logprobs": 20, "max_tokens": 1, "n": 2}
    ),
    "tokenize": post("/tokenize", {"prompt": "a " * 7_500_000}),
    "tokenize what is allowed": post("/tokenize", {"prompt": "a " * 500_000, "return_token_strs": True}),
    "detokenize": post("/detokenize", {"tokens": [300] * 65_000}),
    "a body of blanks": post("/v1/completions", b" " * (15 * MIB)),
}


@pytest.mark.parametrize("name", CASES)
def test_memory_comes_back(warm, name):
    server = warm
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] == 200
    time.sleep(0.6)  # the last case's memory goes back
    before = resident_bytes(server)
    peak = [before]
    over = threading.Event()

    def watch():
        while not over.is_set():
            peak[0] = max(peak[0], resident_bytes(server))
            time.sleep(0.01)

    def attack():
        assert status_of(exchange(server, CASES[name], timeout=120)) in (200, 400, 413, 429)

    def falls_below(bound):
        return wait_until(lambda: resident_bytes(server) < 1.2 * bound + 16 * MIB, 10)

    watcher = threading.Thread(target=watch)
    watcher.start()
    together(8, attack)
    over.set()
    watcher.join()
    bound = 1024 * MIB  # --memory-of-requests
    assert peak[0] - before < 1.2 * bound
    if falls_below(before):
        return
    # The engine's tables keep the size of the most choices that ever waited, which is a matter of chance: they may grow
    # once, not again.
    grown = resident_bytes(server)
    assert grown - before < 160 * MIB, f"{name}: before {before // MIB}, after {grown // MIB} MiB"
    for _ in range(2):
        together(8, attack)
    assert falls_below(grown), (
        f"{name}: before {before // MIB}, once {grown // MIB}, again {resident_bytes(server) // MIB} MiB"
    )


def test_what_can_never_fit_is_413(small):
    status, answer = small.post("/tokenize", {"prompt": "a " * 400_000})
    assert (status, answer["error"]["code"]) == (413, "request_too_large")
    assert "--memory-per-request" in answer["error"]["message"]


def test_what_does_not_fit_now_is_429_and_others_go_on(small):
    held = []
    head = post("/v1/completions", b" " * 15_000_000)
    try:
        for _ in range(4):
            connection = small.connect()
            connection.sendall(head[:14_000_000])
            held.append(connection)
        time.sleep(0.5)
        answer = exchange(small, head)
        assert status_of(answer) == 429
        assert b"memory_full" in answer and b"retry-after: 1" in answer
        assert small.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] == 200
    finally:
        for connection in held:
            connection.close()
    assert wait_until(lambda: status_of(exchange(small, head)) != 429, 10)


def test_unread_streams_together_have_a_bound(small):
    body = {"prompt": "a", "max_tokens": 1900, "ignore_eos": True, "stream": True, "logprobs": 20, "n": 4}
    before = resident_bytes(small)
    held = []
    for _ in range(12):
        connection = small.connect()
        connection.sendall(post("/v1/completions", body))
        held.append(connection)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and small.metric("vllm:num_requests_running") > 0:
        assert resident_bytes(small) - before < 300 * MIB
        time.sleep(0.2)
    for connection in held:
        connection.close()
    assert small.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0
