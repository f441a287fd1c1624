"""Messages over gRPC that no schema would write: each gets a status with words, and the server goes on."""

import json
import re
import struct
import time

import grpc
import pytest

import grpc_calls
from grpc_calls import Caller, chat, field, fixed32, generate, varint

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NAN, INF, MINUS_INF = (struct.pack("<f", float(text)) for text in ("nan", "inf", "-inf"))


@pytest.fixture(scope="module")
def caller(server):
    with Caller(server.grpc) as one:
        yield one
    grpc_calls.works(server.grpc)


def deep(opening, closing, times):
    return opening * times + closing * times


NESTED = {
    "arrays": deep("[", "]", 53750),
    "more arrays": deep("[", "]", 1_000_000),
    "objects": deep('{"a":', "}", 50000).replace("}", "1}", 1),
    "both": deep('[{"a":', "}]", 30000).replace("}", "1}", 1),
    "65 levels": deep("[", "]", 65),
    "open arrays": "[" * 100_000,
    "open objects": '{"a":' * 100_000,
}
JSON_FIELDS = {
    "tools_json": lambda text: chat(rest=field(4, text)),
    "chat_template_arguments_json": lambda text: chat(rest=field(10, text)),
    "tool_calls_json": lambda text: chat(message=field(4, text)),
}


@pytest.mark.parametrize("name", JSON_FIELDS)
@pytest.mark.parametrize("kind", NESTED)
def test_json_nested_without_end(caller, name, kind):
    code, details = caller.refusal("Chat", JSON_FIELDS[name](NESTED[kind]))
    assert code == INVALID
    assert name in details and ("nested deeper" in details or "valid JSON" in details)


NO_JSON = ["{", "nul", "[1,]", '{"a":1,"a":2}', "\x00", "[]\x00", '"\\ud800"', "[1e999999]", "NaN", "'a'", " ", "[]]"]


@pytest.mark.parametrize("name", JSON_FIELDS)
@pytest.mark.parametrize("text", NO_JSON)
def test_text_that_is_not_json(caller, name, text):
    code, details = caller.refusal("Chat", JSON_FIELDS[name](text))
    assert code == INVALID
    assert name in details or name.removesuffix("_json") in details


@pytest.mark.parametrize("name", JSON_FIELDS)
@pytest.mark.parametrize("text", ["3", "true", '"a"', "null", "[null]", "[[]]", "[{}]", '{"a":1}'])
def test_json_of_a_wrong_shape(caller, name, text):
    """Refused, or allowed as over HTTP; never an error of the server's."""
    try:
        caller.call("Chat", JSON_FIELDS[name](text))
    except grpc.RpcError as error:
        assert error.code() == INVALID and error.details()


def test_keys_without_end(caller, server):
    """Quadratic once: 60,000 keys held every stream for 13 seconds."""
    keys = json.dumps({f"k{i}": i for i in range(60000)})
    begin = time.monotonic()
    code, details = caller.refusal("Chat", JSON_FIELDS["chat_template_arguments_json"](keys))
    assert code == INVALID and "keys" in details
    assert time.monotonic() - begin < 5
    many = "[" + ",".join(["[]"] * 3_000_000) + "]"
    assert caller.refusal("Chat", JSON_FIELDS["tools_json"](many))[0] == INVALID


@pytest.mark.parametrize("names", [["a b"], [""], ["f("], ["f" * 129], ["f", "f"]])
def test_names_of_tools(caller, names):
    tools = json.dumps([{"type": "function", "function": {"name": name}} for name in names])
    code, details = caller.refusal("Chat", JSON_FIELDS["tools_json"](tools))
    assert code == INVALID and "'tools_json'" in details


PENALTIES = [(5, "repetition_penalty"), (6, "presence_penalty"), (7, "frequency_penalty")]


@pytest.mark.parametrize("number, name", [(1, "temperature"), (3, "top_p"), (4, "min_p"), *PENALTIES])
@pytest.mark.parametrize("value", [NAN, INF, MINUS_INF])
def test_numbers_that_are_none(caller, number, name, value):
    for method, request in (
        ("Generate", generate(sampling=fixed32(number, value))),
        ("Chat", chat(rest=field(3, fixed32(number, value)))),
    ):
        code, details = caller.refusal(method, request)
        assert code == INVALID and f"'{name}'" in details


