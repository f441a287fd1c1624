"""/openapi.json describes what the server does: its answers are as the document says, whatever is asked."""

import copy
import json
import subprocess
import sys

import jsonschema_rs
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.decision import Decision

from running_server import RunningServer

CASES_MIN = 5000
MINUTES_MAX = 10  # on a busy machine; an idle one takes a fifth
# What is wrong may be too large as well.
CONFIGURATION = """[checks]
negative_data_rejection.expected-statuses = ["400", "404", "405", "408", "413", "415", "429"]
"""
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
ASK = {"model": "demo", "input": "a", "questions": [{"type": "predicate", "instructions": "Is it?"}]}
SCORES = {"logprobs": 2, "echo": True, "prompt_logprobs": 1, "return_token_ids": True, "n": 2}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
UPLOAD = (
    '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    '--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    '{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"a","n":8,"max_tokens":800,'
    '"ignore_eos":true}}\r\n--b--\r\n'
).encode()
BATCH = {"endpoint": "/v1/completions", "completion_window": "24h", "metadata": {"k": "v"}}
SO_FAR = {"stream": True, "stream_options": {"continuous_usage_stats": True}, "return_token_ids": True}

# Requests with what each should be answered with: every operation of the document, with every optional part.
CALLS = [
    ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 3}, 200),
    ("POST", "/v1/completions", {"prompt": ["a", "b"], "max_tokens": 3, "stop": "e", **SCORES}, 200),
    ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 3, "logprobs": 1, **USAGE}, 200),
    ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 3, **SO_FAR}, 200),
    ("POST", CHAT, {"messages": MESSAGES, "max_tokens": 3}, 200),
    (
        "POST",
        CHAT,
        {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, "top_logprobs": 2, "prompt_logprobs": 1, "n": 2},
        200,
    ),
    ("POST", CHAT, {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, **USAGE}, 200),
    ("POST", CHAT, {"messages": MESSAGES, "max_tokens": 3, **SO_FAR}, 200),
    ("POST", "/v1/responses", {"input": "a", "max_output_tokens": 3, "top_logprobs": 2}, 200),
    ("POST", "/v1/responses", {"input": "a", "max_output_tokens": 3, "stream": True, "top_logprobs": 1}, 200),
    ("POST", "/v1/responses/input_tokens", {"input": "a"}, 200),
    ("POST", "/v1/responses", {"input": "a", "max_output_tokens": 3, "background": True}, 200),
    ("GET", "/v1/responses/{last}", None, 200),
    ("POST", "/v1/responses/{last}/cancel", None, 200),
    ("POST", "/v1/responses", {"input": "a", "max_output_tokens": 3, "metadata": {"k": "v"}}, 200),
    ("GET", "/v1/responses/{last}/input_items", None, 200),
    ("DELETE", "/v1/responses/{last}", None, 200),
    ("GET", "/v1/responses/{last}", None, 404),
    ("POST", "/v1/messages", {"messages": MESSAGES, "max_tokens": 3}, 200),
    ("POST", "/v1/messages", {"messages": MESSAGES, "max_tokens": 3, "stream": True}, 200),
    ("POST", "/v1/messages", {"messages": MESSAGES}, 400),
    ("POST", "/v1/messages/count_tokens", {"messages": MESSAGES}, 200),
    ("POST", "/v1/embeddings", {"input": ["a", "b"]}, 200),
    ("POST", "/v1/embeddings", {"input": [1, 2], "encoding_format": "base64", "pooling": "mean"}, 200),
    ("POST", "/v1/decisions", ASK, 200),
    ("GET", "/v1/models", None, 200),
    ("GET", "/v1/models/demo", None, 200),
    ("GET", "/v1/models/other", None, 404),
    ("POST", "/tokenize", {"prompt": "a", "return_token_strs": True}, 200),
    ("POST", "/tokenize", {"messages": MESSAGES}, 200),
    ("POST", "/detokenize", {"tokens": [1, 2, 3]}, 200),
    ("GET", "/tokenizer_info", None, 200),
    ("POST", "/v1/completions/input_tokens", {"prompt": ["a", "b"]}, 200),
    ("POST", CHAT + "/input_tokens", {"messages": MESSAGES}, 200),
    ("POST", "/v1/completions/render", {"prompt": ["a", "b"]}, 200),
    ("POST", CHAT + "/render", {"messages": MESSAGES}, 200),
    ("GET", "/get_server_info", None, 200),
    ("GET", "/kv_event_sources", None, 200),
    ("POST", "/v1/speculation/corpora", {"name": "c", "texts": ["a b c"]}, 200),
    ("POST", "/v1/speculation/corpora", {"name": "c", "texts": []}, 400),
    ("GET", "/v1/speculation/corpora", None, 200),
    ("DELETE", "/v1/speculation/corpora/c", None, 200),
    ("DELETE", "/v1/speculation/corpora/c", None, 404),
    ("POST", "/v1/files", UPLOAD, 200),
    ("GET", "/v1/files?limit=1", None, 200),
    ("GET", "/v1/files/{last}", None, 200),
    ("GET", "/v1/files/{last}/content", None, 200),
    ("POST", "/v1/batches", {"input_file_id": "{last}", **BATCH}, 200),
    ("GET", "/v1/batches", None, 200),
    ("POST", "/v1/batches/{last}/cancel", None, 200),
    ("GET", "/v1/batches/{last}", None, 200),
    ("POST", "/v1/batches", {"input_file_id": "{last}", **BATCH}, 404),
    ("POST", "/v1/files", UPLOAD, 200),
    ("DELETE", "/v1/files/{last}", None, 200),
    ("GET", "/v1/files/{last}", None, 404),
    ("POST", "/v1/files", b"", 400),
    ("GET", "/health", None, 200),
    ("GET", "/live", None, 200),
    ("GET", "/ready", None, 200),
    ("GET", "/version", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/v1/engine/view", None, 200),
    ("GET", "/v1/engine/view", None, 200),
    ("GET", "/", None, 200),
    ("GET", "/console/main.js", None, 200),
    ("GET", "/console/style.css", None, 200),
    ("GET", "/console/other", None, 404),
]


