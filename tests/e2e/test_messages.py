"""/v1/messages with the official Anthropic client."""

import json

import anthropic
import openai
import pytest

from running_server import RunningServer
from tool_model import CALL_AND_STOP_TOKEN, STOP, make_tool_model

QUESTION = "Tell me a story about a fox."
USER = [{"role": "user", "content": QUESTION}]
GREEDY = {"model": "demo", "max_tokens": 24, "extra_body": {"temperature": 0}}
TOOL = {"name": "look_up", "input_schema": {"type": "object", "properties": {}}}
BILLING = "x-anthropic-billing-header: cc_version=2.1.37; cc_entrypoint=cli; cch={};"


def connect(running, **more):
    return anthropic.Anthropic(base_url=running.url, **{"api_key": "none", "max_retries": 0, **more})


@pytest.fixture(scope="module")
def claude(server):
    return connect(server)


@pytest.fixture(scope="module")
def tools(binary, tmp_path_factory):
    folder = make_tool_model(tmp_path_factory.mktemp("models") / "tools")
    with RunningServer(binary, folder, "--seed", "1") as running:
        yield running
        assert running.stop() == 0


def input_tokens(usage):
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


def test_a_message_says_what_a_chat_and_a_response_say(claude, client):
    spoken = [{"role": "system", "content": "You are kind."}, *USER]
    for sampling in ({"temperature": 0}, {"temperature": 1, "seed": 5}):
        message = claude.messages.create(
            model="demo", max_tokens=24, system="You are kind.", messages=USER, extra_body=sampling
        )
        chat = client.chat.completions.create(model="demo", messages=spoken, max_tokens=24, extra_body=sampling)
        response = client.responses.create(model="demo", input=spoken, max_output_tokens=24, extra_body=sampling)
        assert [block.type for block in message.content] == ["text"]
        assert message.content[0].text == chat.choices[0].message.content == response.output_text
        assert input_tokens(message.usage) == chat.usage.prompt_tokens == response.usage.input_tokens
        assert message.usage.output_tokens == 24
        assert (message.stop_reason, message.stop_sequence, message.role) == ("max_tokens", None, "assistant")


