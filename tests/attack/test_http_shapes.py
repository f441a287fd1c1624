"""Requests whose shape is wrong, or open to two readings: each gets one status, at once, and harms no other client."""

import socket
import struct
import threading
import time

import pytest

from raw_http import HOST, JSON, body_of, exchange, get, header_of, post, read_all, status_of, wait_until
from running_server import RunningServer

SMALL = b'{"prompt":"a","max_tokens":1}'
HEAD = b"POST /tokenize HTTP/1.1\r\n" + HOST + JSON
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n"
CHUNKS = b"e\r\n" + b'{"prompt":"a"}' + b"\r\n"

SHAPES = [
    # Bodies whose end is a matter of opinion.
    (400, HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
    (400, HEAD + b"content-length: -1\r\n\r\n"),
    (400, HEAD + b"content-length: +3\r\n\r\nabc"),
    (400, HEAD + b"content-length: 0x3\r\n\r\nabc"),
    (400, HEAD + b"content-length: 3, 4\r\n\r\nabc"),
    (400, HEAD + b"content-length: 99999999999999999999\r\n\r\n"),
    (413, HEAD + b"content-length: 999999999\r\n\r\n"),
    (400, HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    # Chunks.
    (400, CHUNKED + b"\r\nzz\r\n"),
    (400, CHUNKED + b"\r\n-1\r\n"),
    (400, CHUNKED + b"\r\n0x1\r\na\r\n"),
    (400, CHUNKED + b"\r\n1 \r\na\r\n"),
    (400, CHUNKED + b"\r\n 1\r\na\r\n"),
    (400, CHUNKED + b"\r\n1\na\r\n"),
    (400, CHUNKED + b"\r\n1\r\nab\r\n"),
    (400, CHUNKED + b"\r\n1\r\na\n"),
    (400, CHUNKED + b"\r\n1;\x00\r\na\r\n"),
    (413, CHUNKED + b"\r\nffffffffffffffff\r\n"),
    (413, CHUNKED + b"\r\nfffffffffffffffff\r\n"),
    (413, CHUNKED + b"\r\n2000000\r\n"),
    (400, CHUNKED + b"\r\n1;" + b"a" * 200_000),
    # Trailers.
    (400, CHUNKED + b"\r\n" + CHUNKS + b"0\r\nbad\r\n\r\n"),
    (400, CHUNKED + b"\r\n" + CHUNKS + b"0\r\n folded: x\r\n\r\n"),
    (400, CHUNKED + b"\r\n" + CHUNKS + b"0\r\nx y: z\r\n\r\n"),
    (431, CHUNKED + b"\r\n" + CHUNKS + b"0\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"),
    (431, CHUNKED + b"\r\n" + CHUNKS + b"0\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"),
    (431, CHUNKED + b"\r\n" + CHUNKS + b"0\r\n" + b"x: y\r\n" * 10_000),
    # Hosts and targets.
    (400, b"GET /health HTTP/1.1\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\nhost: localhost, evil\r\nhost: localhost\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\nhost: a b\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\nhost: localhost/x\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\nhost: user@localhost\r\n\r\n"),
    (400, b"GET http:///health HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET http://u@localhost/health HTTP/1.1\r\n" + HOST + b"\r\n"),
    (200, b"GET http://localhost/health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"),
    (403, b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (200, b"GET /health HTTP/1.0\r\n\r\n"),
    (404, b"GET * HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (404, b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (404, b"GET //health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (404, b"GET /health/../health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (405, b"PUT /health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    (405, b"TRACE /health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"),
    # Headers.
    (415, HEAD + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"),
    (415, HEAD + b"content-encoding: br, identity\r\ncontent-length: 3\r\n\r\nabc"),
    (200, HEAD + b"content-encoding: identity\r\nconnection: close\r\ncontent-length: 14\r\n\r\n" + b'{"prompt":"a"}'),
    (431, b"GET /health HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 200 + b"\r\n"),
    (431, b"GET /health HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 100_000 + b"\r\n\r\n"),
    (431, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET /health HTTP/1.1\r\n" + HOST + b"bad header line\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\n" + HOST + b"x : y\r\n\r\n"),
    (400, b"GET /health HTTP/1.1\r\n" + HOST + b"x\x00: y\r\n\r\n"),
    (400, b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n"),
    (400, b"GET /health\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200),
    (400, b"\x00" * 1000),
    (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_shape(server, number):
    status, sent = SHAPES[number]
    started = time.monotonic()
    answer = exchange(server, sent)
    assert status_of(answer) == status, (sent[:200], answer[:300])
    assert answer.count(b"\r\ndate: ") == 1, answer[:500]
    assert len(answer) < 2500 and time.monotonic() - started < 5
    assert server.request("GET", "/health")[0] == 200


@pytest.mark.parametrize("name", ["authorization", "Authorization", "x-api-key", "host", "content-type"])
def test_a_key_in_a_trailer_is_no_key(binary, tmp_path, name):
    (tmp_path / "keys").write_text("a-key-for-tests\n")
    with RunningServer(binary, "demo", "--api-key-file", str(tmp_path / "keys")) as keyed:
        trailer = name.encode() + b": Bearer a-key-for-tests\r\n"
        end = b"connection: close\r\n\r\n" + CHUNKS + b"0\r\n"
        assert status_of(exchange(keyed, CHUNKED + end + trailer + b"\r\n")) == 401
        key = b"authorization: Bearer a-key-for-tests\r\n"
        assert status_of(exchange(keyed, CHUNKED + key + end + trailer + b"\r\n")) == 200
        # A large body without a key is refused before it is read.
        large = HEAD + b"content-length: 15000000\r\n\r\n" + b" " * 200_000
        started = time.monotonic()
        assert status_of(exchange(keyed, large)) == 401
        assert time.monotonic() - started < 3
        assert keyed.stop() == 0


def test_a_client_that_ends_its_input_gets_its_answer(server):
    long = post("/v1/completions", {"prompt": "a", "max_tokens": 300, "ignore_eos": True})
    answer = exchange(server, long, end_input=True)
    assert status_of(answer) == 200 and b'"completion_tokens":300' in answer
    stream = post("/v1/completions", {"prompt": "a", "max_tokens": 50, "ignore_eos": True, "stream": True})
    assert exchange(server, stream, end_input=True).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ahead", [0, 10, 400_000])
def test_a_client_that_leaves_stops_its_work(server, stream, ahead):
    body = {"prompt": "a", "max_tokens": 1900, "ignore_eos": True, "stream": stream, "n": 8, "seed": 1}
    before = server.metric("vllm:generation_tokens_total")
    with server.connect() as connection:
        connection.sendall(post("/v1/completions", body, close=False))
        assert wait_until(lambda: server.metric("vllm:num_requests_running") > 0, 5)
        connection.sendall(get("/health", close=False) * (ahead // 40))
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=3) == 0
    assert server.metric("vllm:generation_tokens_total") - before < 8 * 1900


def test_resets_and_cancel_storms_leave_nothing_behind(server):
    def storm(seed):
        for i in range(30):
            with server.connect() as connection:
                body = {"prompt": "a " * (seed + i), "max_tokens": 500, "stream": i % 2 == 0, "n": 1 + i % 3}
                connection.sendall(post("/v1/completions", body))
                if i % 3 == 0:
                    connection.recv(10)
                if i % 4 == 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0
    assert server.wait_metric("vllm:num_requests_waiting", 0, seconds=10) == 0
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] == 200


def test_slowloris(binary):
    with RunningServer(binary, "demo", "--header-timeout", "1", "--max-connections", "300") as strict:
        held = []
        for i in range(200):
            connection = strict.connect()
            connection.sendall(b"GET /health HTTP/1.1\r\n" if i % 2 == 0 else HEAD + b"content-length: 1000\r\n\r\n{")
            held.append(connection)
        for _ in range(3):
            started = time.monotonic()
            assert strict.request("GET", "/health")[0] == 200
            assert strict.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] == 200
            assert time.monotonic() - started < 2
            time.sleep(0.5)
        for connection in held[::2]:
            assert status_of(read_all(connection)) == 408
        strict.terminate()  # the slow bodies do not hold the end up
        assert strict.stop() == 0
        for connection in held:
            connection.close()


def test_unread_streams_are_cut_and_hold_no_other_client_up(server):
    body = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True, "logprobs": 20, "n": 16}
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(post("/v1/completions", body))
        assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})[0] == 200
        assert server.wait_metric("vllm:num_requests_running", 0, seconds=60) == 0


def test_out_of_file_handles(binary):
    command = f"ulimit -n 80; exec '{binary}' \"$@\""
    with RunningServer("/bin/bash", "demo", launcher=["-c", command, "coppice"]) as small:
        with small.connect() as open_before:
            held = []
            for _ in range(200):
                try:
                    held.append(small.connect(timeout=5))
                except OSError:
                    break
            for _ in range(20):
                open_before.sendall(get("/health", close=False))
                assert open_before.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(1.5)
            for connection in held:
                connection.close()
            # As many connections are taken as the handles allow, so that none runs out; a line says so.
            assert sum("open files" in line for line in small.log) >= 1, small.log
            assert sum("out of file handles" in line for line in small.log) <= 8
        assert wait_until(lambda: small.request("GET", "/health")[0] == 200, 5)
        assert small.stop() == 0


def test_requests_of_many_prompts_are_taken_or_told_how_many_fit(server):
    for prompts in (1024, 1025, 2048, 2049):
        status, answer = server.post("/v1/completions", {"prompt": ["a"] * prompts, "max_tokens": 1})
        if prompts <= 1024:
            assert status == 200 and len(answer["choices"]) == prompts
        else:
            assert status == 400 and "at most 1024 prompts" in answer["error"]["message"]
            assert answer["error"]["param"] == "prompt"


def test_answers_still_come_in_order_and_whole(server):
    requests = [get("/version", close=False), post("/tokenize", {"prompt": "a " * 9000}, close=False)]
    requests += [post("/v1/completions", SMALL, close=False), get("/live")]
    answer = exchange(server, b"".join(requests))
    places = [answer.find(mark) for mark in (b'"version"', b'"count"', b'"text_completion"', b'"status"')]
    assert -1 not in places and places == sorted(places)


def test_front_page_is_not_for_frames(server):
    answer = exchange(server, get("/"))
    assert "frame-ancestors 'none'" in header_of(answer, "content-security-policy")
    assert header_of(answer, "x-frame-options") == "DENY"
    assert header_of(answer, "x-content-type-options") == "nosniff"


def test_an_error_is_a_line_whatever_came(server):
    rows = [b"1" * 5_000_000, b'"' + b"x" * 5_000_000, b'{"model":"' + b"x" * 5_000_000 + b'"}']
    rows.append(b'{"prompt":"a","tool_choice":1,"logit_bias":{"' + b"9" * 900 + b'":1}}')
    for row in rows:
        answer = exchange(server, post("/v1/completions", row))
        assert status_of(answer) == 400
        assert len(body_of(answer)["error"]["message"].encode()) <= 1024
