"""Makes tests/fixtures/models: a tiny random model of each family, with logits and greedy text by Hugging Face.

    python tools/make_model_fixtures.py [tests/fixtures/models]      needs torch and transformers

Each folder holds config.json, weights as safetensors, expected.json (prompt and greedy ids, transformers' own error in
bfloat16), logits.f32 and hidden.f32 (raw little-endian float32 [prompt, vocab] and [prompt, hidden], the latter with
the last norm applied): computed by transformers in float32 on the CPU from the stored weights. Seeds are pinned; a seed
whose greedy text is nearly a tie somewhere, or dull, is passed over for the next.
"""

import json
import sys
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import save_file

PROMPT_TOKENS = 40
GREEDY_TOKENS = 64
LEAST_GAP = 0.02  # between the best and the second logit of every greedy step
LEAST_DISTINCT = 20  # different tokens among the greedy ones
SHARD_PARTS = 2

SMALL = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Eight frequencies a head, so that scaled rope has some that stay, some that change and some between.
WIDE_HEADS = {"head_dim": 16, "num_attention_heads": 4}

# name -> (architecture, fields beside SMALL, stored type, layout of the files)
FAMILIES = {
    "llama2": (
        "Llama",
        {"hidden_size": 40, "intermediate_size": 56, "num_attention_heads": 5, "num_key_value_heads": 5},
        torch.float32,
        "single",
    ),
    "llama3": ("Llama", {"rope_theta": 500000.0, "num_hidden_layers": 3}, torch.bfloat16, "single"),
    "llama31": (
        "Llama",
        {
            **WIDE_HEADS,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        torch.bfloat16,
        "sharded",
    ),
    "llama32_tied": (
        "Llama",
        {
            **WIDE_HEADS,
            "tie_word_embeddings": True,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 24,
            },
        },
        torch.bfloat16,
        "new_spelling",
    ),
    "llama_linear": (
        "Llama",
        {"max_position_embeddings": 32, "rope_scaling": {"type": "linear", "factor": 4.0}},
        torch.bfloat16,
        "single",
    ),
    "llama_yarn": (
        "Llama",
        {
            **WIDE_HEADS,
            "max_position_embeddings": 128,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        },
        torch.float16,
        "single",
    ),
    "llama_bias": ("Llama", {"attention_bias": True, "mlp_bias": True}, torch.bfloat16, "single"),
    "codellama": (
        "Llama",
        {"rope_theta": 1000000.0, "num_key_value_heads": 6, "vocab_size": 101},
        torch.bfloat16,
        "single",
    ),
    "tinyllama": (
        "Llama",
        {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 1},
        torch.bfloat16,
        "single",
    ),
    "smollm2": (
        "Llama",
        {
            "hidden_size": 72,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
            "rope_theta": 100000.0,
        },
        torch.bfloat16,
        "single",
    ),
    "mistral": ("Mistral", {"sliding_window": 16, "rope_theta": 1000000.0}, torch.bfloat16, "single"),
    "qwen2": (
        "Qwen2",
        {
            "sliding_window": 8,
            "use_sliding_window": False,
            "max_window_layers": 1,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": True,
        },
        torch.bfloat16,
        "single",
    ),
    "qwen25_yarn": (
        "Qwen2",
        {
            **WIDE_HEADS,
            "max_position_embeddings": 40,
            "rope_scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "attention_factor": 1.25,
                "beta_fast": 4.0,
                "beta_slow": 0.5,
            },
        },
        torch.bfloat16,
        "single",
    ),
    "qwen3": (
        "Qwen3",
        {"head_dim": 24, "num_attention_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0},
        torch.bfloat16,
        "single",
    ),
    "qwen3_window": (
        "Qwen3",
        {**WIDE_HEADS, "sliding_window": 24, "use_sliding_window": True, "max_window_layers": 0},
        torch.bfloat16,
        "new_spelling",
    ),
}


