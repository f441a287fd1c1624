"""KV events as a router reads them: every event parsed strictly, what a reader knows against what the server holds,
replays, readers that do not read, and the same stream over gRPC."""

import json
import random
import signal
import threading
import time

import grpc
import msgpack
import pytest
import zmq

from running_server import RunningServer
from test_grpc import Stub

BLOCK = 16
WAIT_SECONDS = 20
END = (-1).to_bytes(8, "big", signed=True)
KEYS = {
    "BlockStored": set("block_hashes parent_block_hash token_ids block_size lora_id medium lora_name".split()),
    "BlockRemoved": {"block_hashes", "medium"},
    "AllBlocksCleared": set(),
}


def is_hash(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


class Reader:
    """Knows what the server's cache holds by its events alone: hash -> (the prefix up to there, is it everyone's)."""

    def __init__(self):
        self.blocks = {}
        self.next = 0
        self.counts = dict.fromkeys(KEYS, 0)

    def read(self, sequence, payload):
        assert sequence == self.next, "a batch is missing"
        self.next += 1
        batch = msgpack.unpackb(payload, strict_map_key=True)
        assert isinstance(batch, list) and len(batch) == 2 and abs(batch[0] - time.time()) < 3600
        assert 0 < len(batch[1]) <= 4096 and len(payload) < 16 << 20
        for event in batch[1]:
            kind = event.pop("type")
            extra = event.pop("extra_keys", None) if kind == "BlockStored" else None
            assert set(event) == KEYS[kind], event
            self.counts[kind] += 1
            getattr(self, kind)(extra=extra, **event)

    def AllBlocksCleared(self, extra):
        self.blocks.clear()

    def BlockRemoved(self, extra, block_hashes, medium):
        assert medium == "GPU" and block_hashes
        for block in block_hashes:
            del self.blocks[block]

    def BlockStored(self, extra, block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium, lora_name):
        assert block_size == BLOCK and medium == "GPU" and lora_id is None and lora_name is None
        assert all(map(is_hash, block_hashes)) and len(token_ids) == BLOCK * len(block_hashes) > 0
        assert all(isinstance(token, int) and token >= 0 for token in token_ids)
        assert extra is None or (len(extra) == len(block_hashes) and all(extra))
        prefix = () if parent_block_hash is None else self.blocks[parent_block_hash][0]
        for i, block in enumerate(block_hashes):
            assert block not in self.blocks
            prefix += tuple(token_ids[i * BLOCK : (i + 1) * BLOCK])
            self.blocks[block] = (prefix, extra is None)


def sources(server, headers=None):
    return json.loads(server.request("GET", "/kv_event_sources", headers=headers)[2])


def replay(context, server, first):
    """(sequence, payload) of every batch from that number on."""
    return replay_from(context, sources(server)["0"]["replay_endpoint"], first)


def replay_from(context, endpoint, first):
    with context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        dealer.send_multipart([b"", first.to_bytes(8, "big")])
        batches = []
        while dealer.poll(WAIT_SECONDS * 1000):
            empty, topic, sequence, payload = dealer.recv_multipart()
            assert empty == b"" and topic == b""
            if sequence == END:
                assert payload == b""
                return batches
            batches.append((int.from_bytes(sequence, "big"), payload))
        raise AssertionError("a replay did not end")


class Subscriber:
    """A reader that subscribes, then asks for what it missed before."""

    def __init__(self, context, server, headers=None):
        self.reader = Reader()
        source = sources(server, headers)["0"]
        self.replays = source["replay_endpoint"]
        self.context = context
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.socket.connect(source["endpoint"])

    def catch_up(self):
        """Reads until the server has no more: a replay says how far that is."""
        while self.socket.poll(300):
            _, sequence, payload = self.socket.recv_multipart()
            number = int.from_bytes(sequence, "big")
            if number > self.reader.next:
                for missed, content in replay_from(self.context, self.replays, self.reader.next):
                    self.reader.read(missed, content)
            if number == self.reader.next:
                self.reader.read(number, payload)
        for missed, content in replay_from(self.context, self.replays, self.reader.next):
            self.reader.read(missed, content)


@pytest.fixture
def context():
    with zmq.Context() as made:
        yield made


def start(binary, *more):
    return RunningServer(binary, "demo", "--kv-events", "tcp://127.0.0.1:0", "--seed", "1", *more)


def ask(server, tokens, **more):
    body = {"model": "demo", "prompt": list(tokens), "max_tokens": 1, "temperature": 0, **more}
    status, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def prompts(count, seed):
    """Texts that share beginnings, of 3 to 12 blocks."""
    draw = random.Random(seed)
    trunks = [[draw.randrange(10, 500) for _ in range(BLOCK * 6)] for _ in range(4)]
    for _ in range(count):
        trunk = draw.choice(trunks)[: BLOCK * draw.randrange(1, 7)]
        yield trunk + [draw.randrange(10, 500) for _ in range(BLOCK * draw.randrange(2, 6) + 3)]


def settled(server):
    """Blocks that the idle server holds."""
    assert server.wait_metric("vllm:num_requests_running", 0) == 0
    return server.metric("coppice:kv_pages_cached")


def test_a_reader_knows_what_the_server_holds(binary, context):
    with start(binary, "--kv-memory", "2MiB") as server:
        early = Subscriber(context, server)
        for prompt in prompts(150, seed=1):
            ask(server, prompt)
        held = settled(server)
        early.catch_up()
        reader = early.reader
        assert len(reader.blocks) == held > 50
        assert reader.counts["BlockRemoved"] > 0, "the pool is small enough for evictions"
        assert reader.counts["AllBlocksCleared"] == 1
        longest = sorted({prefix for prefix, _ in reader.blocks.values()}, key=len)[-5:]
        for prefix in longest:
            assert ask(server, prefix + (3,)) == len(prefix), "what the reader believes in is found"
        assert server.stop() == 0


def test_replays_begin_where_they_are_asked_to(binary, context):
    with start(binary, "--kv-events-memory", "20000") as server:
        for prompt in prompts(80, seed=2):
            ask(server, prompt)
        settled(server)
        remembered = replay(context, server, 0)
        numbers = [number for number, _ in remembered]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] > 0, "the memory for events is bounded"
        middle = numbers[len(numbers) // 2]
        assert replay(context, server, middle) == [entry for entry in remembered if entry[0] >= middle]
        assert replay(context, server, numbers[-1] + 1) == []
        assert server.stop() == 0


def test_salted_prefixes_are_marked(binary, context):
    with start(binary) as server:
        subscriber = Subscriber(context, server)
        prompt = [7 + i % 90 for i in range(BLOCK * 4 + 1)]
        ask(server, prompt)
        ask(server, prompt, cache_salt="mine")
        settled(server)
        subscriber.catch_up()
        blocks = subscriber.reader.blocks
        assert len(blocks) == 8 and sum(is_shared for _, is_shared in blocks.values()) == 4
        assert server.stop() == 0


def test_readers_that_do_not_read_hold_no_one_up(binary, context):
    with start(binary) as server:
        idle = context.socket(zmq.SUB)
        idle.setsockopt(zmq.LINGER, 0)
        idle.setsockopt(zmq.RCVHWM, 1)
        idle.setsockopt(zmq.SUBSCRIBE, b"")
        idle.connect(sources(server)["0"]["endpoint"])
        stub = Stub(server.grpc)
        stream = subscribe(stub)
        reading = Subscriber(context, server)
        for prompt in prompts(60, seed=3):
            ask(server, prompt)
        held = settled(server)
        reading.catch_up()
        assert len(reading.reader.blocks) == held
        idle.close()
        stream.cancel()
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10, "streams of events end with the server"


def subscribe(stub, timeout=60, metadata=None, **fields):
    return stub.call("SubscribeKvEvents", metadata=metadata, timeout=timeout, **fields)


def test_grpc_has_the_same(binary, context):
    with start(binary) as server:
        subscriber = Subscriber(context, server)
        stub = Stub(server.grpc)
        batches = []

        def collect():
            try:
                for batch in subscribe(stub):
                    batches.append(batch)
            except grpc.RpcError as error:
                batches.append(error)

        thread = threading.Thread(target=collect)
        thread.start()
        for prompt in prompts(20, seed=4):
            ask(server, prompt)
        settled(server)
        subscriber.catch_up()
        end = time.monotonic() + WAIT_SECONDS
        while len(batches) < subscriber.reader.next and time.monotonic() < end:
            time.sleep(0.01)
        assert [batch.sequence for batch in batches] == list(range(subscriber.reader.next))
        blocks = {}
        for batch in batches:
            for event in batch.events:
                if event.HasField("stored"):
                    stored = event.stored
                    assert stored.block_size == BLOCK and not stored.is_isolated
                    prefix = blocks[stored.parent_block_hash] if stored.HasField("parent_block_hash") else ()
                    for i, block in enumerate(stored.block_hashes):
                        prefix += tuple(stored.token_ids[i * BLOCK : (i + 1) * BLOCK])
                        blocks[block] = prefix
        assert blocks == {block: prefix for block, (prefix, _) in subscriber.reader.blocks.items()}
        with pytest.raises(grpc.RpcError) as early:  # another process's number
            next(iter(subscribe(stub, from_sequence=batches[-1].sequence + 1000)))
        assert early.value.code() == grpc.StatusCode.OUT_OF_RANGE
        late = subscribe(stub, from_sequence=batches[-1].sequence)
        assert next(iter(late)) == batches[-1]
        late.cancel()
        assert server.stop() == 0
        thread.join(WAIT_SECONDS)
        assert batches[-1].code() == grpc.StatusCode.UNAVAILABLE


def test_with_keys_each_reads_its_own(binary, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("key-of-one-reader\nkey-of-the-other\n")
    with start(binary, "--api-key-file", str(keys)) as server:
        for number, key in enumerate(("key-of-one-reader", "key-of-the-other")):
            body = {"prompt": [20 + number] * (BLOCK * 2 + 1), "max_tokens": 1}
            assert server.request("POST", "/v1/completions", body, {"authorization": f"Bearer {key}"})[0] == 200
        stub = Stub(server.grpc)
        with pytest.raises(grpc.RpcError) as refused:
            next(iter(subscribe(stub)))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        seen = set()
        stream = subscribe(stub, metadata=[("authorization", "Bearer key-of-the-other")])
        for batch in stream:
            for event in batch.events:
                seen.update(event.stored.token_ids)
                assert event.HasField("cleared") or event.stored.is_isolated
            if seen:
                break
        stream.cancel()
        assert seen == {21}
        assert server.stop() == 0


class Books:
    """What one knows by batches over gRPC: hash -> the prefix up to there. Strict."""

    def __init__(self):
        self.blocks = {}
        self.last = None
        self.in_snapshot = False

    def read(self, batch):
        if batch.is_snapshot:
            begins = any(event.HasField("cleared") for event in batch.events)
            assert begins != self.in_snapshot, "the first part, and no other, begins anew"
            self.in_snapshot = batch.sequence == 0
        else:
            assert not self.in_snapshot and self.last in (None, batch.sequence - 1), "a gap, or a batch told twice"
        self.last = None if self.in_snapshot else batch.sequence
        for event in batch.events:
            if event.HasField("cleared"):
                self.blocks.clear()
            for block in event.removed.block_hashes:
                del self.blocks[block]
            stored = event.stored
            prefix = self.blocks[stored.parent_block_hash] if stored.HasField("parent_block_hash") else ()
            for i, block in enumerate(stored.block_hashes):
                assert block not in self.blocks
                prefix += tuple(stored.token_ids[i * BLOCK : (i + 1) * BLOCK])
                self.blocks[block] = prefix

    def read_until(self, stream, prefix):
        """Until it is known that this is held."""
        while self.in_snapshot or prefix not in self.blocks.values():
            self.read(next(stream))


def test_a_late_reader_is_told_what_is_held(binary):
    """Long after the first batches were forgotten, and while more come."""
    with start(binary, "--kv-events-memory", "5000", "--kv-memory", "2MiB") as server:
        for prompt in prompts(100, seed=5):
            ask(server, prompt)
        stub = Stub(server.grpc)
        stream = iter(subscribe(stub, from_sequence=0))
        books = Books()
        first = next(stream)
        assert first.is_snapshot and first.events[0].HasField("cleared")
        books.read(first)
        more = threading.Thread(target=lambda: [ask(server, prompt) for prompt in prompts(40, seed=6)])
        more.start()
        for _ in range(10):
            books.read(next(stream))
        more.join()
        last = (499,) * BLOCK * 2
        ask(server, last + (3,))
        held = settled(server)
        books.read_until(stream, last)
        later = Books()
        later.read_until(iter(subscribe(stub)), last)  # no number: likewise
        assert later.blocks == books.blocks and len(books.blocks) == held > 50
        for prefix in sorted(books.blocks.values(), key=len)[-5:]:
            assert ask(server, prefix + (3,)) == len(prefix), "what the reader believes in is found"
        assert server.stop() == 0


def test_a_replay_has_all_that_is_held(binary, context):
    """Though its beginning is forgotten: by then all has been told anew, in events that every reader knows."""
    with start(binary, "--kv-events-memory", "100000", "--kv-memory", "2MiB") as server:
        for prompt in prompts(150, seed=7):
            ask(server, prompt)
        held = settled(server)
        remembered = replay(context, server, 0)
        assert remembered[0][0] > 0
        batches = [msgpack.unpackb(payload) for _, payload in remembered]
        anew = [i for i, (_, events) in enumerate(batches) if events[0]["type"] == "AllBlocksCleared"]
        reader = Reader()
        reader.next = remembered[anew[-1]][0]
        for number, payload in remembered[anew[-1] :]:
            reader.read(number, payload)
        assert len(reader.blocks) == held > 50
        assert server.stop() == 0


def test_numbers_of_another_start_mean_nothing(binary):
    epochs = []
    for _ in range(2):
        with start(binary) as server:
            for prompt in prompts(5, seed=8):
                ask(server, prompt)
            settled(server)
            stub = Stub(server.grpc)
            batches = iter(subscribe(stub))
            epochs.append(next(batches).epoch)
            assert next(batches).epoch == epochs[-1] == json.loads(server.request("GET", "/get_server_info")[2])[
                "instance_id"
            ]
            for epoch, first in ((epochs[0], 0 if len(epochs) == 2 else 2), (epochs[-1], 2), ("", 2)):
                assert next(iter(subscribe(stub, from_sequence=2, epoch=epoch))).sequence == first
            assert server.stop() == 0
    assert epochs[0] != epochs[1]


def test_a_key_that_is_gone_ends_its_streams_and_shares_nothing(binary, context, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("key-of-one-reader\n")
    with start(binary, "--api-key-file", str(keys)) as server:
        body = {"prompt": [20] * (BLOCK * 2 + 1), "max_tokens": 1}
        header = {"authorization": "Bearer key-of-one-reader"}
        assert server.request("POST", "/v1/completions", body, header)[0] == 200
        reader = Subscriber(context, server, header)
        reader.catch_up()
        assert len(reader.reader.blocks) == 2 and all(shared for _, shared in reader.reader.blocks.values())
        stream = iter(subscribe(Stub(server.grpc), metadata=list(header.items())))
        assert next(stream).events[0].HasField("cleared")
        assert next(stream).events[0].stored.token_ids[0] == 20
        keys.write_text("key-of-the-next\n")
        server.process.send_signal(signal.SIGHUP)
        with pytest.raises(grpc.RpcError) as gone:
            for _ in stream:
                pass
        assert gone.value.code() == grpc.StatusCode.UNAUTHENTICATED
        end = time.monotonic() + WAIT_SECONDS
        while reader.reader.counts["AllBlocksCleared"] < 2 and time.monotonic() < end:
            reader.catch_up()
        assert len(reader.reader.blocks) == 2 and not any(shared for _, shared in reader.reader.blocks.values())
        assert server.stop() == 0


def test_without_the_flag_there_are_no_events(server):
    assert sources(server) == {}
    with pytest.raises(grpc.RpcError) as refused:
        next(iter(subscribe(Stub(server.grpc))))
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_routers_learn_what_is_served_and_how_prompts_are_cut(server):
    status, _, text = server.request("GET", "/get_server_info")
    info = json.loads(text)
    assert status == 200 and info["model_id"] == "demo" and info["kv_block_size"] == BLOCK
    assert info["instance_id"]
    assert not info.keys() & {"model_path", "block_size"}  # readers take them for these fields given twice

    body = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 3}
    status, rendered = server.post("/v1/chat/completions/render", body)
    assert status == 200 and rendered["token_ids"]
    status, answer = server.post("/v1/completions", {"prompt": rendered["token_ids"], "max_tokens": 1})
    assert status == 200 and answer["usage"]["prompt_tokens"] == len(rendered["token_ids"])
    _, chat = server.post("/v1/chat/completions", body)
    assert chat["usage"]["prompt_tokens"] == len(rendered["token_ids"])

    status, list_of_two = server.post("/v1/completions/render", {"prompt": ["Once upon", "a time"], "max_tokens": 3})
    assert status == 200 and len(list_of_two) == 2
    for text, entry in zip(("Once upon", "a time"), list_of_two):
        assert entry["token_ids"] == server.post("/tokenize", {"prompt": text})[1]["tokens"]
    status, refusal = server.post("/v1/completions/render", {"prompt": "x", "max_tokens": -1})
    assert status == 400 and "max_tokens" in refusal["error"]["message"]


def test_grpc_gives_events_to_no_stranger_without_a_key(binary):
    flags = ["--host", "0.0.0.0", "--kv-events", "tcp://127.0.0.1:0"]
    with RunningServer(binary, "demo", *flags) as server:
        with pytest.raises(grpc.RpcError) as refused:
            next(iter(subscribe(Stub(server.grpc), from_sequence=0)))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert server.stop() == 0
