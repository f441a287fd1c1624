"""Random arrivals, disconnects and a KV memory far too small, over HTTP: every answer that survives is the quiet one.

LOAD_SECONDS says how long (15), LOAD_CLIENTS how many ask at once (8). With `-s` the memory is shown every minute."""

import json
import os
import random
import threading
import time

from running_server import RunningServer

CLIENTS = int(os.environ.get("LOAD_CLIENTS", "8"))
KINDS = 40


def make_body(draw, kind):
    shared = [(i * 7 + i * i % 13) % 500 + 10 for i in range(200)]
    prompt = shared[: draw.randrange(200)] + [draw.randrange(10, 500) for _ in range(draw.randrange(1, 60))]
    body = {"prompt": prompt, "max_tokens": draw.randrange(4, 60), "ignore_eos": draw.random() < 0.5, "logprobs": 1}
    body["temperature"], body["seed"] = (0, 0) if kind % 3 == 0 else (0.9, kind)
    body["n"] = 3 if kind % 7 == 0 else 1
    body["cache_salt"] = "abc"[kind % 3]
    return body


def resident_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def watch_memory(process, end):
    """Resident MiB, ten times until `end`, the first after a tenth of the time: the server has grown what it needs."""
    step, seen = (end - time.monotonic()) / 11, []
    for _ in range(10):
        time.sleep(step)
        seen.append(round(resident_mib(process), 1))
        print("resident MiB", seen[-1], flush=True)
    return seen


def essence(answer):
    return [[each[name] for name in ("index", "text", "finish_reason", "logprobs")] for each in answer["choices"]]


class Visitor(threading.Thread):
    """Asks, and now and then leaves in the middle."""

    def __init__(self, server, seed, bodies, quiet, end):
        super().__init__()
        self.server, self.draw, self.bodies, self.quiet, self.end = server, random.Random(seed), bodies, quiet, end
        self.whole, self.left, self.wrong = 0, 0, []

    def run(self):
        while time.monotonic() < self.end and not self.wrong:
            kind = self.draw.randrange(KINDS)
            if self.draw.random() < 0.3:
                self.leave(self.bodies[kind])
            else:
                self.stay(kind)

    def stay(self, kind):
        status, _, text = self.server.request("POST", "/v1/completions", self.bodies[kind], timeout=120)
        if status == 429:
            return
        if status != 200 or essence(json.loads(text)) != self.quiet[kind]:
            self.wrong.append((kind, status, text[:500]))
        self.whole += 1

    def leave(self, body):
        text = json.dumps({**body, "stream": self.draw.random() < 0.5}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(text)}\r\n\r\n".encode()
        with self.server.connect() as connection:
            connection.sendall((head + text)[: self.draw.choice([len(head), len(head) + 20, len(head + text)])])
            time.sleep(self.draw.random() * 0.2)
        self.left += 1


def test_every_answer_that_survives_is_the_quiet_one(binary):
    draw = random.Random(5)
    bodies = [make_body(draw, kind) for kind in range(KINDS)]
    with RunningServer(binary, "demo", "--prefix-cache", "off", "--max-running", "1") as server:
        answers = [server.post("/v1/completions", body) for body in bodies]
        assert all(status == 200 for status, _ in answers)
        quiet = [essence(answer) for _, answer in answers]
        page_bytes = int(64 * 2**20 / server.metric("coppice:kv_pages_free"))
    flags = ["--max-model-len", "400", "--kv-memory", str(30 * page_bytes), "--max-batch-tokens", "64"]
    with RunningServer(binary, "demo", "--max-running", "12", "--max-queued", "16", *flags) as server:
        end = time.monotonic() + float(os.environ.get("LOAD_SECONDS", "15"))
        visitors = [Visitor(server, seed, bodies, quiet, end) for seed in range(CLIENTS)]
        for visitor in visitors:
            visitor.start()
        memory = watch_memory(server.process, end)
        for visitor in visitors:
            visitor.join()
        print("whole", sum(visitor.whole for visitor in visitors), "left", sum(visitor.left for visitor in visitors))
        assert max(memory) <= memory[0] * 1.2 + 20, memory
        assert [wrong for visitor in visitors for wrong in visitor.wrong] == []
        assert sum(visitor.whole for visitor in visitors) > 0 and sum(visitor.left for visitor in visitors) > 0
        assert server.wait_metric("vllm:num_requests_running", 0) == 0
        assert server.wait_metric("vllm:num_requests_waiting", 0) == 0
        assert server.metric("vllm:kv_cache_usage_perc") == 0
        assert server.metric("vllm:num_preemptions_total") > 0
        assert server.stop() == 0
