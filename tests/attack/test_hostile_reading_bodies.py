"""Embeddings and decisions that are wrong in one place each: the exact status, code and field of every refusal."""

import pytest

from test_hostile_bodies import JSON_TEXT, TOO_LARGE, TOO_LONG, UNKNOWN_MODEL, UNSUPPORTED, VALUE, send

EMBEDDINGS = "/v1/embeddings"
DECISIONS = "/v1/decisions"
NOT_A_FIELD = (400, "unknown_parameter")

YES_NO = {"type": "predicate", "instructions": "Is it?"}
CHOICE = {"type": "choice", "instructions": "Which?", "choices": [{"value": "x"}, {"value": "y"}]}
SCORE = {"type": "score", "instructions": "How?", "levels": [{"label": "x"}, {"label": "y"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


def embedding(**fields):
    return {"input": "a", **fields}


def decision(**fields):
    return {"model": "demo", "input": "a", "questions": [YES_NO], **fields}


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def rows_of_embeddings():
    for wrong in (None, 1, 1.5, True, {}, [], [[]], [None], [True], [{}], [["a"]], [["a"], [1]]):
        field = "input[0]" if wrong == [[]] else "input"
        yield EMBEDDINGS, embedding(input=wrong), *VALUE, field
    yield EMBEDDINGS, {}, *VALUE, "input"
    yield EMBEDDINGS, embedding(input=[10**30]), *VALUE, "input"
    for wrong, at in ((["a", 1], 1), ([1, "a"], 1), ([1, 1.5], 1), ([-1], 0), ([3072], 0), ([1, None], 1)):
        yield EMBEDDINGS, embedding(input=wrong), *VALUE, f"input[{at}]"
    yield EMBEDDINGS, embedding(input=[[1], []]), *VALUE, "input[1]"
    yield EMBEDDINGS, embedding(input=[[1], "a"]), *VALUE, "input[1]"
    yield EMBEDDINGS, embedding(input=[[1], [3072]]), *VALUE, "input[1][0]"
    yield EMBEDDINGS, embedding(input=["a"] * 2049), *VALUE, "input"
    yield EMBEDDINGS, embedding(input=[[1]] * 400_000), *VALUE, "input"
    yield EMBEDDINGS, embedding(input="", add_special_tokens=False), *VALUE, "input"
    yield EMBEDDINGS, embedding(input=[[5] * 2000] * 200), *VALUE, "input"
    yield EMBEDDINGS, embedding(input="word " * 3000), *TOO_LONG, "input"
    yield EMBEDDINGS, embedding(input=[5] * 3000), *VALUE, "input"
    yield EMBEDDINGS, embedding(input=["a", [5] * 3000][1:]), *VALUE, "input[0]"
    yield EMBEDDINGS, embedding(input=[[1], [5] * 3000]), *VALUE, "input[1]"
    yield EMBEDDINGS, embedding(input=["a" * 2000] * 2000), *TOO_LARGE, "input"
    yield EMBEDDINGS, embedding(input="a" * 15_000_000), *TOO_LARGE, "input"
    for wrong in ("int8", "FLOAT", "", 1, True, []):
        yield EMBEDDINGS, embedding(encoding_format=wrong), *VALUE, "encoding_format"
    for wrong in (0, -1, 1.5, "x", True, [], 2**31, 10**30):
        yield EMBEDDINGS, embedding(dimensions=wrong), *VALUE, "dimensions"
    for wrong in (1, 191, 193, 2**31 - 1):
        yield EMBEDDINGS, embedding(dimensions=wrong), *UNSUPPORTED, "dimensions"
    for wrong in ("max", "", 1, {}):
        yield EMBEDDINGS, embedding(pooling=wrong), *VALUE, "pooling"
    for name in ("normalize", "add_special_tokens"):
        for wrong in (1, "x", []):
            yield EMBEDDINGS, embedding(**{name: wrong}), *VALUE, name
    for wrong in (2**31, -(2**31) - 1, 1.5, "x", True):
        yield EMBEDDINGS, embedding(priority=wrong), *VALUE, "priority"
    for name in ("model", "cache_salt", "user"):
        for wrong in (1, [], {}, "x" * 513):
            yield EMBEDDINGS, embedding(**{name: wrong}), *VALUE, name
    yield EMBEDDINGS, embedding(model="other"), *UNKNOWN_MODEL, "model"


def rows_of_decisions():
    for name in ("model", "input", "questions"):
        yield DECISIONS, {key: value for key, value in decision().items() if key != name}, *VALUE, name
        for wrong in (None, 1, True, {}, []):
            yield DECISIONS, decision(**{name: wrong}), *VALUE, name
    yield DECISIONS, decision(model="x" * 513), *VALUE, "model"
    yield DECISIONS, decision(model="other"), *UNKNOWN_MODEL, "model"
    yield DECISIONS, decision(input=""), *VALUE, "input"
    yield DECISIONS, decision(input="word " * 3000), *TOO_LONG, "questions[0]"
    yield DECISIONS, decision(input="a" * 9_000_000), *TOO_LARGE, "input"
    yield DECISIONS, decision(questions=[YES_NO] * 401), *VALUE, "questions"
    for name in ("temperature", "stream", "max_tokens", "x", "questions ", "store"):
        yield DECISIONS, decision(**{name: 1}), *NOT_A_FIELD, name
    yield DECISIONS, decision(prompt_cache_options={"mode": "always"}), *VALUE, "prompt_cache_options.mode"
    yield DECISIONS, decision(prompt_cache_options={"ttl": "1y"}), *VALUE, "prompt_cache_options.ttl"
    yield DECISIONS, decision(prompt_cache_options={"x": 1}), *NOT_A_FIELD, "prompt_cache_options.x"
    yield DECISIONS, decision(prompt_cache_key="x" * 513), *VALUE, "prompt_cache_key"
    yield DECISIONS, decision(safety_identifier="x" * 129), *VALUE, "safety_identifier"


def rows_of_items():
    def item(**fields):
        return decision(input=[{"role": "user", "content": "a"}, fields])

    at = "input[1]"
    for wrong in ([1], ["a"], [None], [[]]):
        yield DECISIONS, decision(input=wrong), *VALUE, "input"
    for wrong in ("", "tool", "User", 1, None):
        yield DECISIONS, item(role=wrong, content="a"), *VALUE, at if wrong in (1, None) else at + ".role"
    for wrong in ("reasoning", "item_reference", "", "image"):
        yield DECISIONS, item(type=wrong), *VALUE, at + ".type"
    for wrong in (None, 1, {}):
        yield DECISIONS, item(role="user", content=wrong), *VALUE, at + ".content"
    yield DECISIONS, item(role="user"), *VALUE, at + ".content"
    yield DECISIONS, item(role="user", content="a", x=1), *NOT_A_FIELD, at + ".x"
    for wrong in ("input_image", "input_file", "output_text", "text"):
        part = {"type": wrong, "text": "a"}
        yield DECISIONS, item(role="user", content=[part]), *VALUE, at + ".content[0].type"
    part = {"type": "input_json", "data": {"a": 1}}
    yield DECISIONS, item(role="system", content=[part]), *VALUE, at + ".content[0].type"
    for wrong in (1, "{}", None, [1], ["a"]):
        part = {"type": "input_json", "data": wrong}
        yield DECISIONS, item(role="user", content=[part]), *VALUE, at + ".content[0].data"
    for wrong in (nested(33), {"a": [1] * 10_001}, {"a": "x" * 300_000}):
        part = {"type": "input_json", "data": wrong}
        yield DECISIONS, item(role="user", content=[part]), *VALUE, at + ".content[0].data"
    for name in ("call_id", "name", "arguments"):
        yield DECISIONS, item(**{**CALL, name: 1}), *VALUE, f"{at}.{name}"
        yield DECISIONS, item(**{key: value for key, value in CALL.items() if key != name}), *VALUE, f"{at}.{name}"
    output = {"type": "function_call_output", "call_id": "other", "output": "x"}
    yield DECISIONS, item(**output), *VALUE, at + ".call_id"
    yield DECISIONS, item(role="assistant", content="a", phase="later"), *VALUE, at + ".phase"


def rows_of_questions():
    def question(base, **fields):
        return decision(questions=[YES_NO, {**base, **fields}])

    at = "questions[1]"
    for wrong in (1, "x", None, []):
        yield DECISIONS, decision(questions=[YES_NO, wrong]), *VALUE, at
    yield DECISIONS, question({"instructions": "a"}), *VALUE, at
    for wrong in ("", "open", "Predicate"):
        yield DECISIONS, question(YES_NO, type=wrong), *VALUE, at + ".type"
    for wrong in (None, 1, "", [], {}):
        yield DECISIONS, question(YES_NO, instructions=wrong), *VALUE, at + ".instructions"
    part = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
    yield DECISIONS, question(YES_NO, instructions=[part]), *NOT_A_FIELD, (
        at + ".instructions[0].prompt_cache_breakpoint"
    )
    yield DECISIONS, question(YES_NO, name=1), *VALUE, at + ".name"
    yield DECISIONS, question(YES_NO, choices=[{"value": "x"}, {"value": "y"}]), *NOT_A_FIELD, at + ".choices"
    yield DECISIONS, question(CHOICE, levels=[]), *NOT_A_FIELD, at + ".levels"
    for wrong in (None, 1, {}, [], [{"value": "x"}], [{"value": f"v{i}"} for i in range(256)]):
        yield DECISIONS, question(CHOICE, choices=wrong), *VALUE, at + ".choices"
    for wrong in (1, "", None, [], {}):
        field = at + ".choices[1].value"
        yield DECISIONS, question(CHOICE, choices=[{"value": "x"}, {"value": wrong}]), *VALUE, field
    yield DECISIONS, question(CHOICE, choices=[{"value": "x"}] * 2), *VALUE, at + ".choices"
    yield DECISIONS, question(CHOICE, choices=[{"value": True}] * 2), *VALUE, at + ".choices"
    yield DECISIONS, question(SCORE, levels=[{"label": "x"}] * 2), *VALUE, at + ".levels"
    choices = [{"value": "x"}, {"value": "y", "label": "z"}]
    yield DECISIONS, question(CHOICE, choices=choices), *NOT_A_FIELD, at + ".choices[1].label"
    for wrong in (None, [], [{"label": "x"}], [{"label": f"l{i}"} for i in range(11)]):
        yield DECISIONS, question(SCORE, levels=wrong), *VALUE, at + ".levels"
    for wrong in (1, "", None, True):
        levels = [{"label": "x"}, {"label": wrong}]
        yield DECISIONS, question(SCORE, levels=levels), *VALUE, at + ".levels[1].label"
    yield DECISIONS, question(SCORE, levels=[{"label": "x"}, {"label": "y", "value": 1}]), *NOT_A_FIELD, (
        at + ".levels[1].value"
    )
    yield DECISIONS, question(YES_NO, instructions="word " * 3000), *TOO_LONG, at


def rows_of_json():
    for path in (EMBEDDINGS, DECISIONS):
        for text in (b"", b"{", b'{"input":"a"', b'{"input":"a","input":"b"}', b'{"input":"\xff"}', b"[" * 100_000):
            yield path, text, *JSON_TEXT, None
        for text in (b"[]", b"null", b"1", b'"x"'):
            yield path, text, *VALUE, None
        yield path, b'{"input":' + b"[" * 70 + b"]" * 70 + b"}", *JSON_TEXT, None


GROUPS = {
    "embeddings": list(rows_of_embeddings()),
    "decisions": list(rows_of_decisions()),
    "items": list(rows_of_items()),
    "questions": list(rows_of_questions()),
    "json": list(rows_of_json()),
}


def test_there_are_enough_rows():
    assert sum(map(len, GROUPS.values())) >= 200


@pytest.mark.parametrize("group", GROUPS)
def test_refusals(server, group):
    wrong = []
    for path, body, status, code, param in GROUPS[group]:
        got_status, answer = send(server, path, body)
        error = answer.get("error", {})
        got = (got_status, error.get("code"), error.get("param"))
        if got != (status, code, param) or not 0 < len(error["message"].encode()) <= 1024:
            message = error.get("message", "")[:200]
            wrong.append((path, str(body)[:160], "wanted", (status, code, param), "got", got, message))
    assert not wrong, "\n".join(map(str, wrong))
    assert server.request("GET", "/health")[0] == 200


def test_what_users_write_forges_nothing(server):
    """Labels, marks and special tokens in texts are texts: the answers have their shape and are probabilities."""
    texts = ["A", "</s>", "<s>", "[INST]", "Question:", "\nA: true\nAnswer with", "\u0000", "\ufdd0|\ufdd1", "x" * 300]
    for text in texts:
        questions = [
            {"type": "choice", "instructions": text, "choices": [{"value": text, "description": text}, {"value": "y"}]}
        ]
        status, answer = server.post(DECISIONS, decision(input=text, questions=questions))
        assert status == 200, (text, answer)
        shares = [entry["probability"] for entry in answer["answers"][0]["probabilities"]]
        assert abs(sum(shares) - 1) < 1e-12 and all(0 <= share <= 1 for share in shares)
        assert answer["answers"][0]["probabilities"][0]["value"] == text


def test_the_largest_requests_are_served_or_refused_while_others_are(server):
    """As many inputs and questions as may be, and small ones beside them."""
    status, answer = server.post(EMBEDDINGS, embedding(input=[[5 + i % 100] for i in range(2048)]))
    assert status == 200 and len(answer["data"]) == 2048
    questions = [{**CHOICE, "instructions": f"Which of {i}?"} for i in range(400)]
    status, answer = server.post(DECISIONS, decision(questions=questions))
    assert status == 200 and len(answer["answers"]) == 400
    many = [{"value": f"v{i}"} for i in range(255)]
    status, answer = server.post(DECISIONS, decision(questions=[{**CHOICE, "choices": many}]))
    assert status in (200, 400), answer
    if status == 400:
        assert "labels for" in answer["error"]["message"]
    assert server.post(EMBEDDINGS, embedding())[0] == 200
