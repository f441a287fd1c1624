"""A `coppice serve` process for tests: started on free ports, its ready line read, its metrics at hand."""

import json
import pathlib
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = re.compile(r"ready: (https?)://(\S+):(\d+) \(grpc (\S+)\) model (\S+) in \d+ ms")
START_SECONDS = 120
STOP_SECONDS = 60


class RunningServer:
    """Owner: a fixture. `with RunningServer(binary, "demo", "--max-running", "4") as server:`"""

    def __init__(self, binary, model, *flags, launcher=()):
        """`launcher`: arguments that stand between `binary`, then not the server itself, and the server's own."""
        small = [] if "--kv-memory" in flags else ["--kv-memory", "64MiB"]  # tests share their machine
        self.command = [str(binary), *launcher, "serve", str(model), "--port", "0", "--grpc-port", "0", *small, *flags]
        self.log = []
        self.terminated = False
        self.ready = threading.Event()
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, errors="replace")
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        end = time.monotonic() + START_SECONDS
        while not self.ready.wait(0.05) and self.process.poll() is None and time.monotonic() < end:
            pass
        if not self.ready.is_set():
            self.process.kill()
            self.reader.join(10)
            raise RuntimeError("not ready: " + " ".join(self.command) + "\n" + "".join(self.log))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)
            match = READY.search(line)
            if match:
                self.scheme, self.host, port, self.grpc, self.model = match.groups()
                self.port = int(port)
                self.ready.set()

    @property
    def url(self):
        return f"{self.scheme}://{self.host}:{self.port}"

    def connect(self, timeout=30):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers, body text); errors are answers too."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def post(self, path, body, headers=None):
        status, _, text = self.request("POST", path, body, headers)
        return status, json.loads(text)

    def metric(self, name, **labels):
        """The sum of the samples of that name whose labels include `labels`."""
        total, found = 0.0, False
        for line in self.request("GET", "/metrics")[2].splitlines():
            if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total, found = total + float(line.rsplit(" ", 1)[1]), True
        return total if found else None

    def wait_metric(self, name, value, seconds=10, **labels):
        """Waits until the metric has that value; the last value seen is returned."""
        end = time.monotonic() + seconds
        while True:
            seen = self.metric(name, **labels)
            if seen == value or time.monotonic() > end:
                return seen
            time.sleep(0.01)

    def terminate(self):
        """One SIGTERM: a second one would end the drain at once."""
        if not self.terminated:
            self.terminated = True
            self.process.terminate()

    def stop(self):
        """Exit code after SIGTERM."""
        self.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join(10)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
