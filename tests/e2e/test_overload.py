"""What a router needs of a server that has too much to do: refusals with a reason and a time, over both protocols."""

import json
import threading
import time

import grpc
import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory

from running_server import RunningServer
from test_grpc import Stub

LONG = {"prompt": "a", "max_tokens": 100, "ignore_eos": True}


def google_rpc():
    """google.rpc's Status, ErrorInfo and RetryInfo, as any client has them: by their published numbers."""
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="rpc.proto", package="google.rpc", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/duration.proto"])
    kinds = descriptor_pb2.FieldDescriptorProto
    status = file.message_type.add(name="Status")
    status.field.add(name="code", number=1, type=kinds.TYPE_INT32, label=1)
    status.field.add(name="message", number=2, type=kinds.TYPE_STRING, label=1)
    status.field.add(name="details", number=3, type=kinds.TYPE_MESSAGE, label=3, type_name=".google.protobuf.Any")
    info = file.message_type.add(name="ErrorInfo")
    info.field.add(name="reason", number=1, type=kinds.TYPE_STRING, label=1)
    info.field.add(name="domain", number=2, type=kinds.TYPE_STRING, label=1)
    retry = file.message_type.add(name="RetryInfo")
    retry.field.add(
        name="retry_delay", number=1, type=kinds.TYPE_MESSAGE, label=1, type_name=".google.protobuf.Duration"
    )
    pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc." + name))
        for name in ("Status", "ErrorInfo", "RetryInfo")
    ]


def details_of(error):
    """(reason, seconds) of a refused call."""
    status_class, info_class, retry_class = google_rpc()
    trailers = {key: value for key, value in error.trailing_metadata()}
    status = status_class.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0] and status.message == error.details()
    found = {detail.type_url.rsplit(".", 1)[1]: detail.value for detail in status.details}
    info = info_class.FromString(found["ErrorInfo"])
    assert info.domain == "coppice"
    return info.reason, retry_class.FromString(found["RetryInfo"]).retry_delay.seconds


class Crowd:
    """Requests that keep a server with one place busy. `with Crowd(server, 12):` They leave at the end."""

    def __init__(self, server, count):
        self.server = server
        self.statuses = []
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self):
        self.statuses.append(self.server.request("POST", "/v1/completions", LONG)[0])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()


@pytest.fixture(scope="module")
def narrow(binary):
    """A server with one place, whose line moves slowly enough to be measured."""
    flags = ["--max-running", "1", "--max-queued", "24", "--speculation", "off"]
    with RunningServer(binary, "demo", *flags) as server:
        yield server
        assert server.stop() == 0


def test_a_deadline_that_the_line_cannot_make_is_refused_at_once(narrow):
    stub = Stub(narrow.grpc)
    with Crowd(narrow, 24) as crowd:
        while len(crowd.statuses) < 5:  # until the line's pace is known
            time.sleep(0.01)
        waiting = narrow.metric("vllm:num_requests_waiting")
        assert waiting >= 8
        begin = time.monotonic()
        headers = {"x-request-timeout-ms": "20"}
        status, answer, body = narrow.request("POST", "/v1/completions", LONG, headers)
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (429, "deadline_unreachable")
        assert answer["x-coppice-refused"] == "deadline_unreachable"
        assert 1 <= int(answer["retry-after"]) <= 60
        assert time.monotonic() - begin < 1  # and not when it has waited
        with pytest.raises(grpc.RpcError) as refused:
            # Long enough for the refusal to travel, too short for the line.
            list(stub.call("Generate", text="a", sampling={"max_tokens": 100}, timeout=0.1))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(refused.value)[0] == "DEADLINE_UNREACHABLE"
        assert narrow.metric("coppice:queue_wait_seconds") > 0
        assert narrow.metric("vllm:num_requests_waiting_by_reason", reason="capacity") > 0
        # One that goes before the others, and one that has the time, are taken.
        urgent = {**LONG, "max_tokens": 1, "priority": -1}
        assert narrow.request("POST", "/v1/completions", urgent, {"x-request-timeout-ms": "20000"})[0] == 200
    assert set(crowd.statuses) == {200}
    assert narrow.metric("vllm:admission_rejections_total", reason="deadline_unreachable") == 2
    assert narrow.wait_metric("coppice:queue_wait_seconds", 0) == 0
    # The line is empty: the same deadline is the engine's to keep.
    status, body = narrow.post("/v1/completions", LONG, {"x-request-timeout-ms": "20"})
    assert (status, body["error"]["code"]) == (408, "deadline_exceeded")


def test_a_full_queue_says_so_in_words_for_programs(narrow):
    before = narrow.metric("vllm:admission_rejections_total", reason="queue_full")
    answers = []

    def ask():
        answers.append(narrow.request("POST", "/v1/completions", {**LONG, "max_tokens": 10}))

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [(headers, json.loads(body)["error"]) for status, headers, body in answers if status == 429]
    assert refused and all(error["code"] == "queue_full" for _, error in refused)
    assert all(headers["x-coppice-refused"] == "queue_full" for headers, _ in refused)
    assert all(1 <= int(headers["retry-after"]) <= 60 for headers, _ in refused)
    assert narrow.metric("vllm:admission_rejections_total", reason="queue_full") == before + len(refused)


def test_a_timeout_that_is_no_number_names_the_header(narrow):
    status, body = narrow.post("/v1/completions", LONG, {"x-request-timeout-ms": "soon"})
    assert status == 400 and body["error"]["param"] == "x-request-timeout-ms"


@pytest.mark.parametrize("route", ["/health", "/ready", "/live", "/metrics", "/v1/models", "/get_server_info"])
def test_a_timeout_that_a_proxy_adds_fails_no_probe(narrow, route):
    assert narrow.request("GET", route, headers={"x-request-timeout-ms": "0"})[0] == 200
