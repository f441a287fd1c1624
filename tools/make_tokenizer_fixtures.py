#!/usr/bin/env python3
"""Expected token ids and texts for the tokenizer tests, from Hugging Face's libraries and sentencepiece.

    tools/make_tokenizer_fixtures.py fixtures tests/unit/text/tokenizer/fixtures
        trains small tokenizers of every kind we load and writes them with their expectations (what scripts/test uses)
    tools/make_tokenizer_fixtures.py check FOLDER OUT.json [--count 100000] [--seed 7]
        expectations for a real tokenizer; compare with: coppice_tokenizer_check FOLDER OUT.json

Needs tokenizers 0.22, transformers 4.57 (its LlamaTokenizer still runs sentencepiece itself) and sentencepiece 0.1.97,
which is Debian's version (later ones break ties between equally likely pieces of a unigram model differently).
Everything is drawn from seeds: the same versions write the same files.
"""

import argparse
import io
import json
import os
import pathlib
import random
import re
import sys

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import sentencepiece  # noqa: E402
from tokenizer_corpus import FOREIGN, LOOKALIKES, make_corpus, mixed  # noqa: E402
from tokenizer_oracles import oracle_of  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer  # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

META = "\u2581"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
FULL_IDS = 120  # texts stored with all ids, the others as hashes


# ---- hashes (as in tests/unit/text/tokenizer/expectations.cc) ----


def fnv(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:x}"


def hash_ids(ids) -> str:
    return fnv(b"".join(i.to_bytes(4, "little") for i in ids))


# ---- expectations ----


def expectations(oracle, corpus: list[str], seed: int, decodings: int, full_ids: int | None) -> dict:
    plain = oracle.encode_all(corpus, parse_special=False)
    parsed = oracle.encode_all(corpus, parse_special=True)
    shown = oracle.decode_all(parsed, skip_special=False)
    hidden = oracle.decode_all(parsed, skip_special=True)
    lines = []
    for index, (p, q, s, h) in enumerate(zip(plain, parsed, shown, hidden)):
        full = full_ids is None or index < full_ids
        entry = [p, None if p == q else q] if full else [hash_ids(p), None if p == q else hash_ids(q)]
        shown_hash, hidden_hash = fnv(s.encode()), fnv(h.encode())
        lines.append(entry + [shown_hash, None if shown_hash == hidden_hash else hidden_hash])
    rng = random.Random(seed + 1)
    pairs = []
    for _ in range(decodings):
        ids = [rng.randrange(oracle.size) for _ in range(rng.randrange(1, 14))]
        if rng.random() < 0.5:  # runs of bytes, good and bad ones
            source = rng.choice(plain)
            if source:
                at = rng.randrange(len(source))
                ids[len(ids) // 2 : len(ids) // 2] = source[at : at + 5]
        pairs.append((ids, rng.random() < 0.5))
    texts = [oracle.decode_all([ids], skip)[0] for ids, skip in pairs]
    return {
        "bos": -1 if oracle.bos is None else oracle.bos,
        "eos": -1 if oracle.eos is None else oracle.eos,
        "texts": lines,
        "decodings": [[ids, skip, text] for (ids, skip), text in zip(pairs, texts)],
    }


def write_json(path: pathlib.Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


# ---- small tokenizers of every kind ----


def training_texts() -> list[str]:
    """A few hundred kilobytes of English and code from Python's own documentation, and a bit of everything else."""
    import pydoc_data.topics

    rng = random.Random(1)
    text = "\n".join(pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics))[:300_000]
    lines = [line for line in text.split("\n") if line.strip()]
    lines += [rng.choice(FOREIGN) + " " + rng.choice(FOREIGN) for _ in range(1500)]
    lines += [mixed(rng, 4) for _ in range(300)]
    for token in LOOKALIKES:
        lines = [line.replace(token, " ") for line in lines]
    return [line.replace("\x00", "") for line in lines]


def special(content: str, **flags) -> AddedToken:
    return AddedToken(content, special=True, normalized=flags.pop("normalized", False), **flags)


def train_byte_level(pre_tokenizer, normalizer, vocab_size: int, ignore_merges: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    return tokenizer


def make_gpt2(folder: pathlib.Path) -> None:
    tokenizer = train_byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), None, 700)
    model = json.loads(tokenizer.to_str())["model"]
    model["vocab"]["<|endoftext|>"] = len(model["vocab"])
    write_json(folder / "vocab.json", model["vocab"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "model_max_length": 1024,
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
        },
    )


