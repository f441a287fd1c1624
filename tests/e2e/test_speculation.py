"""Drafts from past outputs: they change nothing but speed, they stay with their tenant, they outlive a restart."""

import json

import pytest

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
    return answer["speculation"]["accepted_tokens"]


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
        predicted = {**GREEDY, "cache_salt": "a salt of its own", "prediction": prediction}
        again = ask(server, predicted)
        assert again["choices"] == answer["choices"]
        assert accepted(again) > 20


def test_corpora_are_added_listed_and_dropped(binary):
    route = "/v1/speculation/corpora"
    with RunningServer(binary, "demo") as server:
        text = ask(server, GREEDY)["choices"][0]["text"]
    with RunningServer(binary, "demo") as server:
        status, _, body = server.request("POST", route, {"name": "tales", "texts": [PROMPT + text]})
        assert status == 200 and json.loads(body)["sequences"] == 1, body
        listed = json.loads(server.request("GET", route)[2])["data"]
        assert [card["name"] for card in listed] == ["tales"]
        other_tenant = ask(server, {**GREEDY, "cache_salt": "x", "max_tokens": 20})
        assert accepted(other_tenant) <= 10  # what it repeats of itself
        assert accepted(ask(server, GREEDY)) > 30
        assert server.request("DELETE", route + "/tales")[0] == 200
        assert server.request("DELETE", route + "/tales")[0] == 404
        assert json.loads(server.request("GET", route)[2])["data"] == []
        status, _, body = server.request("POST", route, {"name": "a b", "texts": ["x"]})
        assert status == 400 and json.loads(body)["error"]["param"] == "name"


def test_corpus_file(binary, tmp_path):
    with RunningServer(binary, "demo") as server:
        text = ask(server, GREEDY)["choices"][0]["text"]
    file = tmp_path / "tales.jsonl"
    file.write_text(json.dumps({"text": PROMPT + text}) + "\n\n" + json.dumps({"tokens": [1, 2, 3]}) + "\n")
    with RunningServer(binary, "demo", "--speculation-corpus", str(file)) as server:
        assert accepted(ask(server, {**GREEDY, "cache_salt": "anyone"})) > 30
        listed = json.loads(server.request("GET", "/v1/speculation/corpora")[2])["data"]
        assert [(card["name"], card["shared"]) for card in listed] == [("tales", True)]
    file.write_text('{"text": "fine"}\n{"text": 3}\n')
    with pytest.raises(RuntimeError, match="line 2"):
        RunningServer(binary, "demo", "--speculation-corpus", str(file))


def test_what_was_learned_outlives_a_restart(binary, tmp_path):
    state = tmp_path / "state"
    flags = ["--speculation-state", str(state)]
    with RunningServer(binary, "demo", *flags) as server:
        ask(server, GREEDY)
        assert server.stop() == 0, "".join(server.log)
    with RunningServer(binary, "demo", *flags) as server:
        assert accepted(ask(server, GREEDY)) > 30
        assert server.stop() == 0, "".join(server.log)
    snapshot = next(path for path in state.iterdir() if path.suffix == ".snapshot")
    snapshot.write_bytes(snapshot.read_bytes()[:-5])
    with RunningServer(binary, "demo", *flags) as server:  # torn: a clear line, and an empty start
        assert any("snapshot" in line for line in server.log), "".join(server.log)
        assert accepted(ask(server, {**GREEDY, "max_tokens": 16})) <= 10


def test_step_costs_belong_to_the_formats(binary, tmp_path):
    """A step costs something else with other weights or another cache: the kept costs say whose they are."""
    keys = set()
    for flags in [], ["--quant", "int8"], ["--kv-dtype", "int8"]:
        with RunningServer(binary, "demo", "--speculation-state", str(tmp_path), *flags) as server:
            ask(server, {**GREEDY, "max_tokens": 4})
            assert server.stop() == 0, "".join(server.log)
        keys.add((tmp_path / "step-costs.txt").read_text().splitlines()[0])
    assert len(keys) == 3, keys
