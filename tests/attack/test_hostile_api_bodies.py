"""Bodies of /v1/responses and /v1/messages that are wrong in one place each, and what may be stored of the others."""

import concurrent.futures
import http.client
import json

import pytest

from raw_http import resident_bytes
from running_server import RunningServer

RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"

VALUE = (400, "invalid_value")
JSON_TEXT = (400, "invalid_json")
UNSUPPORTED = (400, "not_supported")
TOO_LONG = (400, "context_length_exceeded")
UNKNOWN_MODEL = (404, "model_not_found")
GONE = (400, "previous_response_not_found")
# The same in Anthropic's words: of its errors only these types can be told apart.
TYPES = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large"}

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "name": "f", "parameters": {}}
CLAUDE_TOOL = {"name": "f", "input_schema": {}}
MARK = {"cache_control": {"type": "ephemeral"}}
MIB = 1 << 20


def response(**fields):
    return {"input": "hi", "max_output_tokens": 1, **fields}


def message(**fields):
    return {"messages": [USER], "max_tokens": 1, **fields}


def item(**fields):
    return response(input=[fields])


def said(*blocks, role="user"):
    return message(messages=[{"role": role, "content": list(blocks)}])


def rows_of_types():
    wrong = {
        "integer": ["x", True, [], {}, 1.5],
        "number": ["x", True, [], {}],
        "boolean": ["x", 1, [], {}],
        "string": [1, True, [], {}],
    }
    fields = {
        "integer": ["min_tokens", "priority", "seed", "top_k"],
        "number": ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"],
        "boolean": ["stream", "ignore_eos", "skip_special_tokens", "add_special_tokens"],
        "string": ["model", "user", "cache_salt"],
    }
    for kind, names in fields.items():
        for name in names:
            for value in wrong[kind]:
                yield RESPONSES, response(**{name: value}), *VALUE, name
                yield MESSAGES, message(**{name: value}), *VALUE, name
    own = {
        "integer": ["max_output_tokens", "top_logprobs"],
        "boolean": ["store", "background"],
        "string": ["instructions", "previous_response_id", "safety_identifier", "prompt_cache_key", "service_tier"],
    }
    for kind, names in own.items():
        for name in names:
            for value in wrong[kind]:
                yield RESPONSES, response(**{name: value}), *VALUE, name
    for value in wrong["integer"]:
        yield MESSAGES, message(max_tokens=value), *VALUE, "max_tokens"
    for value in (1, "x", [], True):
        for name in ("metadata", "text", "reasoning", "stream_options"):
            yield RESPONSES, response(**{name: value}), *VALUE, name
        for name in ("metadata", "thinking", "tool_choice", "output_config", "cache_control"):
            yield MESSAGES, message(**{name: value}), *VALUE, name


