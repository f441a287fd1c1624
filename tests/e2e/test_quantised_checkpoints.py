"""Folders of quantised weights as their makers write them: widened, the same answers, to the bit, as the folder of the
numbers that they stand for; in their own bits, nearly the same probabilities."""

import json
import shutil
import subprocess

import numpy
import pytest

from running_server import ROOT, RunningServer

DEMO = ROOT / "models" / "demo"
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
TYPES = {"F32": numpy.float32, "F16": numpy.float16, "I32": numpy.int32, "I64": numpy.int64, "I8": numpy.int8,
         "F8_E4M3": numpy.uint8}  # fmt: skip


def read_demo():
    data = (DEMO / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, row in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            first, last = row["data_offsets"]
            words = numpy.frombuffer(data[begin + first : begin + last], numpy.uint16).astype(numpy.uint32) << 16
            tensors[name] = words.view(numpy.float32).reshape(row["shape"])
    return tensors


def write_folder(folder, tensors, quantisation=None):
    """tensors: name -> (type, array)."""
    shutil.copytree(DEMO, folder)
    config = json.loads((DEMO / "config.json").read_text())
    config["torch_dtype"] = "float32"
    if quantisation:
        config["quantization_config"] = quantisation
    (folder / "config.json").write_text(json.dumps(config))
    header, at, data = {}, 0, []
    for name, (kind, array) in tensors.items():
        raw = numpy.ascontiguousarray(array).astype(TYPES[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return folder


def pack(numbers, bits, axis):
    """Whole numbers along an axis, 32 / bits to a word, the first in its lowest bits."""
    moved = numpy.moveaxis(numbers.astype(numpy.uint32), axis, -1)
    parts = moved.reshape(*moved.shape[:-1], -1, 32 // bits)
    words = (parts << (numpy.arange(32 // bits, dtype=numpy.uint32) * bits)).sum(-1, dtype=numpy.uint64)
    return numpy.moveaxis(words.astype(numpy.uint32).view(numpy.int32), -1, axis)


def awq_pack(numbers):
    parts = numbers.astype(numpy.uint32).reshape(numbers.shape[0], -1, 8)[:, :, AWQ_ORDER]
    words = (parts << (numpy.arange(8, dtype=numpy.uint32) * 4)).sum(-1, dtype=numpy.uint64)
    return words.astype(numpy.uint32).view(numpy.int32)


def by_groups(weight, group, bits, is_even, order=None):
    """(numbers, scales [N, K / group], zeros, dequantised)."""
    columns = weight.shape[1]
    group_of = numpy.arange(columns) // group if order is None else order
    count, most = columns // group, 2**bits - 1
    scales = numpy.empty((weight.shape[0], count), numpy.float32)
    zeros = numpy.empty(scales.shape, numpy.int64)
    for number in range(count):
        part = weight[:, group_of == number]
        if is_even:
            scales[:, number] = numpy.abs(part).max(1) / (most // 2)
            zeros[:, number] = (most + 1) // 2
        else:
            low, high = numpy.minimum(part.min(1), 0), numpy.maximum(part.max(1), 0)
            scales[:, number] = (high - low) / most
            zeros[:, number] = numpy.clip(numpy.rint(-low / scales[:, number]), 1, most)
    scales = scales.astype(numpy.float16).astype(numpy.float32)
    wide, shift = scales[:, group_of], zeros[:, group_of]
    numbers = numpy.clip(numpy.rint(weight / wide) + shift, 0, most).astype(numpy.int64)
    return numbers, scales, zeros, ((numbers - shift).astype(numpy.float32) * wide).astype(numpy.float32)


def fp8_table():
    bits = numpy.arange(256)
    exponent, fraction = bits >> 3 & 15, bits & 7
    values = numpy.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent - 10.0))
    values[bits & 127 == 127] = numpy.nan
    return numpy.where(bits >= 128, -values, values).astype(numpy.float32)


def to_fp8(numbers):
    table = fp8_table()
    order = numpy.argsort(numpy.where(numpy.isnan(table), numpy.inf, table), kind="stable")[:254]
    steps = table[order]
    right = numpy.clip(numpy.searchsorted(steps, numbers), 1, 253)
    nearer = numpy.where(numbers - steps[right - 1] <= steps[right] - numbers, right - 1, right)
    return order[nearer].astype(numpy.uint8)


def fp8(weight, shape):
    rows, columns = weight.shape
    if shape == "block":
        scales = numpy.array([[numpy.abs(weight[i : i + 128, j : j + 128]).max() / 448 for j in range(0, columns, 128)]
                              for i in range(0, rows, 128)], numpy.float32)  # fmt: skip
        wide = scales.repeat(128, 0)[:rows].repeat(128, 1)[:, :columns]
    elif shape == "channel":
        scales = (numpy.abs(weight).max(1, keepdims=True) / 448).astype(numpy.float32)
        wide = scales
    else:
        scales = numpy.array([numpy.abs(weight).max() / 448], numpy.float32)
        wide = scales
    bits = to_fp8(weight / wide)
    return bits, scales, fp8_table()[bits] * wide


def compressed(bits, kind, layout):
    weights = {"num_bits": bits, "type": kind, "symmetric": True, "strategy": "group"}
    return {"quant_method": "compressed-tensors", "format": layout,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}  # fmt: skip


def quantised(form, prefix, weight, random):
    """(tensors of one matrix, its numbers)."""
    group = 32
    if form.startswith("fp8"):
        bits, scales, numbers = fp8(weight, form.split("-")[1])
        name = ".weight_scale_inv" if form == "fp8-block" else ".weight_scale"
        return {prefix + ".weight": ("F8_E4M3", bits), prefix + name: ("F32", scales)}, numbers
    if form in ("w8a8", "w8a8-zeros", "w4-in-bytes"):
        scales = (numpy.abs(weight).max(1, keepdims=True) / 127).astype(numpy.float32)
        most = 7 if form == "w4-in-bytes" else 127
        scales = (scales * 127 / most).astype(numpy.float32)
        whole = numpy.clip(numpy.rint(weight / scales), -most, most).astype(numpy.int8)
        tensors = {prefix + ".weight": ("I8", whole), prefix + ".weight_scale": ("F32", scales)}
        zeros = numpy.zeros(scales.shape, numpy.int8)
        if form == "w8a8-zeros":
            zeros = random.integers(-5, 6, scales.shape).astype(numpy.int8)
            tensors[prefix + ".weight_zero_point"] = ("I8", zeros)
        return tensors, ((whole.astype(numpy.int32) - zeros).astype(numpy.float32) * scales).astype(numpy.float32)
    is_even = form in ("w4a16", "w8a16", "gptq-even", "gptq8")
    bits = 8 if "8" in form else 4
    order = random.permutation(numpy.arange(weight.shape[1]) // group) if "order" in form else None
    whole, scales, zeros, numbers = by_groups(weight, group, bits, is_even, order)
    if form.startswith("w"):
        tensors = {prefix + ".weight_packed": ("I32", pack(whole, bits, 1)), prefix + ".weight_scale": ("F16", scales),
                   prefix + ".weight_shape": ("I64", numpy.array(weight.shape))}  # fmt: skip
        if not is_even:
            tensors[prefix + ".weight_zero_point"] = ("I32", pack(zeros, bits, 0))
    elif form.startswith("awq"):
        tensors = {prefix + ".qweight": ("I32", awq_pack(whole.T)), prefix + ".qzeros": ("I32", awq_pack(zeros.T)),
                   prefix + ".scales": ("F16", scales.T)}  # fmt: skip
    else:
        stored = zeros if form == "gptq-v2" else zeros - 1
        groups = numpy.arange(weight.shape[1]) // group if order is None else order
        tensors = {prefix + ".qweight": ("I32", pack(whole.T, bits, 0)), prefix + ".scales": ("F16", scales.T),
                   prefix + ".qzeros": ("I32", pack(stored.T, bits, 1)),
                   prefix + ".g_idx": ("I32", groups)}  # fmt: skip
    return tensors, numbers


FORMS = {
    "fp8-tensor": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "fp8-channel": compressed(8, "float", "float-quantized"),
    "fp8-block": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "w8a8": compressed(8, "int", "int-quantized"),
    "w8a8-zeros": compressed(8, "int", "int-quantized"),
    "w4-in-bytes": compressed(4, "int", "int-quantized"),
    "w8a16": compressed(8, "int", "pack-quantized"),
    "w4a16": compressed(4, "int", "pack-quantized"),
    "w4a16-zeros": compressed(4, "int", "pack-quantized"),
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False},
    "gptq-v2": {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"},
    "gptq-even": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True},
    "gptq8": {"quant_method": "gptq", "bits": 8, "group_size": 32, "sym": True},
    "gptq-order": {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True},
}


def write_pair(form, folder):
    random = numpy.random.default_rng(3)
    stored, plain = {}, {}
    for name, weight in read_demo().items():
        if "_proj.weight" in name:
            tensors, numbers = quantised(form, name.removesuffix(".weight"), weight, random)
            stored.update(tensors)
            plain[name] = ("F32", numbers)
        else:
            stored[name] = plain[name] = ("F32", weight)
    return write_folder(folder / "stored", stored, FORMS[form]), write_folder(folder / "plain", plain)


def answers(binary, model, *flags):
    found = []
    with RunningServer(binary, model, "--dtype", "f32", "--kv-memory", "128MiB", *flags) as server:
        for number, prompt in enumerate(["Once upon a time", "The fox and the", "1 2 3"]):
            body = {"prompt": prompt, "max_tokens": 16, "temperature": number % 2, "seed": 5, "logprobs": 2,
                    "prompt_logprobs": 0}  # fmt: skip
            status, answer = server.post("/v1/completions", body)
            assert status == 200, answer
            choice = answer["choices"][0]
            found.append((choice["text"], choice["logprobs"], choice["prompt_logprobs"]))
        assert server.stop() == 0
    return found


def prompt_numbers(rows):
    return numpy.array([next(iter(row.values()))["logprob"] for answer in rows for row in answer[2] if row is not None])


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_of_every_form(binary, tmp_path, form):
    stored, plain = write_pair(form, tmp_path)
    expected = answers(binary, plain)
    assert answers(binary, stored, "--quant", "none") == expected
    own = answers(binary, stored)
    if form.startswith("fp8") or form in ("gptq-order", "w8a8-zeros"):
        assert own == expected  # widened when they are read
        return
    difference = numpy.abs(prompt_numbers(own) - prompt_numbers(expected))
    assert 0 < difference.mean() < 0.02, difference


def test_what_is_wrong_is_one_line(binary, tmp_path):
    stored, _ = write_pair("gptq-order", tmp_path)
    data = (stored / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    prefix = "model.layers.0.self_attn.q_proj"

    def changed(name, change):
        rows = json.loads(json.dumps(header))
        content = bytearray(data[begin:])
        change(rows, content)
        text = json.dumps(rows).encode()
        text += b" " * (-len(text) % 8)
        folder = shutil.copytree(stored, tmp_path / name)
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(content))
        return folder

    def other_group(rows, content):
        first = rows[prefix + ".g_idx"]["data_offsets"][0]
        content[first : first + 4] = (1 << 20).to_bytes(4, "little")

    def nan(rows, content):
        first = rows[prefix + ".scales"]["data_offsets"][0]
        content[first : first + 2] = b"\x00\x7e"

    def renamed(part):
        return lambda rows, content: rows.update({prefix + ".other": rows.pop(prefix + part)})

    cases = {
        changed("group", other_group): "g_idx names group 1048576",
        changed("nan", nan): "NaN",
        changed("zeros", renamed(".qzeros")): "zeros are missing",
        changed("scales", renamed(".scales")): "scales are missing",
        changed("shape", lambda rows, _: rows[prefix + ".qweight"]["shape"].reverse()): "expected I32",
        changed("type", lambda rows, _: rows[prefix + ".qzeros"].update(dtype="F32")): "expected I32",
    }
    other = shutil.copytree(stored, tmp_path / "other_group")
    config = json.loads((other / "config.json").read_text())
    config["quantization_config"]["group_size"] = 64
    (other / "config.json").write_text(json.dumps(config))
    cases[other] = "in groups of 64"
    methods = [{"quant_method": "bitsandbytes"}, {"quant_method": "gptq", "bits": 3}, [],
               {"quant_method": "awq", "bits": 4, "version": "gemv"},
               {"quant_method": "fp8", "weight_block_size": [64, 64]},
               {"quant_method": "compressed-tensors", "config_groups": 5}]  # fmt: skip
    for method in methods:
        folder = shutil.copytree(stored, tmp_path / f"method{len(cases)}")
        config = json.loads((folder / "config.json").read_text()) | {"quantization_config": method}
        (folder / "config.json").write_text(json.dumps(config))
        cases[folder] = "quantization_config"
    for folder, part in cases.items():
        ended = subprocess.run([binary, "serve", folder, "--port", "0"], capture_output=True, text=True, timeout=60,
                               check=False)  # fmt: skip
        last = ended.stderr.strip().splitlines()[-1]
        assert ended.returncode == 2 and part in last, (folder, ended.stderr)
