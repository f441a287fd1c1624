"""What a client does to the gRPC port before and beside its calls: floods, resets, silence, too many connections."""

import contextlib
import socket
import ssl
import subprocess
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import grpc_calls
import http2
from grpc_calls import Caller, generate
from http2 import Connection, frame
from running_server import RunningServer

MANY = 40000  # frames of a flood: far more than any bound lets through
MEMORY_MARGIN = 120 << 20  # bytes that buffers and the allocator may add; the report saw 1.2 GB and more
CALM = (http2.ENHANCE_YOUR_CALM, None)  # None: the server was in the middle of a frame


def memory(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@contextlib.contextmanager
def unharmed(server):
    """The server goes on and has not grown by much."""
    before = memory(server)
    yield
    grpc_calls.works(server.grpc)
    assert server.request("GET", "/live")[0] in (200, 404)
    assert memory(server) - before < MEMORY_MARGIN


OPEN = frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers("Generate"))
BLOCK = frame(http2.HEADERS, 0, 1, http2.call_headers("Generate"))
FLOODS = {
    "ping": (b"", frame(http2.PING, 0, 0, bytes(8))),
    "ping acknowledged": (b"", frame(http2.PING, http2.ACK, 0, bytes(8))),
    "settings": (b"", frame(http2.SETTINGS)),
    "settings with values": (b"", frame(http2.SETTINGS, 0, 0, b"\x00\x04\x00\x00\xff\xff" * 20)),
    "settings acknowledged": (b"", frame(http2.SETTINGS, http2.ACK)),
    "priority": (b"", frame(http2.PRIORITY, 0, 3, bytes(5))),
    "window of the connection": (b"", frame(http2.WINDOW_UPDATE, 0, 0, b"\x00\x00\x00\x01")),
    "window of a stream": (OPEN, frame(http2.WINDOW_UPDATE, 0, 1, b"\x00\x00\x00\x01")),
    "unknown frames": (b"", frame(0x55, 0xFF, 0, b"x")),
    "unknown empty frames": (b"", frame(0xEE, 0, 7)),
    "goaway": (b"", frame(http2.GOAWAY, 0, 0, bytes(8))),
    "empty data": (OPEN, frame(http2.DATA, 0, 1)),
    "data of one byte": (OPEN, frame(http2.DATA, 0, 1, b"\x00")),
    "padding": (OPEN, frame(http2.DATA, 8, 1, b"\x06" + bytes(6))),
    "data on a closed stream": (OPEN + frame(http2.RST_STREAM, 0, 1, bytes(4)), frame(http2.DATA, 0, 1, b"x")),
    "continuation": (BLOCK, frame(http2.CONTINUATION, 0, 1, http2.literal("a", "b") * 100)),
    "empty continuation": (BLOCK, frame(http2.CONTINUATION, 0, 1)),
    "continuation of one byte": (BLOCK, frame(http2.CONTINUATION, 0, 1, b"\x00")),
    "reset of one stream": (OPEN, frame(http2.RST_STREAM, 0, 1, bytes(4))),
    "trailers of a closed stream": (
        OPEN + frame(http2.RST_STREAM, 0, 1, bytes(4)),
        frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, http2.literal("a", "b")),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(server, name):
    first, again = FLOODS[name]
    with unharmed(server), Connection(server.grpc) as connection:
        connection.send(first)
        connection.flood(again, MANY)
        assert connection.wait_closed() in (*CALM, http2.PROTOCOL_ERROR)


HOSTILE_FRAMES = {
    "a frame of 16 MiB": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "a frame one byte too large": frame(http2.PING, 0, 0, bytes(16385)),
    "data of stream 0": frame(http2.DATA, 0, 0, b"x"),
    "data of a stream that is not open": frame(http2.DATA, 0, 9, b"x"),
    "headers of stream 0": frame(http2.HEADERS, http2.END_HEADERS, 0, b""),
    "headers of a server's stream": frame(http2.HEADERS, http2.END_HEADERS, 2, b""),
    "push promise": frame(http2.PUSH_PROMISE, http2.END_HEADERS, 1, bytes(4)),
    "continuation of nothing": frame(http2.CONTINUATION, http2.END_HEADERS, 1, b""),
    "ping in a header block": BLOCK + frame(http2.PING, 0, 0, bytes(8)),
    "reset of a stream that is not open": frame(http2.RST_STREAM, 0, 11, bytes(4)),
    "reset of stream 0": frame(http2.RST_STREAM, 0, 0, bytes(4)),
    "settings of a wrong size": frame(http2.SETTINGS, 0, 0, bytes(5)),
    "window that overflows": frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "window of no bytes": frame(http2.WINDOW_UPDATE, 0, 0, bytes(4)),
    "ping of a wrong size": frame(http2.PING, 0, 0, bytes(7)),
    "headers that do not decode": frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff" * 50),
    "a dynamic table of 4 GB": frame(http2.HEADERS, http2.END_HEADERS, 1, b"\x3f\xe1\xff\xff\xff\x0f"),
}


@pytest.mark.parametrize("name", HOSTILE_FRAMES)
def test_frames_that_must_not_be(server, name):
    with unharmed(server), Connection(server.grpc, timeout=5) as connection:
        connection.send(HOSTILE_FRAMES[name])
        with contextlib.suppress(TimeoutError):  # gRPC ends only the stream of some of them
            connection.wait_closed()


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
        http2.PREFACE + frame(http2.PING, 0, 0, bytes(8)),
        http2.PREFACE + OPEN,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        bytes(1000),
    ],
)
def test_other_protocols_are_closed(server, greeting):
    with unharmed(server), Connection(server.grpc, greet=False) as connection:
        connection.send(greeting)
        assert connection.wait_closed() in (http2.PROTOCOL_ERROR, None)


