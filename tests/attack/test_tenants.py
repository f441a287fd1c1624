"""Tenants are strangers: nothing of one shows to another, and none takes what is another's share."""

import hashlib
import json
import threading
import time

import pytest

from running_server import RunningServer

PROMPT = "Once upon a time there was a little"
GREEDY = {"model": "demo", "prompt": PROMPT, "temperature": 0, "max_tokens": 64}
A, B, C = "the-key-of-tenant-a", "the-key-of-tenant-b", "the-key-of-tenant-c"
CORPORA = "/v1/speculation/corpora"
OWN = 19  # accepted drafts, at most, by which an output's own repetitions differ from run to run


def key_file(path, *keys):
    path.write_text("\n".join(keys) + "\n")
    return ["--api-key-file", str(path)]


def bearer(key):
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def call(server, key, method, path, body=None, timeout=60):
    status, _, text = server.request(method, path, body, bearer(key), timeout)
    return status, json.loads(text)


def accepted_of(server, key):
    """Drafted tokens that the key's request took."""
    status, answer = call(server, key, "POST", "/v1/completions", GREEDY)
    assert status == 200, answer
    return answer["speculation"]["accepted_tokens"]


def most_alone(binary, keys):
    """The most that an output repeats of itself, of three runs: how much is drafted depends on the time of a step."""
    most = 0
    for _ in range(3):
        with RunningServer(binary, "demo", *key_file(keys, A, B)) as server:
            most = max(most, accepted_of(server, B))
            server.process.kill()
    return most


def test_no_key_inherits_anothers_drafts_whatever_the_file_says(binary, tmp_path):
    """Tenants were named by the line of their key: with A's line gone, B drafted from A's outputs."""
    state = ["--speculation-state", str(tmp_path / "state")]
    keys = tmp_path / "keys"
    alone = most_alone(binary, keys)
    with RunningServer(binary, "demo", *state, *key_file(keys, A, B)) as server:
        accepted_of(server, A)
        assert server.stop() == 0, "".join(server.log)
    for lines in ([B, A], [C, B, A], [B], [B, C]):
        with RunningServer(binary, "demo", *state, *key_file(keys, *lines)) as server:
            assert accepted_of(server, lines[0] if lines[0] != A else B) < alone + OWN
            server.process.kill()  # the state stays as it was
    with RunningServer(binary, "demo", *state, *key_file(keys, C, A)) as server:
        assert accepted_of(server, A) > alone + OWN  # A's own come back, wherever its line stands
        server.process.kill()


def test_state_of_a_vanished_key_is_dropped(binary, tmp_path):
    state = ["--speculation-state", str(tmp_path / "state")]
    keys = tmp_path / "keys"
    with RunningServer(binary, "demo", *state, *key_file(keys, A, B)) as server:
        accepted_of(server, A)
        assert server.stop() == 0
    with RunningServer(binary, "demo", *state, *key_file(keys, B)) as server:
        assert [line for line in server.log if "is dropped" in line], "".join(server.log)
        assert server.stop() == 0  # writes what it kept: nothing of A
    with RunningServer(binary, "demo", *state, *key_file(keys, A, B)) as server:
        assert not [line for line in server.log if "is dropped" in line]
        assert accepted_of(server, A) < most_alone(binary, keys) + OWN


def test_a_salt_is_no_other_tenant(binary, tmp_path):
    """Whatever a caller puts into cache_salt, the drafts and prefixes of others are not reached."""
    name = "key-" + hashlib.sha256(b"coppice tenant 1:" + A.encode()).hexdigest()[:16]
    long_prompt = list(range(10, 110))
    with RunningServer(binary, "demo", *key_file(tmp_path / "keys", A, B)) as server:
        body = {**GREEDY, "prompt": long_prompt, "max_tokens": 8}
        first = call(server, A, "POST", "/v1/completions", body)[1]
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        for salt in (name, "|" + name, name + "|", "", "key0", A):
            answer = call(server, B, "POST", "/v1/completions", {**body, "cache_salt": salt})[1]
            assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0, salt
        again = call(server, A, "POST", "/v1/completions", body)[1]
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


EMPTY_CORPORA = [
    {"name": "c", "texts": [""]},
    {"name": "c", "texts": ["a", ""]},
    {"name": "c", "tokens": [[]]},
    {"name": "c", "tokens": [[5], []]},
    {"name": "c", "texts": []},
    {"name": "c", "tokens": []},
    {"name": "c", "texts": [None]},
    {"name": "c", "tokens": [5]},
    {"name": "c", "tokens": [["5"]]},
    {"name": "c", "tokens": [[-1]]},
    {"name": "c", "tokens": [[10**9]]},
    {"name": "c", "tokens": [[2**63]]},
    {"name": "", "texts": ["a"]},
    {"name": "a" * 129, "texts": ["a"]},
    {"name": "../c", "texts": ["a"]},
    {"name": "a/b", "texts": ["a"]},
    {"name": "a\x00b", "texts": ["a"]},
    {"name": "ä", "texts": ["a"]},
    {"name": ["c"], "texts": ["a"]},
    {"name": "c", "texts": ["a"], "tokens": [[5]]},
    {"name": "c", "texts": ["a"], "cache_salt": "s" * 600},
    {"name": "c", "tokens": [[5]] * 70000},
]


