"""Signals, a log that is not read, a stuck engine: the server ends when asked to, and says when it is not well."""

import ctypes
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from running_server import RunningServer

LONG = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True}
MARGIN = 5  # seconds beyond --drain-timeout
PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DeafServer:
    """A server whose stderr is a pipe that is not read."""

    def __init__(self, binary, *flags):
        self.port = free_port()
        read_end, write_end = os.pipe()
        self.read_end = read_end
        command = [binary, "serve", "demo", "--port", self.port, "--grpc-port", "-1", "--kv-memory", "64MiB", *flags]
        self.process = subprocess.Popen(list(map(str, command)), stderr=write_end)
        os.close(write_end)
        end = time.monotonic() + 60
        while self.status("/ready") != 200:
            assert self.process.poll() is None and time.monotonic() < end
            time.sleep(0.05)

    def status(self, path, body=None, timeout=20):
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if data else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.read_end)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_log_that_is_not_read_stops_nothing(binary, format):
    """The pipe was full after some 400 requests; then every request hung, and no signal but SIGKILL ended it."""
    with DeafServer(binary, "--log-format", format, "--drain-timeout", "2") as server:
        for _ in range(1200):
            assert server.status("/v1/completions", {"prompt": "a", "max_tokens": 1}) == 200
        assert server.status("/health", timeout=2) == 200
        server.process.send_signal(signal.SIGHUP)
        server.process.terminate()
        assert server.process.wait(2 + MARGIN + 3) == 0


