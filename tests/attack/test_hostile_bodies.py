"""Bodies that are wrong in one place each: the exact status, code and field of every refusal."""

import http.client
import json

import pytest

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
USER = MESSAGES[0]

VALUE = (400, "invalid_value")
JSON_TEXT = (400, "invalid_json")
UNSUPPORTED = (400, "not_supported")
TOO_LONG = (400, "context_length_exceeded")
TOO_LARGE = (413, "request_too_large")
UNKNOWN_MODEL = (404, "model_not_found")


def completion(**fields):
    return {"prompt": "a", "max_tokens": 1, **fields}


def chat(**fields):
    return {"messages": MESSAGES, "max_completion_tokens": 1, **fields}


def rows_of_types():
    """Every typed field with every other type."""
    wrong = {
        "integer": ["x", True, [], {}, 1.5],
        "number": ["x", True, [], {}],
        "boolean": ["x", 1, [], {}],
        "string": [1, True, [], {}],
    }
    fields = {
        "integer": ["max_tokens", "min_tokens", "n", "prompt_logprobs", "priority", "seed", "top_k"],
        "number": ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"],
        "boolean": ["stream", "ignore_eos", "include_stop_str_in_output", "skip_special_tokens", "add_special_tokens"],
        "string": ["model", "user", "cache_salt"],
    }
    for kind, names in fields.items():
        for name in names:
            for value in wrong[kind]:
                yield COMPLETIONS, completion(**{name: value}), *VALUE, name
                yield CHAT, chat(**{name: value}), *VALUE, name
    for name in ("best_of", "logprobs"):
        for value in wrong["integer"]:
            yield COMPLETIONS, completion(**{name: value}), *VALUE, name
    for value in wrong["integer"]:
        yield CHAT, chat(max_completion_tokens=value), *VALUE, "max_completion_tokens"
        yield CHAT, chat(logprobs=True, top_logprobs=value), *VALUE, "top_logprobs"
    for name in ("echo", "parse_special", "return_token_ids"):
        for value in wrong["boolean"]:
            yield COMPLETIONS, completion(**{name: value}), *VALUE, name
    for value in wrong["boolean"]:
        yield CHAT, chat(logprobs=value), *VALUE, "logprobs"
        yield CHAT, chat(add_generation_prompt=value), *VALUE, "add_generation_prompt"


def rows_of_bounds():
    for name, low, high in [
        ("temperature", -0.1, 1e7),
        ("top_p", -0.1, 1.1),
        ("min_p", -0.1, 1.1),
        ("presence_penalty", -2.1, 2.1),
        ("frequency_penalty", -2.1, 2.1),
        ("repetition_penalty", -1, 1e9),
        ("n", 0, 129),
        ("best_of", 0, 129),
        ("logprobs", -1, 21),
        ("prompt_logprobs", -1, 21),
        ("min_tokens", -1, 10**9),
        ("priority", -(2**31) - 1, 2**31),
    ]:
        for value in (low, high):
            yield COMPLETIONS, completion(**{name: value}), *VALUE, name
    for seed in (2**64, -(2**63) - 1, 1e300):
        yield COMPLETIONS, completion(seed=seed), *VALUE, "seed"
    yield COMPLETIONS, completion(min_tokens=2), *VALUE, "min_tokens"
    yield COMPLETIONS, completion(n=3, best_of=2), *VALUE, "best_of"
    yield COMPLETIONS, completion(best_of=2, stream=True), *VALUE, "best_of"
    yield COMPLETIONS, completion(prompt=["a"] * 17, n=128), *VALUE, "n"
    yield COMPLETIONS, completion(max_tokens=-1), *VALUE, "max_tokens"
    for most in (2048, 10**9):
        yield COMPLETIONS, completion(max_tokens=most), *TOO_LONG, "max_tokens"
    yield COMPLETIONS, completion(model="other"), *UNKNOWN_MODEL, "model"
    yield CHAT, chat(model="other"), *UNKNOWN_MODEL, "model"
    for name in ("model", "user", "cache_salt"):
        yield COMPLETIONS, completion(**{name: "x" * 513}), *VALUE, name
    yield CHAT, chat(top_logprobs=2), *VALUE, "top_logprobs"
    yield COMPLETIONS, completion(stream_options={"include_usage": True}), *VALUE, "stream_options"
    yield COMPLETIONS, completion(stream=True, stream_options=1), *VALUE, "stream_options"
    options = {"include_usage": 1}
    yield COMPLETIONS, completion(stream=True, stream_options=options), *VALUE, "stream_options.include_usage"
    yield COMPLETIONS, completion(stream=True, prompt_logprobs=1), *VALUE, "prompt_logprobs"


