"""What a request says of the prompt cache and of its service, with the official OpenAI client and gRPC."""

import threading
import time

import anthropic
import grpc
import openai
import pytest

from running_server import RunningServer
from test_grpc import Stub

PAGE = 16


@pytest.fixture(scope="module")
def small(binary):
    """A pool of few pages, so that what is not kept is soon evicted."""
    with RunningServer(binary, "demo", "--kv-memory", "2MiB", "--keep-share", "0.5") as running:
        yield running
        assert running.process.poll() is None, "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


@pytest.fixture(scope="module")
def small_client(small):
    return openai.OpenAI(base_url=small.url + "/v1", api_key="none", max_retries=0)


def ask(client, prompt, **more):
    answer = client.completions.create(model="demo", prompt=prompt, max_tokens=2, temperature=0, seed=1, **more)
    details = answer.usage.prompt_tokens_details
    return answer.choices[0].text, answer.usage.prompt_tokens, details.cached_tokens, details.cache_write_tokens


def crowd_out(server, client):
    """Fills the pool with other prompts until nothing that may be evicted is left of the old ones."""
    pages = server.metric("coppice:kv_pages_free") + server.metric("coppice:kv_pages_cached")
    words = 0
    while words < 3 * pages * PAGE:
        crowd_out.number = getattr(crowd_out, "number", 0) + 1
        text = f"Crowd number {crowd_out.number} says: " + " and ".join(str(i * crowd_out.number) for i in range(60))
        words += ask(client, text)[1]


def test_usage_says_what_was_found_and_what_was_added(client):
    prompt = "Usage is true about the cache. " * 10
    text, tokens, cached, written = ask(client, prompt)
    assert cached < PAGE * 2 and cached + written == tokens - tokens % PAGE
    again, tokens, cached, written_again = ask(client, prompt)
    assert again == text and written_again == 0
    assert tokens - PAGE <= cached < tokens


def test_kept_prompts_outlive_others_until_their_time_is_over(small, small_client):
    prompt = "This is kept for some seconds, whatever else may come. " * 6
    text, tokens, _, written = ask(small_client, prompt, extra_body={"prompt_cache_options": {"ttl": "4s"}})
    assert written > 0
    assert small.metric("coppice:kv_pages_kept") == tokens // PAGE
    crowd_out(small, small_client)
    again, _, cached, _ = ask(small_client, prompt)  # and is kept for its time again
    assert again == text and cached >= tokens - PAGE
    time.sleep(4.5)
    crowd_out(small, small_client)
    assert small.metric("coppice:kv_pages_kept") == 0
    again, _, cached, _ = ask(small_client, prompt)
    assert again == text and cached < PAGE * 2


def message(client, system, mark, **more):
    """What the answer says, and its usage. `mark`: of the system message's end, or nothing."""
    block = {"type": "text", "text": system, **({"cache_control": mark} if mark else {})}
    answer = client.messages.create(
        model="demo",
        max_tokens=2,
        system=[block],
        messages=[{"role": "user", "content": "And what do you say?"}],
        extra_body={"temperature": 0, **more},
    )
    return answer.content[0].text, answer.usage


def test_anthropics_cache_control_keeps_a_prefix_that_others_lose(small, small_client):
    claude = anthropic.Anthropic(base_url=small.url, api_key="none", max_retries=0)
    marked, plain = (f"The {name} rules are many and must be kept in mind. " * 6 for name in ("marked", "unmarked"))
    crowd_out(small, small_client)
    before = small.metric("coppice:kv_pages_kept")
    first, usage = message(claude, marked, {"type": "ephemeral", "ttl": "1h"})
    made = usage.cache_creation_input_tokens
    assert made > 4 * PAGE and usage.cache_read_input_tokens < 2 * PAGE
    assert small.metric("coppice:kv_pages_kept") > before
    other, usage = message(claude, plain, None)
    assert usage.cache_creation_input_tokens == 0 and usage.input_tokens > made
    crowd_out(small, small_client)
    again, usage = message(claude, marked, {"type": "ephemeral", "ttl": "1h"})
    assert again == first and usage.cache_creation_input_tokens == 0
    assert usage.cache_read_input_tokens >= made
    other_again, usage = message(claude, plain, None)
    assert other_again == other and usage.cache_read_input_tokens < 2 * PAGE
    fresh, usage = message(claude, marked, None, cache_salt="of another cache")
    assert fresh == first and usage.cache_read_input_tokens == 0


def test_responses_keep_prefixes_and_say_their_tier(small, small_client):
    part = {"type": "input_text", "text": "A long instruction for responses. " * 8, "prompt_cache_breakpoint": {}}
    items = [{"role": "system", "content": [part]}, {"role": "user", "content": "And?"}]
    body = {"model": "demo", "input": items, "max_output_tokens": 16, "temperature": 0, "service_tier": "flex"}
    first = small_client.responses.create(**body)
    assert first.service_tier == "flex" and first.usage.input_tokens_details.cache_write_tokens > 4 * PAGE
    crowd_out(small, small_client)
    again = small_client.responses.create(**body)
    assert again.output_text == first.output_text
    assert again.usage.input_tokens_details.cached_tokens >= 4 * PAGE
    with pytest.raises(openai.BadRequestError):
        small_client.responses.create(**{**body, "service_tier": "gold"})


def chat(client, system, question, **more):
    part = {"type": "text", "text": system, "prompt_cache_breakpoint": {"mode": "explicit"}}
    answer = client.chat.completions.with_raw_response.create(
        model="demo",
        messages=[{"role": "system", "content": [part]}, {"role": "user", "content": question}],
        max_completion_tokens=2,
        temperature=0,
        **more,
    )
    return answer.headers, answer.parse()


