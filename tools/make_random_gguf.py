#!/usr/bin/env python3
"""A GGUF file of a given shape with random bf16 weights and another GGUF's tokenizer: for measuring two servers.

  make_random_gguf.py configs/shapes/160m.json SmolLM2-135M-Instruct.Q4_1.gguf OUT.gguf

The vocabulary is the tokenizer's, so that every drawn token has text; everything else is the shape's. Needs the PyPI
packages gguf and numpy. llama.cpp's own llama-quantize makes the other formats of it.
"""

import json
import sys

import gguf
import numpy as np


def tensors(config, vocabulary):
    hidden, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    size = config.get("head_dim", hidden // heads)
    keys = config["num_key_value_heads"] * size
    yield "token_embd.weight", (vocabulary, hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"blk.{layer}."
        yield name + "attn_norm.weight", (hidden,)
        yield name + "ffn_norm.weight", (hidden,)
        yield name + "attn_q.weight", (heads * size, hidden)
        yield name + "attn_k.weight", (keys, hidden)
        yield name + "attn_v.weight", (keys, hidden)
        yield name + "attn_output.weight", (hidden, heads * size)
        yield name + "ffn_gate.weight", (inner, hidden)
        yield name + "ffn_up.weight", (inner, hidden)
        yield name + "ffn_down.weight", (hidden, inner)
    yield "output_norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "output.weight", (vocabulary, hidden)


def copy_tokenizer(reader, writer):
    for name, field in reader.fields.items():
        if not name.startswith("tokenizer."):
            continue
        kind = field.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), kind)


def main():
    shape, source, target = sys.argv[1:]
    config = json.load(open(shape))
    reader = gguf.GGUFReader(source)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    copy_tokenizer(reader, writer)
    draw = np.random.default_rng(1)
    for name, shape in tensors(config, vocabulary):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
            continue
        words = (draw.standard_normal(shape, np.float32) * np.float32(0.02)).view(np.uint32) >> 16
        kind = gguf.GGMLQuantizationType.BF16
        writer.add_tensor(name, words.astype(np.uint16).view(np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
