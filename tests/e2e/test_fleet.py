"""scripts/fleet: servers behind routers, of which one is killed and all are restarted while requests run. Skipped
where a router is not installed (docs/fleet.md)."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from running_server import ROOT
from test_routers import ASKS, LANDED_LEAST, find_program

START_SECONDS = 150  # of all replicas and the router, on a machine with other work
CLIENTS = 3
TALES = 6
REPLICA = re.compile(r"replica (\d+): (http://\S+) pid (\d+)")
ROUTER = re.compile(r"router: (http://\S+)")


class RunningFleet:
    """Owner: a test. The script's process, and what it has said."""

    def __init__(self, binary, log, *flags):
        self.router_log = log
        command = [sys.executable, ROOT / "scripts" / "fleet", "demo", "--coppice", binary, "--port", "0",
                   "--every", "1", "--router-log", log, *flags, "--", "--kv-memory", "64MiB", "--seed", "1"]
        self.process = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def text(self):
        return "".join(self.lines)

    def wait_for(self, part, seconds=START_SECONDS, count=1):
        end = time.monotonic() + seconds
        while self.text().count(part) < count:
            assert self.process.poll() is None and time.monotonic() < end, f"no {part!r} in:\n{self.text()}"
            time.sleep(0.05)

    @property
    def url(self):
        return ROUTER.search(self.text())[1]

    def replicas(self):
        """The last (address, process id) of each."""
        return {number: (url, int(pid)) for number, url, pid in REPLICA.findall(self.text())}

    def asked(self):
        return {number: metric(url, "vllm:request_success_total") for number, (url, _) in self.replicas().items()}

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self.reader.join(10)
        return code


def metric(url, name):
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def ask(url, prompt, max_tokens=4):
    """None, or why the stream was not whole, and whether any of it had come by then."""
    body = {"model": "demo", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "ignore_eos": True}
    request = urllib.request.Request(url + "/v1/completions", data=json.dumps(body).encode(),
                                     headers={"content-type": "application/json"})
    got = b""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            for line in answer:
                got += line
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read()[:200]}", False
    except (OSError, http.client.HTTPException) as error:
        return repr(error), bool(got)
    whole = got.rstrip().endswith(b"[DONE]") and b'"error"' not in got
    return (None, True) if whole else (got[-200:].decode(errors="replace"), bool(got))