def rows_of_unsupported():
    for name in (
        "logits_processors prompt_embeds audio suffix bad_words allowed_token_ids truncate_prompt_tokens"
    ).split():
        yield COMPLETIONS, completion(**{name: "x"}), *UNSUPPORTED, name
        yield CHAT, chat(**{name: ["x"]}), *UNSUPPORTED, name
    for name in ("functions", "function_call"):
        yield COMPLETIONS, completion(**{name: "x"}), *UNSUPPORTED, name
        yield CHAT, chat(**{name: ["x"]}), *VALUE, name
    for value in (True, "x", 1):
        yield COMPLETIONS, completion(use_beam_search=value), *UNSUPPORTED, "use_beam_search"
    yield COMPLETIONS, completion(response_format="x"), *VALUE, "response_format"
    yield COMPLETIONS, completion(response_format={"type": 1}), *VALUE, "response_format.type"
    yield CHAT, chat(chat_template="x"), *VALUE, "chat_template"
    yield CHAT, chat(tool_choice="required"), *VALUE, "tool_choice"
    yield CHAT, chat(tool_choice={"type": "function"}), *VALUE, "tool_choice"


def rows_of_prompts():
    wrong = [[], {}, 1, True, [[]], ["", 1], ["a", 1], [1, "a"], [-1], [10**9], [1.5], [None], [["a"]], [{}]]
    for prompt in [*wrong, [[1], "a", [None]]]:
        yield COMPLETIONS, completion(prompt=prompt), *VALUE, "prompt"
    yield COMPLETIONS, {"max_tokens": 1}, *VALUE, "prompt"
    yield COMPLETIONS, completion(prompt=None), *VALUE, "prompt"
    yield COMPLETIONS, completion(prompt=["a"] * 1025), *VALUE, "prompt"
    yield COMPLETIONS, completion(prompt="word " * 3000), *TOO_LONG, "prompt"
    yield COMPLETIONS, completion(prompt=[5] * 3000), *TOO_LONG, "prompt"
    yield COMPLETIONS, completion(prompt=["a" * 2000] * 1000), *TOO_LARGE, "prompt"
    yield COMPLETIONS, completion(prompt="a" * 15_000_000), *TOO_LONG, "prompt"
    yield COMPLETIONS, completion(prompt=[[1]] * 400_000), *VALUE, "prompt"
    many = [[5] * 1000] * 500
    yield COMPLETIONS, completion(prompt=many, prompt_logprobs=20), *VALUE, "prompt_logprobs"
    yield COMPLETIONS, completion(prompt=many, echo=True, logprobs=20), *VALUE, "echo"
    yield COMPLETIONS, completion(prompt=["a" * 500] * 500, echo=True, n=4, logprobs=20), *VALUE, "echo"
    for prediction in ("x", 1, [], {}, {"type": "content"}, {"content": 1, "type": "content"}):
        field = "prediction.content" if isinstance(prediction, dict) and "content" in prediction else "prediction"
        yield COMPLETIONS, completion(prediction=prediction), *VALUE, field
    for kind in ("nope", 1, [], "CONTENT", ""):
        yield COMPLETIONS, completion(prediction={"type": kind, "content": "x"}), *VALUE, "prediction.type"
    yield COMPLETIONS, completion(prediction={"type": "content", "content": "a b " * 2000}), *VALUE, "prediction"
    yield COMPLETIONS, completion(prediction={"type": "content", "content": "x" * 9_000_000}), *TOO_LONG, "prediction"


def rows_of_lists():
    for stop in (1, True, {}, [1], [None], [""], "", ["a"] * 17, "x" * 1025, ["x" * 1000] * 9, ["a"] * 100_000):
        yield COMPLETIONS, completion(stop=stop), *VALUE, "stop"
    for tokens in (1, "x", {}, ["x"], [-1], [10**9], [1] * 65, [1] * 100_000, [None]):
        yield COMPLETIONS, completion(stop_token_ids=tokens), *VALUE, "stop_token_ids"
    for bias in (
        1,
        "x",
        [],
        {"x": 1},
        {"-1": 1},
        {"01": 2},
        {"1": 1, "01": 2},
        {"+1": 1},
        {" 1": 1},
        {"1 ": 1},
        {"1.0": 1},
        {"0x1": 1},
        {"": 1},
        {"-0": 1},
        {"1": "x"},
        {"1": None},
        {"1": True},
        {"1": 100.5},
        {"1": -100.5},
        {"999999999": 1},
        {"99999999999999999999": 1},
        {str(i): 1 for i in range(1025)},
    ):
        yield COMPLETIONS, completion(logit_bias=bias), *VALUE, "logit_bias"


