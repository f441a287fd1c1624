"""Tool calls and reasoning with the clients that agents are made of. A call that is demanded is held to its tool's
schema by a mask, so any model calls tools, the demo model too, in every format."""

import json
import subprocess

import anthropic
import openai
import pydantic
import pytest
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import tool_model
from running_server import RunningServer
from test_grpc import Stub

FORMATS = ["hermes", "llama3_json", "pythonic", "qwen3_coder", "mistral_v3", "mistral"]
QUESTION = [{"role": "user", "content": "What is the weather in Ulm tomorrow?"}]
UNITS = ["C", "F"]
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Ulm", "Oslo"]},
        "days": {"type": "integer", "minimum": 0, "maximum": 9},
        "unit": {"type": "string", "enum": UNITS},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": SCHEMA}}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
DRAWN = {"temperature": 1, "seed": 3, "max_tokens": 300}


@pytest.fixture(scope="module", params=FORMATS)
def world(request, binary, real_model):
    with RunningServer(binary, real_model, "--tool-format", request.param, "--kv-memory", "256MiB") as running:
        running.format = request.param
        yield running
        assert running.stop() == 0


def client_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def check_call(call):
    assert call.id and call.type == "function"
    arguments = json.loads(call.function.arguments)
    if call.function.name == "get_weather":
        assert arguments["city"] in ("Ulm", "Oslo") and 0 <= arguments["days"] <= 9
        assert arguments.get("unit", "C") in UNITS
    else:
        assert call.function.name == "now" and arguments == {}


def test_calls_that_are_demanded(world):
    client = client_of(world)
    for seed in range(8):
        answer = client.chat.completions.create(
            model="", messages=QUESTION, tools=[WEATHER, NOW], tool_choice="required",
            parallel_tool_calls=seed % 2 == 0, **{**DRAWN, "seed": seed},
        )  # fmt: skip
        choice = answer.choices[0]
        assert choice.finish_reason in (("tool_calls", "length") if seed % 2 == 0 else ("tool_calls",))
        assert not choice.message.content
        assert choice.message.tool_calls and (seed % 2 == 0 or len(choice.message.tool_calls) == 1)
        whole = choice.message.tool_calls if choice.finish_reason == "tool_calls" else choice.message.tool_calls[:-1]
        for call in whole:
            check_call(call)
        assert len({call.id for call in choice.message.tool_calls}) == len(choice.message.tool_calls)
        if world.format.startswith("mistral"):
            assert all(len(call.id) == 9 and call.id.isalnum() for call in choice.message.tool_calls)


def test_a_named_call_streamed_is_the_whole_one(world):
    client = client_of(world)
    choice = {"type": "function", "function": {"name": "get_weather"}}
    fields = {"model": "", "messages": QUESTION, "tools": [NOW, WEATHER], "tool_choice": choice, **DRAWN}
    whole = client.chat.completions.create(**fields).choices[0]
    assert whole.finish_reason == "stop" and len(whole.message.tool_calls) == 1
    check_call(whole.message.tool_calls[0])
    pieces = []
    content = ""
    with client.chat.completions.create(**fields, stream=True) as stream:
        for chunk in stream:
            if chunk.choices:
                pieces += chunk.choices[0].delta.tool_calls or []
                content += chunk.choices[0].delta.content or ""
    assert content == ""
    assert pieces[0].id and pieces[0].function.name == "get_weather" and pieces[0].function.arguments == ""
    assert all(piece.id is None and piece.function.name is None and piece.index == 0 for piece in pieces[1:])
    assert len(pieces) > 2, "arguments leave as they come"
    assert "".join(piece.function.arguments for piece in pieces) == whole.message.tool_calls[0].function.arguments


def test_strict_tools_cannot_be_enforced_in_part(world):
    odd = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {**SCHEMA, "not": {}}}}
    with pytest.raises(openai.BadRequestError, match="`not`"):
        client_of(world).chat.completions.create(model="", messages=QUESTION, tools=[odd])


def test_the_same_bits_with_and_without_drafts(binary, real_model):
    answers = []
    for speculation in ("suffix", "off"):
        with RunningServer(binary, real_model, "--tool-format", "hermes", "--speculation", speculation) as server:
            body = {"messages": QUESTION, "tools": [WEATHER, NOW], "tool_choice": "required", **DRAWN}
            for _ in range(2):  # the second time there is something to draft from
                status, answer = server.post("/v1/chat/completions", body)
                assert status == 200
                calls = answer["choices"][0]["message"]["tool_calls"]
                answers.append([(call["function"]["name"], call["function"]["arguments"]) for call in calls])
    assert all(answer == answers[0] for answer in answers)


@pytest.fixture(scope="module")
def hermes(binary, real_model):
    with RunningServer(binary, real_model, "--tool-format", "hermes", "--kv-memory", "256MiB") as running:
        yield running
        assert running.stop() == 0


