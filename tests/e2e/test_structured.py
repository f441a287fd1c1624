"""Structured output by every API and every client: what comes out is what was asked for, and the same bits as ever."""

import concurrent.futures
import json
import re
import time
from typing import Literal

import anthropic
import grpc
import jsonschema
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from running_server import RunningServer
from test_batch import answers, run_batch, write_input
from test_grpc import Stub, whole

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "Tell me about a fox."}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "legs": {"type": "integer", "minimum": 0, "maximum": 100},
        "kind": {"enum": ["mammal", "bird", "fish"]},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,6}$"}, "maxItems": 3},
    },
    "required": ["name", "legs", "kind", "tags"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "animal", "strict": True, "schema": SCHEMA}}
FLAT = {"type": "json_schema", "name": "animal", "strict": True, "schema": SCHEMA}
DRAWN = {"temperature": 1, "seed": 7, "max_tokens": 600}
NODE = {
    "type": "object",
    "properties": {
        "v": {"type": "integer", "minimum": 0, "maximum": 99},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
    },
    "required": ["v", "next"],
    "additionalProperties": False,
}


class Animal(BaseModel):
    name: str = Field(max_length=12)
    legs: int = Field(ge=0, le=100)
    kind: Literal["mammal", "bird", "fish"]


class Zoo(BaseModel):
    city: str = Field(max_length=8)
    animals: list[Animal] = Field(max_length=2)
    is_open: bool | None


def ask(server, fields, path="/v1/completions", **more):
    prompt = {"messages": USER} if path == CHAT else {"prompt": "Once upon a time"}
    status, answer = server.post(path, {**prompt, **DRAWN, **fields, **more})
    assert status == 200, answer
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    return choice["message"]["content"] if path == CHAT else choice["text"]


def refusal(server, fields, path="/v1/completions"):
    prompt = {"messages": USER} if path == CHAT else {"prompt": "a"}
    status, answer = server.post(path, {**prompt, "max_tokens": 8, **fields})
    assert status == 400, answer
    return answer["error"]


def is_valid(text, schema):
    jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Animal, Zoo])
def test_openai_parses_pydantic_models(client, model):
    for seed in range(5):
        done = client.chat.completions.parse(
            model="demo", messages=USER, response_format=model, seed=seed, temperature=1, max_tokens=1200
        )
        assert isinstance(done.choices[0].message.parsed, model), done
    response = client.responses.parse(
        model="demo", input="a", text_format=model, temperature=1, max_output_tokens=1200, extra_body={"seed": 3}
    )
    assert isinstance(response.output_parsed, model)
    assert response.text.format.type == "json_schema"


def test_openai_streams_a_parsed_answer(client):
    seen = []
    with client.chat.completions.stream(
        model="demo", messages=USER, response_format=Animal, seed=1, temperature=1, max_tokens=1200
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                seen.append(event.snapshot)
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Animal)
    assert len(seen) > 5 and seen[-1] == final.choices[0].message.content
    whole_answer = client.chat.completions.create(
        model="demo", messages=USER, response_format=FORMAT_OF_ANIMAL, seed=1, temperature=1, max_tokens=1200
    )
    assert whole_answer.choices[0].message.content == seen[-1]


FORMAT_OF_ANIMAL = openai.lib._parsing._completions.type_to_response_format_param(Animal)


def test_langchain_gets_structured_output(server):
    model = ChatOpenAI(
        model="demo", base_url=server.url + "/v1", api_key="none", temperature=1, seed=5, max_tokens=1200, max_retries=0
    )
    structured = model.with_structured_output(Animal, method="json_schema", strict=True)
    assert isinstance(structured.invoke("Tell me about a fox."), Animal)


def test_anthropic_messages_have_it(server):
    claude = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
    form = {"type": "json_schema", "schema": SCHEMA}
    more = {"extra_body": {"seed": 1, "temperature": 1, "output_config": {"format": form}}}
    answer = claude.messages.create(model="demo", max_tokens=600, messages=USER, **more)
    assert answer.stop_reason == "end_turn"
    is_valid(answer.content[0].text, SCHEMA)
    with claude.messages.stream(model="demo", max_tokens=600, messages=USER, **more) as stream:
        assert stream.get_final_text() == answer.content[0].text
    with pytest.raises(anthropic.BadRequestError, match="uniqueItems"):
        form = {"type": "json_schema", "schema": {"type": "array", "uniqueItems": True}}
        claude.messages.create(model="demo", max_tokens=8, messages=USER, extra_body={"output_format": form})


