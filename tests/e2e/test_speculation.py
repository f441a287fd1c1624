"""Drafts from past outputs change nothing but speed."""

import json

from running_server import RunningServer

PROMPT = "Once upon a time there was a little"
GREEDY = {"model": "demo", "prompt": PROMPT, "temperature": 0, "max_tokens": 64}


def mixed_requests():
    """Every sampling feature, alone and together; prompts that share prefixes."""
    features = [
        {"temperature": 0},
        {"temperature": 0.8},
        {"temperature": 1.2, "top_k": 20},
        {"temperature": 0.9, "top_p": 0.9},
        {"temperature": 1.0, "min_p": 0.05},
        {"temperature": 0.3, "repetition_penalty": 1.2},
        {"temperature": 0.5, "presence_penalty": 0.5, "frequency_penalty": 0.5},
        {"temperature": 0, "logit_bias": {"265": 3.0, "300": -100}},
        {"temperature": 0.2, "n": 3},
        {"temperature": 0, "stop": [". "]},
        {"temperature": 0, "min_tokens": 20, "ignore_eos": True},
    ]
    for index in range(33):
        fields = dict(features[index % len(features)])
        fields.update(model="demo", prompt=PROMPT + [" girl", " boy named", " dog", ""][index % 4], seed=index)
        fields.update(max_tokens=24 + index % 30, logprobs=2)
        yield fields


def ask(server, fields, **headers):
    headers = {"content-type": "application/json", **headers}
    status, _, body = server.request("POST", "/v1/completions", fields, headers=headers)
    assert status == 200, body
    return json.loads(body)


def accepted(answer):
    return answer["usage"]["completion_tokens_details"]["accepted_prediction_tokens"]


def test_answers_are_the_same_with_and_without(binary):
    with RunningServer(binary, "demo", "--speculation", "off") as plain:
        wanted = [ask(plain, fields)["choices"] for fields in mixed_requests()]
    with RunningServer(binary, "demo") as drafting:
        for _ in range(2):  # the second time everything was said before
            got = [ask(drafting, fields) for fields in mixed_requests()]
            assert [answer["choices"] for answer in got] == wanted
        assert sum(accepted(answer) for answer in got) > 100
        assert drafting.metric("vllm:spec_decode_num_accepted_tokens_total") > 100


def test_predicted_output_is_drafted_from(binary):
    with RunningServer(binary, "demo") as server:
        answer = ask(server, GREEDY)
        prediction = {"type": "content", "content": answer["choices"][0]["text"]}
        predicted = {**GREEDY, "cache_salt": "nobody else's", "prediction": prediction}
        again = ask(server, predicted)
        assert again["choices"] == answer["choices"]
        assert accepted(again) > 20