def rows_of_chats():
    for messages in ([], {}, "x", 1, True, [1], ["x"], [None], [[]]):
        yield CHAT, chat(messages=messages), *VALUE, "messages" if messages in ([], {}, "x", 1, True) else "messages[0]"
    yield CHAT, {"max_tokens": 1}, *VALUE, "messages"
    for role in (None, 1, "", [], "x" * 513):
        yield CHAT, chat(messages=[{"role": role, "content": "x"}]), *VALUE, "messages[0].role"
    yield CHAT, chat(messages=[{"content": "x"}]), *VALUE, "messages[0].role"
    for content in (1, True, {}):
        yield CHAT, chat(messages=[{"role": "user", "content": content}]), *VALUE, "messages[0].content"
    for part in (1, "x", {"type": "image_url"}, {"type": "input_audio"}, {"text": "x"}, {"type": 1}):
        yield CHAT, chat(messages=[{"role": "user", "content": [part]}]), *UNSUPPORTED, "messages[0].content"
    for part in ({"type": "text"}, {"type": "text", "text": 1}):
        yield CHAT, chat(messages=[{"role": "user", "content": [part]}]), *VALUE, "messages[0].content"
    yield CHAT, chat(messages=[{"role": "user"}]), *VALUE, "messages[0].content"
    yield CHAT, chat(messages=[USER] * 4097), *VALUE, "messages"
    for calls in (1, "x", [1], [{}], [{"function": 1}]):
        message = {"role": "assistant", "content": "x", "tool_calls": calls}
        place = "messages[0].tool_calls" + ("[0]" if isinstance(calls, list) else "")
        yield CHAT, chat(messages=[message]), *VALUE, place
    for tools in (1, "x", {}, [1], [{}], [{"function": 1}], [{"function": {}}] * 513):
        yield CHAT, chat(tools=tools), *VALUE, "tools"
    for names in (["a b"], [""], ["f\n"], ["f("], ["f" * 129], ["f", "f"]):
        yield CHAT, chat(tools=[{"type": "function", "function": {"name": name}} for name in names]), *VALUE, "tools"
    for arguments in (1, "x", [], {f"k{i}": i for i in range(65)}, {f"k{i}": i for i in range(4000)}):
        yield CHAT, chat(chat_template_kwargs=arguments), *VALUE, "chat_template_kwargs"
    for name in ("messages", "tools", "add_generation_prompt", "continue_final_message"):
        yield CHAT, chat(chat_template_kwargs={name: 1}), *VALUE, "chat_template_kwargs"
    yield CHAT, chat(chat_template_kwargs={"a": [[]] * 300_000}), *TOO_LARGE, "messages"
    yield CHAT, chat(messages=[{"role": "user", "content": "x" * 3_000_000}]), *TOO_LONG, "messages"
    yield CHAT, chat(messages=[{"role": "user", "content": "word " * 3000}]), *TOO_LONG, "messages"
    yield CHAT, chat(continue_final_message=True, add_generation_prompt=True), *VALUE, "continue_final_message"


def rows_of_texts():
    yield "/tokenize", {}, *VALUE, "prompt"
    for prompt in (1, True, [], {}, ["a"]):
        yield "/tokenize", {"prompt": prompt}, *VALUE, "prompt"
        yield "/tokenize", {"content": prompt}, *VALUE, "content"
    yield "/tokenize", {"prompt": "a", "model": "other"}, *UNKNOWN_MODEL, "model"
    yield "/tokenize", {"prompt": "x" * 15_000_000}, *TOO_LARGE, "prompt"
    yield "/tokenize", {"prompt": " " * 2_000_000}, *TOO_LARGE, "prompt"
    yield "/tokenize", {"messages": []}, *VALUE, "messages"
    yield "/tokenize", {"messages": [{"role": "user", "content": "x" * 2_000_000}]}, *TOO_LARGE, "messages"
    for name in ("add_special_tokens", "parse_special", "return_token_strs"):
        for value in (1, "x", []):
            yield "/tokenize", {"prompt": "a", name: value}, *VALUE, name
    yield "/detokenize", {}, *VALUE, "tokens"
    for tokens in (1, "x", {}, ["x"], [-1], [10**9], [None], [1.5], [1] * 70_000):
        yield "/detokenize", {"tokens": tokens}, *VALUE, "tokens"
    yield "/detokenize", {"tokens": [1], "model": "other"}, *UNKNOWN_MODEL, "model"