def random_weights(model, seed, dtype):
    """Weights large enough that logits are far apart, rounded to what the stored type can hold."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1.0 + 0.3 * noise
        elif name.endswith(".bias"):
            value = 0.3 * noise
        elif "embed_tokens" in name:
            value = (0.4 if model.config.tie_word_embeddings else 1.0) * noise
        elif "lm_head" in name:
            value = 0.4 * noise
        else:
            value = 1.6 * noise / parameter.shape[1] ** 0.5
        parameter.data.copy_(value.to(dtype).float())


def expect(model, seed):
    """Prompt, logits and hidden states of every prompt position, greedy text, least gap between the two best logits."""
    generator = torch.Generator().manual_seed(seed + 1)
    prompt = torch.randint(3, model.config.vocab_size, (PROMPT_TOKENS,), generator=generator).tolist()
    prompt[0] = model.config.bos_token_id
    with torch.no_grad():
        logits = model(torch.tensor([prompt]), use_cache=False).logits[0]
        hidden = model.model(torch.tensor([prompt]), use_cache=False).last_hidden_state[0]
        tokens, gap = list(prompt), float("inf")
        for _ in range(GREEDY_TOKENS):
            last = model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
            best = torch.topk(last, 2)
            gap = min(gap, float(best.values[0] - best.values[1]))
            tokens.append(int(best.indices[0]))
    return prompt, logits, hidden, tokens[PROMPT_TOKENS:], gap


def bfloat16_error(model, prompt, logits):
    """Mean distance of transformers' own bfloat16 logits from its float32 ones: the bar for ours."""
    with torch.no_grad():
        rounded = model.bfloat16()(torch.tensor([prompt]), use_cache=False).logits[0].float()
    return float((rounded - logits).abs().mean())


def save_weights(model, folder, dtype, layout):
    state = {name: tensor.to(dtype).contiguous() for name, tensor in sorted(model.state_dict().items())}
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    if layout != "sharded":
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(state)
    weight_map = {}
    for part in range(SHARD_PARTS):
        file = f"model-{part + 1:05d}-of-{SHARD_PARTS:05d}.safetensors"
        chosen = names[part::SHARD_PARTS]
        save_file({name: state[name] for name in chosen}, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in chosen})
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def save_config(config, fields, folder, dtype, layout):
    dtype_name = str(dtype).removeprefix("torch.")
    architecture = type(config).__name__.removesuffix("Config") + "ForCausalLM"
    if layout == "new_spelling":  # as transformers 5 saves it
        config.architectures = [architecture]
        config.dtype = dtype_name
        config.to_json_file(folder / "config.json")
        return
    saved = {"architectures": [architecture], "model_type": config.model_type, **fields, "torch_dtype": dtype_name}
    (folder / "config.json").write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


def make(name, folder):
    architecture, fields, dtype, layout = FAMILIES[name]
    fields = {**SMALL, **fields}
    for seed in range(1000, 2000):
        config = getattr(transformers, architecture + "Config")(**json.loads(json.dumps(fields)))
        config._attn_implementation = "eager"
        model = getattr(transformers, architecture + "ForCausalLM")(config).float().eval()
        random_weights(model, seed, dtype)
        prompt, logits, hidden, greedy, gap = expect(model, seed)
        if gap >= LEAST_GAP and len(set(greedy)) >= LEAST_DISTINCT:
            break
    else:
        sys.exit(f"{name}: no seed makes a decisive model")
    folder.mkdir(parents=True, exist_ok=True)
    save_config(config, fields, folder, dtype, layout)
    save_weights(model, folder, dtype, layout)
    logits.numpy().astype("<f4").tofile(folder / "logits.f32")
    hidden.numpy().astype("<f4").tofile(folder / "hidden.f32")
    error = bfloat16_error(model, prompt, logits)
    expected = {"seed": seed, "prompt": prompt, "greedy": greedy, "bf16_mean_error": round(error, 5)}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"{name}: seed {seed}, least gap {gap:.3f}, {len(set(greedy))} distinct tokens, "
        f"logit deviation {numpy.std(logits.numpy()):.2f}, bfloat16 off by {error:.3f}, {size} bytes"
    )
    return size


def main():
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/models")
    torch.set_num_threads(1)
    total = sum(make(name, target / name) for name in FAMILIES)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {total} bytes in all")


if __name__ == "__main__":
    main()