def closed(schema):
    """The same, but objects have no members except those that are named: what is answered and not documented shows."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and schema.get("properties") and "additionalProperties" not in schema:
        copied["additionalProperties"] = False
    return copied


def operation_of(document, method, path):
    """The path's pattern in the document, the one with the fewest names, and the operation there."""
    found = []
    for pattern, operations in document["paths"].items():
        asked, named = path.strip("/").split("/"), pattern.strip("/").split("/")
        same = len(asked) == len(named) and all(n == a or n.startswith("{") for a, n in zip(asked, named))
        if same and method.lower() in operations:
            found.append((pattern.count("{"), pattern, operations[method.lower()]))
    return min(found, key=lambda entry: entry[0])[1:]


def check(document, schema, value):
    whole = {**schema, "components": document["components"]}
    errors = [f"{list(error.instance_path)}: {error.message}" for error in jsonschema_rs.Draft202012Validator(
        whole
    ).iter_errors(value)]
    assert not errors, (errors, value)


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory):
    """One that has every route."""
    folder = str(tmp_path_factory.mktemp("files"))
    with RunningServer(binary, "demo", "--seed", "1", "--files-folder", folder) as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


@pytest.fixture(scope="module")
def document(server):
    status, headers, text = server.request("GET", "/openapi.json")
    assert status == 200 and headers["content-type"] == "application/json"
    return json.loads(text)


def test_answers_have_what_the_document_says_and_no_more(server, document):
    strict = closed(copy.deepcopy(document))
    seen = set()
    last = ""
    for method, path, body, wanted in CALLS:
        path = path.replace("{last}", last)
        pattern, operation = operation_of(strict, method, path.split("?")[0])
        if isinstance(body, bytes):
            form = {"content-type": "multipart/form-data; boundary=b"}
            status, headers, text = server.request(method, path, body, form)
        else:
            body = json.loads(json.dumps(body).replace("{last}", last))
            status, headers, text = server.request(method, path, body)
        assert status == wanted, (method, path, text)
        kind = headers["content-type"].split(";")[0]
        content = operation["responses"][str(status)]["content"][kind]
        if kind == "text/event-stream":
            events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
            assert len(events) >= 2
            for event in events:
                check(strict, content["schema"]["properties"]["data"]["anyOf"][1]["contentSchema"], json.loads(event))
        else:
            answer = json.loads(text) if kind == "application/json" else text
            check(strict, content["schema"], answer)
            makes = method == "POST" and path in ("/v1/responses", "/v1/files", "/v1/batches") and status == 200
            last = answer["id"] if makes else last
        seen.add((method.lower(), pattern))
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert seen == listed


def test_answers_are_what_openai_documents(server):
    """Every answer by the strict types of OpenAI's own client: no text where a number should be."""
    rows = [
        ("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 3, "logprobs": 2}, Completion),
        ("/v1/completions", {"prompt": "a", "max_tokens": 3, "logprobs": 2, **USAGE}, Completion),
        (CHAT, {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}, ChatCompletion),
        (CHAT, {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, **USAGE}, ChatCompletionChunk),
        ("/v1/embeddings", {"input": ["a", "b"]}, CreateEmbeddingResponse),
        ("/v1/decisions", ASK, Decision),
        ("/v1/models/demo", None, Model),
    ]
    for path, body, kind in rows:
        status, headers, text = server.request("POST" if body else "GET", path, body)
        assert status == 200, text
        if headers["content-type"].startswith("text/event-stream"):
            events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        else:
            events = [json.loads(text)]
        for event in events:
            # A chunk without choices' ends has no reason yet, which the old API's types do not know.
            for choice in event.get("choices", []) if kind is Completion else []:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            kind.model_validate(event, strict=True)


def test_the_document_asks_for_a_key_where_the_server_does(binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret-key-0001\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys)) as server:
        document = json.loads(server.request("GET", "/openapi.json")[2])
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                target = path.replace("{", "").replace("}", "")
                status = server.request(method.upper(), target, {} if method == "post" else None)[0]
                assert (status == 401) == ("security" in operation), (method, path, status)


def test_no_request_breaks_the_server_or_the_document(binary, tmp_path):
    """Schemathesis: requests made from the document, right and wrong ones. Nothing is answered with 5xx or with what
    the document does not have, and what the document rules out is refused."""
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
    )
    report = tmp_path / "report.json"
    flags = ("--max-model-len", "64", "--request-timeout", "5", "--seed", "1")
    flags += ("--files-folder", str(tmp_path / "files"))
    with RunningServer(binary, "demo", *flags) as server:
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml")]
        command += ["run", server.url + "/openapi.json"]
        command += ["--checks", checks, "--phases", "coverage,fuzzing", "--max-examples", "150"]
        command += ["--seed", "1", "--generation-database", "none", "--suppress-health-check", "all"]
        command += ["--continue-on-failure", "--no-color", "--report", "json", "--report-json-path", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES_MAX * 60, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert server.process.poll() is None, "".join(server.log)
        assert server.stop() == 0, "".join(server.log)
    assert json.loads(report.read_text())["test_cases"]["generated"] >= CASES_MIN
