"""/v1/decisions by the official client: OpenAI's shapes, the input computed once, and the same probabilities to the bit
whatever is around them."""

import concurrent.futures
import json
import threading
import time

import openai
import pytest
from openai.types.decision import Decision

from running_server import RunningServer

STATE = "The fox went to the market. It bought bread, and it was happy. " * 40
QUESTIONS = [
    {"type": "predicate", "name": "happy", "instructions": "The fox is happy."},
    {
        "type": "choice",
        "instructions": "What did it buy?",
        "choices": [{"value": "bread", "description": "baked"}, {"value": "milk"}, {"value": True}, {"value": "true"}],
    },
    {
        "type": "score",
        "name": "mood",
        "instructions": [
            {"type": "input_text", "text": "How good was the day?"},
            {"type": "input_json", "data": {"of": 3}},
        ],
        "levels": [{"label": "bad"}, {"label": "fair"}, {"label": "good", "description": "very"}],
    },
]


def many(count):
    return [
        {
            "type": "choice",
            "name": f"q{i}",
            "instructions": f"Which of these is number {i}, would you say?",
            "choices": [{"value": f"v{k}"} for k in range(2 + i % 4)],
        }
        for i in range(count)
    ]


def client_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def answers(client, questions, state=STATE):
    """JSON texts of the answers: numbers are written as the shortest text that reads back as the same double."""
    raw = client.decisions.with_raw_response.create(model="demo", input=state, questions=questions)
    return [json.dumps(answer) for answer in json.loads(raw.content)["answers"]]


def test_answers_are_what_the_client_knows(client, server):
    status, raw = server.post("/v1/decisions", {"model": "demo", "input": STATE, "questions": QUESTIONS})
    assert status == 200
    Decision.model_validate(raw, strict=True)
    decision = client.decisions.create(
        model="demo",
        input=STATE,
        questions=QUESTIONS,
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit", "ttl": "30m"},
        safety_identifier="id-1",
    )
    predicate, choice, score = decision.answers
    assert (predicate.type, predicate.name) == ("predicate", "happy")
    assert 0 < predicate.probability < 1
    assert choice.name is None
    assert [entry.value for entry in choice.probabilities] == ["bread", "milk", True, "true"]
    assert abs(sum(entry.probability for entry in choice.probabilities) - 1) < 1e-9
    best = max(choice.probabilities, key=lambda entry: entry.probability)
    assert choice.choice == best.value
    assert 0 <= choice.confidence <= best.probability
    assert [(entry.value, entry.label) for entry in score.probabilities] == [(0, "bad"), (1, "fair"), (2, "good")]
    assert abs(score.score - sum(entry.value * entry.probability for entry in score.probabilities)) < 1e-9
    usage = decision.usage
    assert usage.output_tokens == 3
    assert usage.output_tokens_details.reasoning_tokens == 0
    assert usage.total_tokens == usage.input_tokens + 3
    assert usage.input_tokens_details.cached_tokens > 0  # it was asked before
    assert decision.model == "demo"


def test_probabilities_are_those_of_the_completions_route(client, server):
    """The label's logprobs, asked for in another way: the prompt is rebuilt from the same pieces."""
    question = {"type": "choice", "instructions": "Which?", "choices": [{"value": "x"}, {"value": "y"}]}
    answer = client.decisions.create(model="demo", input="The state.", questions=[question]).answers[0]
    message = 'The state.\n\nQuestion: Which?\nA: "x"\nB: "y"\nAnswer with the letter of one option only.'
    logprobs = {}
    for letter in "AB":
        chat = client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": message}],
            max_tokens=1,
            temperature=0,
            logprobs=True,
            logit_bias={},
            extra_body={"top_k": 1},
        )
        assert chat.choices[0].logprobs.content
        tokens = server.post("/tokenize", {"messages": [{"role": "user", "content": message}]})[1]["tokens"]
        with_letter = server.post(
            "/tokenize", {"messages": [{"role": "user", "content": message}], "add_generation_prompt": True}
        )[1]["tokens"]
        assert tokens == with_letter
        scored = server.post(
            "/v1/completions",
            {"prompt": tokens + label_tokens(server, letter), "max_tokens": 0, "prompt_logprobs": 0, "temperature": 0},
        )[1]
        logprobs[letter] = list(scored["choices"][0]["prompt_logprobs"][-1].values())[0]["logprob"]
    ratio = answer.probabilities[0].probability / answer.probabilities[1].probability
    import math

    assert math.isclose(math.log(ratio), logprobs["A"] - logprobs["B"], abs_tol=1e-4)


