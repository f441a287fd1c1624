"""Pages of strangers that use the server through their visitor's browser: simple requests, rebinding, preflights."""

import pytest

from raw_http import HOST, body_of, exchange, get, header_of, status_of
from running_server import RunningServer

BODY = b'{"prompt":"a","max_tokens":1}'


def send(server, path, headers, host=HOST, method=b"POST", body=BODY):
    head = method + b" " + path + b" HTTP/1.1\r\n" + host + headers + b"connection: close\r\n"
    return exchange(server, head + b"content-length: %d\r\n\r\n" % len(body) + body)


JSON = b"content-type: application/json\r\n"
EVIL = b"origin: http://evil.example\r\n"
PATHS = [b"/v1/completions", b"/v1/chat/completions", b"/tokenize", b"/detokenize", b"/v1/speculation/corpora"]


@pytest.mark.parametrize("path", PATHS)
def test_simple_requests_of_other_sites_are_refused(server, path):
    rows = [
        (403, "origin_not_allowed", JSON + EVIL, HOST),
        (403, "origin_not_allowed", b"content-type: text/plain\r\n" + EVIL, HOST),
        (403, "origin_not_allowed", JSON + b"origin: null\r\n", HOST),
        (403, "origin_not_allowed", JSON + b"origin: http://localhost:1\r\n", HOST),
        (403, "origin_not_allowed", JSON + b"sec-fetch-site: cross-site\r\n", HOST),
        (403, "origin_not_allowed", JSON + b"sec-fetch-site: same-site\r\n", HOST),
        (403, "host_not_allowed", JSON, b"host: evil.example\r\n"),
        (403, "host_not_allowed", JSON + b"origin: http://evil.example\r\n", b"host: evil.example\r\n"),
        (403, "host_not_allowed", JSON, b"host: localhost.evil.example:80\r\n"),
        (403, "host_not_allowed", JSON, b"host: 127.0.0.1.evil.example\r\n"),
        (415, "unsupported_media_type", b"content-type: text/plain\r\n", HOST),
        (415, "unsupported_media_type", b"content-type: application/x-www-form-urlencoded\r\n", HOST),
        (415, "unsupported_media_type", b"content-type: multipart/form-data; boundary=x\r\n", HOST),
        (415, "unsupported_media_type", b"", HOST),
    ]
    for status, code, headers, host in rows:
        answer = send(server, path, headers, host)
        assert status_of(answer) == status, (headers, host, answer[:300])
        assert body_of(answer)["error"]["code"] == code
        assert header_of(answer, "access-control-allow-origin") is None


def test_own_pages_and_programs_are_served(server):
    own = f"host: localhost:{server.port}\r\n".encode()
    assert status_of(send(server, b"/v1/completions", JSON)) == 200
    origin = b"origin: http://localhost:%d\r\n" % server.port
    assert status_of(send(server, b"/v1/completions", JSON + origin, own)) == 200
    assert status_of(send(server, b"/v1/completions", JSON + b"sec-fetch-site: same-origin\r\n", own)) == 200
    for host in (b"127.0.0.1", b"[::1]:8080", b"localhost:99", b"LOCALHOST"):
        assert status_of(send(server, b"/v1/completions", JSON, b"host: " + host + b"\r\n")) == 200
    assert status_of(exchange(server, get("/", b"sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n"))) == 200


def test_rebinding_reads_nothing(server):
    for path in ("/", "/v1/models", "/metrics", "/health", "/v1/speculation/corpora"):
        answer = exchange(server, get(path).replace(HOST, b"host: evil.example\r\n"))
        assert status_of(answer) == 403, path


def test_preflights(server, binary):
    ask = b"origin: https://app.example\r\naccess-control-request-method: POST\r\n"
    assert status_of(send(server, b"/v1/completions", ask, method=b"OPTIONS", body=b"")) == 405
    flags = ["--cors-origin", "https://app.example, https://b.example", "--allowed-hosts", "box.lan"]
    with RunningServer(binary, "demo", *flags) as open_server:
        answer = send(open_server, b"/v1/completions", ask, method=b"OPTIONS", body=b"")
        assert status_of(answer) == 204
        assert header_of(answer, "access-control-allow-origin") == "https://app.example"
        assert "content-type" in header_of(answer, "access-control-allow-headers")
        assert header_of(answer, "vary") == "origin"
        answer = send(open_server, b"/v1/completions", JSON + b"origin: https://b.example\r\n")
        assert status_of(answer) == 200
        assert header_of(answer, "access-control-allow-origin") == "https://b.example"
        stream = b'{"prompt":"a","max_tokens":1,"stream":true}'
        answer = send(open_server, b"/v1/completions", JSON + b"origin: https://b.example\r\n", body=stream)
        assert header_of(answer, "access-control-allow-origin") == "https://b.example"
        assert status_of(send(open_server, b"/v1/completions", JSON + EVIL)) == 403
        evil_ask = ask.replace(b"app.example", b"evil.example")
        assert status_of(send(open_server, b"/v1/completions", evil_ask, method=b"OPTIONS", body=b"")) == 405
        assert status_of(send(open_server, b"/v1/completions", JSON, b"host: box.lan:80\r\n")) == 200
        assert status_of(send(open_server, b"/v1/completions", JSON, b"host: other.lan\r\n")) == 403
        assert open_server.stop() == 0


def test_administration_on_a_port_of_its_own(binary):
    with RunningServer(binary, "demo", "--admin-port", "0") as running:
        assert running.request("GET", "/v1/speculation/corpora")[0] == 404
        line = next(line for line in running.log if "administration: http://127.0.0.1:" in line)
        running.port = int(line.rsplit(":", 1)[1])
        assert running.request("GET", "/v1/speculation/corpora")[0] == 200
        assert running.request("GET", "/v1/models")[0] == 404
        assert running.request("GET", "/live")[0] == 200
        assert running.stop() == 0