def reset_calls(server, times):
    """Opens calls and resets them at once on one connection; what GOAWAY said."""
    with Connection(server.grpc) as connection:
        request = http2.message(generate(tokens=200))
        for first in range(1, 2 * times, 200):
            block = b""
            for stream in range(first, first + 200, 2):
                block += frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers("Generate"))
                block += frame(http2.DATA, http2.END_STREAM, stream, request)
                block += frame(http2.RST_STREAM, 0, stream, bytes([0, 0, 0, http2.CANCEL]))
            if not connection.send(block):
                break
        return connection.wait_closed()


def test_rapid_reset(server):
    with unharmed(server):
        assert reset_calls(server, 20000) in CALM
        # A new connection does not begin anew: the address has used up its resets.
        for _ in range(5):
            assert reset_calls(server, 5000) in CALM
        assert any("its address has reset too many streams" in line for line in server.log)
        time.sleep(3)  # an address is let in again after a second
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0
    assert server.wait_metric("vllm:num_requests_waiting", 0, seconds=10) == 0


def test_streams_that_the_server_resets(server):
    """CVE-2025-8671: the client breaks a rule of each stream so that the server resets it."""
    with unharmed(server), Connection(server.grpc) as connection:
        is_open = True
        for first in range(1, 2 * 20000, 200):
            block = b""
            for stream in range(first, first + 200, 2):
                block += frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers("Generate"))
                block += frame(http2.WINDOW_UPDATE, 0, stream, bytes(4))
            is_open = is_open and connection.send(block)
        assert not is_open or connection.wait_closed() in CALM
        time.sleep(3)  # the address is let in again


def test_ordinary_cancels_are_never_limited(server):
    with Caller(server.grpc) as caller:
        for _ in range(4):
            calls = [caller.start("Generate", generate(tokens=1000)) for _ in range(100)]
            for call in calls:
                call.cancel()
        assert caller.call("Generate", generate())
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0