@pytest.mark.parametrize("value", [NAN, INF, MINUS_INF])
def test_biases_that_are_none(caller, value):
    code, details = caller.refusal("Generate", generate(sampling=field(9, field(1, 5) + fixed32(2, value))))
    assert code == INVALID and "'logit_bias'" in details


BAD_TEXT = b"\xff\xfe"
TEXT_FIELDS = [
    ("Generate", "model", generate(rest=field(1, BAD_TEXT))),
    ("Generate", "text", field(2, BAD_TEXT)),
    ("Generate", "cache_salt", generate(rest=field(7, BAD_TEXT))),
    ("Generate", "user", generate(rest=field(8, BAD_TEXT))),
    ("Generate", "request_id", generate(rest=field(9, BAD_TEXT))),
    ("Generate", "prediction", generate(rest=field(10, b"a\xc3"))),
    ("Generate", "sampling.stop", generate(sampling=field(10, b"\xed\xa0\x80"))),
    ("Chat", "messages.role", chat(message=field(1, BAD_TEXT))),
    ("Chat", "messages.content", chat(message=field(2, b"\xc0\x80"))),
    ("Chat", "messages.name", chat(message=field(3, BAD_TEXT))),
    ("Chat", "messages.tool_calls_json", chat(message=field(4, BAD_TEXT))),
    ("Chat", "tools_json", chat(rest=field(4, BAD_TEXT))),
    ("Chat", "chat_template_arguments_json", chat(rest=field(10, BAD_TEXT))),
    ("Tokenize", "text", field(2, BAD_TEXT)),
    ("Tokenize", "model", field(1, BAD_TEXT)),
    ("Detokenize", "model", field(1, BAD_TEXT)),
]


@pytest.mark.parametrize("method, name, request_bytes", TEXT_FIELDS)
def test_text_that_is_not_utf8(caller, method, name, request_bytes):
    assert caller.refusal(method, request_bytes) == (INVALID, f"'{name}' is not valid UTF-8")


