"""`--kv-dtype`: keys and values in another format than the weights. What it says of memory, that answers stay sane and
the same in every company, and what it refuses."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from running_server import ROOT, RunningServer

TEXT = json.loads((ROOT / "tests" / "fixtures" / "perplexity.json").read_text())["text"]
UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2}


def run(binary, *arguments):
    command = [binary, *arguments, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def bytes_per_token(binary, *flags):
    code, out, err = run(binary, "inspect", "demo", *flags)
    assert code == 0, err
    size, unit, name = re.search(r"^kv cache +([\d.]+) (\w+) per token in (\w+),", out, re.MULTILINE).groups()
    return float(size) * UNITS[unit], name


def test_inspect_counts_the_bytes(binary):
    bf16, name = bytes_per_token(binary, "--dtype", "bf16")
    assert name == "bf16"
    assert bytes_per_token(binary, "--dtype", "f32", "--kv-dtype", "bf16") == (bf16, "bf16")
    assert bytes_per_token(binary, "--dtype", "bf16", "--kv-dtype", "f32") == (2 * bf16, "f32")
    int8, name = bytes_per_token(binary, "--dtype", "bf16", "--kv-dtype", "int8")
    config = json.loads((ROOT / "models" / "demo" / "config.json").read_text())
    dims = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    assert name == "int8" and int8 / bf16 == pytest.approx((dims + 4) / (2 * dims), rel=0.02)


def test_the_text_stays_as_likely(binary):
    found = {}
    for kv in ("auto", "f32", "bf16", "int8"):
        flags = ["--dtype", "f32", "--kv-dtype", kv, "--json"]
        code, out, err = run(binary, "inspect", "demo", "--perplexity", ROOT / TEXT, *flags)
        assert code == 0, err
        found[kv] = json.loads(out)
        assert found[kv]["kv_dtype"] == {"auto": "f32"}.get(kv, kv)
    f32 = found["f32"]["perplexity"]
    assert found["auto"]["perplexity"] == f32
    for kv in ("bf16", "int8"):
        assert found[kv]["perplexity"] != f32
        assert found[kv]["perplexity"] == pytest.approx(f32, rel=0.01)


def ask(server, number):
    """Greedy and drawn; prompts that share a beginning longer than a page."""
    prompt = "Once upon a time there was a little girl who had a cat. " * 3 + ("The cat", "One day", "She")[number % 3]
    body = {"prompt": prompt, "max_tokens": 24, "temperature": number % 2, "seed": number, "logprobs": 2,
            "ignore_eos": True}  # fmt: skip
    status, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    return answer["choices"][0]["text"], answer["choices"][0]["logprobs"]


@pytest.mark.parametrize("dtype,kv", [("bf16", "int8"), ("f32", "int8"), ("bf16", "f32"), ("f32", "bf16")])
def test_answers_in_every_company(binary, dtype, kv):
    """Alone, together, without sharing, without drafts, in small chunks, in little memory: the same bits."""
    little = ["--sharing", "off", "--speculation", "off", "--max-batch-tokens", "16"]
    found = []
    for flags in ([], little):
        with RunningServer(binary, "demo", "--dtype", dtype, "--kv-dtype", kv, *flags) as server:
            found.append([ask(server, number) for number in range(6)])
            with ThreadPoolExecutor(6) as pool:
                found.append(list(pool.map(lambda number: ask(server, number), range(6))))
            assert server.stop() == 0
    assert all(rows == found[0] for rows in found[1:])


def test_greedy_answers_in_8_bits_begin_as_in_bf16(binary):
    texts = {}
    for kv in ("bf16", "int8"):
        with RunningServer(binary, "demo", "--dtype", "bf16", "--kv-dtype", kv) as server:
            texts[kv] = [ask(server, number) for number in (0, 2, 4)]
            assert server.stop() == 0
    for (bf16, _), (int8, _) in zip(texts["bf16"], texts["int8"], strict=True):
        assert bf16[:20] == int8[:20], (bf16, int8)


def test_a_format_that_cannot_be_is_refused(binary):
    code, _, err = run(binary, "inspect", "demo", "--kv-dtype", "f16")
    assert code == 2 and err.count("\n") == 1
    assert "--kv-dtype f16: cpu" in err and "use auto" in err
    code, _, err = run(binary, "inspect", "demo", "--kv-dtype", "int3")
    assert code == 2 and "int8" in err