def rows_of_bounds():
    for name, low, high in [("temperature", -0.1, 1e7), ("top_p", -0.1, 1.1), ("priority", -(2**40), 2**40)]:
        for value in (low, high):
            yield RESPONSES, response(**{name: value}), *VALUE, name
            yield MESSAGES, message(**{name: value}), *VALUE, name
    for value in (-1, 0, 2**31, 10**18):
        yield RESPONSES, response(max_output_tokens=value), *VALUE, "max_output_tokens"
    for value in (-1, 2**31, 10**18):
        yield MESSAGES, message(max_tokens=value), *VALUE, "max_tokens"
    for value in (-1, 21):
        yield RESPONSES, response(top_logprobs=value), *VALUE, "top_logprobs"
    yield RESPONSES, response(model="other"), *UNKNOWN_MODEL, "model"
    yield MESSAGES, message(model="other"), *UNKNOWN_MODEL, "model"
    yield COUNT, {"messages": [USER], "model": "other"}, *UNKNOWN_MODEL, "model"
    for name in ("model", "user", "cache_salt", "safety_identifier", "prompt_cache_key", "truncation"):
        yield RESPONSES, response(**{name: "x" * 513}), *VALUE, name
    yield MESSAGES, message(metadata={"user_id": "x" * 513}), *VALUE, "metadata.user_id"
    for metadata in ({f"k{i}": "v" for i in range(17)}, {"k" * 65: "v"}, {"k": "v" * 513}, {"k": 1}, {"k": None}):
        yield RESPONSES, response(metadata=metadata), *VALUE, "metadata"
    for stop in ("x", [""], ["x"] * 17, ["x" * 1025], [1], {}):
        yield MESSAGES, message(stop_sequences=stop), *VALUE, "stop_sequences"
    yield RESPONSES, response(input="word " * 3000), *TOO_LONG, "input"
    yield MESSAGES, message(messages=[{"role": "user", "content": "word " * 3000}]), *TOO_LONG, "messages"
    yield RESPONSES, response(input="x" * 3_000_000), *TOO_LONG, "input"
    yield MESSAGES, message(messages=[{"role": "user", "content": "x" * 3_000_000}]), *TOO_LONG, ""
    yield COUNT, {"messages": [{"role": "user", "content": "x" * 3_000_000}]}, *TOO_LONG, ""
    yield RESPONSES, response(background=True, stream=True), *UNSUPPORTED, "background"
    yield RESPONSES, response(background=True, store=False), *VALUE, "background"


def rows_of_items():
    for value in (1, True, {}, [1], ["x"], [None], [[]]):
        yield RESPONSES, response(input=value), *VALUE, "input[0]" if isinstance(value, list) else "input"
    yield RESPONSES, response(input=[]), *VALUE, "input"
    yield RESPONSES, {"max_output_tokens": 1}, *VALUE, "input"
    yield RESPONSES, response(input=None), *VALUE, "input"
    yield RESPONSES, response(input=[USER] * 4097), *VALUE, "input"
    yield RESPONSES, response(input=[{"type": "web_search_call"}]), *VALUE, "input"  # nothing is left
    for kind in (1, "", None, [], True):
        yield RESPONSES, item(type=kind), *VALUE, "input[0].type"
    for role in (1, "", [], "x" * 513):
        yield RESPONSES, item(type="message", role=role, content="x"), *VALUE, "input[0].role"
    for content in (1, True, {}, None):
        yield RESPONSES, item(role="user", content=content), *VALUE, "input[0].content"
    for part in (1, "x", {}, {"type": "input_image"}, {"type": "input_file"}, {"type": "input_audio"}, {"type": 1}):
        yield RESPONSES, item(role="user", content=[part]), *UNSUPPORTED, "input[0].content"
    for part in ({"type": "input_text"}, {"type": "input_text", "text": 1}, {"type": "refusal", "text": "x"}):
        yield RESPONSES, item(role="user", content=[part]), *VALUE, "input[0].content"
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    for name, value in [("call_id", 1), ("call_id", "x" * 513), ("name", ""), ("name", {}), ("arguments", {})]:
        yield RESPONSES, item(**{**call, name: value}), *VALUE, f"input[0].{name}"
    for output in (None, 1, {}):
        yield RESPONSES, item(type="function_call_output", call_id="c", output=output), *VALUE, "input[0].output"
    yield RESPONSES, item(type="item_reference", id="msg_1"), *UNSUPPORTED, "input[0]"
    yield RESPONSES, item(id="msg_1"), *UNSUPPORTED, "input[0]"
    yield RESPONSES, item(type="reasoning", summary=1), *VALUE, "input[0].summary"
    for id in ("none", "resp_" + "0" * 32, "x" * 10_000, "../../etc/passwd", "\x01"):
        yield RESPONSES, response(previous_response_id=id), *GONE, "previous_response_id"


def named(tool, count):
    return [{**tool, "name": f"f{i}"} for i in range(count)]