METHODS = ["Generate", "Chat", "Tokenize", "Detokenize", "ListModels", "GetLoad"]
GARBAGE = {
    "ff": b"\xff" * 20,
    "a tag without end": b"\x80" * 12,
    "tag 0": b"\x00\x01",
    "a length beyond the end": b"\x12\x7f" + b"a",
    "a negative length": b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "a group": b"\x0b\x08\x01\x0c",
    "groups without end": b"\x0b" * 50000,
    "an end of no group": b"\x0c",
    "a number without end": b"\x98\x06" + b"\xff" * 11,
    "fixed64 cut": b"\x09\x01",
    "fixed32 cut": b"\x0d\x01",
    "wire type 7": b"\x0f\x01",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", GARBAGE)
def test_bytes_that_are_no_message(caller, method, name):
    code, details = caller.refusal(method, GARBAGE[name])
    assert code == INVALID and "protobuf message" in details


def test_a_message_inside_that_is_none(caller):
    words = "is not a protobuf message of its type"
    assert caller.refusal("Generate", field(2, "a") + field(4, b"\xff"))[1] == f"'sampling' {words}"
    assert caller.refusal("Chat", field(2, b"\x12\x7f"))[1] == f"'messages' {words}"


@pytest.mark.parametrize(
    "name, request_bytes",
    [
        ("stops", field(2, "a") + field(4, field(10, "") * 2_000_000)),
        ("messages", field(2, b"") * 2_000_000),
        ("biases", field(2, "a") + field(4, field(9, b"") * 2_000_000)),
        ("unknown numbers", field(2, "a") + field(100, 1) * 1_000_000),
        ("unknown texts", field(2, "a") + field(100, "x") * 1_000_000),
    ],
)
def test_two_bytes_do_not_become_a_hundred(caller, server, name, request_bytes):
    before = memory(server)
    code, details = caller.refusal("Chat" if name == "messages" else "Generate", request_bytes)
    assert code == INVALID and "more than 65536 fields" in details
    assert memory(server) - before < 100 << 20


def memory(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) << 10


def test_unknown_fields_are_ignored(caller):
    assert caller.call("Generate", generate(rest=field(1000, "future") + field(1001, 7)))


def test_messages_too_large(caller):
    code, details = caller.refusal("Generate", field(2, "a" * (17 << 20)))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and details
    assert caller.refusal("Generate", field(2, "a " * (7 << 20)))[0] == INVALID
    assert caller.refusal("Tokenize", field(2, "a " * (7 << 20)))[0] == INVALID
    assert caller.refusal("Detokenize", field(2, varint(5) * (1 << 20)))[0] == INVALID


def request_id_of(response):
    assert response[0] == 0x0A  # field 1 comes first
    start = 2 if response[1] < 128 else 3  # a length of two bytes
    size = response[1] if start == 2 else (response[1] & 127) | response[2] << 7
    return response[start : start + size].decode()


@pytest.mark.parametrize("given", ["a" * (1 << 20), "a" * 129, "two words", "line\nbreak", 'quote"', "ä", "\x7f"])
def test_request_ids_are_bounded(caller, given):
    responses = caller.call("Generate", generate(tokens=30, rest=field(9, given)))
    names = {request_id_of(response) for response in responses}
    assert len(names) == 1 and len(names.pop()) == 32
    assert max(map(len, responses)) < 4096


def test_a_good_request_id_comes_back(caller):
    given = "x" * 126 + "~!"
    assert {request_id_of(response) for response in caller.call("Generate", generate(rest=field(9, given)))} == {given}
    named = caller.call("Generate", generate(), metadata=[("x-request-id", "mine-1")])
    assert {request_id_of(response) for response in named} == {"mine-1"}


def test_prompt_logprobs_come_in_the_last_response(caller):
    last = caller.call("Generate", generate(sampling=field(18, 2)))[-1]
    assert b"\x2a" in last  # field 5, prompt_tokens


@pytest.mark.parametrize(
    "sampling, words",
    [
        (field(15, 1) + field(16, 3), "'best_of' must not be larger than 'n': answers over gRPC are streams"),
        (field(18, 21), "'prompt_logprobs' must be from 0 to 20"),
        (field(17, 21), "'logprobs' must be from 0 to 20"),
        (field(15, 0), "'n' must be from 1 to"),
        (field(10, "x" * 1025), "'stop'"),
        (field(10, ""), "'stop'"),
        (field(11, 1 << 31), "'stop_token_ids'"),
    ],
)
def test_refusals_name_the_fields_of_the_schema(caller, sampling, words):
    code, details = caller.refusal("Generate", generate(sampling=sampling))
    assert code == INVALID and words in details


def test_chat_refusals_name_the_fields_of_the_schema(caller):
    code, details = caller.refusal("Chat", chat(rest=field(3, field(12, 1 << 30))))
    assert code == INVALID and "'max_tokens'" in details
    code, details = caller.refusal("Chat", chat(rest=field(3, field(17, 21))))
    assert code == INVALID and "'logprobs'" in details


@pytest.mark.parametrize("path", ["/coppice.v1.Inference/Nothing", "/x.y/Z", "/", "/a/b/c/d"])
def test_methods_that_are_not_there(caller, path):
    with pytest.raises(grpc.RpcError) as error:
        caller.channel.unary_unary(path)(b"", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_too_large(caller):
    with pytest.raises(grpc.RpcError) as error:
        caller.call("Generate", generate(), metadata=[("x-padding", "a" * 60000)])
    assert error.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def test_a_client_deadline_ends_the_work(server, caller):
    sampling = field(14, 1) + fixed32(1, struct.pack("<f", 2))
    with pytest.raises(grpc.RpcError) as error:
        caller.call("Generate", generate(tokens=1800, sampling=sampling), timeout=0.02)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=5) == 0


def test_the_log_has_no_lines_of_the_libraries(server):
    text = "".join(server.log)
    assert "libprotobuf" not in text and "[libprotobuf" not in text
    assert not re.search(r"^[DEIW][0-9]{4} ", text, re.MULTILINE)  # as gRPC's lines begin
