"""Sixteen clients at once whose prompts begin alike, on a cold server: the shared part is computed once."""

import json
import shutil
import threading

from running_server import ROOT, RunningServer

CLIENTS = 16
SHARED = 2000  # 125 pages of 16
OWN = 50
OUTPUT = 64


def prompt(client):
    shared = [(i * 7 + i * i % 13) % 500 + 10 for i in range(SHARED)]
    return shared + [(client * 31 + i * 5) % 500 + 10 if i else 10 + client for i in range(OWN)]


def long_demo(folder):
    """The demo model for longer prompts than it was trained on."""
    shutil.copytree(ROOT / "models" / "demo", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    return folder


def test_prefix_is_computed_once(binary, tmp_path):
    with RunningServer(binary, long_demo(tmp_path / "long")) as server:
        bodies = [
            {"prompt": prompt(i), "max_tokens": OUTPUT, "temperature": 0, "ignore_eos": True} for i in range(CLIENTS)
        ]
        got = [None] * CLIENTS
        together = threading.Barrier(CLIENTS)

        def ask(i):
            together.wait()
            got[i] = server.post("/v1/completions", bodies[i])

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [status for status, _ in got] == [200] * CLIENTS
        assert [answer["usage"]["completion_tokens"] for _, answer in got] == [OUTPUT] * CLIENTS
        assert server.metric("vllm:prompt_tokens_total") == CLIENTS * (SHARED + OWN)
        assert server.metric("coppice:prompt_tokens_computed_total") == SHARED + CLIENTS * OWN
        status, alone = server.post("/v1/completions", {**bodies[3], "cache_salt": "alone"})
        assert status == 200 and alone["choices"][0]["text"] == got[3][1]["choices"][0]["text"]
        assert server.stop() == 0
