"""An engine whose thread stands still with work to do: /ready and /health say so within five seconds, and no longer
than it lasts. The thread is stopped for real, by ptrace, while the rest of the process goes on."""

import ctypes
import json
import os
import pathlib
import threading
import time

import pytest

from running_server import RunningServer
from test_grpc import Stub

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid: threads too


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Stopped:
    """One thread of another process, standing still while the `with` lasts."""

    def __init__(self, process, name):
        tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
        self.thread = next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name)

    def __enter__(self):
        try:
            ptrace(PTRACE_SEIZE, self.thread)
        except PermissionError:
            pytest.skip("this machine does not let a parent trace its child")
        ptrace(PTRACE_INTERRUPT, self.thread)
        os.waitpid(self.thread, WALL)

    def __exit__(self, *_):
        ptrace(PTRACE_DETACH, self.thread)


def seconds_until(server, route, wanted, most):
    begin = time.monotonic()
    while server.request("GET", route)[0] != wanted:
        assert time.monotonic() - begin < most, f"{route} is not {wanted} after {most} s"
        time.sleep(0.05)
    return time.monotonic() - begin


def test_an_engine_that_stands_still_is_not_ready(binary):
    with RunningServer(binary, "demo") as server:
        stub = Stub(server.grpc)
        answers = []
        wanted = {"prompt": "a", "max_tokens": 8}
        thread = threading.Thread(target=lambda: answers.append(server.request("POST", "/v1/completions", wanted)))
        with Stopped(server.process.pid, "engine"):
            time.sleep(6)  # idle: nothing is wrong
            assert server.request("GET", "/ready")[0] == server.request("GET", "/live")[0] == 200
            assert stub.call("GetLoad").stuck is False
            thread.start()
            assert seconds_until(server, "/ready", 503, 10) <= 6  # 5, and a busy machine's own lateness
            assert json.loads(server.request("GET", "/ready")[2])["error"]["code"] == "engine_stuck"
            assert server.request("GET", "/health")[0] == 503
            assert server.request("GET", "/live")[0] == 503
            assert stub.call("GetLoad").stuck is True
        seconds_until(server, "/ready", 200, 5)
        assert server.request("GET", "/live")[0] == 200
        thread.join()
        assert [status for status, _, _ in answers] == [200]


def test_an_engine_that_stands_still_while_the_server_drains_is_not_live(binary):
    """/live alone says that the process should be started anew: draining is no failure of it, standing still is."""
    with RunningServer(binary, "demo") as server:
        answers = []
        wanted = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True}
        thread = threading.Thread(target=lambda: answers.append(server.request("POST", "/v1/completions", wanted)))
        thread.start()
        assert server.wait_metric("vllm:num_requests_running", 1) == 1
        with Stopped(server.process.pid, "engine"):
            server.terminate()
            assert server.wait_metric("coppice:ready", 0) == 0
            assert server.request("GET", "/live")[0] == 200
            load = Stub(server.grpc).call("GetLoad")
            assert load.draining and load.running == 1
            seconds_until(server, "/live", 503, 15)
            assert server.request("GET", "/health")[2] == '{"status":"draining"}'
        thread.join()
        assert [status for status, _, _ in answers] == [200]
        assert server.stop() == 0
