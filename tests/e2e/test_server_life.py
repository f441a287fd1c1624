"""Routes that are not generation, keys, TLS, limits of the queue, shutdown."""

import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request

import grpc
import pytest

from running_server import RunningServer
from test_grpc import Stub, whole
from test_overload import details_of

LONG = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True}
KEY = "a-key-for-tests"


def test_small_routes(server):
    assert server.request("GET", "/health")[0] == 200
    assert server.request("GET", "/ready")[0] == 200
    assert json.loads(server.request("GET", "/version")[2])["version"]
    status, headers, page = server.request("GET", "/")
    assert status == 200 and headers["content-type"].startswith("text/html") and "Coppice" in page
    status, headers, _ = server.request("GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")


def test_unknown_routes_and_methods(server):
    status, headers, body = server.request("GET", "/v1/nothing")
    assert status == 404 and json.loads(body)["error"]["code"] == "unknown_route"
    assert headers["x-request-id"]
    status, headers, _ = server.request("GET", "/v1/completions")
    assert status == 405 and headers["allow"] == "POST"
    assert server.request("DELETE", "/health")[0] == 405
    assert server.request("HEAD", "/health")[0] == 200


def test_request_ids_that_are_not_fit_are_replaced(server):
    for given in ("a" * 200, "with space"):
        assert server.request("GET", "/health", headers={"x-request-id": given})[1]["x-request-id"] != given


def test_ready_line_has_the_contract_form(server):
    assert any(line.startswith("ready: http://127.0.0.1:") and " model demo in " in line for line in server.log)