def test_a_strict_tool_that_the_model_calls_by_itself(hermes):
    """The conversation shows calls that the schema forbids, and the model does as it saw; the mask keeps it right."""
    shown = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 70}}\n</tool_call>'
    messages = [{"role": role, "content": text} for _ in range(6)
                for role, text in (("user", "Weather in Paris in 70 days?"), ("assistant", shown))]  # fmt: skip
    messages.append({"role": "user", "content": "Weather in Paris in 70 days?"})
    client = client_of(hermes)
    texts = {}
    for strict in (True, False):
        tool = {"type": "function", "function": {**WEATHER["function"], "strict": strict}}
        answer = client.chat.completions.create(
            model="", messages=messages, tools=[tool], temperature=0, max_tokens=100
        ).choices[0]  # fmt: skip
        assert answer.message.tool_calls, answer.message.content
        texts[strict] = [json.loads(call.function.arguments) for call in answer.message.tool_calls]
    assert texts[False][0] == {"city": "Paris", "days": 70}, "without strict the model says what it saw"
    for arguments in texts[True]:
        assert arguments["city"] in ("Ulm", "Oslo") and 0 <= arguments["days"] <= 9


def test_functions_by_their_older_name(hermes):
    client = client_of(hermes)
    fields = {"model": "", "messages": QUESTION, "functions": [WEATHER["function"]], **DRAWN}
    answer = client.chat.completions.create(**fields, function_call={"name": "get_weather"}).choices[0]
    assert answer.finish_reason == "stop" and answer.message.tool_calls is None
    assert answer.message.function_call.name == "get_weather"
    assert "city" in json.loads(answer.message.function_call.arguments)
    history = [*QUESTION, answer.message.model_dump(exclude_none=True)]
    history.append({"role": "function", "name": "get_weather", "content": "mild"})
    assert client.chat.completions.create(model="", messages=history, max_tokens=2).choices


def test_langchain(hermes):
    chat = ChatOpenAI(base_url=hermes.url + "/v1", api_key="none", model="smollm2", temperature=0, max_tokens=200)
    for choice in ("any", "get_weather"):
        message = chat.bind_tools([WEATHER, NOW], tool_choice=choice, parallel_tool_calls=False).invoke("Weather?")
        assert len(message.tool_calls) == 1 and not message.invalid_tool_calls
    chunks = list(chat.bind_tools([WEATHER], tool_choice="get_weather").stream("Weather?"))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.tool_calls[0]["name"] == "get_weather" and total.tool_calls[0]["args"]["city"] in ("Ulm", "Oslo")


class Forecast(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=12)
    degrees: int = pydantic.Field(ge=-40, le=50)


def test_pydantic_ai(hermes):
    model = OpenAIChatModel("smollm2", provider=OpenAIProvider(base_url=hermes.url + "/v1", api_key="none"))
    agent = Agent(model, output_type=Forecast, retries=0)
    assert isinstance(agent.run_sync("Forecast for Ulm", model_settings={"max_tokens": 200}).output, Forecast)


def test_anthropic(hermes):
    client = anthropic.Anthropic(base_url=hermes.url, api_key="none", max_retries=0)
    tool = {"name": "get_weather", "description": "Weather.", "input_schema": SCHEMA}
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "get_weather"}):
        fields = {"model": "smollm2", "max_tokens": 200, "messages": QUESTION, "tools": [tool], "tool_choice": choice}
        message = client.messages.create(**fields)
        assert message.stop_reason == "tool_use"
        assert [block.type for block in message.content] == ["tool_use"]
        assert message.content[0].input["city"] in ("Ulm", "Oslo")
        with client.messages.stream(**fields) as stream:
            final = stream.get_final_message()
        assert final.stop_reason == "tool_use" and final.content[0].name == "get_weather"


def test_responses(hermes):
    client = client_of(hermes)
    tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        response = client.responses.create(
            model="smollm2", input="Weather?", tools=[tool], tool_choice=choice, parallel_tool_calls=False,
            max_output_tokens=200,
        )  # fmt: skip
        assert [item.type for item in response.output] == ["function_call"]
        assert json.loads(response.output[0].arguments)["city"] in ("Ulm", "Oslo")


def test_grpc(hermes):
    stub = Stub(hermes.grpc)
    named = json.dumps({"type": "function", "function": {"name": "get_weather"}})
    for choice in ("required", named):
        responses = list(stub.call("Chat", messages=QUESTION, tools_json=json.dumps([WEATHER]), tool_choice=choice,
                                   parallel_tool_calls=False, sampling={"max_tokens": 200}))  # fmt: skip
        pieces = [piece for response in responses for piece in response.tool_calls]
        assert pieces[0].name == "get_weather"
        assert json.loads("".join(piece.arguments for piece in pieces))["city"] in ("Ulm", "Oslo")
        assert responses[-1].usage.completion_tokens > 0


