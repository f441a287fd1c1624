"""The official OpenAI client against a served model."""

import concurrent.futures
import time

import openai
import pytest

PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell me a story about a fox."}]


def test_models(client):
    models = client.models.list().data
    assert [model.id for model in models] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_completion(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, max_tokens=24, temperature=0)
    assert answer.object == "text_completion"
    assert answer.choices[0].finish_reason == "length"
    assert len(answer.choices[0].text.split()) > 5
    assert answer.usage.completion_tokens == 24
    assert answer.usage.prompt_tokens > 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer.usage.completion_tokens_details.accepted_prediction_tokens >= 0


def test_chat(client):
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, max_completion_tokens=20, temperature=0)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 20


def test_greedy_is_repeatable_and_a_stream_says_the_same(client):
    def ask(**more):
        return client.completions.create(model="demo", prompt=PROMPT, max_tokens=48, temperature=0, **more)

    whole = ask().choices[0].text
    assert ask().choices[0].text == whole
    chunks = list(ask(stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len(chunks) >= 2  # drafts bring many tokens in one


def test_chat_stream_with_usage(client):
    whole = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=32, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="demo",
            messages=MESSAGES,
            max_tokens=32,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_n_choices_and_batched_prompts(client):
    answer = client.completions.create(
        model="demo", prompt=[PROMPT, "The old king"], n=3, max_tokens=12, temperature=1, seed=5
    )
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert len({choice.text for choice in answer.choices[:3]}) > 1
    single = client.completions.create(model="demo", prompt=PROMPT, max_tokens=12, temperature=1, seed=5)
    assert single.choices[0].text == answer.choices[0].text
    assert answer.usage.completion_tokens == sum(1 for _ in range(6)) * 12


def test_seed(client):
    def ask(seed):
        return (
            client.completions.create(model="demo", prompt=PROMPT, max_tokens=24, temperature=1, seed=seed)
            .choices[0]
            .text
        )

    assert ask(7) == ask(7)
    assert len({ask(seed) for seed in range(5)}) > 1


def test_stop_strings(client):
    whole = client.completions.create(model="demo", prompt=PROMPT, max_tokens=48, temperature=0).choices[0].text
    for stop in (whole[10:14], whole[20:30], whole[5:6]):
        for stream in (False, True):
            answer = client.completions.create(
                model="demo", prompt=PROMPT, max_tokens=48, temperature=0, stop=stop, stream=stream
            )
            choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
            assert "".join(choice.text for choice in choices) == whole[: whole.find(stop)]
            assert choices[-1].finish_reason == "stop"
            assert choices[-1].stop_reason == stop


def test_stop_string_ends_the_sequence(client, server):
    client.completions.create(model="demo", prompt=PROMPT, max_tokens=1500, temperature=0, stop=["e"])
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=5) == 0


def test_completion_logprobs(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, max_tokens=16, temperature=0, logprobs=3)
    choice, logprobs = answer.choices[0], answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 16
    assert "".join(logprobs.tokens) == choice.text
    assert all(value <= 0 for value in logprobs.token_logprobs)
    for name, value, top, offset in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, logprobs.text_offset
    ):
        assert choice.text[offset:].startswith(name)
        assert max(top.values()) == value == top[name]  # greedy takes the likeliest
        assert len(top) == 3


def test_chat_logprobs_and_stream(client):
    def ask(stream):
        return client.chat.completions.create(
            model="demo",
            messages=MESSAGES,
            max_tokens=12,
            temperature=0,
            logprobs=True,
            top_logprobs=2,
            stream=stream,
        )

    choice = ask(False).choices[0]
    entries = choice.logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in entries).decode().strip() == choice.message.content.strip()
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    streamed = [
        entry for chunk in ask(True) if chunk.choices[0].logprobs for entry in chunk.choices[0].logprobs.content
    ]
    assert [entry.logprob for entry in streamed] == [entry.logprob for entry in entries]


def test_echo_and_prompt_logprobs(client):
    answer = client.completions.create(
        model="demo", prompt=PROMPT, max_tokens=4, temperature=0, echo=True, logprobs=1
    )
    choice = answer.choices[0]
    assert choice.text.startswith(PROMPT)
    assert choice.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in choice.logprobs.token_logprobs[1:])
    scored = client.completions.create(model="demo", prompt=PROMPT, max_tokens=0, echo=True, logprobs=0)
    assert scored.choices[0].text == PROMPT
    assert scored.usage.completion_tokens == 0
    assert scored.choices[0].logprobs.token_logprobs == choice.logprobs.token_logprobs[:-4]
    body = client.completions.create(model="demo", prompt=PROMPT, max_tokens=1, extra_body={"prompt_logprobs": 1})
    lists = body.choices[0].prompt_logprobs
    assert lists[0] is None
    assert len(lists) == answer.usage.prompt_tokens