def test_a_log_that_is_read_late_says_what_it_dropped(binary):
    with DeafServer(binary) as server:
        # A request is a line; far more of them than pipe and queue hold.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for _ in range(6000):
            body = b'{"prompt":"a","max_tokens":1}'
            connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        text = bytearray()

        def read():
            while chunk := os.read(server.read_end, 1 << 16):
                text.extend(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        server.process.terminate()
        assert server.process.wait(60) == 0
        reader.join()
        lines = text.decode().splitlines()
        assert any("log lines were dropped" in line for line in lines)
        assert sum("request " in line for line in lines) > 3000


def test_a_log_whose_reader_has_left(binary):
    with DeafServer(binary) as server:
        os.close(server.read_end)
        server.read_end = os.open("/dev/null", os.O_RDONLY)
        for _ in range(50):
            assert server.status("/v1/completions", {"prompt": "a", "max_tokens": 1}) == 200
        server.process.terminate()
        assert server.process.wait(40) == 0


def keep_asking(server, stop, statuses, body):
    while not stop.is_set():
        try:
            statuses.append(server.request("POST", "/v1/completions", body, {"content-type": "application/json"})[0])
        except OSError:
            statuses.append(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_ends_within_the_drain_limit(binary, number):
    with RunningServer(binary, "demo", "--drain-timeout", "1") as server:
        stop, statuses = threading.Event(), []
        bodies = [LONG, {**LONG, "n": 16}, {**LONG, "stream": True}, {"prompt": "x" * 4000}]
        askers = [threading.Thread(target=keep_asking, args=(server, stop, statuses, body)) for body in bodies * 4]
        for asker in askers:
            asker.start()
        time.sleep(1)
        server.terminated = True
        begin = time.monotonic()
        server.process.send_signal(number)
        code = server.process.wait(1 + MARGIN + 3)
        assert code == 0 and time.monotonic() - begin < 1 + MARGIN
        stop.set()
        for asker in askers:
            asker.join()


def test_a_signal_at_the_ready_line_is_an_orderly_end(binary):
    """A client that has read the ready line may ask the server to end at once."""
    command = [str(binary), "serve", "demo", "--port", "0", "--grpc-port", "0", "--kv-memory", "16MiB"]
    for _ in range(20):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "ready: " not in process.stderr.readline() and process.poll() is None:
            pass
        process.terminate()
        assert process.wait(10) == 0, process.stderr.read()


def test_a_second_signal_ends_at_once(binary):
    with RunningServer(binary, "demo", "--drain-timeout", "60") as server:
        ask = (server, threading.Event(), [], {**LONG, "n": 64})
        threading.Thread(target=keep_asking, args=ask, daemon=True).start()
        time.sleep(0.5)
        server.terminate()
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.terminate()
        assert server.process.wait(2) == 130


def test_sighup_without_anything_to_read_again(binary):
    with RunningServer(binary, "demo") as server:
        for _ in range(5):
            server.process.send_signal(signal.SIGHUP)
        time.sleep(0.6)
        assert server.request("GET", "/ready")[0] == 200
        assert server.stop() == 0


def wait_for_line(server, words, seconds=10):
    end = time.monotonic() + seconds
    while not any(words in line for line in server.log):
        assert time.monotonic() < end, "".join(server.log)
        time.sleep(0.02)


def reload(server, words):
    del server.log[:]
    server.process.send_signal(signal.SIGHUP)
    wait_for_line(server, words)


def test_sighup_reads_the_keys_again(binary, tmp_path):
    old, kept, new = "an-old-key-1", "a-kept-key-1", "a-new-key-11"
    keys = tmp_path / "keys"
    keys.write_text(f"{old}\n{kept}\n")
    corpora = "/v1/speculation/corpora"
    flags = ["--api-key-file", str(keys), "--speculation-state", str(tmp_path / "state")]
    with RunningServer(binary, "demo", *flags) as server:

        def status(key, path="/v1/models", method="GET", body=None):
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            return server.request(method, path, body, headers)[0]

        assert status(old, corpora, "POST", {"name": "c", "tokens": [[5]]}) == 200
        assert (status(old), status(kept), status(new)) == (200, 200, 401)
        # A call that was let in goes on.
        answers = []
        body = {**LONG, "max_tokens": 400}
        running = threading.Thread(target=lambda: answers.append(status(old, "/v1/completions", "POST", body)))
        running.start()
        time.sleep(0.05)
        keys.write_text(f"{kept}\n{new}\n")
        reload(server, "that were there are gone")
        assert (status(old), status(kept), status(new)) == (401, 200, 200)
        running.join()
        assert answers == [200]
        for bad in ("", "short\n", "good-key-of-c\nwith space in it\n"):
            keys.write_text(bad)
            reload(server, "the old keys stay")
            assert (status(old), status(kept), status(new)) == (401, 200, 200)
        keys.unlink()
        reload(server, "the old keys stay")
        os.mkfifo(keys)
        reload(server, "not a regular file")
        assert (status(kept), status(new)) == (200, 200)
        keys.unlink()
        keys.write_text(f"{old}\n{kept}\n")
        reload(server, "that were there are gone")
        headers = {"authorization": f"Bearer {old}"}
        assert json.loads(server.request("GET", corpora, None, headers)[2])["data"] == []  # its corpora went with it
        assert server.stop() == 0


def make_certificate(folder, name):
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.new -out cert.new -days 1 -subj /CN=" + name
    command = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "key.new").rename(folder / "key.pem")
    (folder / "cert.new").rename(folder / "cert.pem")


def shown_certificate(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])  # gRPC's port demands h2
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        with context.wrap_socket(plain) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))


def wait_for_certificate(port, wanted, seconds=10):
    end = time.monotonic() + seconds
    while shown_certificate(port) != wanted:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_sighup_reads_the_certificates_again(binary, tmp_path):
    make_certificate(tmp_path, "one")
    flags = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with RunningServer(binary, "demo", *flags) as server:
        ports = [server.port, int(server.grpc.rsplit(":", 1)[1])]
        first = (tmp_path / "cert.pem").read_text()
        assert [shown_certificate(port) for port in ports] == [first, first]
        context = ssl.create_default_context(cadata=first)
        with context.wrap_socket(server.connect(), server_hostname="127.0.0.1") as open_connection:
            make_certificate(tmp_path, "two")
            second = (tmp_path / "cert.pem").read_text()
            reload(server, "new connections are shown")
            for port in ports:
                wait_for_certificate(port, second)
            open_connection.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert open_connection.recv(100).startswith(b"HTTP/1.1 200")
        (tmp_path / "cert.pem").write_text("no certificate")
        reload(server, "the old certificate stays")
        (tmp_path / "cert.pem").write_text(first)  # another key's
        reload(server, "the old certificate stays")
        time.sleep(1.5)
        assert [shown_certificate(port) for port in ports] == [second, second]
        assert server.stop() == 0


