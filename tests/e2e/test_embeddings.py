"""/v1/embeddings by the official client: shapes, and the same vectors to the bit whatever is around them."""

import base64
import concurrent.futures
import math
import struct
import threading
import time

import openai
import pytest
from openai.types import CreateEmbeddingResponse

from running_server import RunningServer

TEXTS = [f"The {name} went to the market, number {i}." for i, name in enumerate(["fox", "king", "girl", "old man"] * 5)]
LONG = "Once upon a time there was a little house at the edge of the wood. " * 30


def bits(vector):
    """The bytes of numbers, or of their base64."""
    if isinstance(vector, str):
        return base64.b64decode(vector)
    return struct.pack(f"<{len(vector)}f", *vector)


def embed(client, texts, **fields):
    """The vectors' bits, in order."""
    answer = client.embeddings.create(model="demo", input=texts, **fields)
    assert [entry.index for entry in answer.data] == list(range(len(answer.data)))
    return [bits(entry.embedding) for entry in answer.data]


def test_an_answer_is_what_the_client_knows(client, server):
    status, answer = server.post("/v1/embeddings", {"model": "demo", "input": ["a fox", "a king"]})
    assert status == 200
    CreateEmbeddingResponse.model_validate(answer, strict=True)
    assert len(answer["data"]) == 2
    for entry in answer["data"]:
        assert math.isclose(sum(number * number for number in entry["embedding"]), 1, rel_tol=1e-5)
    tokens = sum(server.post("/tokenize", {"prompt": text})[1]["count"] for text in ("a fox", "a king"))
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == tokens


def test_base64_and_numbers_are_the_same_floats(client):
    assert embed(client, TEXTS[:3], encoding_format="float") == embed(client, TEXTS[:3], encoding_format="base64")


def test_text_and_its_tokens_are_the_same_input(client, server):
    tokens = [server.post("/tokenize", {"prompt": text})[1]["tokens"] for text in TEXTS[:3]]
    wanted = embed(client, TEXTS[:3])
    assert embed(client, tokens) == wanted
    assert embed(client, tokens[0]) == embed(client, TEXTS[0]) == wanted[:1]


def test_pooling_and_normalising(server):
    def ask(**fields):
        return server.post("/v1/embeddings", {"input": "a fox", **fields})[1]["data"][0]["embedding"]

    assert ask(pooling="last") == ask()
    assert ask(pooling="mean") != ask()
    for pooling in ("last", "mean"):
        raw = ask(pooling=pooling, normalize=False)
        length = math.sqrt(sum(number * number for number in raw))
        assert length > 1.1
        assert all(
            math.isclose(number / length, unit, rel_tol=1e-5, abs_tol=1e-7)
            for number, unit in zip(raw, ask(pooling=pooling))
        )


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_vectors_have_the_same_bits_alone_together_cold_and_warm(binary, pooling):
    texts = [*TEXTS, LONG, LONG + "The end."]
    flags = ("--prefix-cache", "off", "--max-batch-tokens", "64", "--max-running", "8")
    with RunningServer(binary, "demo", *flags) as other:
        client = openai.OpenAI(base_url=other.url + "/v1", api_key="none", max_retries=0)
        wanted = [embed(client, [text], extra_body={"pooling": pooling})[0] for text in texts]
    with RunningServer(binary, "demo") as fresh:
        client = openai.OpenAI(base_url=fresh.url + "/v1", api_key="none", max_retries=0)
        for _ in range(2):  # cold, then warm
            assert embed(client, texts, extra_body={"pooling": pooling}) == wanted
        stop = threading.Event()

        def chat():
            while not stop.is_set():
                client.completions.create(model="demo", prompt=LONG, max_tokens=24, temperature=1)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            load = [pool.submit(chat) for _ in range(3)]
            try:
                asked = [
                    pool.submit(embed, client, [text], extra_body={"pooling": pooling, "cache_salt": str(i % 2)})
                    for i, text in enumerate(texts)
                ]
                assert [answer.result()[0] for answer in asked] == wanted
            finally:
                stop.set()
            for one in load:
                one.result()
        assert fresh.stop() == 0


def test_the_prefix_cache_is_read_and_nothing_is_drafted(server):
    drafted = server.metric("vllm:spec_decode_num_draft_tokens_total")
    text = LONG + "Then they embedded it."
    usage = [server.post("/v1/embeddings", {"input": text})[1]["usage"] for _ in range(2)]
    assert usage[1]["prompt_tokens_details"]["cached_tokens"] >= usage[1]["prompt_tokens"] - 16
    assert 0 < usage[0]["prompt_tokens_details"]["cache_write_tokens"] <= usage[0]["prompt_tokens"]
    assert usage[1]["prompt_tokens_details"]["cache_write_tokens"] <= 16
    mean = server.post("/v1/embeddings", {"input": text, "pooling": "mean"})[1]["usage"]
    assert mean["prompt_tokens_details"]["cached_tokens"] == 0
    assert server.metric("vllm:spec_decode_num_draft_tokens_total") == drafted


def test_two_thousand_inputs_are_one_request(client, server):
    counted = server.metric("vllm:prompt_tokens_total")
    answer = client.embeddings.create(model="demo", input=[[5, i % 200 + 10] for i in range(2048)])
    assert len(answer.data) == 2048
    assert answer.usage.prompt_tokens == 4096
    assert server.wait_metric("vllm:prompt_tokens_total", counted + 4096) == counted + 4096
    assert bits(answer.data[0].embedding) == bits(answer.data[200].embedding)
    with pytest.raises(openai.BadRequestError, match="an array of 1 to 2048"):
        client.embeddings.create(model="demo", input=["a"] * 2049)


def test_what_the_model_cannot_do_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="'dimensions' must be"):
        client.embeddings.create(model="demo", input="a", dimensions=8)
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.embeddings.create(model="demo", input="fox " * 4000)
    with pytest.raises(openai.BadRequestError, match="not empty"):
        client.embeddings.create(model="demo", input="")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="other", input="a")


def test_a_client_that_leaves_cancels(server):
    body = b'{"input":[' + b",".join([b'"' + LONG.encode() * 3 + b'"'] * 60) + b'],"pooling":"mean"}'
    connection = server.connect()
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    deadline = time.monotonic() + 30
    while not server.metric("vllm:num_requests_running"):
        assert time.monotonic() < deadline
    connection.close()
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
    assert server.wait_metric("vllm:num_requests_waiting", 0) == 0
    assert server.metric("coppice:answers_total", route="/v1/embeddings", status="499") >= 1
