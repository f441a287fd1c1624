"""Raw sockets: what no client library would send, and what the server must survive."""

import json
import socket
import struct
import threading
import time

import pytest

from running_server import RunningServer


@pytest.fixture(scope="module")
def strict(binary):
    """A server with short patience and small bounds."""
    flags = ["--header-timeout", "1", "--idle-timeout", "2", "--max-connections", "40", "--max-body", "1MiB"]
    with RunningServer(binary, "demo", *flags) as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0


def read_all(connection):
    data = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


def completion_request(body, extra="", version="1.1"):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/{version}\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\n{extra}\r\n"
    )
    return head.encode() + text


def alive(server):
    assert server.request("GET", "/health")[0] == 200


SMALL = {"prompt": "a", "max_tokens": 2}


def test_slow_loris_is_sent_away(strict):
    with strict.connect() as connection:
        started = time.monotonic()
        answer = b""
        connection.settimeout(0.2)
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        while time.monotonic() - started < 10:
            try:
                piece = connection.recv(4096)
                answer += piece
                if not piece:
                    break
            except TimeoutError:
                try:
                    connection.sendall(b"x: y\r\n")
                except OSError:
                    break
        assert time.monotonic() - started < 8
        assert b"408" in answer.split(b"\r\n")[0]
    alive(strict)


def test_idle_connections_are_closed(strict):
    with strict.connect() as connection:
        assert read_all(connection) == b""


def test_huge_header(strict):
    with strict.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: " + b"a" * 100_000 + b"\r\n\r\n")
        assert b" 431 " in read_all(connection).split(b"\r\n")[0]
    alive(strict)


def test_body_too_large_is_refused_before_it_is_sent(strict):
    with strict.connect() as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-length: 2000000\r\nexpect: 100-continue\r\n\r\n"
        )
        assert b" 413 " in read_all(connection).split(b"\r\n")[0]
    with strict.connect() as connection:  # chunked: its size is not told beforehand
        head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        try:
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        except OSError:
            pass
        assert b" 413 " in read_all(connection).split(b"\r\n")[0]
    alive(strict)


def test_expect_continue(strict):
    request = completion_request(SMALL, "expect: 100-continue\r\nconnection: close\r\n")
    head, body = request.split(b"\r\n\r\n", 1)
    with strict.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        assert b" 200 OK" in read_all(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n\r\n",
        b"NOT HTTP AT ALL\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header line\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 1000,
    ],
)
def test_bad_http_gets_an_error_or_a_close(strict, sent):
    with strict.connect() as connection:
        connection.sendall(sent)
        answer = read_all(connection)
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"404", b"405", b"408", b"413"), answer[:100]
    alive(strict)


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 3\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked\r\ncontent-length: 3",
        b"content-length: 3\r\ncontent-length: 4",
        b"transfer-encoding: xchunked",
        b"transfer-encoding: chunked, identity",
        b"transfer-encoding: identity",
        b"x : y",
    ],
)
def test_bodies_whose_end_is_a_matter_of_opinion(strict, headers):
    with strict.connect() as connection:
        connection.sendall(b"POST /tokenize HTTP/1.1\r\nhost: localhost\r\n" + headers + b"\r\n\r\n0\r\n\r\n")
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"\r\ndate: ") == 1, answer
    alive(strict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"prompt":',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"prompt":"\\ud800"}',
        b'{"a":1e999}',
        b'{"prompt":"a","n":1,"n":2}',
        b'{"prompt":' + b"[" * 50 + b"]" * 50 + b"}",
    ],
)
def test_bad_json(strict, body):
    with strict.connect() as connection:
        connection.sendall(completion_request(body, "connection: close\r\n"))
        answer = read_all(connection)
        assert b" 400 " in answer.split(b"\r\n")[0]
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["message"]
    alive(strict)


def test_pipelined_requests_are_answered_in_order(strict):
    with strict.connect() as connection:
        requests = [
            b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n",
            completion_request(SMALL),
            b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
            completion_request({**SMALL, "stream": True}),
            b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        ]
        connection.sendall(b"".join(requests))
        answer = read_all(connection)
    places = [
        answer.find(mark) for mark in (b'"version"', b'"text_completion"', b'{"status":"ok"}', b"[DONE]", b" 404 ")
    ]
    assert -1 not in places and places == sorted(places), answer


def test_bytes_one_by_one(strict):
    with strict.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in completion_request(SMALL, "connection: close\r\n"):
            connection.sendall(bytes([byte]))
        assert b" 200 OK" in read_all(connection)


def test_half_closed_client_gets_its_answer(strict):
    long = {"prompt": "a", "max_tokens": 400, "ignore_eos": True}
    for request in (b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", completion_request(long)):
        with strict.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
            while answer.startswith(b"HTTP/1.1 100 "):  # asks whether the client is still there
                answer = answer.split(b"\r\n\r\n", 1)[1]
            assert answer.startswith(b"HTTP/1.1 200 OK"), answer[:100]


@pytest.mark.parametrize("ahead", [0, 200_000])
def test_a_client_that_leaves_frees_its_sequence(strict, ahead):
    with strict.connect() as connection:
        connection.sendall(completion_request({"prompt": "a", "max_tokens": 1500, "ignore_eos": True}))
        assert strict.wait_metric("vllm:num_requests_running", 1) == 1
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" * (ahead // 40))
    assert strict.wait_metric("vllm:num_requests_running", 0, seconds=2) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_reset_mid_answer_frees_the_sequence(strict, stream):
    with strict.connect() as connection:
        body = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": stream}
        connection.sendall(completion_request(body))
        assert strict.wait_metric("vllm:num_requests_running", 1) == 1
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert strict.wait_metric("vllm:num_requests_running", 0, seconds=2) == 0


def test_too_many_connections_are_told_so(strict):
    held = [strict.connect() for _ in range(40)]
    try:
        with strict.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b" 503 " in read_all(connection).split(b"\r\n")[0]
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.2)
    alive(strict)


def test_http_1_0_stream_ends_with_the_connection(strict):
    with strict.connect() as connection:
        connection.sendall(completion_request({**SMALL, "stream": True}, version="1.0"))
        answer = read_all(connection)
    assert b"transfer-encoding" not in answer.lower()
    assert answer.endswith(b"data: [DONE]\n\n")


def test_a_reader_that_stops_reading_does_not_hold_others_up(strict):
    body = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True, "logprobs": 20, "n": 8}
    with strict.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(completion_request(body))
        assert strict.post("/v1/completions", SMALL)[0] == 200
    assert strict.wait_metric("vllm:num_requests_running", 0, seconds=5) == 0


def test_many_abusers_at_once(strict):
    """Threads that send garbage, leave early and reset; the server serves on."""

    def abuse(seed):
        for i in range(20):
            try:
                with strict.connect() as connection:
                    kind = (seed + i) % 4
                    if kind == 0:
                        connection.sendall(b"\x00\xff" * 50)
                    elif kind == 1:
                        connection.sendall(completion_request({**SMALL, "stream": True}))
                    elif kind == 2:
                        connection.sendall(completion_request(SMALL)[:40])
                    else:
                        connection.sendall(completion_request({**SMALL, "max_tokens": 500, "stream": True}))
                        connection.recv(100)
            except OSError:
                pass

    threads = [threading.Thread(target=abuse, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert strict.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0
    assert strict.post("/v1/completions", SMALL)[0] == 200