# --- every way in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/completions", CHAT])
def test_every_kind_by_every_name(server, path):
    date = r"\d{4}-\d{2}-\d{2}"
    ebnf = 'root ::= "<" item ("," item){0,3} ">"\nitem ::= [a-c]'
    number = {"type": "json_schema", "json_schema": {"type": "integer", "minimum": -9, "maximum": 99}}
    tag = {"type": "structural_tag", "format": {"type": "tag", "begin": "<a>", "content": number, "end": "</a>"}}
    for fields in ({"structured_outputs": {"regex": date}}, {"guided_regex": date}, {"regex": date}):
        assert re.fullmatch(date, ask(server, fields, path))
    for fields in ({"structured_outputs": {"choice": ["yes", "no\n"]}}, {"guided_choice": ["yes", "no\n"]}):
        assert ask(server, fields, path) in ("yes", "no\n")
    for fields in ({"structured_outputs": {"grammar": ebnf}}, {"guided_grammar": ebnf}, {"ebnf": ebnf}):
        assert re.fullmatch(r"<[abc](,[abc]){0,3}>", ask(server, fields, path))
    for fields in ({"structural_tag": tag}, {"response_format": tag}):
        assert re.fullmatch(r"<a>-?\d+</a>", ask(server, fields, path))
    for fields in (
        {"response_format": FORMAT},
        {"structured_outputs": {"json": SCHEMA}},
        {"guided_json": SCHEMA},
        {"json_schema": json.dumps(SCHEMA)},
    ):
        is_valid(ask(server, fields, path), SCHEMA)
    recursive = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    is_valid(ask(server, {"guided_json": recursive}, path, max_tokens=1200), recursive)


def test_json_object_is_an_object_or_its_beginning(server):
    for seed in range(5):
        body = {"messages": USER, "response_format": {"type": "json_object"}, "max_tokens": 120, "seed": seed}
        status, answer = server.post(CHAT, body)
        assert status == 200
        choice = answer["choices"][0]
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)
        else:
            assert choice["message"]["content"].startswith("{")


def test_grpc_says_what_http_says(server):
    stub = Stub(server.grpc)
    rows = [
        ({"regex": "[a-f]{5}"}, {"regex": "[a-f]{5}"}),
        ({"choice": {"values": ["one", "two"]}}, {"guided_choice": ["one", "two"]}),
        ({"json_schema": json.dumps(SCHEMA), "strict": True}, {"response_format": FORMAT}),
        ({"grammar": 'root ::= "x"{1,9} "y"'}, {"ebnf": 'root ::= "x"{1,9} "y"'}),
        ({"json_object": True}, {"response_format": {"type": "json_object"}}),
    ]
    sampling = {"temperature": 1, "seed": 7, "max_tokens": 600}
    for ours, theirs in rows:
        text = whole(stub.call("Generate", text="Once upon a time", sampling=sampling, format=ours))[0][0]
        status, answer = server.post("/v1/completions", {"prompt": "Once upon a time", **DRAWN, **theirs})
        assert status == 200 and text == answer["choices"][0]["text"]
    chat = stub.call("Chat", messages=USER, sampling=sampling, format={"json_schema": json.dumps(SCHEMA)})
    assert whole(chat)[0][0] == ask(server, {"response_format": FORMAT}, CHAT)
    unique = '{"type":"array","uniqueItems":true}'
    loose = stub.call("Generate", text="a", sampling=sampling, format={"json_schema": unique})
    list(loose)
    assert dict(loose.trailing_metadata())["x-coppice-unenforced"] == "# uniqueItems"
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.call("Generate", text="a", format={"json_schema": '{"uniqueItems":true}', "strict": True}))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "uniqueItems" in refused.value.details()