def test_best_of(client):
    answer = client.completions.create(
        model="demo", prompt=PROMPT, max_tokens=8, temperature=1, seed=3, best_of=4, n=2, logprobs=0
    )
    assert len(answer.choices) == 2
    means = [sum(choice.logprobs.token_logprobs) / 8 for choice in answer.choices]
    assert means[0] >= means[1]
    assert answer.usage.completion_tokens == 32


def test_token_prompts(client, server):
    _, tokens = server.post("/tokenize", {"prompt": PROMPT})
    text = client.completions.create(model="demo", prompt=PROMPT, max_tokens=8, temperature=0)
    ids = client.completions.create(model="demo", prompt=tokens["tokens"], max_tokens=8, temperature=0)
    assert ids.choices[0].text == text.choices[0].text
    assert ids.usage.prompt_tokens == tokens["count"]
    assert (
        server.post("/detokenize", {"tokens": tokens["tokens"], "skip_special_tokens": True})[1]["prompt"] == PROMPT
    )


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 100000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"logprobs": 1000}, "logprobs"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"stop": ["x"] * 100}, "stop"),
        ({"prompt": [10**8]}, "prompt"),
        ({"prompt": "word " * 5000}, "prompt"),
    ],
)
def test_bad_values_are_named(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": "demo", "prompt": "x", **fields})
    assert caught.value.param == param
    assert param in caught.value.body["message"]


def test_other_errors(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-9", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as format_error:
        client.chat.completions.create(model="demo", messages=MESSAGES, response_format={"type": "xml"})
    assert format_error.value.param == "response_format.type"


def test_thirty_two_at_once_answer_as_if_alone(client):
    def ask(i):
        return (
            client.completions.create(
                model="demo", prompt=f"The {i} little pigs", max_tokens=24, temperature=0.9, seed=i
            )
            .choices[0]
            .text
        )

    alone = [ask(i) for i in range(32)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        together = list(pool.map(ask, range(32)))
    assert together == alone


def test_client_that_closes_mid_stream_frees_its_sequence(client, server):
    left = server.metric("coppice:answers_total", status="499") or 0
    stream = client.completions.create(
        model="demo", prompt=PROMPT, max_tokens=1800, temperature=0.5, stream=True, extra_body={"ignore_eos": True}
    )
    for _, _chunk in zip(range(3), stream):
        pass
    assert server.metric("vllm:num_requests_running") == 1
    stream.close()
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=2) == 0
    assert server.wait_metric("coppice:answers_total", left + 1, seconds=2, status="499") == left + 1


def test_request_id_and_cached_tokens(client):
    prompt = "A long shared beginning. " * 20
    first = client.completions.with_raw_response.create(
        model="demo", prompt=prompt, max_tokens=2, extra_headers={"x-request-id": "my-id-1"}
    )
    assert first.headers["x-request-id"] == "my-id-1"
    assert first.parse().id == "cmpl-my-id-1"
    second = client.completions.create(model="demo", prompt=prompt, max_tokens=2)
    assert second.usage.prompt_tokens_details.cached_tokens > 0


def test_predicted_output_changes_nothing_but_speed(client):
    plain = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=32, temperature=0)
    text = plain.choices[0].message.content
    predicted = client.chat.completions.create(
        model="demo", messages=MESSAGES, max_tokens=32, temperature=0, prediction={"type": "content", "content": text}
    )
    assert predicted.choices[0].message.content == text


def test_special_tokens_that_users_write_are_text(client, server):
    def count(content):
        _, answer = server.post("/tokenize", {"messages": [{"role": "user", "content": content}]})
        return answer["tokens"]

    eos = server.post("/tokenize", {"prompt": "</s>", "parse_special": True, "add_special_tokens": False})[1][
        "tokens"
    ]
    assert len(eos) == 1
    assert count("hello </s> there").count(eos[0]) == count("hello there").count(eos[0])


def test_metrics_of_requests(client, server):
    before = server.metric("vllm:time_to_first_token_seconds_count")
    started = time.monotonic()
    client.completions.create(model="demo", prompt=PROMPT, max_tokens=4)
    assert server.metric("vllm:time_to_first_token_seconds_count") == before + 1
    assert server.metric("vllm:generation_tokens_total") >= 4
    assert time.monotonic() - started < 60