@pytest.mark.parametrize("body", EMPTY_CORPORA, ids=lambda body: str(body)[:60])
def test_corpora_that_are_none(server, body):
    status, _, text = server.request("POST", CORPORA, body, {"content-type": "application/json"})
    assert status == 400, text
    assert json.loads(text)["error"]["param"]


def test_millions_of_empty_sequences(binary):
    """Each of these bodies added 4.1 million sequences; the fifth ended the server."""
    with RunningServer(binary, "demo") as server:
        before = resident(server)
        for item, field in ((b'""', b"texts"), (b"[]", b"tokens"), (b"[5]", b"tokens")):
            body = b'{"name":"c","%s":[' % field + b",".join([item] * 2_000_000) + b"]}"
            status = server.request("POST", CORPORA, body, {"content-type": "application/json"})[0]
            assert status in (400, 413)
        assert server.request("GET", "/health")[0] == 200
        assert resident(server) < before + 400e6
        assert server.stop() == 0


def resident(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_corpora_of_one_key_leave_anothers_room(binary, tmp_path):
    flags = key_file(tmp_path / "keys", A, B)
    with RunningServer(binary, "demo", "--speculation-memory", "8MiB", *flags) as server:
        statuses = []
        for index in range(40):  # tokens, until its share is full
            body = {"name": f"c{index}", "cache_salt": str(index % 5), "tokens": [[7] * 1000]}
            statuses.append(call(server, B, "POST", CORPORA, body)[0])
        assert statuses[0] == 200 and statuses[-1] == 413 and set(statuses) <= {200, 413, 429}
        assert call(server, A, "POST", CORPORA, {"name": "mine", "tokens": [[7] * 10000]})[0] == 200
        assert call(server, A, "GET", CORPORA)[1]["data"][0]["name"] == "mine"
        assert call(server, A, "DELETE", CORPORA + "/c0")[0] == 404  # B's is not A's to drop
        assert server.stop() == 0
    with RunningServer(binary, "demo", *flags) as server:
        for index in range(1030):  # names
            status = call(server, B, "POST", CORPORA, {"name": f"c{index}", "tokens": [[7]]})[0]
            assert status in (200, 429) or (status == 413 and index >= 1024)
        assert call(server, A, "POST", CORPORA, {"name": "mine", "tokens": [[7]]})[0] == 200
        assert server.stop() == 0


def test_corpora_added_and_dropped_at_once_are_bounded(binary, tmp_path):
    flags = key_file(tmp_path / "keys", A, B)
    with RunningServer(binary, "demo", "--speculation-memory", "16MiB", *flags) as server:
        before = resident(server)
        body = {"name": "c", "tokens": [[9] * 20000]}
        seen = set()

        def churn():
            for _ in range(60):
                seen.add(call(server, B, "POST", CORPORA, body)[0])
                seen.add(call(server, B, "DELETE", CORPORA + "/c")[0])

        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen <= {200, 404, 413, 429}
        status = call(server, A, "POST", CORPORA, {"name": "mine", "tokens": [[7] * 100]})[0]
        assert status == 200
        assert resident(server) < before + 150e6
        assert server.stop() == 0


def test_pins_name_a_key_or_nothing(binary, tmp_path):
    pins = tmp_path / "pins"
    name = "key-" + hashlib.sha256(b"coppice tenant 1:" + A.encode()).hexdigest()[:16]
    flags = [*key_file(tmp_path / "keys", A), "--pin-file", str(pins)]
    pins.write_text(json.dumps({"prompt": list(range(10, 110)), "tenant": name}) + "\n")
    with RunningServer(binary, "demo", *flags) as server:
        body = {**GREEDY, "prompt": list(range(10, 110)), "max_tokens": 1}
        usage = call(server, A, "POST", "/v1/completions", body)[1]["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= 80
    for tenant in ("key0", "", name + "|salt", A):
        pins.write_text(json.dumps({"prompt": [10, 11], "tenant": tenant}) + "\n")
        with pytest.raises(RuntimeError, match="tenant"):
            RunningServer(binary, "demo", *flags)


def flood(server, key, body, count, stop, statuses):
    def ask():
        while not stop.is_set():
            statuses.append(call(server, key, "POST", "/v1/completions", body)[0])

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("salted", [False, True])
def test_one_keys_flood_neither_fills_the_queue_nor_goes_before_another(binary, tmp_path, salted):
    """Priorities of one key went before every other key, and its requests took all places of the queue."""
    flags = [*key_file(tmp_path / "keys", A, B), "--max-running", "4", "--max-queued", "8"]
    with RunningServer(binary, "demo", *flags) as server:
        body = {"prompt": "a", "max_tokens": 60, "ignore_eos": True, "priority": -1000}
        stop, refused, threads = threading.Event(), [], []
        for index in range(4):
            salt = {"cache_salt": str(index)} if salted else {}
            threads += flood(server, B, {**body, **salt}, 8, stop, refused)
        waits = []
        for _ in range(20):
            begin = time.monotonic()
            status, answer = call(server, A, "POST", "/v1/completions", {"prompt": "b", "max_tokens": 1})
            assert status == 200, answer
            waits.append(time.monotonic() - begin)
        stop.set()
        for thread in threads:
            thread.join()
        assert 429 in refused and 200 in refused  # the flood itself is refused
        assert max(waits) < 5, waits
        assert server.stop() == 0
