#!/usr/bin/env python3
"""Writes the model of a GGUF file as a folder in Hugging Face layout: config.json, model.safetensors, tokenizer files.

Quantised weights become bf16 (or f32), so the folder is larger than the file; a value is the one that the file's format
says. A server that reads both must give the same answers. Llama, Qwen2 and Qwen3 with a byte-level BPE tokenizer.

    python3 -m venv venv && venv/bin/pip install gguf numpy
    venv/bin/python tools/unpack_gguf.py MODEL.gguf FOLDER [--dtype bf16|f32]
"""

import argparse
import json
import pathlib
import struct

import gguf
import numpy

CONTROL, USER_DEFINED = 3, 4  # gguf's token types
# How the tokenizer cuts text before merging, by the name that GGUF has for it.
SPLITS = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
    "gpt-2": [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}],
}
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hub_name(name):
    if name in NAMES:
        return NAMES[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def to_halves(rows, heads):
    """GGUF interleaves the two halves of each head's rotary rows; Hugging Face keeps them apart."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def to_bf16(values):
    """The bits of the nearest bf16 values, ties to even."""
    bits = values.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def read_tensors(reader, heads, kv_heads, is_interleaved):
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if is_interleaved and (".attn_q." in tensor.name or ".attn_k." in tensor.name):
            values = to_halves(values, heads if ".attn_q." in tensor.name else kv_heads)
        yield hub_name(tensor.name), values


def write_safetensors(path, tensors, dtype):
    header, chunks, offset = {}, [], 0
    for name, values in tensors:
        data = (to_bf16(values) if dtype == "bf16" else values).tobytes()
        header[name] = {
            "dtype": dtype.upper(),
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
        chunks.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(chunks)


def make_tokenizer(field):
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    added = [
        {"id": i, "content": token, "special": kind == CONTROL, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for i, (token, kind) in enumerate(zip(tokens, types))
        if kind in (CONTROL, USER_DEFINED)
    ]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    bpe = {"type": "BPE", "vocab": vocabulary, "merges": field("tokenizer.ggml.merges")}
    split = SPLITS[field("tokenizer.ggml.pre")]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": split},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": bpe,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    arguments = parser.parse_args()
    reader = gguf.GGUFReader(arguments.gguf)

    def field(name, default=None):
        return reader.fields[name].contents() if name in reader.fields else default

    tokens = field("tokenizer.ggml.tokens")
    family = field("general.architecture")
    heads, kv_heads = field(f"{family}.attention.head_count"), field(f"{family}.attention.head_count_kv")
    hidden = field(f"{family}.embedding_length")
    bos, eos = field("tokenizer.ggml.bos_token_id"), field("tokenizer.ggml.eos_token_id")
    config = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": field(f"{family}.feed_forward_length"),
        "num_hidden_layers": field(f"{family}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": field(f"{family}.attention.key_length", hidden // heads),
        "vocab_size": len(tokens),
        "max_position_embeddings": field(f"{family}.context_length"),
        "rope_theta": field(f"{family}.rope.freq_base", 10000.0),
        "rms_norm_eps": field(f"{family}.attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "torch_dtype": "bfloat16" if arguments.dtype == "bf16" else "float32",
        "bos_token_id": bos,
        "eos_token_id": eos,
    }
    tokenizer_config = {
        "tokenizer_class": "GPT2Tokenizer",
        "bos_token": tokens[bos],
        "eos_token": tokens[eos],
        "add_bos_token": bool(field("tokenizer.ggml.add_bos_token", False)),
        "add_prefix_space": False,
        "chat_template": field("tokenizer.chat_template"),
        "model_max_length": field(f"{family}.context_length"),
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    files = {"config": config, "tokenizer_config": tokenizer_config, "tokenizer": make_tokenizer(field)}
    for name, contents in files.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(contents, ensure_ascii=False, indent=1))
    tensors = read_tensors(reader, heads, kv_heads, family == "llama")
    write_safetensors(arguments.folder / "model.safetensors", tensors, arguments.dtype)


if __name__ == "__main__":
    main()
