"""What a client does with connections to the HTTP port: too many, silent ones, ones that never end what they began."""

import contextlib
import re
import socket
import ssl
import threading
import time

import pytest

import http2
from raw_http import HOST, exchange, get, post, read_all, resident_bytes, status_of, wait_until
from running_server import RunningServer

MIB = 1 << 20


def refusals(server, listener, reason):
    return server.metric("coppice:connections_refused_total", listener=listener, reason=reason) or 0


def open_many(server, count, sent=b""):
    stack = contextlib.ExitStack()
    for _ in range(count):
        connection = stack.enter_context(server.connect())
        with contextlib.suppress(OSError):
            connection.sendall(sent)
    return stack


HALF = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nho",
    "half a body": post("/v1/completions", b" " * 2000)[:-1000],
}


@pytest.mark.parametrize("name", HALF)
def test_connections_that_wait_for_their_clients_make_room(binary, name):
    """One client kept all places with silent connections: /health was 503 for everybody else."""
    with RunningServer(binary, "demo", "--max-connections", "50") as server:
        with open_many(server, 400, HALF[name]):
            time.sleep(0.4)
            for _ in range(20):
                assert status_of(exchange(server, get("/health"), timeout=5)) == 200
        assert wait_until(lambda: server.metric("coppice:http_connections") in range(10), 10)
        assert refusals(server, "http", "made_room") > 0
        assert server.stop() == 0


def test_connections_that_wait_for_the_server_stay(binary):
    with RunningServer(binary, "demo", "--max-connections", "8", "--max-running", "1") as server:
        body = {"prompt": "a", "max_tokens": 1900, "ignore_eos": True}
        connections = []
        for _ in range(8):
            connections.append(server.connect(60))
            connections[-1].sendall(post("/v1/completions", body))
        time.sleep(0.5)
        assert status_of(exchange(server, get("/health"))) == 503
        assert refusals(server, "http", "too_many_connections") == 0  # /metrics is refused too
        for connection in connections:
            assert status_of(read_all(connection)) == 200
            connection.close()
        assert wait_until(lambda: status_of(exchange(server, get("/health"))) == 200, 10)
        assert refusals(server, "http", "too_many_connections") > 0
        assert server.stop() == 0


def test_idle_connections_hold_little(binary, tmp_path):
    """4,000 idle connections held 400 MB after a body of 64 KB each, without a key, and for good."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-for-tests\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys)) as server:
        before = resident_bytes(server)
        connections = []
        for _ in range(3000):
            connection = server.connect()
            connection.sendall(post("/v1/completions", b" " * 65_000, close=False))
            connections.append(connection)
        for connection in connections:
            assert status_of(connection.recv(65536)) == 401
        time.sleep(1.5)
        assert resident_bytes(server) - before < 3000 * 20_000
        for connection in connections:
            connection.close()
        assert wait_until(lambda: resident_bytes(server) - before < 25 * MIB, 10), resident_bytes(server) - before
        assert server.stop() == 0


def test_out_of_file_handles(binary, tmp_path):
    wrapper = tmp_path / "coppice"
    wrapper.write_text(f'#!/bin/sh\nulimit -n 256\nexec {binary} "$@"\n')
    wrapper.chmod(0o755)
    with RunningServer(wrapper, "demo") as server:
        with open_many(server, 600):
            time.sleep(0.4)
            for _ in range(5):
                assert status_of(exchange(server, get("/health"), timeout=5)) == 200
        assert any("open files" in line for line in server.log)
        assert server.stop() == 0


def test_a_body_where_none_is_due_is_refused_early(binary, tmp_path):
    """Bodies of routes without a key filled the memory bound of all requests."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-for-tests\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys)) as server:
        head = b"GET /health HTTP/1.1\r\n" + HOST + b"content-length: 15000000\r\n\r\n"
        before = resident_bytes(server)
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                connection = stack.enter_context(server.connect())
                with contextlib.suppress(OSError):
                    connection.sendall(head + b" " * 14_000_000)
                assert status_of(read_all(connection)) == 413
            assert resident_bytes(server) - before < 40 * MIB
        assert server.stop() == 0


@pytest.fixture(scope="module")
def tls_server(binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    import subprocess

    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    flags = ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"), "--max-handshakes", "16"]
    with RunningServer(binary, "demo", *flags) as running:
        yield running
        assert running.stop() == 0, "".join(running.log)


def client_context(protocols=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def tls_get(server, path, timeout=20):
    with client_context().wrap_socket(server.connect(timeout)) as connection:
        connection.sendall(get(path))
        return read_all(connection)


def tls_refusals(server, listener, reason):
    page = tls_get(server, "/metrics").decode()
    found = re.search(rf'connections_refused_total{{listener="{listener}",reason="{reason}"}} (\d+)', page)
    return int(found.group(1)) if found else 0


# What a client says first, and then nothing.
HELLO = bytes.fromhex("16030100fc")
SILENCE = {"nothing": b"", "half a hello": HELLO}


@pytest.mark.parametrize("listener", ["http", "grpc"])
@pytest.mark.parametrize("name", SILENCE)
def test_handshakes_that_stand_still_give_their_places_up(tls_server, listener, name):
    host, port = (tls_server.host, tls_server.port) if listener == "http" else tls_server.grpc.rsplit(":", 1)
    before = tls_refusals(tls_server, listener, "handshake")
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            connection.sendall(SILENCE[name])
        begin = time.monotonic()
        if listener == "http":
            assert status_of(tls_get(tls_server, "/health")) == 200
        else:
            with http2.Connection(tls_server.grpc, wrap=client_context(("h2",)).wrap_socket) as connection:
                assert connection.read_until(http2.SETTINGS)
        # 60 in turns of 16 and half a second each; without their leaving it would be --header-timeout, 15 s.
        assert time.monotonic() - begin < 8
    assert tls_refusals(tls_server, listener, "handshake") > before


def test_many_honest_handshakes_at_once_all_end(tls_server):
    statuses = []

    def call():
        statuses.append(status_of(tls_get(tls_server, "/health", timeout=60)))

    threads = [threading.Thread(target=call) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100


def test_log_lines_of_requests_say_who_asked(binary):
    import grpc_calls

    with RunningServer(binary, "demo") as server:
        headers = {"x-forwarded-for": "192.0.2.7"}
        assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 1}, headers)[0] == 200
        grpc_calls.works(server.grpc)

        def lines(route):
            return [line for line in server.log if f" {route} client 127.0.0.1 status 200 " in line]

        assert wait_until(lambda: lines("/v1/completions") and lines("Generate"), 5), server.log
        assert not any("192.0.2.7" in line for line in server.log)  # a header may say anything
        assert server.stop() == 0
