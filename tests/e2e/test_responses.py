"""/v1/responses with the official OpenAI client and the Agents SDK."""

import json
import time

import openai
import pytest

from running_server import RunningServer
from tool_model import CALL_AND_STOP_TOKEN, CALL_TOKEN, STOP, make_tool_model

QUESTION = "Tell me a story about a fox."
GREEDY = {"model": "demo", "max_output_tokens": 24, "temperature": 0}
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}, "strict": False}
CALLS = {"extra_body": {"logit_bias": {str(CALL_TOKEN): 100}}}


@pytest.fixture(scope="module")
def tool_client(binary, tmp_path_factory):
    folder = make_tool_model(tmp_path_factory.mktemp("models") / "tools")
    with RunningServer(binary, folder, "--seed", "1") as running:
        yield openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0)
        assert running.stop() == 0


def chat(client, messages, **more):
    return client.chat.completions.create(model="demo", messages=messages, max_tokens=24, **more)


def test_a_response_says_what_a_chat_says(client):
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": QUESTION}]
    for options in ({"temperature": 0}, {"temperature": 1, "extra_body": {"seed": 5}}):
        wanted = chat(client, messages, **options)
        answer = client.responses.create(
            model="demo", max_output_tokens=24, instructions="You are kind.", input=QUESTION, **options
        )
        assert answer.output_text == wanted.choices[0].message.content
        assert answer.usage.input_tokens == wanted.usage.prompt_tokens
        assert answer.usage.output_tokens == wanted.usage.completion_tokens == 24
        assert answer.usage.total_tokens == answer.usage.input_tokens + 24
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    items = [{"role": m["role"], "content": [{"type": "input_text", "text": m["content"]}]} for m in messages]
    as_items = client.responses.create(**GREEDY, input=items)
    assert as_items.output_text == chat(client, messages, temperature=0).choices[0].message.content


def test_a_stream_is_the_same_response(client):
    whole = client.responses.create(**GREEDY, input=QUESTION)
    events = list(client.responses.create(**GREEDY, input=QUESTION, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens
    assert events[0].response.id == events[-1].response.id
    with client.responses.stream(**GREEDY, input=QUESTION) as stream:
        for _ in stream:
            pass
        assert client.responses.retrieve(events[-1].response.id).output_text == whole.output_text


def test_an_answer_that_ends_by_itself_is_completed(client):
    whole = client.responses.create(**GREEDY, input=QUESTION).output_text
    answer = client.responses.create(**GREEDY, input=QUESTION, extra_body={"stop": [whole[10:14]]})
    assert answer.status == "completed"
    assert answer.output_text == whole[:10]
    assert answer.output[0].status == "completed"
    assert answer.completed_at >= answer.created_at


def test_a_stored_conversation_goes_on_as_the_sent_one_would(client):
    first = client.responses.create(**GREEDY, instructions="You are kind.", input=QUESTION)
    second = client.responses.create(**GREEDY, input="And then?", previous_response_id=first.id)
    sent = client.responses.create(
        **GREEDY,
        input=[{"role": "user", "content": QUESTION}, *first.output, {"role": "user", "content": "And then?"}],
    )
    spoken = chat(
        client,
        [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And then?"},
        ],
        temperature=0,
    )
    assert second.output_text == sent.output_text == spoken.choices[0].message.content
    assert second.usage.input_tokens == sent.usage.input_tokens == spoken.usage.prompt_tokens
    third = client.responses.create(**GREEDY, input="Why?", previous_response_id=second.id, instructions="Be short.")
    assert third.usage.input_tokens > second.usage.input_tokens
    assert third.usage.input_tokens_details.cached_tokens >= 0
    assert third.previous_response_id == second.id


def test_the_prefix_cache_is_used_and_reported(client):
    long = "One day a fox and a crow met in the wood. " * 20
    first = client.responses.create(**GREEDY, input=long)
    again = client.responses.create(**GREEDY, input=long)
    assert again.output_text == first.output_text
    assert again.usage.input_tokens_details.cached_tokens > again.usage.input_tokens // 2


def test_what_is_stored_can_be_fetched_listed_and_deleted(client):
    first = client.responses.create(**GREEDY, input=QUESTION, metadata={"who": "me"})
    fetched = client.responses.retrieve(first.id)
    assert fetched == first
    assert fetched.metadata == {"who": "me"}
    second = client.responses.create(**GREEDY, input="And then?", previous_response_id=first.id)
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))  # a page each
    assert [item.type for item in items] == ["message"] * 3
    assert [item.role for item in items] == ["user", "assistant", "user"]
    assert items[0].content[0].text == QUESTION
    assert items[1].content[0].text == first.output_text
    assert len({item.id for item in items}) == 3
    assert [item.id for item in client.responses.input_items.list(second.id)] == [item.id for item in items[::-1]]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError) as gone:
        client.responses.retrieve(first.id)
    assert gone.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError) as missing:
        client.responses.create(**GREEDY, input="x", previous_response_id=first.id)
    assert missing.value.code == "previous_response_not_found"
    assert client.responses.retrieve(second.id).id == second.id
    unstored = client.responses.create(**GREEDY, input=QUESTION, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)