def test_keys(binary, tmp_path):
    (tmp_path / "keys").write_text(f"# test\n{KEY}\n")
    routes = {
        "/v1/models": "GET",
        "/v1/models/demo": "GET",
        "/v1/completions": "POST",
        "/v1/chat/completions": "POST",
        "/tokenize": "POST",
        "/detokenize": "POST",
    }
    with RunningServer(binary, "demo", "--api-key-file", str(tmp_path / "keys")) as server:
        for path, method in routes.items():
            body = (
                None
                if method == "GET"
                else {"prompt": "a", "tokens": [5], "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]}
            )
            assert server.request(method, path, body)[0] == 401, path
            assert server.request(method, path, body, {"authorization": "Bearer wrong-key"})[0] == 401, path
            assert server.request(method, path, body, {"authorization": f"Bearer {KEY}"})[0] == 200, path
        for path in ("/health", "/ready", "/version", "/metrics", "/"):
            assert server.request("GET", path)[0] == 200, path
        assert server.stop() == 0


def test_tls(binary, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    with RunningServer(binary, "demo", "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        assert server.scheme == "https"
        context = ssl.create_default_context(cafile=str(certificate))
        body = json.dumps({"prompt": "a", "max_tokens": 4, "stream": True}).encode()
        json_type = {"content-type": "application/json"}
        request = urllib.request.Request(server.url + "/v1/completions", body, headers=json_type)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            assert answer.read().endswith(b"data: [DONE]\n\n")
        # A client that leaves in mid-stream is noticed through TLS as well.
        raw = context.wrap_socket(server.connect(), server_hostname="127.0.0.1")
        long_body = json.dumps({**LONG, "stream": True}).encode()
        head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        raw.sendall(head + b"content-length: %d\r\n\r\n" % len(long_body) + long_body)
        raw.recv(100)
        raw.close()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with urllib.request.urlopen(server.url + "/metrics", timeout=30, context=context) as answer:
                page = answer.read().decode()
            if 'vllm:num_requests_running{engine="0",model_name="demo"} 0' in page:
                break
        assert 'vllm:num_requests_running{engine="0",model_name="demo"} 0' in page
        with server.connect() as plain:  # not TLS at all
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(100)
        assert server.stop() == 0


def test_full_queue_is_429_with_retry_after(binary):
    with RunningServer(binary, "demo", "--max-running", "1", "--max-queued", "1") as server:
        results = []

        def ask():
            status, headers, body = server.request("POST", "/v1/completions", {**LONG, "max_tokens": 300})
            results.append((status, headers.get("retry-after"), body))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(status for status, _, _ in results)
        assert statuses[0] == 200 and statuses[-1] == 429
        assert set(statuses) == {200, 429}
        assert all(int(retry) > 0 for status, retry, _ in results if status == 429)
        assert server.stop() == 0


def test_deadline_is_408(binary):
    with RunningServer(binary, "demo", "--request-timeout", "0.05") as server:
        status, body = server.post("/v1/completions", LONG)
        assert status == 408 and body["error"]["code"] == "deadline_exceeded"
        assert server.wait_metric("vllm:num_requests_running", 0) == 0
        assert server.stop() == 0


def test_sigterm_lets_running_requests_end(binary):
    with RunningServer(binary, "demo") as server:
        answers = []

        def ask():
            answers.append(server.request("POST", "/v1/completions", {**LONG, "max_tokens": 400}))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert server.wait_metric("vllm:num_requests_running", 4) == 4
        server.terminate()
        for thread in threads:
            thread.join()
        assert [status for status, _, _ in answers] == [200] * 4
        assert all(json.loads(body)["usage"]["completion_tokens"] == 400 for _, _, body in answers)
        assert server.stop() == 0


def test_sigterm_turns_away_first_and_lets_streams_end(binary):
    """No one new is let in, at once; then streams that run get all their tokens; then the end."""
    with RunningServer(binary, "demo") as server:
        answers = []

        def ask():
            wanted = {**LONG, "max_tokens": 1500, "stream": True, "stream_options": {"include_usage": True}}
            answers.append(server.request("POST", "/v1/completions", wanted))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert server.wait_metric("vllm:num_requests_running", 4) == 4
        stub = Stub(server.grpc)
        begin_grpc = stub.call("Generate", text="a", sampling={"max_tokens": 1500, "ignore_eos": True})
        next(begin_grpc)
        idle = server.connect()
        server.terminate()
        assert server.wait_metric("coppice:ready", 0) == 0
        refusals = 0
        while any(thread.is_alive() for thread in threads):
            try:
                ready, _, text = server.request("GET", "/ready")
                status, refused, body = server.request("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1})
                live = server.request("GET", "/live")[0]
            except OSError:  # the last stream has ended meanwhile
                break
            assert ready == 503 and "draining" in text
            assert live == 200 and status == 503 and json.loads(body)["error"]["code"] == "draining"
            assert refused["x-coppice-refused"] == "draining" and int(refused["retry-after"]) > 0
            if refusals == 0:
                with pytest.raises(grpc.RpcError) as answer:
                    list(stub.call("Generate", text="a", sampling={"max_tokens": 1}))
                assert answer.value.code() == grpc.StatusCode.UNAVAILABLE
                assert details_of(answer.value)[0] == "DRAINING"
                load = stub.call("GetLoad")  # a router that asks is told, not refused
                assert load.draining and load.running == 5
            refusals += 1
            time.sleep(0.01)
        assert refusals > 1
        idle.close()
        for thread in threads:
            thread.join()
        assert whole(begin_grpc)[2].completion_tokens == 1500
        for status, _, body in answers:
            events = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
            assert status == 200 and events[-1] == "[DONE]"
            assert json.loads(events[-2])["usage"]["completion_tokens"] == 1500
        assert server.stop() == 0


def test_drain_timeout_cuts_off_with_an_error(binary):
    with RunningServer(binary, "demo", "--drain-timeout", "0.2", "--max-running", "1") as server:
        answers = []

        def ask(stream):
            answers.append(server.request("POST", "/v1/completions", {**LONG, "max_tokens": 1900, "stream": stream}))

        threads = [threading.Thread(target=ask, args=(i == 0,)) for i in range(12)]
        for thread in threads:
            thread.start()
        assert server.wait_metric("vllm:num_requests_running", 1) == 1
        server.terminate()
        for thread in threads:
            thread.join()
        assert server.stop() == 0
        cut = [body for status, _, body in answers if status == 503 or '"error"' in body]
        assert cut and all("shutting down" in body for body in cut)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--port", "99999"], "port"),
        (["--host", "no.such.host.invalid"], "--host"),
        (["--tls-cert", "/nothing"], "--tls-key"),
        (["--api-key-file", "/nothing"], "--api-key-file"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(binary, flags, words):
    ended = subprocess.run(
        [str(binary), "serve", "demo", "--grpc-port", "-1", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert words in ended.stderr.splitlines()[-1]


def test_port_in_use(binary, server):
    ended = subprocess.run(
        [str(binary), "serve", "demo", "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "in use" in ended.stderr


def test_json_log(binary):
    with RunningServer(binary, "demo", "--log-format", "json") as server:
        server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})
        assert server.stop() == 0
        lines = [line for line in server.log if not line.startswith("ready: ")]
        entries = [json.loads(line) for line in lines]
        assert any("/v1/completions client 127.0.0.1 status 200" in entry["message"] for entry in entries)


def test_without_a_gpu_cuda_is_refused_in_one_line(binary):
    run = subprocess.run(
        [binary, "serve", "demo", "--device", "cuda", "--port", "0", "--grpc-port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and "--device cuda: " in run.stderr


def test_without_a_gpu_auto_computes_on_the_cpu(binary, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with RunningServer(binary, "demo", "--device", "auto") as server:
        assert server.request("GET", "/ready")[0] == 200
        assert sum("computing on the CPU: " in line for line in server.log) == 1


def test_pinned_prompts_are_cached_from_the_start(binary, tmp_path):
    system = {"role": "system", "content": "You are a patient teller of old tales. " * 8}
    pins = tmp_path / "pins"
    pins.write_text(json.dumps({"prompt": list(range(10, 110))}) + "\n\n" + json.dumps({"messages": [system]}) + "\n")
    with RunningServer(binary, "demo", "--pin-file", str(pins)) as server:
        assert server.metric("coppice:kv_pages_pinned") > 6
        _, first = server.post("/v1/completions", {"prompt": list(range(10, 130)), "max_tokens": 2})
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 96
        messages = [system, {"role": "user", "content": "a"}]
        _, chat = server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 2})
        assert chat["usage"]["prompt_tokens_details"]["cached_tokens"] > 32
        assert server.stop() == 0


PINS = [("nonsense", "line 1: "), ('{"prompt": ["a", "b"]}', "one prompt"), ("[]", "not an")]


@pytest.mark.parametrize("line,words", PINS)
def test_pins_that_cannot_be(binary, tmp_path, line, words):
    (tmp_path / "pins").write_text(line + "\n")
    flags = ["--port", "0", "--grpc-port", "-1", "--kv-memory", "64MiB", "--pin-file", str(tmp_path / "pins")]
    done = subprocess.run([str(binary), "serve", "demo", *flags], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and words in done.stderr