def test_json_or_calls(hermes):
    body = {
        "messages": QUESTION, "tools": [WEATHER], "response_format": {"type": "json_object"}, **DRAWN
    }  # fmt: skip
    for seed in range(4):
        status, answer = hermes.post("/v1/chat/completions", {**body, "seed": seed})
        assert status == 200
        message = answer["choices"][0]["message"]
        if answer["choices"][0]["finish_reason"] != "length":
            assert message.get("tool_calls") or isinstance(json.loads(message["content"]), dict)


def test_a_model_whose_calls_are_not_known(server):
    body = {"messages": QUESTION, "tools": [WEATHER], "max_tokens": 2}
    assert server.post("/v1/chat/completions", body)[0] == 200
    status, answer = server.post("/v1/chat/completions", {**body, "tool_choice": "required"})
    assert status == 400 and "--tool-format" in answer["error"]["message"]


THINKER = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}<think>
{% endif %}"""


@pytest.fixture(scope="module")
def thinker(binary, real_model, tmp_path_factory):
    """The real model with a template that opens reasoning. It has no tokens for the marks: they are text."""
    folder = tmp_path_factory.mktemp("thinker")
    for file in real_model.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((real_model / "tokenizer_config.json").read_text())
    config["chat_template"] = THINKER
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    flags = ("--tool-format", "hermes", "--served-model-name", "smollm2", "--kv-memory", "256MiB")
    with RunningServer(binary, folder, *flags) as running:
        assert any("reasoning: qwen3" in line for line in running.log)
        yield running
        assert running.stop() == 0


def chat(server, **fields):
    status, answer = server.post("/v1/chat/completions", {"messages": QUESTION, **DRAWN, **fields})
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("budget", [0, 5, 20])
def test_thinking_has_a_budget(thinker, budget):
    answer = chat(thinker, thinking_budget=budget, max_tokens=60, ignore_eos=True)
    message = answer["choices"][0]["message"]
    thought = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert budget < thought <= budget + 8, "the tokens of the end's text come behind the budget"
    assert message.get("reasoning", "") == message.get("reasoning_content", "")
    assert (budget == 0) == (not message.get("reasoning"))
    assert "</think>" not in message["content"] and "<think>" not in message["content"]


def test_thinking_then_a_call_that_is_demanded(thinker):
    tools = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "thinking_budget": 10}
    answer = chat(thinker, **tools)
    message = answer["choices"][0]["message"]
    assert message["reasoning"] and not message["content"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"])["city"] in ("Ulm", "Oslo")
    streamed = client_of(thinker).chat.completions.create(
        model="", messages=QUESTION, stream=True, extra_body={**DRAWN, **tools}
    )
    deltas = [chunk.choices[0].delta for chunk in streamed if chunk.choices]
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas) == message["reasoning"]
    fragments = [call.function.arguments for delta in deltas for call in delta.tool_calls or []]
    assert "".join(fragments) == message["tool_calls"][0]["function"]["arguments"]


def test_thinking_then_json(thinker):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
    answer = chat(thinker, response_format=schema, thinking_budget=10)
    message = answer["choices"][0]["message"]
    assert message["reasoning"] and json.loads(message["content"])["city"] in ("Ulm", "Oslo")
    without = chat(thinker, response_format=schema, reasoning_effort="none")
    assert "reasoning" not in without["choices"][0]["message"]
    assert without["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_thinking_in_messages_and_responses(thinker):
    client = anthropic.Anthropic(base_url=thinker.url, api_key="none", max_retries=0)
    message = client.messages.create(
        model="smollm2", max_tokens=1100, messages=QUESTION, thinking={"type": "enabled", "budget_tokens": 12},
        extra_body={"ignore_eos": True, "max_tokens": 60},
    )  # fmt: skip
    assert message.content[0].type == "thinking" and message.content[0].thinking
    response = client_of(thinker).responses.create(
        model="smollm2", input="Weather?", max_output_tokens=20, extra_body={"ignore_eos": True}
    )
    assert response.output[0].type == "reasoning"
    assert response.usage.output_tokens_details.reasoning_tokens == 20


def test_tool_formats_are_listed(binary):
    shown = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, timeout=60).stdout
    assert all(name in shown for name in FORMATS) and "--reasoning-format" in shown
    wrong = subprocess.run([binary, "serve", "demo", "--tool-format", "x"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "hermes" in wrong.stderr


def test_what_the_tool_model_says(binary, tmp_path):
    """Its template shows the format; what is no declared tool's call is text."""
    folder = tool_model.make_tool_model(tmp_path / "model")
    with RunningServer(binary, folder) as server:
        assert any("tool calls: hermes" in line for line in server.log)
        say = {"logit_bias": {str(tool_model.CALL_TOKEN): 100}, "temperature": 0, "max_tokens": 1}
        other = [{"type": "function", "function": {"name": "other"}}]
        status, answer = server.post("/v1/chat/completions", {"messages": QUESTION, "tools": other, **say})
        assert status == 200 and answer["choices"][0]["message"]["content"] == tool_model.CALL