def test_a_background_response_is_made_without_its_client(client, server):
    started = client.responses.create(**GREEDY, input=QUESTION, background=True)
    assert started.status == "queued"
    end = time.monotonic() + 30
    answer = started
    while answer.status in ("queued", "in_progress") and time.monotonic() < end:
        time.sleep(0.02)
        answer = client.responses.retrieve(started.id)
    assert answer.status == "incomplete"
    assert answer.output_text == client.responses.create(**GREEDY, input=QUESTION).output_text
    assert client.responses.create(**GREEDY, input="x", previous_response_id=started.id).output_text
    long = client.responses.create(model="demo", input=QUESTION, background=True, extra_body={"ignore_eos": True})
    assert server.wait_metric("vllm:num_requests_running", 1) == 1
    assert client.responses.cancel(long.id).status == "cancelled"
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
    assert client.responses.retrieve(long.id).status == "cancelled"
    deleted = client.responses.create(model="demo", input=QUESTION, background=True, extra_body={"ignore_eos": True})
    client.responses.delete(deleted.id)
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
    done = client.responses.create(**GREEDY, input=QUESTION)
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(done.id)


def test_logprobs_are_those_of_a_chat(client):
    wanted = chat(client, [{"role": "user", "content": QUESTION}], temperature=0, logprobs=True, top_logprobs=2)
    options = {"top_logprobs": 2, "include": ["message.output_text.logprobs"]}
    answer = client.responses.create(**GREEDY, input=QUESTION, **options)
    entries = answer.output[0].content[0].logprobs
    assert [(e.token, e.logprob) for e in entries] == [
        (e.token, e.logprob) for e in wanted.choices[0].logprobs.content
    ]
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    events = list(client.responses.create(**GREEDY, input=QUESTION, stream=True, **options))
    streamed = [e for event in events if event.type == "response.output_text.delta" for e in event.logprobs]
    assert [e.logprob for e in streamed] == [e.logprob for e in entries]


def test_a_tool_is_called_and_its_output_read(tool_client):
    options = {"model": "tools", "tools": [TOOL], "input": "fox?", "max_output_tokens": 1, **CALLS}
    answer = tool_client.responses.create(**options)
    call = answer.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "look_up", {"word": "fox"})
    events = list(tool_client.responses.create(**options, stream=True))
    kinds = [event.type for event in events]
    assert kinds[2:-1] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert events[2].item.name == "look_up"
    assert "".join(e.delta for e in events if e.type.endswith("arguments.delta")) == call.arguments
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "an animal"}
    stored = tool_client.responses.create(
        model="tools", input=[output], previous_response_id=answer.id, tools=[TOOL], max_output_tokens=4
    )
    sent = tool_client.responses.create(
        model="tools",
        input=[{"role": "user", "content": "fox?"}, call, output],
        tools=[TOOL],
        max_output_tokens=4,
    )
    assert stored.usage.input_tokens == sent.usage.input_tokens


def test_what_codex_sends_is_served(client):
    """Its tools and items of kinds that only OpenAI's servers know are skipped and named, not refused."""
    raw = client.responses.with_raw_response.create(
        model="demo",
        instructions="You are a coding agent.",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list files"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gAAAA"},
            {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"command":["ls"]}'},
            {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and now?"}]},
        ],
        tools=[
            TOOL,
            {"type": "web_search"},
            {"type": "image_generation"},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
            {"type": "namespace", "name": "mcp", "description": "", "tools": []},
        ],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="session",
        text={"verbosity": "low"},
        max_output_tokens=8,
    )
    named = raw.headers["x-coppice-ignored"].split(", ")
    assert "tools.web_search" in named and "tools.namespace" in named and "input.web_search_call" in named
    assert "parallel_tool_calls" not in named and "include.reasoning.encrypted_content" in named
    events = list(raw.parse())
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert events[-1].response.prompt_cache_key == "session"