def test_a_stream_is_the_same_message(claude):
    whole = claude.messages.create(**GREEDY, messages=USER)
    events = list(claude.messages.create(**GREEDY, messages=USER, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == whole.content[0].text
    assert input_tokens(events[0].message.usage) == input_tokens(whole.usage)
    assert events[0].message.usage.cache_read_input_tokens == events[-2].usage.cache_read_input_tokens
    with claude.messages.stream(**GREEDY, messages=USER) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == whole.stop_reason


def test_counted_tokens_are_the_tokens_used(claude):
    conversations = [
        {"messages": USER},
        {"messages": USER, "system": "You are kind."},
        {"messages": USER, "system": [{"type": "text", "text": "You"}, {"type": "text", "text": "are kind."}]},
        {"messages": [*USER, {"role": "assistant", "content": "Once"}]},
        {"messages": USER, "tools": [TOOL]},
    ]
    for conversation in conversations:
        counted = claude.messages.count_tokens(model="demo", **conversation).input_tokens
        assert counted == input_tokens(claude.messages.create(**GREEDY, **conversation).usage)


def test_the_prefix_cache_is_used_and_reported(claude):
    long = [{"role": "user", "content": "One day a crow and a fox met in the fields. " * 20}]
    first = claude.messages.create(**GREEDY, messages=long)
    again = claude.messages.create(**GREEDY, messages=long)
    assert again.content[0].text == first.content[0].text
    assert again.usage.cache_read_input_tokens > again.usage.input_tokens
    assert input_tokens(again.usage) == input_tokens(first.usage)


def test_a_billing_line_that_changes_does_not_kill_the_prefix_cache(claude):
    rules = "You are a careful agent that reads files and answers. " * 20

    def ask(number, as_blocks):
        line = BILLING.format(number)
        texts = [{"type": "text", "text": line}, {"type": "text", "text": rules}]
        return claude.messages.create(**GREEDY, system=texts if as_blocks else f"{line}\n{rules}", messages=USER)

    first = ask("00001", True)
    plain = claude.messages.create(**GREEDY, system=rules, messages=USER)
    for number, as_blocks in (("8f2a1", True), ("77bc0", False)):
        later = ask(number, as_blocks)
        assert later.usage.cache_read_input_tokens > later.usage.input_tokens
        assert later.content[0].text == first.content[0].text == plain.content[0].text
        assert input_tokens(later.usage) == input_tokens(plain.usage)


def test_a_stop_sequence_ends_the_message(claude):
    whole = claude.messages.create(**GREEDY, messages=USER).content[0].text
    stop = whole[10:14]
    message = claude.messages.create(**GREEDY, messages=USER, stop_sequences=["###", stop])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert message.content[0].text == whole[: whole.find(stop)]


def test_what_the_assistant_has_begun_is_continued(claude, client):
    begun = [*USER, {"role": "assistant", "content": "Once upon a time there was"}]
    message = claude.messages.create(**GREEDY, messages=begun)
    chat = client.chat.completions.create(
        model="demo",
        messages=begun,
        max_tokens=24,
        temperature=0,
        extra_body={"continue_final_message": True, "add_generation_prompt": False},
    )
    assert message.content[0].text == chat.choices[0].message.content
    assert input_tokens(message.usage) == chat.usage.prompt_tokens


def test_more_tokens_than_fit_are_as_many_as_fit(claude):
    message = claude.messages.create(
        model="demo", max_tokens=20_000, messages=USER, extra_body={"temperature": 0, "ignore_eos": True}
    )
    assert message.stop_reason == "model_context_window_exceeded"
    assert input_tokens(message.usage) + message.usage.output_tokens == 2048
    warm = [{"role": "user", "content": "A prompt that is only put into the cache. " * 10}]
    empty = claude.messages.create(model="demo", max_tokens=0, messages=warm)
    assert (empty.content, empty.usage.output_tokens, empty.stop_reason) == ([], 0, "max_tokens")
    assert claude.messages.create(**GREEDY, messages=warm).usage.cache_read_input_tokens > 16


def test_a_tool_is_used_and_its_result_read(tools):
    claude = connect(tools)
    client = openai.OpenAI(base_url=tools.url + "/v1", api_key="none", max_retries=0)
    options = {
        "model": "tools",
        "max_tokens": 3,
        "tools": [TOOL],
        "messages": [{"role": "user", "content": "fox?"}],
        "stop_sequences": [STOP],
        "extra_body": {"logit_bias": {str(CALL_AND_STOP_TOKEN): 100}},
    }
    message = claude.messages.create(**options)
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["tool_use"]
    use = message.content[0]
    assert (use.name, use.input) == ("look_up", {"word": "fox"})
    with claude.messages.stream(**options) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert json.loads("".join(pieces)) == use.input == final.content[0].input
    assert final.stop_reason == "tool_use"

    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "an animal"}]}
    history = [
        *options["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result, {"type": "text", "text": "thanks"}]},
    ]
    after = claude.messages.create(model="tools", max_tokens=2, messages=history, tools=[TOOL])
    call = {"id": use.id, "type": "function", "function": {"name": "look_up", "arguments": json.dumps(use.input)}}
    chat = client.chat.completions.create(
        model="tools",
        max_tokens=2,
        messages=[
            {"role": "user", "content": "fox?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": use.id, "content": "an animal"},
            {"role": "user", "content": "thanks"},
        ],
    )
    assert input_tokens(after.usage) == chat.usage.prompt_tokens


def test_what_has_no_effect_is_named_and_unknown_tools_are_skipped(claude):
    raw = claude.messages.with_raw_response.create(
        **GREEDY,
        messages=USER,
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "u"},
        service_tier="standard_only",
    )
    named = raw.headers["x-coppice-ignored"].split(", ")
    assert set(named) == {"tools.web_search_20250305", "thinking.budget_tokens", "service_tier"}
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert raw.parse().content[0].text