def label_tokens(server, letter):
    """The token that the letter is at the beginning of an answer."""
    tokens = server.post("/tokenize", {"prompt": "\n" + letter, "add_special_tokens": False})[1]["tokens"]
    return tokens[-1:]


def test_probabilities_have_the_same_bits_alone_together_cold_and_warm(binary):
    questions = [*QUESTIONS, *many(61)]
    with RunningServer(binary, "demo", "--prefix-cache", "off", "--sharing", "off", "--max-batch-tokens", "64",
                       "--max-running", "8") as other:  # fmt: skip
        client = client_of(other)
        wanted = [answers(client, [question])[0] for question in questions[::4]]
    with RunningServer(binary, "demo") as fresh:
        client = client_of(fresh)
        cold = answers(client, questions)
        assert cold[::4] == wanted
        assert answers(client, questions) == cold
        assert answers(client, questions[::-1])[::-1] == cold
        stop = threading.Event()

        def chat():
            while not stop.is_set():
                client.completions.create(model="demo", prompt=STATE, max_tokens=24, temperature=1)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            load = [pool.submit(chat) for _ in range(3)]
            try:
                alone = [pool.submit(answers, client, [question]) for question in questions]
                assert [answer.result()[0] for answer in alone] == cold
            finally:
                stop.set()
            for one in load:
                one.result()
        assert fresh.stop() == 0


@pytest.mark.parametrize("cache", ["on", "off"])
def test_the_input_is_computed_once_also_when_all_questions_come_cold(binary, cache):
    with RunningServer(binary, "demo", "--prefix-cache", cache) as fresh:
        client = client_of(fresh)
        state = fresh.post("/tokenize", {"prompt": STATE})[1]["count"]
        decision = client.decisions.create(model="demo", input=STATE, questions=many(64))
        deadline = time.monotonic() + 10  # the answer leaves before the step that made it is counted
        computed = 0
        while computed < decision.usage.input_tokens and time.monotonic() < deadline:
            computed = fresh.metric("coppice:prompt_tokens_computed_total")
        assert state < decision.usage.input_tokens < computed + 1
        assert decision.usage.input_tokens_details.cached_tokens == 0
        # With the cache, pages that end in a question are the cache's: their beginning is computed again.
        assert computed <= decision.usage.input_tokens + (64 * 15 if cache == "on" else 0)
        assert fresh.metric("vllm:spec_decode_num_draft_tokens_total") == 0
        assert fresh.metric("vllm:prompt_tokens_total") == decision.usage.input_tokens
        assert fresh.metric("vllm:generation_tokens_total") == 0
        again = client.decisions.create(model="demo", input=STATE, questions=many(64)).usage
        assert again.input_tokens == decision.usage.input_tokens
        if cache == "on":
            assert again.input_tokens_details.cached_tokens >= state - 16
        assert fresh.stop() == 0


def test_conversations_with_tools_are_inputs(client):
    items = [
        {"role": "system", "content": "You judge."},
        {"role": "user", "content": [{"type": "input_text", "text": "Where is the fox?"},
                                     {"type": "input_json", "data": [{"animal": "fox"}]}]},  # fmt: skip
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"animal":"fox"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "at the market"},
        {"role": "assistant", "content": "At the market."},
    ]
    decision = client.decisions.create(model="demo", input=items, questions=QUESTIONS)
    assert len(decision.answers) == 3


def test_a_refused_question_refuses_the_request(client):
    with pytest.raises(openai.BadRequestError, match=r"questions\[1\]\.choices"):
        client.decisions.create(
            model="demo", input="a", questions=[QUESTIONS[0], {"type": "choice", "instructions": "b", "choices": []}]
        )
    with pytest.raises(openai.BadRequestError, match="'stream' is not a field"):
        client.decisions.create(model="demo", input="a", questions=QUESTIONS, extra_body={"stream": True})
    with pytest.raises(openai.BadRequestError, match="an array of 1 to 400 questions"):
        client.decisions.create(model="demo", input="a", questions=many(401))
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.decisions.create(model="demo", input=STATE * 20, questions=QUESTIONS)


def test_a_model_without_a_chat_template_says_501(binary, tmp_path):
    from running_server import ROOT

    for file in (ROOT / "models" / "demo").iterdir():
        target = tmp_path / file.name
        if file.name == "tokenizer_config.json":
            config = json.loads(file.read_text())
            del config["chat_template"]
            target.write_text(json.dumps(config))
        else:
            target.symlink_to(file)
    with RunningServer(binary, tmp_path, "--served-model-name", "demo") as server:
        with pytest.raises(openai.InternalServerError) as refused:
            client_of(server).decisions.create(model="demo", input="a", questions=QUESTIONS)
        assert refused.value.status_code == 501
        assert "chat template" in str(refused.value)
