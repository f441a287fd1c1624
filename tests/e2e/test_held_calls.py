"""Calls that a grammar holds, in every format: cut off, beside other demands, with schemas that are not enforced."""

import json
import time

import pytest

from running_server import RunningServer
from test_tools import DRAWN, FORMATS, NOW, QUESTION, WEATHER, client_of

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module", params=FORMATS)
def world(request, binary, real_model):
    with RunningServer(binary, real_model, "--tool-format", request.param, "--kv-memory", "256MiB") as running:
        running.format = request.param
        yield running
        assert running.stop() == 0


def test_a_demanded_call_that_is_cut_off(world):
    """Streamed or whole: a call from its name on, and never a part of one as content."""
    client = client_of(world)
    for limit in (1, 2, 3, 5, 8, 11, 14):
        fields = {"model": "", "messages": QUESTION, "tools": [WEATHER, NOW], "tool_choice": "required", **DRAWN}
        fields["max_tokens"] = limit
        whole = client.chat.completions.create(**fields).choices[0]
        assert not whole.message.content
        assert limit > 3 or whole.finish_reason == "length"
        pieces = []
        with client.chat.completions.create(**fields, stream=True) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    assert not choice.delta.content
                    pieces += choice.delta.tool_calls or []
        calls = [(call.function.name, call.function.arguments) for call in whole.message.tool_calls or []]
        streamed = [["", ""] for _ in calls]
        for piece in pieces:
            streamed[piece.index][0] += piece.function.name or ""
            streamed[piece.index][1] += piece.function.arguments or ""
        assert [tuple(call) for call in streamed] == calls


def unenforced(server, tool, **fields):
    body = {"messages": QUESTION, "tools": [tool], "tool_choice": "required", "max_tokens": 1, **fields}
    status, headers, text = server.request("POST", CHAT, body)
    assert status == 200, text
    return headers.get("x-coppice-unenforced", "")


def test_what_is_not_enforced_is_named(world):
    def tool(**properties):
        schema = {"type": "object", "properties": properties}
        return {"type": "function", "function": {"name": "f", "parameters": schema}}

    at = "#/tools/0/function/parameters"
    assert unenforced(world, tool(a={"type": "string"})) == ""
    assert unenforced(world, tool(a={"not": {}})) == f"{at}/properties/a not"
    assert unenforced(world, tool(a={"type": "string", "maxLength": 5000})) == f"{at} schema"
    short = {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]}
    named = f"{at}/properties/a maxLength" if world.format == "qwen3_coder" else ""
    assert unenforced(world, tool(a=short)) == named
    named = f"{at}/properties/a%20b properties" if world.format == "pythonic" else ""
    assert unenforced(world, tool(**{"a b": {"type": "integer"}})) == named


def test_a_demanded_call_beside_an_expression(world):
    body = {"messages": QUESTION, "tools": [WEATHER], "structured_outputs": {"regex": "a+"}, "max_tokens": 2}
    status, answer = world.post(CHAT, {**body, "tool_choice": "required"})
    assert status == 400 and answer["error"]["param"] == "tool_choice"
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    expression = {"structured_outputs": {"regex": "a+"}, "tool_choice": "auto"}
    assert unenforced(world, strict, **expression) == "#/tools/0/function strict"


def test_a_hundred_tools(world):
    """Prints what their masks cost."""
    tools = [{"type": "function", "function": {**WEATHER["function"], "name": f"get_weather_{i}"}} for i in range(100)]
    body = {"messages": QUESTION, "tools": tools, "tool_choice": "required", "parallel_tool_calls": False, **DRAWN}
    seconds = []
    for _ in range(2):  # the second time the grammar is there
        begin = time.monotonic()
        status, answer = world.post(CHAT, body)
        seconds.append(time.monotonic() - begin)
        assert status == 200, answer
    call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call["name"].startswith("get_weather_") and json.loads(call["arguments"])["city"] in ("Ulm", "Oslo")
    tokens = answer["usage"]["completion_tokens"]
    print(f"{world.format}: {tokens} tokens, {seconds[0]:.2f} s, then {seconds[1] / tokens * 1000:.1f} ms a token")