def test_deadlines_reach_the_engine(server):
    with Caller(server.grpc) as caller:
        calls = [caller.start("Generate", generate(tokens=1500), timeout=0.001) for _ in range(300)]
        for call in calls:
            with pytest.raises(grpc.RpcError) as error:
                list(call)
            # Refused before it is queued, where the server was quicker to see that it is too late.
            assert error.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=10) == 0
    assert server.wait_metric("vllm:num_requests_waiting", 0, seconds=10) == 0


def test_a_thousand_streams_on_two_connections(server):
    with Caller(server.grpc, **{"grpc.use_local_subchannel_pool": 1}) as first:
        with Caller(server.grpc, **{"grpc.use_local_subchannel_pool": 1}) as second:
            calls = [caller.start("Generate", generate(tokens=4), timeout=120) for caller in (first, second) * 500]
            codes = []
            for call in calls:
                try:
                    list(call)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    codes.append(error.code())
    assert codes.count(grpc.StatusCode.OK) == len(codes), {code: codes.count(code) for code in set(codes)}


def test_more_streams_than_a_connection_may_have(server):
    with unharmed(server), Connection(server.grpc) as connection:
        for stream in range(1, 2 * 3000, 2):
            if not connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers("Generate"))):
                break
        connection.wait_closed()


def test_a_client_that_reads_nothing(binary):
    """Unread answers are bounded in bytes, and the client is closed."""
    with RunningServer(binary, "demo", "--seed", "1") as server:
        before = memory(server)
        connections = []
        for _ in range(4):
            connection = Connection(server.grpc)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connections.append(connection)
            connection.send(frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f\x00\x00\x00"))
            sampling = grpc_calls.field(14, 1) + grpc_calls.field(17, 20)  # ignore_eos, 20 logprobs
            request = http2.message(generate(tokens=1500, sampling=sampling))
            for stream in range(1, 64, 2):
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers("Generate")))
                connection.send(frame(http2.DATA, http2.END_STREAM, stream, request))
        time.sleep(5)
        assert memory(server) - before < 2 * MEMORY_MARGIN
        for connection in connections:
            connection.socket.close()
        grpc_calls.works(server.grpc)
        assert server.stop() == 0


def test_out_of_file_handles(binary, tmp_path):
    """CVE-2023-4785: the port was dead for good after 400 connections."""
    wrapper = tmp_path / "coppice"
    wrapper.write_text(f'#!/bin/sh\nulimit -n 256\nexec {binary} "$@"\n')
    wrapper.chmod(0o755)
    with RunningServer(wrapper, "demo") as server:
        idle = []
        for _ in range(400):
            with contextlib.suppress(OSError):
                host, port = server.grpc.rsplit(":", 1)
                idle.append(socket.create_connection((host, int(port)), timeout=5))
        assert server.request("GET", "/health")[0] == 200  # HTTP has handles of its own
        grpc_calls.works(server.grpc)  # an idle connection makes room
        for connection in idle:
            connection.close()
        for _ in range(3):
            grpc_calls.works(server.grpc)
        assert server.stop() == 0


def test_connections_beyond_the_limit(binary):
    with RunningServer(binary, "demo", "--grpc-max-connections", "8") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    stack.enter_context(Connection(server.grpc))
            grpc_calls.works(server.grpc)
        assert server.stop() == 0


def test_slow_handshakes_are_closed(binary):
    with RunningServer(binary, "demo", "--header-timeout", "1") as server:
        with Connection(server.grpc, greet=False) as silent, Connection(server.grpc, greet=False) as slow:
            begin = time.monotonic()
            closed = False
            for byte in http2.PREFACE[:-1]:
                closed = closed or not slow.send(bytes([byte]))
                time.sleep(0.1)
            assert closed
            assert silent.wait_closed() is None
            assert time.monotonic() - begin < 5
        assert server.stop() == 0


