"""The gRPC front end, driven through server reflection alone: same prompts, same tokens, same limits as HTTP."""

import json
import threading

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import tool_model
from running_server import RunningServer

SERVICE = "coppice.v1.Inference"
PROMPT = "Once upon a time"


class Stub:
    """Calls by name with plain dictionaries, from what the server says of itself."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self.service = self.pool.FindServiceByName(SERVICE)

    def call(self, name, metadata=None, timeout=60, **fields):
        method = self.service.methods_by_name[name]
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        response = message_factory.GetMessageClass(method.output_type)
        is_stream = name in ("Generate", "Chat", "SubscribeKvEvents")
        make = self.channel.unary_stream if is_stream else self.channel.unary_unary
        run = make(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return run(request, metadata=metadata, timeout=timeout)

    def enum(self, name):
        values = self.pool.FindEnumTypeByName("coppice.v1." + name).values
        return {value.name: value.number for value in values}


@pytest.fixture(scope="module")
def stub(server):
    return Stub(server.grpc)


def whole(responses):
    """Text by choice, token ids by choice, the last usage."""
    texts, tokens, usage = {}, {}, None
    for response in responses:
        texts[response.choice] = texts.get(response.choice, "") + response.text
        tokens.setdefault(response.choice, []).extend(token.token_id for token in response.tokens)
        if response.HasField("usage"):
            usage = response.usage
    return texts, tokens, usage


def test_reflection_lists_the_services(stub):
    assert SERVICE in stub.database.get_services()
    assert "grpc.health.v1.Health" in stub.database.get_services()


def test_reflection_describes_every_service(stub):
    pool = descriptor_pool.DescriptorPool(stub.database)
    for service in (SERVICE, "grpc.health.v1.Health"):
        assert pool.FindServiceByName(service).methods
    check = pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]
    assert check.input_type.full_name == "grpc.health.v1.HealthCheckRequest"


def test_health(server):
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.grpc))
    for service in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("temperature", [0.0, 0.75])
def test_same_prompt_same_tokens_as_http(server, stub, temperature):
    body = {
        "model": "demo",
        "prompt": PROMPT,
        "max_tokens": 40,
        "temperature": temperature,
        "seed": 7,
        "n": 2,
        "return_token_ids": True,
    }
    status, answer = server.post("/v1/completions", body)
    assert status == 200
    sampling = {"max_tokens": 40, "temperature": temperature, "seed": 7, "n": 2}
    texts, tokens, usage = whole(stub.call("Generate", model="demo", text=PROMPT, sampling=sampling))
    for choice in answer["choices"]:
        assert texts[choice["index"]] == choice["text"]
        assert tokens[choice["index"]] == choice["token_ids"]
    assert usage.prompt_tokens == answer["usage"]["prompt_tokens"]
    assert usage.completion_tokens == answer["usage"]["completion_tokens"] == 80


def test_token_ids_and_logprobs(server, stub):
    ids = list(stub.call("Tokenize", text=PROMPT).token_ids)
    status, http = server.post("/tokenize", {"prompt": PROMPT})
    assert status == 200 and http["tokens"] == ids
    sampling = {"max_tokens": 8, "temperature": 0, "logprobs": 3}
    responses = list(stub.call("Generate", token_ids={"ids": ids}, sampling=sampling))
    entries = [token for response in responses for token in response.tokens]
    assert len(entries) == 8
    for entry in entries:
        assert len(entry.top) == 3
        assert entry.top[0].token_id == entry.token_id
        assert entry.top[0].logprob == entry.logprob <= 0
    assert stub.call("Detokenize", token_ids=ids, skip_special_tokens=True).text == PROMPT


def test_chat_says_the_same_as_http(server, stub):
    messages = [{"role": "user", "content": "Tell me a story about a fox."}]
    body = {"model": "demo", "messages": messages, "max_tokens": 32, "temperature": 0}
    status, answer = server.post("/v1/chat/completions", body)
    assert status == 200
    texts, _, _ = whole(stub.call("Chat", messages=messages, sampling={"max_tokens": 32, "temperature": 0}))
    assert texts[0] == answer["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def tool_server(binary, tmp_path_factory):
    model = tool_model.make_tool_model(tmp_path_factory.mktemp("tools") / "model")
    with RunningServer(binary, model, "--seed", "1") as running:
        yield running
        assert running.stop() == 0, "".join(running.log)


# The stop string ends the answer, or its length does after three calls.
@pytest.mark.parametrize("token, count", [(tool_model.CALL_AND_STOP_TOKEN, 1), (tool_model.CALL_TOKEN, 3)])
@pytest.mark.parametrize("logprobs", [None, 1])
def test_tool_calls_are_those_of_http(tool_server, token, count, logprobs):
    messages = [{"role": "user", "content": "What is a fox?"}]
    body = {"messages": messages, "tools": tool_model.TOOLS, "temperature": 0, "stop": [tool_model.STOP]}
    sampling = {"max_tokens": 3, "temperature": 0, "stop": [tool_model.STOP], "logit_bias": {token: 100}}
    if logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": logprobs}
        sampling["logprobs"] = logprobs
    body |= {"max_tokens": 3, "logit_bias": {str(token): 100}, "return_token_ids": True}
    status, answer = tool_server.post("/v1/chat/completions", body)
    assert status == 200
    choice = answer["choices"][0]
    assert choice["finish_reason"] == ("tool_calls" if count == 1 else "length")
    assert len(choice["message"]["tool_calls"]) == count

    stub = Stub(tool_server.grpc)
    tools = json.dumps(tool_model.TOOLS)
    responses = list(stub.call("Chat", messages=messages, tools_json=tools, sampling=sampling))
    pieces = [piece for response in responses for piece in response.tool_calls]
    for number, call in enumerate(choice["message"]["tool_calls"]):
        mine = [piece for piece in pieces if piece.index == number]
        assert mine[0].id and mine[0].name == call["function"]["name"]
        assert "".join(piece.arguments for piece in mine) == call["function"]["arguments"]
    assert len({piece.id for piece in pieces if piece.id}) == count
    reasons = stub.enum("FinishReason")
    finish = "FINISH_REASON_" + choice["finish_reason"].upper()
    assert [response.finish_reason for response in responses[-2:]] == [reasons[finish], 0]  # the last one has the usage
    assert "".join(response.text for response in responses) == (choice["message"]["content"] or "")
    tokens = [drawn for response in responses for drawn in response.tokens]
    assert [drawn.token_id for drawn in tokens] == choice["token_ids"]
    if logprobs is not None:  # they wait for the call that they made
        assert all(response.tokens for response in responses[:-1]) and not responses[-1].tokens
        http = [entry["logprob"] for entry in choice["logprobs"]["content"]]
        assert [drawn.logprob for drawn in tokens] == pytest.approx(http, rel=1e-6)


def test_models_and_load(stub):
    assert [model.id for model in stub.call("ListModels").models] == ["demo"]
    assert stub.call("GetLoad").draining is False


@pytest.mark.parametrize(
    "fields, code, words",
    [
        ({"text": PROMPT, "sampling": {"temperature": -1}}, grpc.StatusCode.INVALID_ARGUMENT, "temperature"),
        ({"text": PROMPT, "sampling": {"n": 100000}}, grpc.StatusCode.INVALID_ARGUMENT, "n"),
        ({"token_ids": {"ids": [123456789]}}, grpc.StatusCode.INVALID_ARGUMENT, "123456789"),
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "prompt"),
        ({"model": "other", "text": PROMPT}, grpc.StatusCode.NOT_FOUND, "other"),
    ],
)
def test_bad_requests_are_refused_with_http_words(server, stub, fields, code, words):
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.call("Generate", **fields))
    assert refused.value.code() == code
    assert words in refused.value.details()


def test_a_refusal_has_the_same_words_on_both_front_ends(server, stub):
    status, answer = server.post("/v1/completions", {"model": "demo", "prompt": PROMPT, "top_p": 7})
    assert status == 400
    with pytest.raises(grpc.RpcError) as refused:
        list(stub.call("Generate", text=PROMPT, sampling={"top_p": 7}))
    assert refused.value.details() == answer["error"]["message"]


def test_cancel_frees_the_sequence(server, stub):
    # Hot enough to say nothing that could be drafted, and many: else it may be over before it is cancelled.
    sampling = {"max_tokens": 1800, "temperature": 2, "ignore_eos": True, "n": 16}
    responses = stub.call("Generate", text=PROMPT, sampling=sampling)
    next(responses)
    assert server.metric("vllm:num_requests_running") >= 1
    responses.cancel()
    assert server.wait_metric("vllm:num_requests_running", 0, seconds=5) == 0


def test_many_streams_at_once(stub):
    alone, _, _ = whole(stub.call("Generate", text=PROMPT, sampling={"max_tokens": 24, "temperature": 0}))
    texts = [None] * 16

    def run(index):
        answers, _, _ = whole(stub.call("Generate", text=PROMPT, sampling={"max_tokens": 24, "temperature": 0}))
        texts[index] = answers[0]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [alone[0]] * len(texts)


def test_keys(binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("a-good-long-key\n")
    with RunningServer(binary, "demo", "--api-key-file", str(keys)) as server:
        # Reflection needs no key: it describes the interface, not of the model.
        stub = Stub(server.grpc)
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.call("Generate", text=PROMPT))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        good = [("authorization", "Bearer a-good-long-key")]
        greedy = {"max_tokens": 4, "temperature": 0}
        texts, _, _ = whole(stub.call("Generate", metadata=good, text=PROMPT, sampling=greedy))
        assert texts[0]
        also_good = [("x-api-key", "a-good-long-key")]
        same, _, _ = whole(stub.call("Generate", metadata=also_good, text=PROMPT, sampling=greedy))
        assert same == texts
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.call("Generate", metadata=[("x-api-key", "another-good-key")], text=PROMPT))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert server.stop() == 0