def engine_thread(pid):
    """A thread takes its name itself, maybe after the server has said that it is ready."""
    end = time.monotonic() + 10
    while True:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                if (task / "comm").read_text().strip() == "engine":
                    return int(task.name)
            except FileNotFoundError:  # ended meanwhile
                pass
        assert time.monotonic() < end, "no thread is called engine"
        time.sleep(0.01)


class Held:
    """Stops one thread of a process, as a debugger does."""

    def __init__(self, tid):
        self.tid = tid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def __enter__(self):
        if self.libc.ptrace(PTRACE_ATTACH, self.tid, None, None) != 0:
            pytest.skip("this machine lets no process be traced")
        os.waitpid(self.tid, 0x40000000)  # __WALL: a thread that is not the first
        return self

    def __exit__(self, *_):
        if self.libc.ptrace(PTRACE_DETACH, self.tid, None, None) != 0:  # it has ended
            os.waitpid(self.tid, 0x40000000 | os.WNOHANG)


def health(server):
    grpc = pytest.importorskip("grpc")
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")
    with grpc.insecure_channel(server.grpc) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status


def test_a_stuck_engine_is_noticed_from_idle(binary):
    with RunningServer(binary, "demo") as server:
        assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 4})[0] == 200
        answers = []
        asker = threading.Thread(target=lambda: answers.append(server.post("/v1/completions", {"prompt": "a"})[0]))
        time.sleep(1)  # the answer leaves before the step that made it has ended
        with Held(engine_thread(server.process.pid)):
            time.sleep(6)
            assert server.request("GET", "/ready")[0] == 200  # idle is not stuck
            asker.start()
            begin = time.monotonic()
            while server.request("GET", "/ready")[0] == 200:
                assert time.monotonic() - begin < 7
                time.sleep(0.1)
            assert 3 < time.monotonic() - begin
            assert server.request("GET", "/live")[0] == 503
            status, _, text = server.request("GET", "/health")
            assert (status, text) == (503, '{"status":"stuck"}')
            assert server.metric("coppice:ready") == 0
            assert health(server) == 2  # NOT_SERVING
        asker.join(30)
        assert answers == [200]
        end = time.monotonic() + 5
        while server.request("GET", "/ready")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert health(server) == 1
        assert server.stop() == 0


def test_a_stuck_engine_does_not_keep_the_process(binary):
    with RunningServer(binary, "demo", "--drain-timeout", "1") as server:
        with Held(engine_thread(server.process.pid)):
            thread = threading.Thread(target=keep_asking, args=(server, threading.Event(), [], LONG), daemon=True)
            thread.start()
            time.sleep(0.5)
            begin = time.monotonic()
            server.terminate()
            # The traced thread is reported only to its tracer; the process is over when its ports are closed.
            while time.monotonic() - begin < 1 + MARGIN + 2:
                if any("ends at once" in line for line in server.log):
                    break
                time.sleep(0.1)
            assert any("ends at once" in line for line in server.log), "".join(server.log)
            assert time.monotonic() - begin < 1 + MARGIN + 1
        assert server.process.wait(5) == 1


def test_tenants_states_and_signals_leave_no_file_behind(binary, tmp_path):
    """kill -9 while the state is written: the next start finds a whole file."""
    flags = ["--speculation-state", str(tmp_path), "--speculation-save-every", "0.01"]
    for _ in range(3):
        with RunningServer(binary, "demo", *flags) as server:
            for seed in range(20):
                server.post("/v1/completions", {"prompt": "a", "max_tokens": 30, "seed": seed})
            time.sleep(0.7)
            server.process.kill()
            server.process.wait()
            assert not any("starts empty" in line for line in server.log)
    assert (tmp_path / "outputs.snapshot").stat().st_size > 40
