"""Schemas, expressions and grammars made to cost: each is refused with a line that says what is wrong, or it is served;
meanwhile others are answered as ever."""

import concurrent.futures
import json
import statistics
import threading
import time
import urllib.request

import pytest

from running_server import RunningServer

COMPLETIONS = "/v1/completions"
STALL_SECONDS = 2  # an answer of one token takes some milliseconds; the machine may be busy
COMPILE_SECONDS = 20  # of an accepted grammar on a busy machine
GAP_SECONDS = 1  # between two tokens of a stream; a grammar that stalled the engine made it some seconds and more
HEALTH_SECONDS = 1


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


def repeats(content, depth, least=0, most=2000):
    for _ in range(depth):
        content = {"type": "repeat", "min": least, "max": most, "content": content}
    return {"structural_tag": {"type": "structural_tag", "format": content}}


def ambiguous():
    """Refused: one text can be read in too many ways. Each of them held the engine's thread or one that compiles."""
    yield {"ebnf": 'root ::= s\ns ::= s s | [a-z] | ""'}
    yield {"ebnf": "root ::= s\ns ::= s s | [a-z]"}
    yield {"ebnf": "root ::= s s\ns ::= s s s | [a-z ] | s s"}
    yield {"ebnf": 'root ::= (("a"{0,2000}){0,2000}){0,2000}'}
    yield {"ebnf": 'root ::= a{0,2000}\na ::= b{0,2000}\nb ::= "x"{0,2000}'}
    rules = "".join(f"r{i} ::= r{i + 1}{{0,9}} r{i + 1}{{0,9}}\n" for i in range(40))
    yield {"ebnf": "root ::= r0\n" + rules + "r40 ::= [a-z]"}
    yield repeats({"type": "const_string", "value": "ab"}, 3)
    yield repeats({"type": "regex", "pattern": "[a-z]{0,9}"}, 3)


def growing():
    """Served or refused; what counts is that no other request waits."""
    yield {"regex": "(.*)*x"}
    yield {"regex": "((a*)*|(b+)+|.?)*z"}
    yield {"regex": "(a|a)*b"}
    yield {"regex": "(a|aa)+b"}
    yield {"regex": "(a?){50}a{50}"}
    yield {"regex": ".{0,1000}.{0,1000}x"}
    yield {"regex": ".{0,190}.{0,190}x"}
    yield {"regex": "[a-z]{0,100}[a-z]{0,100}[a-z0-9]{0,100}x"}
    yield {"regex": "([a-z]+[a-z]*[a-z ]*)+x"}
    yield {"regex": "[" + "".join(chr(c) for c in range(0x4E00, 0x4E00 + 6000, 2)) + "]{1,300}"}
    yield {"ebnf": 'root ::= s\ns ::= s [a-z] | ""'}
    yield {"ebnf": 'root ::= s\ns ::= [a-z] s | ""'}
    yield {"ebnf": "root ::= s\ns ::= [a-z] s [a-z] | [a-z]"}
    yield {"ebnf": 'root ::= e\ne ::= e "+" e | e "*" e | "(" e ")" | [a-z]'}
    rules = "".join(f"s{i} ::= [a-z ]{{1,{1900 + i}}}\n" for i in range(60))
    yield {"ebnf": "root ::= " + " | ".join(f"s{i}" for i in range(60)) + "\n" + rules}
    yield {"ebnf": "root ::= [a-z]{0,2000} [a-z]{0,2000} [a-z]{0,2000}"}
    yield {"ebnf": "root ::= " + '("a" | "b" "c") ' * 8_000}
    yield {"ebnf": "root ::= " + "[a-z]* " * 8_000}
    rules = "".join(f'r{i} ::= "a" r{i + 1} | r{i + 1} "b"\n' for i in range(8000))
    yield {"ebnf": "root ::= r0\n" + rules + 'r8000 ::= "x"'}
    yield {"ebnf": "root ::= ([a-z]{0,2000} | [0-9a-z]{0,2000})*"}
    yield {"ebnf": 'root ::= ("a"{1,2000}){1,2000}'}
    yield {"guided_json": {"type": "string", "pattern": "^((a*)*(b|[a-z])*)*$"}}
    rows = {"type": "string", "maxLength": 2000}
    for _ in range(8):
        rows = {"type": "array", "maxItems": 2000, "items": rows}
    yield {"guided_json": rows}
    yield repeats({"type": "any_text"}, 1)
    yield repeats({"type": "const_string", "value": "ab"}, 30, 1000)