def test_cache_marks_are_read_and_bounded(claude):
    def marked(count, **control):
        mark = {"cache_control": {"type": "ephemeral", **control}}
        return [{"role": "user", "content": [{"type": "text", "text": f"part {i}", **mark} for i in range(count)]}]

    plain = [{"role": "user", "content": [{"type": "text", "text": f"part {i}"} for i in range(4)]}]
    wanted = claude.messages.create(**GREEDY, messages=plain)
    for messages in (marked(4), marked(4, ttl="1h"), marked(4, ttl="5m")):
        answer = claude.messages.create(**GREEDY, messages=messages)
        assert answer.content[0].text == wanted.content[0].text
        assert input_tokens(answer.usage) == input_tokens(wanted.usage)
    for messages in (marked(5), marked(1, ttl="2h")):
        with pytest.raises(anthropic.BadRequestError) as error:
            claude.messages.create(**GREEDY, messages=messages)
        assert "cache_control" in error.value.body["error"]["message"]


def test_models(claude):
    models = list(claude.models.list())
    assert [model.id for model in models] == ["demo"]
    assert claude.models.retrieve("demo").display_name == "demo"


def test_the_beta_client_is_served_too(claude):
    beta = claude.beta.messages.create(**GREEDY, messages=USER, betas=["fine-grained-tool-streaming-2025-05-14"])
    assert beta.content[0].text == claude.messages.create(**GREEDY, messages=USER).content[0].text


def test_errors_are_the_ones_that_the_client_knows(claude, server):
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(**{**GREEDY, "model": "other"}, messages=USER)
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert missing.value.request_id == missing.value.body["request_id"]
    wrong = [
        {"messages": []},
        {"messages": USER, "tool_choice": {"type": "any"}, "tools": [TOOL]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
        {"messages": [{"role": "user", "content": "word " * 3000}]},
    ]
    for fields in wrong:
        with pytest.raises(anthropic.BadRequestError) as refused:
            claude.messages.create(**GREEDY, **fields)
        assert refused.value.body["error"]["type"] == "invalid_request_error"
    for method, path, status in (("GET", "/v1/messages", 405), ("POST", "/v1/messages", 400)):
        got, headers, text = server.request(method, path, None if method == "GET" else b"[")
        error = json.loads(text)
        assert (got, error["type"], error["request_id"]) == (status, "error", headers["request-id"])


def test_keys_and_sizes(binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("a-key-for-claude\n")
    flags = ["--api-key-file", str(keys), "--max-body", "4KiB"]
    with RunningServer(binary, "demo", *flags) as running:
        with pytest.raises(anthropic.AuthenticationError) as unknown:
            connect(running, api_key="another-key").messages.create(**GREEDY, messages=USER)
        assert unknown.value.body["error"]["type"] == "authentication_error"
        for credentials in ({"api_key": "a-key-for-claude"}, {"api_key": None, "auth_token": "a-key-for-claude"}):
            assert connect(running, **credentials).messages.create(**GREEDY, messages=USER).content
        claude = connect(running, api_key="a-key-for-claude")
        with pytest.raises(anthropic.APIStatusError) as large:
            claude.messages.create(**GREEDY, messages=[{"role": "user", "content": "x" * 5000}])
        assert (large.value.status_code, large.value.body["error"]["type"]) == (413, "request_too_large")
        assert running.stop() == 0


def test_what_goes_wrong_in_a_stream_is_an_event(binary):
    with RunningServer(binary, "demo", "--drain-timeout", "0") as running:
        long = {"model": "demo", "max_tokens": 2000, "messages": USER, "extra_body": {"ignore_eos": True}}
        with pytest.raises(anthropic.APIStatusError) as late:
            for event in connect(running).messages.create(**long, stream=True):
                if event.type == "message_start":
                    running.terminate()
        assert late.value.body["error"]["type"] == "overloaded_error"
        assert running.stop() == 0
