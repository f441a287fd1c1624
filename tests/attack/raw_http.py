"""Bytes on a socket, as no client library sends them, and what comes back."""

import json
import time

HOST = b"host: localhost\r\n"
JSON = b"content-type: application/json\r\n"


def post(path, body, headers=b"", close=True):
    """A well-formed POST. `body` is bytes, or what becomes JSON."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + JSON + b"content-length: %d\r\n" % len(text)
    return head + (b"connection: close\r\n" if close else b"") + headers + b"\r\n" + text


def get(path, headers=b"", close=True):
    head = b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + (b"connection: close\r\n" if close else b"")
    return head + headers + b"\r\n"


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


def exchange(server, sent, end_input=False, timeout=30):
    """The whole of what the server sends back before it closes."""
    with server.connect(timeout) as connection:
        try:
            connection.sendall(sent)
            if end_input:
                connection.shutdown(1)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was all sent
        return read_all(connection)


def status_of(answer):
    """The status of the first final answer; 0 when there is none."""
    while answer.startswith(b"HTTP/1.1 1"):
        answer = answer.split(b"\r\n\r\n", 1)[1]
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def header_of(answer, name):
    head = answer.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")[1:]
    fields = dict(line.split(": ", 1) for line in head)
    return fields.get(name)


def body_of(answer):
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