def test_idle_connections_are_closed(binary):
    with RunningServer(binary, "demo", "--grpc-idle-timeout", "0.5") as server:
        with Connection(server.grpc) as idle:
            assert idle.wait_closed() == http2.NO_ERROR
        with Caller(server.grpc) as caller:  # a client's library connects again by itself
            for _ in range(3):
                assert caller.call("Generate", generate())
                time.sleep(0.8)
        assert server.stop() == 0


def silence(server):
    return Connection(server.grpc, greet=False)


def greeting_only(server):
    return Connection(server.grpc)


def half_a_request(server):
    connection = Connection(server.grpc)
    connection.send(OPEN)
    return connection


def health_watch(server):
    channel = grpc.insecure_channel(server.grpc)
    answers = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(answers).status == health_pb2.HealthCheckResponse.SERVING
    return contextlib.closing(channel)


@pytest.mark.parametrize("keep", [silence, greeting_only, half_a_request, health_watch])
def test_clients_that_do_nothing_do_not_delay_the_end(binary, keep):
    with RunningServer(binary, "demo", "--drain-timeout", "20") as server:
        with keep(server):
            time.sleep(0.2)
            begin = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begin < 5


def test_a_running_answer_is_finished_while_draining(binary):
    with RunningServer(binary, "demo", "--drain-timeout", "30") as server:
        with Caller(server.grpc) as caller:
            sampling = grpc_calls.field(14, 1)  # ignore_eos
            answer = caller.start("Generate", generate(tokens=1000, sampling=sampling))
            next(answer)
            server.terminate()
            assert len(list(answer)) > 1
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["::1", "::", "127.0.0.1", "localhost"])
def test_addresses(binary, host):
    with RunningServer(binary, "demo", "--host", host) as server:
        port = server.grpc.rsplit(":", 1)[1]
        target = {"::1": "[::1]", "::": "[::1]"}.get(host, "127.0.0.1")
        grpc_calls.works(f"{target}:{port}")
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named(binary, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [binary, "serve", "demo", "--host", host, "--port", "0", "--grpc-port", str(port)]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert done.returncode == 2
    assert f"--grpc-port {port}: cannot listen on {shown}: Address already in use" in done.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def tls_server(binary, certificate):
    flags = ["--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem")]
    with RunningServer(binary, "demo", "--header-timeout", "2", *flags) as running:
        yield running
        assert running.stop() == 0, "".join(running.log)


def wrapper(protocols=("h2",), most=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if most is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = most
    return context.wrap_socket


def test_tls_serves_grpc(tls_server, certificate):
    root = (certificate / "cert.pem").read_bytes()
    channel = grpc.secure_channel(tls_server.grpc, grpc.ssl_channel_credentials(root))
    run = channel.unary_stream(grpc_calls.SERVICE + "Generate")
    assert len(list(run(generate(tokens=50), timeout=30))) > 1
    channel.close()


@pytest.mark.parametrize(
    "wrap",
    [wrapper(()), wrapper(("http/1.1",)), wrapper(("h2c", "spdy/3")), wrapper(most=ssl.TLSVersion.TLSv1_1)],
    ids=["no ALPN", "http/1.1", "other protocols", "TLS 1.1"],
)
def test_tls_refuses_what_is_not_http2(tls_server, wrap):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with Connection(tls_server.grpc, wrap=wrap) as connection:
            if connection.wait_closed() is None:
                raise ConnectionResetError


def test_tls_floods_and_silence(tls_server):
    with Connection(tls_server.grpc, wrap=wrapper()) as connection:
        connection.flood(frame(http2.PING, 0, 0, bytes(8)), MANY)
        connection.wait_closed()
    with Connection(tls_server.grpc, greet=False) as plain:
        plain.send(http2.PREFACE + frame(http2.SETTINGS))
        plain.wait_closed()
    with Connection(tls_server.grpc, greet=False) as silent:
        begin = time.monotonic()
        silent.wait_closed()
        assert time.monotonic() - begin < 10