def test_explicit_breakpoints_bound_what_is_written(client):
    system = "You are the keeper of a long and patient list of rules. " * 8
    options = {"extra_body": {"prompt_cache_options": {"mode": "explicit", "ttl": "5m"}}}
    _, first = chat(client, system, "What is the first rule? Tell me about it in many words, please.", **options)
    details = first.usage.prompt_tokens_details
    assert 0 < details.cache_write_tokens < first.usage.prompt_tokens - PAGE
    _, second = chat(client, system, "What is the second rule? I would like to know.", **options)
    found = second.usage.prompt_tokens_details
    assert found.cached_tokens == details.cached_tokens + details.cache_write_tokens
    assert found.cache_write_tokens == 0
    closed = {"extra_body": {"prompt_cache_options": {"mode": "explicit"}}}
    prompt = "Nothing of this shall be found. " * 8
    assert [ask(client, prompt, **closed)[2:] for _ in range(2)] == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    "asked,said",
    [("auto", "default"), ("flex", "flex"), ("scale", "default"), ("priority", "priority"), ("fast", "priority")],
)
def test_the_service_tier_is_told(client, asked, said):
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 2}
    assert client.chat.completions.create(**body, service_tier=asked).service_tier == said
    stream = client.chat.completions.create(**body, service_tier=asked, stream=True)
    assert {chunk.service_tier for chunk in stream} == {said}
    plain = client.chat.completions.create(**body)
    assert plain.service_tier is None and "service_tier" not in plain.model_fields_set


def test_priority_goes_before_flex(binary):
    with RunningServer(binary, "demo", "--max-running", "1") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        order = []

        def run(name, tier, tokens):
            client.completions.create(
                model="demo", prompt=name, max_tokens=tokens, extra_body={"service_tier": tier, "ignore_eos": True}
            )
            order.append(name)

        threads = [threading.Thread(target=run, args=("long", "default", 800))]
        threads[0].start()
        assert server.wait_metric("vllm:num_requests_running", 1) == 1
        for name, tier in (("flex", "flex"), ("plain", "default"), ("urgent", "priority")):
            threads.append(threading.Thread(target=run, args=(name, tier, 60)))
            threads[-1].start()
            assert server.wait_metric("vllm:num_requests_waiting", len(threads) - 1) == len(threads) - 1
        for thread in threads:
            thread.join(120)
        assert order.index("urgent") < order.index("plain") < order.index("flex")
        assert server.stop() == 0


def test_fields_without_effect_are_named(client):
    headers, _ = chat(
        client,
        "x",
        "y",
        safety_identifier="a person",
        metadata={"a": "b"},
        verbosity="low",
        store=True,
        user="me",
        prompt_cache_key="k",
        extra_body={"frobnicate": 1},
    )
    named = set(headers["x-coppice-ignored"].split(", "))
    assert named == {"safety_identifier", "metadata", "verbosity", "store", "user", "prompt_cache_key", "frobnicate"}
    headers, _ = chat(client, "x", "y", store=False)
    assert "x-coppice-ignored" not in headers
    raw = client.chat.completions.with_raw_response.create(
        model="demo", messages=[{"role": "user", "content": "hi"}], max_completion_tokens=2, user="me", stream=True
    )
    assert raw.headers["x-coppice-ignored"] == "user"
    list(raw.parse())


@pytest.mark.parametrize(
    "field,value",
    [
        ("service_tier", "gold"),
        ("verbosity", "loud"),
        ("safety_identifier", "x" * 129),
        ("metadata", {str(i): "x" for i in range(17)}),
        ("prompt_cache_options", {"ttl": "never"}),
        ("prompt_cache_retention", "forever"),
    ],
)
def test_wrong_values_are_refused(client, field, value):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="demo", prompt="x", max_tokens=1, extra_body={field: value})
    assert refused.value.param.startswith(field)


def test_without_a_share_the_header_says_that_nothing_is_kept(binary):
    with RunningServer(binary, "demo", "--keep-share", "0") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        headers, _ = chat(client, "x" * 200, "y", extra_body={"prompt_cache_options": {}})
        assert headers["x-coppice-ignored"] == "prompt_cache_breakpoint, prompt_cache_options"
        assert server.stop() == 0


def test_grpc_has_the_same_fields(server):
    stub = Stub(server.grpc)
    text = "The same fields over gRPC, and what the cache makes of them. " * 6
    service = {
        "service_tier": "fast",
        "safety_identifier": "s",
        "metadata": {"a": "b"},
        "prompt_cache_options": {"ttl": "5m"},
    }
    system = {"role": "system", "content": text, "prompt_cache_breakpoint": True}
    user = {"role": "user", "content": "hi"}
    usages = []
    for _ in range(2):
        call = stub.call("Chat", messages=[system, user], sampling={"max_tokens": 2}, service=service, user="me")
        responses = list(call)
        assert responses[-1].service_tier == "priority"
        assert dict(call.trailing_metadata())["x-coppice-ignored"] == "safety_identifier, user, metadata"
        usages.append(responses[-1].usage)
    assert usages[0].cache_write_tokens > 0 and usages[1].cache_write_tokens == 0
    assert usages[1].cached_tokens == usages[0].cached_tokens + usages[0].cache_write_tokens
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.call("Chat", messages=[user], service={"service_tier": "gold"}))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "service_tier" in refused.value.details()