def rows_of_tools():
    for tools in (1, "x", {}, [TOOL] * 513):
        yield RESPONSES, response(tools=tools), *VALUE, "tools"
        yield MESSAGES, message(tools=tools), *VALUE, "tools"
    for tool in (1, "x", [], None, {}, {"type": 1}):
        yield RESPONSES, response(tools=[tool]), *VALUE, "tools[0]"
    for name in (None, 1, "", []):
        yield RESPONSES, response(tools=[{**TOOL, "name": name}]), *VALUE, "tools[0].name"
        yield MESSAGES, message(tools=[{**CLAUDE_TOOL, "name": name}]), *VALUE, "tools[0].name"
    for name in ("a b", "f\n", "f(", "<f>", "f" * 129):
        yield RESPONSES, response(tools=[{**TOOL, "name": name}]), *VALUE, "tools"
        yield MESSAGES, message(tools=[{**CLAUDE_TOOL, "name": name}]), *VALUE, "tools"
    yield RESPONSES, response(tools=[TOOL, TOOL]), *VALUE, "tools"
    yield MESSAGES, message(tools=[CLAUDE_TOOL, CLAUDE_TOOL]), *VALUE, "tools"
    for schema in (None, 1, "x", []):
        yield MESSAGES, message(tools=[{"name": "f", "input_schema": schema}]), *VALUE, "tools[0].input_schema"
    for choice in ("required", 1, [], {}, {"type": "function", "name": "f"}, {"type": "allowed_tools"}):
        yield RESPONSES, response(tools=[TOOL], tool_choice=choice), *VALUE, "tool_choice"
    for kind in ("any", "tool", "x"):
        yield MESSAGES, message(tools=[CLAUDE_TOOL], tool_choice={"type": kind}), *VALUE, "tool_choice"
    for kind in ("xml", "grammar", "structural_tag"):
        yield RESPONSES, response(text={"format": {"type": kind}}), *VALUE, "text.format.type"
    yield RESPONSES, response(text={"format": {"type": "json_schema"}}), *VALUE, "text.format.schema"
    for form in (1, "x", [], {}):
        yield RESPONSES, response(text={"format": form}), *VALUE, "text.format"
    yield RESPONSES, response(text={"format": {"type": 1}}), *VALUE, "text.format.type"
    for include in (1, "x", {}, [1], [None], ["x"] * 513):
        yield RESPONSES, response(include=include), *VALUE, "include"
    for name in ("conversation", "prompt", "logits_processors"):
        yield RESPONSES, response(**{name: {"id": "x"}}), *UNSUPPORTED, name
    for name in ("container", "mcp_servers"):
        yield MESSAGES, message(**{name: ["x"]}), *UNSUPPORTED, name
    form = {"type": "json_schema"}
    yield MESSAGES, message(output_config={"format": form}), *VALUE, "output_config.format.schema"
    for form in (1, "x", [], {}):
        yield MESSAGES, message(output_format=form), *VALUE, "output_format"
    yield MESSAGES, message(thinking={}), *VALUE, "thinking.type"