def rows_of_json():
    """Bytes that are not the JSON they should be; nothing names a field."""
    deep = 100_000
    texts = [
        b"",
        b" ",
        b"{",
        b"}",
        b'{"prompt":',
        b'{"prompt":"a"',
        b'{"prompt":"a",}',
        b"{'prompt':'a'}",
        b'{"prompt":"a"} x',
        b'{"prompt":"a"}{"prompt":"a"}',
        b'{"prompt":"a"}\x00',
        b'\x00{"prompt":"a"}',
        b'{"prompt":"a\x00"}',
        b'{"prompt":"a"}\x00{"n":2}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{",
        b'{"prompt":"\xff"}',
        b'{"prompt":"\xed\xa0\x80"}',
        b'{"prompt":"\xc0\x80"}',
        b'{"prompt":"\xf4\x90\x80\x80"}',
        b'{"prompt":"\\ud800"}',
        b'{"prompt":"\\udc00\\ud800"}',
        b'{"prompt":"\\x41"}',
        b'{"prompt":"\\u12"}',
        b'{"prompt":"a\nb"}',
        b'{"prompt":"a\tb"}',
        b'{"prompt":nan}',
        b'{"prompt":NaN}',
        b'{"prompt":Infinity}',
        b'{"temperature":-Infinity,"prompt":"a"}',
        b'{"temperature":1e999,"prompt":"a"}',
        b'{"temperature":01,"prompt":"a"}',
        b'{"temperature":.5,"prompt":"a"}',
        b'{"temperature":1.,"prompt":"a"}',
        b'{"temperature":0x1,"prompt":"a"}',
        b'{"temperature":+1,"prompt":"a"}',
        b'{"prompt":"a" /* comment */}',
        b'{"prompt":"a","n":1,"n":2}',
        b'{"prompt":"a","prompt":"b"}',
        b'{"prompt":"a","x":{"y":1,"y":2}}',
        b"[" * deep,
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep,
        b'{"prompt":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"' + b"k" * 2000 + b'":1,"prompt":"a"}',
        b'{"prompt":"a",' + b",".join(b'"k%d":1' % i for i in range(5000)) + b"}",
        b'{"prompt":"a","x":{' + b",".join(b'"k%d":1' % i for i in range(700_000)) + b"}}",
        b'{"prompt":"a","x":[' + b",".join([b"[]"] * 3_000_000) + b"]}",
        b'{"prompt":"a","x":[' + b",".join([b"0"] * 4_100_000) + b"]}",
        b"1" * 2_000_000,
        b'"' + b"x" * 2_000_000,
        b"tru",
        b"nul",
    ]
    for text in texts:
        yield COMPLETIONS, text, *JSON_TEXT, None
    for text in (b"[]", b"null", b"1", b'"x"', b"true"):
        yield COMPLETIONS, text, *VALUE, None


GROUPS = {
    "types": list(rows_of_types()),
    "bounds": list(rows_of_bounds()),
    "unsupported": list(rows_of_unsupported()),
    "prompts": list(rows_of_prompts()),
    "lists": list(rows_of_lists()),
    "chats": list(rows_of_chats()),
    "texts": list(rows_of_texts()),
    "json": list(rows_of_json()),
}


def send(server, path, body):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, text, {"content-type": "application/json"})
    answer = connection.getresponse()
    payload = answer.read()
    connection.close()
    return answer.status, json.loads(payload)


def test_there_are_enough_rows():
    assert sum(map(len, GROUPS.values())) >= 400



@pytest.mark.parametrize("group", GROUPS)
def test_refusals(server, group):
    wrong = []
    for path, body, status, code, param in GROUPS[group]:
        got_status, answer = send(server, path, body)
        error = answer.get("error", {})
        got = (got_status, error.get("code"), error.get("param"))
        if got != (status, code, param) or not 0 < len(error["message"].encode()) <= 1024:
            message = error.get("message", "")[:200]
            wrong.append((path, str(body)[:120], "wanted", (status, code, param), "got", got, message))
    assert not wrong, "\n".join(map(str, wrong))
    assert server.request("GET", "/health")[0] == 200


def test_honest_requests_beside_them_are_served(server):
    assert server.post(COMPLETIONS, completion(logit_bias={str(i): 1 for i in range(1000)}))[0] == 200
    assert server.post(COMPLETIONS, completion(stop=["x" * 1000] * 8))[0] == 200
    assert server.post(COMPLETIONS, completion(prediction={"type": "content", "content": "a b c"}))[0] == 200
    assert server.post(CHAT, chat(chat_template_kwargs={f"k{i}": i for i in range(64)}))[0] == 200
    assert server.post(COMPLETIONS, completion(prompt=["a"] * 64, n=4))[0] == 200
    assert server.post("/tokenize", {"prompt": "word " * 100_000})[0] == 200
    assert server.post(COMPLETIONS, completion(prompt=[[5] * 500] * 8, prompt_logprobs=5))[0] == 200