def test_batch_files_take_it(binary, server, tmp_path):
    rows = {
        "schema": (CHAT, {"messages": USER, "response_format": FORMAT, **DRAWN}),
        "regex": ("/v1/completions", {"prompt": "a", "regex": "[a-c]{3}", **DRAWN}),
        "wrong": ("/v1/completions", {"prompt": "a", "regex": "(?=a)b", **DRAWN}),
    }
    write_input(tmp_path / "in.jsonl", rows)
    done = run_batch(binary, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    got = {each["custom_id"]: each["response"] for each in answers(tmp_path / "out.jsonl")}
    assert got["wrong"]["status_code"] == 400 and got["wrong"]["body"]["error"]["param"] == "regex"
    text = got["schema"]["body"]["choices"][0]["message"]["content"]
    is_valid(text, SCHEMA)
    assert text == ask(server, {"response_format": FORMAT}, CHAT)
    assert got["regex"]["body"]["choices"][0]["text"] == ask(server, {"regex": "[a-c]{3}"}, prompt="a")


def test_batches_take_it(binary, tmp_path):
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {
        "model": "demo", "messages": USER, "response_format": FORMAT, **DRAWN}}  # fmt: skip
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path)) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        end = time.monotonic() + 60
        while (done := client.batches.retrieve(batch.id)).status != "completed":
            assert time.monotonic() < end, done
            time.sleep(0.05)
        answer = json.loads(client.files.content(done.output_file_id).text)
        is_valid(answer["response"]["body"]["choices"][0]["message"]["content"], SCHEMA)


# --- what it promises ------------------------------------------------------------------------------------------------


def test_two_formats_or_a_wrong_one_are_refused(server):
    error = refusal(server, {"regex": "a", "response_format": FORMAT})
    assert error["param"] == "regex" and "response_format" in error["message"]
    assert error["type"] == "invalid_request_error" and error["code"] == "invalid_value"
    strict = {"name": "n", "strict": True, "schema": {"properties": {"a": {"type": "array", "uniqueItems": True}}}}
    error = refusal(server, {"response_format": {"type": "json_schema", "json_schema": strict}}, CHAT)
    assert error["param"] == "response_format"
    assert error["message"].startswith("Invalid schema for response_format 'n': #/properties/a: `uniqueItems`")
    for fields, words in (
        ({"regex": "("}, "'regex'"),
        ({"ebnf": "nonsense"}, "'ebnf'"),
        ({"guided_json": "{"}, "not JSON"),
        ({"guided_json": {"$ref": "http://elsewhere/x"}}, "#"),
        ({"guided_json": False}, "accepts"),
        ({"structural_tag": {"type": "x"}}, "structural_tag"),
    ):
        assert words in refusal(server, fields)["message"], fields


def test_what_is_not_enforced_is_said(server):
    schema = {"type": "object", "properties": {"é": {"type": "array", "items": {"type": "null"}, "uniqueItems": True,
              "maxItems": 2}}, "not": {"required": ["x"]}}  # fmt: skip
    body = {"messages": USER, "max_tokens": 60, "guided_json": schema}
    for path, more in ((CHAT, {}), (CHAT, {"stream": True})):
        status, headers, _ = server.request("POST", path, {**body, **more})
        assert status == 200
        assert set(headers["x-coppice-unenforced"].split(", ")) == {"#/properties/%C3%A9 uniqueItems", "# not"}
    status, headers, _ = server.request("POST", CHAT, {**body, "guided_json": SCHEMA})
    assert status == 200 and "x-coppice-unenforced" not in headers