def rows_of_messages():
    for messages in ([], {}, "x", 1, True, [USER] * 4097):
        yield MESSAGES, message(messages=messages), *VALUE, "messages"
        yield COUNT, {"messages": messages}, *VALUE, "messages"
    for one in (1, "x", None, []):
        yield MESSAGES, message(messages=[one]), *VALUE, "messages[0]"
    yield MESSAGES, {"max_tokens": 1}, *VALUE, "messages"
    yield MESSAGES, {"messages": [USER]}, *VALUE, "max_tokens"
    for role in (None, 1, "", "tool", "developer", []):
        yield MESSAGES, message(messages=[{"role": role, "content": "x"}]), *VALUE, "messages[0].role"
    for content in (None, 1, True, {}):
        yield MESSAGES, message(messages=[{"role": "user", "content": content}]), *VALUE, "messages[0].content"
    block = "messages[0].content[0]"
    for one in (1, "x", None, [], {}, {"type": 1}, {"type": ""}):
        yield MESSAGES, said(one), *VALUE, block
    for one in ({"type": "image"}, {"type": "document"}, {"type": "document", "source": {"type": "base64"}}):
        yield MESSAGES, said(one), *UNSUPPORTED, block
    for text in (None, 1, [], {}):
        yield MESSAGES, said({"type": "text", "text": text}), *VALUE, block + ".text"
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    for name, value in [("id", None), ("id", ""), ("id", "x" * 513), ("name", 1), ("input", "x"), ("input", [])]:
        yield MESSAGES, said({**use, name: value}, role="assistant"), *VALUE, f"{block}.{name}"
    yield MESSAGES, said(use), *VALUE, block
    result = {"type": "tool_result", "tool_use_id": "t"}
    yield MESSAGES, said(result, role="assistant"), *VALUE, block
    yield MESSAGES, said({"type": "tool_result"}), *VALUE, block + ".tool_use_id"
    for content in (1, {}, True):
        yield MESSAGES, said({**result, "content": content}), *VALUE, block + ".content"
    yield MESSAGES, said({**result, "content": [{"type": "image"}]}), *UNSUPPORTED, block + ".content[0]"
    yield MESSAGES, said({**result, "content": [1]}), *VALUE, block + ".content[0]"
    for system in (1, {}, True, [1], [{"type": "image"}], [{"type": "text"}]):
        yield MESSAGES, message(system=system), *VALUE, "system"
    for control in (1, [], {}, {"type": "x"}):
        text = {"type": "text", "text": "x", "cache_control": control}
        yield MESSAGES, said(text), *VALUE, block + ".cache_control"
    for ttl in (1, "2h", "", []):
        text = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}
        yield MESSAGES, said(text), *VALUE, block + ".cache_control.ttl"
    marked = {"type": "text", "text": "x", **MARK}
    yield MESSAGES, said(*[marked] * 5), *VALUE, "messages[0].content[4].cache_control"
    yield MESSAGES, message(tools=named({**CLAUDE_TOOL, **MARK}, 4), **MARK), *VALUE, "cache_control"
    yield MESSAGES, said(*[result] * 5000), *VALUE, "messages"


def rows_of_json():
    for path in (RESPONSES, MESSAGES, COUNT):
        for text in (b"", b"{", b"[" * 100_000, b'{"a":1,"a":2}', b"\xff", b'{"a":"\x00"}'):
            yield path, text, *JSON_TEXT, ""
        for text in (b"[]", b"null", b"1", b'"x"'):
            yield path, text, *VALUE, ""


GROUPS = {
    "types": list(rows_of_types()),
    "bounds": list(rows_of_bounds()),
    "items": list(rows_of_items()),
    "tools": list(rows_of_tools()),
    "messages": list(rows_of_messages()),
    "json": list(rows_of_json()),
}


def send(server, path, body, method="POST"):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, text, {"content-type": "application/json"})
    answer = connection.getresponse()
    payload = answer.read()
    connection.close()
    return answer.status, json.loads(payload)


def refusal_of(path, status, answer):
    """(status, code or type, field), as a row has them."""
    error = answer.get("error", {})
    if path == RESPONSES:
        return status, error.get("code"), error.get("param") or ""
    return status, error.get("type"), None


def test_there_are_enough_rows():
    rows = [row for group in GROUPS.values() for row in group]
    assert sum(row[0] == RESPONSES for row in rows) >= 150
    assert sum(row[0] == MESSAGES for row in rows) >= 150


