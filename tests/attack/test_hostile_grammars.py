"""Schemas, expressions and grammars made to cost: each is refused with a line that says what is wrong, or it is served;
meanwhile others are answered as ever."""

import concurrent.futures
import json
import time

import pytest

COMPLETIONS = "/v1/completions"
STALL_SECONDS = 2  # an answer of one token takes some milliseconds; the machine may be busy
COMPILE_SECONDS = 20  # of an accepted grammar on a busy machine


def nested(keyword, depth, leaf):
    schema = leaf
    for _ in range(depth):
        schema = {keyword: [schema, {"type": "object", "properties": {"a": schema}}]}
    return schema


def chain(length):
    """Definitions that each name the next one twice: 2^length ways."""
    refs = {}
    for i in range(length):
        following = {"$ref": f"#/$defs/d{i + 1}"}
        refs[f"d{i}"] = {"anyOf": [following, {"type": "array", "items": following}]}
    return {"$ref": "#/$defs/d0", "$defs": {**refs, f"d{length}": {"type": "null"}}}


def refused():
    """(fields, what the message names)"""
    schemas = [
        ({"type": "string", "maxLength": 10**6}, "2000"),
        ({"type": "array", "minItems": 10**9}, "2000"),
        ({"type": "string", "pattern": "^(a{1,100000})$"}, "limit 128 2000 longer large".split()),
        ({"type": "string", "pattern": "^((((a{1,99}){1,99}){1,99}){1,99})$"}, "large long".split()),
        ({"enum": [f"word {i}" for i in range(100_000)]}, "524288"),
        ({"enum": [f"word {i}" for i in range(1001)]}, "1000"),
        ({"anyOf": [{"const": i} for i in range(20_000)]}, "1000"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "#"),
        ({"$ref": "#"}, "#"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "#"),
        ({"$ref": "file:///etc/passwd"}, "#"),
        ({"type": "nonsense"}, "type"),
        ({"properties": 1}, "properties"),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "#"),
        ({"title": "x" * (600 << 10)}, "524288"),
        ({"properties": {f"p{i}": {"type": "string", "pattern": f"^[é-ü]{{9}}{i}$"} for i in range(500)}}, "3000"),
    ]
    for schema, words in schemas:
        yield {"guided_json": schema}, words
    expressions = ["(", "a{100000}", "(a{2000}){2000}", "[", "(?=a)", "\\1", "*", "a" * (600 << 10), "(" * 5000, "[^"]
    for expression in expressions:
        yield {"regex": expression}, "'regex'"
    grammars = ["root ::= root", "root ::=", "x", 'root ::= "a"{1,100000}', "root ::= " + "(" * 5000, 'root ::= "\\',
                'root ::= a\na ::= b\nb ::= a', "root ::= [z-a]", "\x00", "root ::= " + "x" * (600 << 10)]  # fmt: skip
    for grammar in grammars:
        yield {"ebnf": grammar}, "'ebnf'"
    for tag in ({"type": "x"}, {"type": "structural_tag"}, {"type": "structural_tag", "format": {"type": "repeat"}}):
        yield {"structural_tag": tag}, "'structural_tag'"
    yield {"guided_choice": ["x"] * 2000}, "1000"
    yield {"guided_choice": [""]}, "empty"
    yield {"guided_json": "{"}, "JSON"
    yield {"guided_json": '{"type":"\\ud800"}'}, ["type", "JSON"]