def make_llama3(folder: pathlib.Path) -> None:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated")
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        None,
        800,
        ignore_merges=True,
    )
    value = json.loads(tokenizer.to_str())
    # ignore_merges matters where a token cannot be reached by merges: drop some merges.
    value["model"]["merges"] = [m for i, m in enumerate(value["model"]["merges"]) if i % 17]
    used = set(value["model"]["vocab"])
    value["model"]["merges"] = [m for m in value["model"]["merges"] if "".join(m) in used]
    (folder / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(
        [special(t) for t in ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"]]
    )
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                special_tokens=[("<|begin_of_text|>", begin)],
            ),
        ]
    )
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    added = tokenizer.get_added_tokens_decoder()
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "clean_up_tokenization_spaces": True,
            "model_max_length": 131072,
            "added_tokens_decoder": added_json(added),
        },
    )


def added_json(added: dict) -> dict:
    return {
        str(i): {
            "content": t.content,
            "lstrip": t.lstrip,
            "normalized": t.normalized,
            "rstrip": t.rstrip,
            "single_word": t.single_word,
            "special": t.special,
        }
        for i, t in sorted(added.items())
    }


def make_qwen2(folder: pathlib.Path) -> None:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN.replace("{1,3}", "")), "isolated")
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        normalizers.NFC(),
        700,
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([special(t) for t in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ["<tool_call>", "<think>", "</think>"]])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_bos_token": False,
            "add_prefix_space": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "errors": "replace",
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "split_special_tokens": False,
            "chat_template": [
                {"name": "default", "template": "{{ messages[0]['content'] }}"},
                {"name": "tool_use", "template": "tools"},
            ],
            "added_tokens_decoder": added_json(tokenizer.get_added_tokens_decoder()),
        },
    )


def train_sentencepiece(folder: pathlib.Path, **options) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(re.sub(r"[\r\n\u2028\u2029\x85\x0b\x0c]", " ", t) for t in training_texts()),
        model_writer=model,
        num_threads=1,
        minloglevel=2,
        input_sentence_size=0,
        shuffle_input_sentence=False,
        **options,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())


LLAMA_ROLES = {
    "tokenizer_class": "LlamaTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "add_bos_token": True,
    "add_eos_token": False,
}


def role(i: int, content: str) -> tuple[str, dict]:
    return str(i), {
        "content": content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }


def make_sentencepiece_bpe(folder: pathlib.Path, vocab_size: int = 800) -> None:
    train_sentencepiece(
        folder,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        split_digits=True,
        character_coverage=0.995,
        allow_whitespace_only_pieces=True,
    )
    added = dict(
        [
            role(0, "<unk>"),
            role(1, "<s>"),
            role(2, "</s>"),
            role(vocab_size, "<|im_start|>"),
            role(vocab_size + 1, "<|im_end|>"),
        ]
    )
    added[str(vocab_size + 2)] = {**added["1"], "content": "<think>", "special": False}
    write_json(folder / "tokenizer_config.json", {**LLAMA_ROLES, "legacy": True, "added_tokens_decoder": added})


def make_sentencepiece_new(folder: pathlib.Path, source: pathlib.Path) -> None:
    (folder / "tokenizer.model").write_bytes((source / "tokenizer.model").read_bytes())
    config = json.loads((source / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**config, "legacy": False, "add_eos_token": True})