@pytest.mark.parametrize("group", GROUPS)
def test_refusals(server, group):
    wrong = []
    for path, body, status, code, field in GROUPS[group]:
        got = refusal_of(path, *(answered := send(server, path, body)))
        wanted = (status, code, field) if path == RESPONSES else (status, TYPES[status], None)
        text = answered[1].get("error", {}).get("message", "")
        named = path == RESPONSES or status == 404 or not field or f"'{field}" in text or f"your {field}" in text
        if got != wanted or not named or not 0 < len(text.encode()) <= 1024:
            wrong.append((path, str(body)[:120], "wanted", wanted, field, "got", got, text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert server.request("GET", "/health")[0] == 200


def test_honest_requests_beside_them_are_served(server):
    assert send(server, RESPONSES, response(metadata={f"k{i}": "v" * 512 for i in range(16)}))[0] == 200
    assert send(server, RESPONSES, response(tools=named(TOOL, 16), input=[USER] * 64))[0] == 200
    assert send(server, MESSAGES, said(*[{"type": "text", "text": "x", **MARK}] * 4))[0] == 200
    assert send(server, MESSAGES, message(tools=named(CLAUDE_TOOL, 16), system="x" * 500))[0] == 200
    assert send(server, COUNT, {"messages": [{"role": "user", "content": "word " * 20_000}]})[0] == 200


def test_ids_are_not_guessed_and_paths_are_ids(server):
    made = send(server, RESPONSES, response())[1]["id"]
    assert len(made) >= len("resp_") + 32
    for id in (made[:-1], made + "0", made.upper(), "..", "%2e%2e", "%00", "a%2Fb", "x" * 5000):
        for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            assert send(server, f"{RESPONSES}/{id}{tail}", b"", method)[0] == 404
    for query in ("limit=-1", "limit=1e9", "limit=99999999999999999999", "order=%00", "after=%ff", "limit=&limit=2"):
        status = send(server, f"{RESPONSES}/{made}/input_items?{query}", b"", "GET")[0]
        assert status == (200 if query == "limit=&limit=2" else 400)


@pytest.fixture(scope="module")
def small(binary):
    flags = ["--stored-responses-memory", "4MiB", "--stored-responses", "64", "--max-queued", "32"]
    with RunningServer(binary, "demo", "--seed", "1", "--max-running", "4", *flags) as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0


def test_the_store_holds_no_more_than_it_may(small):
    # Of what is skipped nothing is prompted, but all is stored.
    junk = [{"type": "web_search_call", "id": "w", "what": "x" * 500_000}, USER]
    send(small, RESPONSES, response(input=junk))
    before = resident_bytes(small)
    last = None
    for i in range(60):
        more = {"previous_response_id": last} if last and i % 3 else {}
        status, answer = send(small, RESPONSES, response(input=junk, **more))
        if status == 400:
            assert answer["error"]["code"] == "previous_response_not_found"
            last = None
        else:
            assert status == 200
            last = answer["id"]
    assert resident_bytes(small) - before < 64 * MIB  # 30 MB were sent again and again


def test_a_conversation_that_feeds_on_itself_ends(small):
    """Each request doubles what is stored, were it kept by copy."""
    last = None
    for _ in range(100):
        more = {"previous_response_id": last} if last else {}
        status, answer = send(small, RESPONSES, response(input="again " * 20, **more))
        if status != 200:
            break
        last = answer["id"]
    assert (status, answer["error"]["code"]) in [TOO_LONG, GONE]


def test_background_responses_are_bounded_and_can_be_raced(small):
    body = response(background=True, max_output_tokens=2000, ignore_eos=True)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: send(small, RESPONSES, body), range(120)))
        ids = [answer["id"] for status, answer in started if status == 200]
        assert {status for status, _ in started} == {200, 429}
        assert len(ids) <= 64
        calls = [("POST", "/cancel"), ("DELETE", ""), ("GET", ""), ("POST", "/cancel"), ("GET", "/input_items")]
        rounds = [(id, *call) for id in ids for call in calls]
        raced = list(pool.map(lambda row: send(small, f"{RESPONSES}/{row[0]}{row[2]}", b"", row[1])[0], rounds))
    assert set(raced) <= {200, 400, 404}
    assert small.wait_metric("vllm:num_requests_running", 0) == 0
    assert small.wait_metric("vllm:num_requests_waiting", 0) == 0
    assert send(small, RESPONSES, response(background=True))[0] == 200