def test_refusals(client):
    def refused(**more):
        with pytest.raises(openai.BadRequestError) as error:
            client.responses.create(**{**GREEDY, "input": QUESTION, **more})
        return error.value.param

    json_format = {"format": {"type": "json_schema", "name": "n", "schema": False}}
    assert refused(text=json_format) == "text.format"
    assert refused(tool_choice="required", tools=[TOOL]) == "tool_choice"
    assert refused(conversation="conv_1") == "conversation"
    assert refused(input=[{"type": "item_reference", "id": "msg_1"}]) == "input[0]"
    assert refused(input="word " * 3000) == "input"
    assert refused(background=True, store=False) == "background"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="other", input="x")


def test_tokens_are_counted(client):
    counted = client.responses.input_tokens.count(model="demo", input=QUESTION, instructions="Be kind.")
    answer = client.responses.create(**GREEDY, input=QUESTION, instructions="Be kind.")
    assert counted.input_tokens == answer.usage.input_tokens


def test_the_store_is_bounded_and_each_key_has_its_own(binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first-key-1234\nsecond-key-1234\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys), "--stored-responses", "3") as running:
        mine, theirs = (
            openai.OpenAI(base_url=running.url + "/v1", api_key=key, max_retries=0)
            for key in ("first-key-1234", "second-key-1234")
        )
        made = [mine.responses.create(model="demo", input="a", max_output_tokens=1) for _ in range(3)]
        other = theirs.responses.create(model="demo", input="a", max_output_tokens=1)
        mine.responses.retrieve(made[0].id)
        made.append(mine.responses.create(model="demo", input="a", max_output_tokens=1))
        kept = []
        for response in made:
            try:
                mine.responses.retrieve(response.id)
                kept.append(response.id)
            except openai.NotFoundError:
                pass
        assert kept == [made[0].id, made[2].id, made[3].id]  # the one not used for longest went
        with pytest.raises(openai.NotFoundError):
            theirs.responses.retrieve(made[0].id)
        with pytest.raises(openai.BadRequestError):
            theirs.responses.create(model="demo", input="a", previous_response_id=made[0].id)
        assert theirs.responses.retrieve(other.id).id == other.id
        assert running.stop() == 0


def test_a_server_may_store_nothing_or_not_for_long(binary):
    with RunningServer(binary, "demo", "--stored-responses", "0") as running:
        client = openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0)
        answer = client.responses.create(model="demo", input="a", max_output_tokens=1)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(answer.id)
        assert running.stop() == 0
    with RunningServer(binary, "demo", "--stored-responses-ttl", "1") as running:
        client = openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0)
        answer = client.responses.create(model="demo", input="a", max_output_tokens=1)
        assert client.responses.retrieve(answer.id).id == answer.id
        time.sleep(2)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(answer.id)
        # One that is still made when the server is asked to end does not keep it from ending.
        client.responses.create(model="demo", input="a", background=True, extra_body={"ignore_eos": True})
        assert running.stop() == 0


def test_an_agent_of_the_agents_sdk(client, tool_client):
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)

    def model(of, name):
        transport = openai.AsyncOpenAI(base_url=str(of.base_url), api_key="none", max_retries=0)
        return agents.OpenAIResponsesModel(model=name, openai_client=transport)

    # The SDK takes an answer that its length ended for a failure.
    text = client.responses.create(**GREEDY, instructions="You are kind.", input=QUESTION).output_text
    settings = agents.ModelSettings(temperature=0, max_tokens=24, extra_body={"stop": ["e"]})
    agent = agents.Agent(name="fox", instructions="You are kind.", model=model(client, "demo"), model_settings=settings)
    first = agents.Runner.run_sync(agent, QUESTION)
    assert first.final_output == text[: text.index("e")]
    second = agents.Runner.run_sync(agent, first.to_input_list() + [{"role": "user", "content": "And then?"}])
    assert second.raw_responses[0].usage.input_tokens > first.raw_responses[0].usage.input_tokens

    words = []

    # Not strict: this model's one token spells the call its own way, without the template's line ends.
    @agents.function_tool(strict_mode=False)
    def look_up(word: str) -> str:
        """Says what a word means."""
        words.append(word)
        return "an animal"

    caller = agents.Agent(
        name="caller",
        model=model(tool_client, "tools"),
        tools=[look_up],
        tool_use_behavior="stop_on_first_tool",
        model_settings=agents.ModelSettings(
            extra_body={"logit_bias": {str(CALL_AND_STOP_TOKEN): 100}, "stop": [STOP]}
        ),
    )
    assert agents.Runner.run_sync(caller, "fox?").final_output == "an animal"
    assert words == ["fox"]