class FreeStream:
    """Streams without a grammar, one after the other for ever; the times at which their tokens came."""

    def __init__(self, server):
        self.server = server
        self.times = []
        self.is_over = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        fields = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True, "temperature": 1, "seed": 1}
        body = json.dumps(fields).encode()
        head = {"content-type": "application/json"}
        request = urllib.request.Request(self.server.url + COMPLETIONS, body, head)
        while not self.is_over:
            with urllib.request.urlopen(request, timeout=60) as answer:
                for line in answer:
                    if line.startswith(b"data:"):
                        self.times.append(time.monotonic())
                    if self.is_over:
                        return

    def close(self):
        self.is_over = True
        self.reader.join(10)

    def gaps(self, begin, end):
        seen = [begin, *(at for at in self.times if begin < at < end), end]
        return [after - before for before, after in zip(seen, seen[1:], strict=False)]


@pytest.fixture
def free_stream(server):
    stream = FreeStream(server)
    while len(stream.times) < 20:
        assert stream.reader.is_alive()
        time.sleep(0.01)
    yield stream
    stream.close()


def beside(server, stream, fields, has_more_tries=True):
    """(status, error) of the request with 300 tokens; nothing else may have waited for it."""
    slowest = []
    is_done = threading.Event()

    def ask_health():
        while not is_done.wait(0.05):
            begin = time.monotonic()
            assert server.request("GET", "/health")[0] == 200
            slowest.append(time.monotonic() - begin)

    prober = threading.Thread(target=ask_health, daemon=True)
    prober.start()
    begin = time.monotonic()
    status, _, text = post(server, {"max_tokens": 300, "temperature": 1, "seed": 1, "ignore_eos": True, **fields}, 240)
    took = time.monotonic() - begin
    is_done.set()
    prober.join(10)
    assert stream.reader.is_alive(), "the stream failed"
    gaps = stream.gaps(begin, begin + took)
    print(f"{status} after {took:.2f} s: largest gap {max(gaps):.3f} s, median {statistics.median(gaps):.4f} s")
    is_calm = max(gaps) < GAP_SECONDS + 20 * statistics.median(gaps) and max(slowest, default=0) < HEALTH_SECONDS
    if not is_calm and has_more_tries:  # on a busy machine; a stall comes each time
        return beside(server, stream, fields, has_more_tries=False)
    assert is_calm, (max(gaps), statistics.median(gaps), max(slowest))
    return status, json.loads(text).get("error")


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


@pytest.mark.parametrize("fields", [pytest.param(row, id=str(i)) for i, row in enumerate(ambiguous())])
def test_an_ambiguous_grammar_is_refused_and_stalls_no_stream(server, free_stream, fields):
    begin = time.monotonic()
    status, error = beside(server, free_stream, fields)
    assert status == 400 and error["param"] == next(iter(fields)), error
    assert "too many ways" in error["message"] or "steps" in error["message"], error
    assert time.monotonic() - begin < COMPILE_SECONDS


@pytest.mark.parametrize("fields", [pytest.param(row, id=str(i)) for i, row in enumerate(growing())])
def test_a_long_answer_of_a_costly_grammar_stalls_no_stream(server, free_stream, fields):
    status, error = beside(server, free_stream, fields)
    assert status in (200, 400), error
    assert status == 200 or error["param"] == next(iter(fields)), error


def test_the_server_ends_beside_compiles_that_run(binary):
    """Both threads that compile are busy for some seconds; the drain waits its time, no more, and ends in order."""
    with RunningServer(binary, "demo", "--seed", "1", "--drain-timeout", "1") as server:
        wide = [{"regex": f".{{0,39{i}}}x"} for i in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = [pool.submit(post, server, fields, 60) for fields in [*wide, *ambiguous()]]
            time.sleep(0.3)
            assert server.stop() == 0, "".join(server.log)
            for job in running:
                try:
                    assert job.result()[0] in (200, 400, 503)
                except OSError:
                    pass  # its connection was cut