def make_sentencepiece_unigram(folder: pathlib.Path) -> None:
    train_sentencepiece(
        folder,
        model_type="unigram",
        vocab_size=700,
        byte_fallback=False,
        character_coverage=0.99,
        user_defined_symbols=["<tool>", "<|user|>"],
    )
    write_json(folder / "tokenizer_config.json", {**LLAMA_ROLES, "legacy": True})


def make_llama2_json(folder: pathlib.Path, source: pathlib.Path, legacy: bool) -> None:
    import transformers

    front = transformers.LlamaTokenizerFast.from_pretrained(str(source), legacy=legacy, from_slow=True)
    (folder / "tokenizer.json").write_text(front.backend_tokenizer.to_str())
    config = json.loads((source / "tokenizer_config.json").read_text())
    for token in config["added_tokens_decoder"].values():
        if token["content"] == "<|im_end|>":
            token["rstrip"] = True  # as Phi-3 does: the config's flags win over tokenizer.json's
    write_json(folder / "tokenizer_config.json", {**config, "legacy": legacy})


def make_odd(folder: pathlib.Path) -> None:
    """Everything that popular models leave out: flags of added tokens, behaviours, unknown characters, prefix space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r" {2,}"), " "), normalizers.Replace("ß", "ss")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex(r"[.,!?]"), "merged_with_previous"),
            pre_tokenizers.Split(Regex(r"[\-=(]+"), "merged_with_next"),
            pre_tokenizers.Split("z", "removed"),
            pre_tokenizers.Split(Regex(r"\p{Lu}{1,2}+|\s"), "contiguous"),
            pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=90, show_progress=False
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    tokenizer.add_special_tokens(
        [
            special("<mask>", lstrip=True, rstrip=True),
            special("<|user|>", single_word=True),
            special("<|end|>", normalized=True),
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken("world", single_word=True),
            AddedToken("Größe", normalized=True),
            AddedToken("  ", normalized=False),
        ]
    )
    ids = {t: tokenizer.token_to_id(t) for t in ["<s>", "</s>"]}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=list(ids.items())
    )
    (folder / "tokenizer.json").write_text(tokenizer.to_str())


def fixtures(out: pathlib.Path) -> None:
    makers = {
        "gpt2": make_gpt2,
        "llama3": make_llama3,
        "qwen2": make_qwen2,
        "sentencepiece_bpe": make_sentencepiece_bpe,
        "sentencepiece_new": lambda f: make_sentencepiece_new(f, out / "sentencepiece_bpe"),
        "sentencepiece_unigram": make_sentencepiece_unigram,
        "llama2": lambda f: make_llama2_json(f, out / "sentencepiece_bpe", True),
        "llama2_new": lambda f: make_llama2_json(f, out / "sentencepiece_bpe", False),
        "odd": make_odd,
    }
    corpus = make_corpus(1500, 20, [], full_blocks=False)
    write_json(out / "corpus.json", corpus)
    for name, make in makers.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        oracle = oracle_of(folder)
        write_json(folder / "expected.json", expectations(oracle, corpus, 30, 150, FULL_IDS))
        print(f"{name}: {oracle.size} tokens", file=sys.stderr)


def check(folder: pathlib.Path, out: pathlib.Path, count: int, seed: int) -> None:
    oracle = oracle_of(folder)
    corpus = make_corpus(count, seed, sorted(set(oracle.specials))[:200], full_blocks=True)
    write_json(out, {"corpus": corpus, **expectations(oracle, corpus, seed, count // 10, None)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("fixtures")
    command.add_argument("out", type=pathlib.Path)
    command = commands.add_parser("check")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("out", type=pathlib.Path)
    command.add_argument("--count", type=int, default=100_000)
    command.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.command == "fixtures":
        fixtures(arguments.out)
    else:
        check(arguments.folder, arguments.out, arguments.count, arguments.seed)


if __name__ == "__main__":
    main()