def test_the_length_ends_a_grammar_too(server):
    status, answer = server.post(CHAT, {"messages": USER, "response_format": FORMAT, "max_tokens": 5, "seed": 1})
    choice = answer["choices"][0]
    assert status == 200 and choice["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 5
    longer = ask(server, {"response_format": FORMAT, "seed": 1, "temperature": None}, CHAT)
    assert longer.startswith(choice["message"]["content"])


@pytest.mark.parametrize("path", ["/v1/completions", CHAT])
def test_a_finished_text_is_not_added_to(server, path):
    """Where nothing but an end token may come, `min_tokens` gives way, and `ignore_eos` goes on with end tokens."""
    prompt = {"messages": USER} if path == CHAT else {"prompt": "Once upon a time"}
    for fields, reason in (
        ({"min_tokens": 10}, "stop"),
        ({"ignore_eos": True}, "length"),
        ({"min_tokens": 10, "ignore_eos": True}, "length"),
    ):
        body = {**prompt, "regex": "[ab]{3}", "temperature": 1, "seed": 3, "max_tokens": 20, **fields}
        status, answer = server.post(path, body)
        assert status == 200, answer
        choice = answer["choices"][0]
        text = choice["message"]["content"] if path == CHAT else choice["text"]
        assert re.fullmatch("[ab]{3}", text), fields
        assert choice["finish_reason"] == reason, fields
        tokens = answer["usage"]["completion_tokens"]
        assert tokens <= 4 if reason == "stop" else tokens == 20, fields
    for seed in range(5):  # "a" alone would match
        text = ask(server, {"regex": "[ab]{1,40}", "min_tokens": 30, "seed": seed}, path)
        assert re.fullmatch("[ab]{29,40}", text)


def test_choices_stand_in_their_own_places(server):
    body = {"messages": USER, "response_format": FORMAT, "n": 4, **DRAWN}
    status, answer = server.post(CHAT, body)
    assert status == 200
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    for text in texts:
        is_valid(text, SCHEMA)
    assert len(set(texts)) > 1
    assert texts[0] == ask(server, {"response_format": FORMAT}, CHAT)


def bodies(count):
    """Formats and samplings that differ, unconstrained ones between."""
    formats = [{"response_format": FORMAT}, {"regex": "[a-z ]{5,30}"}, {}, {"guided_choice": ["alpha", "beta", "alp"]},
               {"response_format": {"type": "json_object"}}]  # fmt: skip
    draws = [{"temperature": 1}, {"temperature": 0}, {"temperature": 1.5, "top_p": 0.9, "frequency_penalty": 1},
             {"temperature": 1, "top_k": 20, "min_p": 0.02, "repetition_penalty": 1.2}]  # fmt: skip
    common = {"max_tokens": 60}
    return [{"prompt": f"Number {i % 3}", "seed": i, **common, **formats[i % 5], **draws[i % 4]} for i in range(count)]


def say(server, body):
    status, answer = server.post("/v1/completions", {**body, "logprobs": 2})
    assert status == 200, answer
    return json.dumps(answer["choices"])


def test_the_same_bits_alone_in_a_batch_and_without_drafts(binary, server):
    wanted = bodies(40)
    alone = [say(server, body) for body in wanted]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda body: say(server, body), wanted)) == alone
    with RunningServer(binary, "demo", "--seed", "1", "--speculation", "off", "--prefix-cache", "off") as plain:
        assert [say(plain, body) for body in wanted] == alone
        assert plain.stop() == 0


def test_metrics_count_grammars(server):
    schema = {"type": "object", "properties": {"only here": {"type": "null"}}, "required": ["only here"]}
    compiles = server.metric("coppice:grammar_compiles_total")
    hits = server.metric("coppice:grammar_cache_hits_total")
    for _ in range(3):
        ask(server, {"guided_json": schema})
    assert server.metric("coppice:grammar_compiles_total") == compiles + 1
    assert server.metric("coppice:grammar_cache_hits_total") == hits + 2
    assert server.metric("coppice:grammar_cache_bytes") > 0
    assert server.metric("coppice:grammar_compile_seconds_total") > 0
    failures = server.metric("coppice:grammar_failures_total")
    refusal(server, {"regex": "(?!x)"})
    assert server.metric("coppice:grammar_failures_total") == failures + 1


def test_little_memory_keeps_few_grammars(binary):
    with RunningServer(binary, "demo", "--grammar-memory", "64KiB") as server:
        for i in range(30):
            ask(server, {"guided_json": {"enum": [f"word{i}", "other"]}})
        assert server.metric("coppice:grammar_cache_bytes") <= 64 << 10
        assert server.metric("coppice:grammar_compiles_total") == 30
        assert server.stop() == 0


# --- a real model ----------------------------------------------------------------------------------------------------


def test_a_real_model_writes_what_it_is_asked_for(binary, real_model):
    schemas = [Animal.model_json_schema(), Zoo.model_json_schema(), SCHEMA, {"enum": ["yes", "no", 3, None]}]
    rows = []
    for i in range(20):
        form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schemas[i % 4]}}
        messages = [{"role": "user", "content": f"Describe animal number {i} as JSON."}]
        body = {"messages": messages, "response_format": form, "temperature": 1, "seed": i, "max_tokens": 600}
        rows.append((schemas[i % 4], body))
    said = {}
    for speculation in ("suffix", "off"):
        with RunningServer(binary, real_model, "--kv-memory", "1GiB", "--speculation", speculation) as server:
            with concurrent.futures.ThreadPoolExecutor(10) as pool:
                done = list(pool.map(lambda row: server.post(CHAT, row[1]), rows))
            assert server.stop() == 0
        said[speculation] = []
        for (schema, _), (status, answer) in zip(rows, done, strict=True):
            assert status == 200 and answer["choices"][0]["finish_reason"] == "stop", answer
            said[speculation].append(answer["choices"][0]["message"]["content"])
            is_valid(said[speculation][-1], schema)
    assert said["suffix"] == said["off"]