def costly():
    """What a limit may refuse or let through; it must end soon either way."""
    yield {"guided_json": nested("oneOf", 8, {"type": "integer"})}
    yield {"guided_json": nested("anyOf", 7, {"type": "string", "maxLength": 50})}
    yield {"guided_json": nested("allOf", 8, {"type": "object", "properties": {"x": {"type": "null"}}})}
    yield {"guided_json": chain(60)}
    yield {"guided_json": {"enum": [f"word number {i}" for i in range(1000)]}}
    long_text = {"type": "string", "maxLength": 2000}
    yield {"guided_json": {"type": "object", "properties": {f"property {i}": long_text for i in range(300)}}}
    row = {"type": "array", "items": {}, "maxItems": 2000}
    yield {"guided_json": {"type": "array", "items": row, "maxItems": 2000}}
    yield {"guided_json": {"type": "string", "maxLength": 2000, "minLength": 1999}}
    yield {"guided_json": {"type": "string", "pattern": "^(a|aa)+$"}}
    yield {"guided_json": {"type": "string", "pattern": "(a+)+$("}}  # not enforced, which is said
    yield {"regex": "(a|a)*b" * 100}
    yield {"regex": "(.*)(.*)(.*)(.*)(.*)x"}
    yield {"regex": "([a-z]{1,40}){1,40}"}
    yield {"ebnf": "root ::= a a a a\na ::= b b b b\nb ::= c c c c\nc ::= [a-z]* | a"}
    yield {"guided_json": {"patternProperties": {f"^x{i}": {"type": "null"} for i in range(50)}}}


def post(server, fields, seconds=60):
    body = json.dumps({"prompt": "a", "max_tokens": 2, **fields}).encode("utf-8", "surrogatepass")
    return server.request("POST", COMPLETIONS, body, timeout=seconds)


@pytest.mark.parametrize("fields,words", [pytest.param(*row, id=str(i)) for i, row in enumerate(refused())])
def test_a_clear_refusal(server, fields, words):
    begin = time.monotonic()
    status, _, text = post(server, fields)
    error = json.loads(text)["error"]
    assert status == 400, text[:500]
    assert error["type"] == "invalid_request_error" and error["param"] == next(iter(fields))
    words = [words] if isinstance(words, str) else words
    assert any(word in error["message"] for word in words), error
    assert len(error["message"]) <= 1024
    assert time.monotonic() - begin < COMPILE_SECONDS


def test_schemas_nested_deeper_than_json_may_be(server):
    for depth in (150, 1000, 20_000):
        schema = '{"items":' * depth + "{}" + "}" * depth
        body = '{"prompt":"a","guided_json":' + schema + "}"
        assert server.request("POST", COMPLETIONS, body.encode())[0] == 400
        status, _, text = post(server, {"guided_json": schema})
        assert status == 400 and "deeper than" in json.loads(text)["error"]["message"]


def test_bytes_that_are_no_utf8(server):
    fields = [b'"regex":"\xff\xfe"', b'"guided_json":{"\xc0":1}', b'"guided_choice":["\xed\xa0\x80"]', b'"ebnf":"\xf5"']
    for field in fields:
        status, _, text = server.request("POST", COMPLETIONS, b'{"prompt":"a","max_tokens":1,' + field + b"}")
        assert status == 400, text


def test_costly_grammars_stall_no_other(server):
    """While they compile, one after the other from several clients, a plain request is answered within its time."""
    rows = list(costly())
    slowest = 0.0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(post, server, fields, COMPILE_SECONDS * 4) for fields in rows]
        while not all(job.done() for job in running):
            begin = time.monotonic()
            assert post(server, {"temperature": 0})[0] == 200
            slowest = max(slowest, time.monotonic() - begin)
        for fields, job in zip(rows, running, strict=True):
            status, _, text = job.result()
            assert status in (200, 400), text
            assert status == 200 or json.loads(text)["error"]["param"] == next(iter(fields))
    assert slowest < STALL_SECONDS


def test_clients_that_leave_while_a_grammar_is_compiled(server):
    for i in range(20):
        names = {f"property {i} {k}": {"type": "string", "maxLength": 40} for k in range(40)}
        body = json.dumps({"prompt": "a", "guided_json": {"properties": names}}).encode()
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        with server.connect() as client:
            client.sendall(head.encode() + body)
    assert post(server, {"regex": "ab"})[0] == 200
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