class Load:
    """Clients that ask one after another until told to stop."""

    def __init__(self, url):
        self.url, self.stopped = url, threading.Event()
        self.fine, self.begun, self.lost = 0, [], []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def _run(self, number):
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            fault, begun = ask(self.url, f"Client {number} wants story {turn % 5} of a fox and a river. " * 4)
            with self.lock:
                if fault is None:
                    self.fine += 1
                else:
                    (self.begun if begun else self.lost).append(fault)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_a_closed_output_leaves_no_server_behind(binary, tmp_path):
    """Whether the router is installed or not: without it the fleet ends by itself, after the server's start."""
    flags = ["demo", "--coppice", str(binary), "--replicas", "1", "--port", "0"]
    process = subprocess.Popen([sys.executable, str(ROOT / "scripts" / "fleet"), *flags],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    server = int(REPLICA.search(process.stdout.readline())[3])
    process.stdout.close()
    time.sleep(1)
    process.terminate()
    process.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


ROUTERS = [("vllm-router", "cache_aware"), ("vllm-router", "kv_aware"), ("smg", "cache_aware")]


@pytest.fixture(scope="module", params=ROUTERS, ids=" ".join)
def fleet(request, binary, tmp_path_factory):
    router, policy = request.param
    if find_program(router) is None:
        pytest.skip(f"{router} is not installed (pip install {router})")
    log = tmp_path_factory.mktemp("fleet") / "router.log"
    running = RunningFleet(binary, log, "--router", router, "--policy", policy)
    try:
        running.wait_for("router: http")
        yield running
        assert running.end() == 0, running.text()
        for _, pid in running.replicas().values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(60)


def test_the_table_counts_what_was_asked(fleet):
    for _ in range(4):
        assert ask(fleet.url, "Once upon a time there was a little fox beside a wide river. " * 5)[0] is None
    assert sum(fleet.asked().values()) >= 4
    seen = len(fleet.lines)
    end = time.monotonic() + 20
    while True:
        rows, held = {}, {}
        for line in fleet.lines[seen:]:
            columns = line.split()
            if len(columns) > 3 and columns[0].isdigit() and columns[1] in ("ready", "busy"):
                rows[columns[0]], held[columns[0]] = int(columns[3]), int(columns[-1])
        if sum(rows.values()) >= 4 and sum(held.values()) > 0:
            break
        assert time.monotonic() < end, fleet.text()
        time.sleep(0.1)


def test_a_killed_replica_loses_no_request_that_had_not_begun(fleet):
    """The one that is killed is the busiest: the policy may have left the others alone."""
    before = fleet.asked()
    with Load(fleet.url) as load:
        time.sleep(2)
        taken = {number: count - before[number] for number, count in fleet.asked().items()}
        victim = max(taken, key=taken.get)
        whole_before = load.fine
        os.kill(fleet.replicas()[victim][1], signal.SIGKILL)
        fleet.wait_for(f"replica {victim}: ended with -9; started again")
        time.sleep(4)
    print(f"killed {victim} of {taken}: {load.fine} whole, {len(load.begun)} cut off, {len(load.lost)} lost")
    assert taken[victim] > 0 and load.fine > whole_before
    assert not load.lost, load.lost[:5]
    assert len(load.begun) <= CLIENTS, load.begun[:5]


def test_a_restarted_replica_is_used_again(fleet):
    """Its counters began anew when it was started, so that any request is one after that."""
    end = time.monotonic() + 60
    number = 0
    while min(fleet_counts(fleet)) == 0:
        number += 1
        assert ask(fleet.url, f"A new story, number {number}: " + f"{number} " * 60, 2)[0] is None
        assert time.monotonic() < end, fleet.asked()


def fleet_counts(fleet):
    with contextlib.suppress(OSError, urllib.error.URLError):
        return fleet.asked().values()
    return [0]


def test_all_are_restarted_under_load_and_no_request_fails(fleet):
    before = fleet.replicas()
    with Load(fleet.url) as load:
        time.sleep(1)
        fleet.process.send_signal(signal.SIGHUP)
        fleet.wait_for("all replicas are new")
        time.sleep(1)
    print(f"rolled: {load.fine} whole, {len(load.begun)} cut off, {len(load.lost)} lost {load.lost[:3]}")
    assert load.fine > 0 and not load.lost and not load.begun, (load.lost[:5], load.begun[:5])
    after = fleet.replicas()
    assert all(before[number][0] == after[number][0] and before[number][1] != after[number][1] for number in before)


def long_prompt(number, turn):
    return f"Tale {number} of those that were told by the river at night. " * 8 + f"Part {turn}."


def who_answered(fleet, url, prompt):
    before = fleet.asked()
    assert ask(url, prompt, 2)[0] is None
    return [number for number, count in fleet.asked().items() if count > before[number]]


def test_prompts_land_where_they_are_held_after_all_were_restarted(fleet):
    """kv_aware must have heard what the new processes publish, so there each tale is first told to a replica itself."""
    by_events = "(kv_aware)" in fleet.text()
    replicas = fleet.replicas()
    homes, landed, asked = {}, 0, 0
    for number in range(TALES):
        url = replicas[str(1 + number % 2)][0] if by_events else fleet.url
        (homes[number],) = who_answered(fleet, url, long_prompt(number, 0))
    time.sleep(1)
    for turn in range(1, 1 + ASKS):
        for number in range(TALES):
            landed += who_answered(fleet, fleet.url, long_prompt(number, turn)) == [homes[number]]
            asked += 1
    print(f"{landed} of {asked} landed where they were held: {homes}")
    assert landed >= LANDED_LEAST * asked
    assert not by_events or len(set(homes.values())) == 2
