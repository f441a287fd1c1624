#!/usr/bin/env python3
"""A model folder of a given shape with random bf16 weights and another model's tokenizer: for measuring a server.

  make_random_model.py configs/shapes/160m.json models/demo OUT

The vocabulary is the tokenizer's, so that every drawn token has text; everything else is the shape's.
"""

import json
import os
import pathlib
import shutil
import struct
import sys

# The upper byte of a bf16 of about 0.008 to 0.03, of either sign.
UPPER = bytes(0x3C if byte % 2 else 0xBC for byte in range(256))
ONE = b"\x80\x3f"


def tensor_shapes(config):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    keys = config["num_key_value_heads"] * config.get("head_dim", hidden // heads)
    queries = heads * config.get("head_dim", hidden // heads)
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", (hidden,)
        yield name + "post_attention_layernorm.weight", (hidden,)
        yield name + "self_attn.q_proj.weight", (queries, hidden)
        yield name + "self_attn.k_proj.weight", (keys, hidden)
        yield name + "self_attn.v_proj.weight", (keys, hidden)
        yield name + "self_attn.o_proj.weight", (hidden, queries)
        yield name + "mlp.gate_proj.weight", (config["intermediate_size"], hidden)
        yield name + "mlp.up_proj.weight", (config["intermediate_size"], hidden)
        yield name + "mlp.down_proj.weight", (hidden, config["intermediate_size"])
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def tensor_bytes(shape):
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if len(shape) == 1:  # a norm
        return ONE * count
    values = bytearray(2 * count)
    values[0::2] = os.urandom(count)
    values[1::2] = os.urandom(count).translate(UPPER)
    return values


def main(shape_file, tokenizer_folder, out):
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    config = json.loads(pathlib.Path(shape_file).read_text())
    config["vocab_size"] = json.loads((pathlib.Path(tokenizer_folder) / "config.json").read_text())["vocab_size"]
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (pathlib.Path(tokenizer_folder) / name).is_file():
            shutil.copy(pathlib.Path(tokenizer_folder) / name, out / name)
    header, end = {}, 0
    for name, shape in tensor_shapes(config):
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(out / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensor_shapes(config):
            file.write(tensor_bytes(shape))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
