"""`coppice inspect --perplexity` against Hugging Face's numbers, against a model that can be computed by hand, and its
errors."""

import json
import math
import shutil
import struct
import subprocess
import sys

import numpy
import pytest

from running_server import ROOT

DEMO = ROOT / "models" / "demo"
FIXTURE = json.loads((ROOT / "tests" / "fixtures" / "perplexity.json").read_text())


def run(binary, *arguments):
    command = [binary, "inspect", *arguments, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def measure(binary, model, text, *flags):
    code, out, err = run(binary, model, "--perplexity", text, "--json", *flags)
    assert code == 0 and out.count("\n") == 1, err
    return json.loads(out)


@pytest.fixture(scope="module")
def demo_without_bos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "plain"
    shutil.copytree(DEMO, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "add_bos_token": False}))
    return folder


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: f"{case['window']}-{case['bos']}")
def test_a_text_is_as_likely_as_transformers_says(binary, demo_without_bos, case):
    model = "demo" if case["bos"] else demo_without_bos
    window = ["--window", str(case["window"])] if case["window"] != 512 else []  # the default
    got = measure(binary, model, ROOT / FIXTURE["text"], "--dtype", "f32", *window)
    assert got["text_tokens"] == FIXTURE["text_tokens"]
    assert {name: got[name] for name in ("tokens", "windows", "window", "bos")} == {
        name: case[name] for name in ("tokens", "windows", "window", "bos")
    }
    assert got["dtype"] == got["weights"] == "f32"
    assert got["log_likelihood"] == pytest.approx(case["log_likelihood"], rel=1e-5)
    assert got["perplexity"] == pytest.approx(case["perplexity"], rel=1e-4)
    assert got["nats_per_token"] == pytest.approx(math.log(case["perplexity"]), rel=1e-5)


def test_bf16_differs_a_little_and_runs_the_same_twice(binary):
    f32 = FIXTURE["cases"][0]["log_likelihood"]
    twice = [measure(binary, "demo", ROOT / FIXTURE["text"], "--dtype", "bf16") for _ in range(2)]
    assert twice[0]["dtype"] == twice[0]["weights"] == "bf16"
    assert twice[0]["log_likelihood"] == twice[1]["log_likelihood"] != f32
    assert twice[0]["log_likelihood"] == pytest.approx(f32, rel=1e-2)


def bigram_model(folder):
    """The demo's tokens with a model whose layers add nothing: the next token depends on the last one alone."""
    config = json.loads((DEMO / "config.json").read_text())
    hidden, vocab, layers = 32, config["vocab_size"], 1
    config.update(
        hidden_size=hidden,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=False,
        torch_dtype="float32",
    )
    random = numpy.random.default_rng(7)
    embedding = random.standard_normal((vocab, hidden)).astype("<f4")
    head = random.standard_normal((vocab, hidden)).astype("<f4")
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
    tensors["model.norm.weight"] = numpy.ones(hidden, "<f4")
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"model.layers.0.{name}.weight"] = numpy.ones(hidden, "<f4")
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
        tensors[f"model.layers.0.{name}.weight"] = numpy.zeros((32, 32), "<f4")
    for name in ("gate_proj", "up_proj", "down_proj"):
        tensors[f"model.layers.0.mlp.{name}.weight"] = numpy.zeros((32, 32), "<f4")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder / name)
    header, data = {}, b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    head_bytes = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head_bytes)) + head_bytes + data)
    return embedding.astype("f8"), head.astype("f8"), config["rms_norm_eps"]


def test_a_model_computed_by_hand(binary, tmp_path):
    embedding, head, epsilon = bigram_model(tmp_path / "bigram")
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a cat.\nIt sat on a mat, and then it sat on another mat.\n")
    command = [binary, "tokenize", "demo", text.read_text(), "--json"]
    ids = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=30).stdout)
    assert ids[0] == 1 and len(ids) > 20
    states = embedding[ids[:-1]]
    states /= numpy.sqrt((states**2).mean(axis=1, keepdims=True) + epsilon)
    logits = states @ head.T
    most = logits.max(axis=1, keepdims=True)
    scores = logits - most - numpy.log(numpy.exp(logits - most).sum(axis=1, keepdims=True))
    expected = scores[numpy.arange(len(ids) - 1), ids[1:]].sum()
    got = measure(binary, tmp_path / "bigram", text, "--dtype", "f32")
    assert got["tokens"] == len(ids) - 1
    assert got["log_likelihood"] == pytest.approx(expected, rel=1e-5)
    assert got["perplexity"] == pytest.approx(math.exp(-expected / (len(ids) - 1)), rel=1e-4)


def test_for_people_there_is_a_table(binary, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time")
    code, out, _ = run(binary, "demo", "--perplexity", text)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()][:3] == ["model", "text", "bytes"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02text", "not text in UTF-8"),
        (b"caf\xe9", "not text in UTF-8"),
        (None, "missing.txt"),
    ],
)
def test_what_is_no_text_is_one_line(binary, tmp_path, content, words):
    file = tmp_path / "missing.txt"
    if content is not None:
        file.write_bytes(content)
    code, out, err = run(binary, "demo", "--perplexity", file, "--json")
    assert code == 2 and out == "" and words in err and "missing.txt" in err
    assert sum(line.startswith("coppice: ") for line in err.splitlines()) == 1, err


def test_one_token_with_nothing_before_it_has_no_likelihood(binary, demo_without_bos, tmp_path):
    file = tmp_path / "one.txt"
    file.write_text("a")
    code, out, err = run(binary, demo_without_bos, "--perplexity", file)
    assert code == 2 and out == "" and "is one token" in err
    assert measure(binary, "demo", file)["tokens"] == 1  # behind BOS it has


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--perplexity", "LICENSE", "--window", "1"], "a window of 1 tokens"),
        (["--perplexity", "LICENSE", "--window", "4096"], "--window 4096: the model's context has 2048 tokens"),
        (["--perplexity", "LICENSE", "--window", "-1"], "window"),
        (["--window", "64"], "belong to --perplexity"),
        (["--json"], "belong to --perplexity"),
        (["--perplexity", "."], "not a regular file"),
    ],
)
def test_wrong_flags_are_one_line(binary, flags, words):
    flags = [str(ROOT / flag) if flag in ("LICENSE", ".") else flag for flag in flags]
    code, out, err = run(binary, "demo", *flags)
    assert code == 2 and out == "" and words in err, err


def test_a_table_of_types(binary, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text((ROOT / "LICENSE").read_text()[:1000])
    tool = [sys.executable, ROOT / "tools" / "accuracy_table.py", "--coppice", binary, "--device", "cpu"]
    flags = ["--text", text, "--model", "demo", "--dtypes", "f32,bf16,f16"]
    done = subprocess.run([*tool, *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head == "| model | tokens | f32 | bf16 | f16 |"
    name, tokens, f32, bf16, f16 = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "demo" and f16 == "–" and "--dtype f16" in done.stderr  # which a CPU is slow at
    ratio = float(f32.split("(")[1].strip(")"))
    assert ratio == pytest.approx(float(f32.split()[0]) / float(bf16), rel=1e-4)
    assert 0.98 < ratio < 1.02
