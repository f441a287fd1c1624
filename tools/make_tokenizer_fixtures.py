#!/usr/bin/env python3
"""Expected token ids and texts for the tokenizer tests, from Hugging Face's libraries and sentencepiece.

    tools/make_tokenizer_fixtures.py fixtures tests/unit/models/text/fixtures
        trains small tokenizers of every kind we load and writes them with their expectations (what scripts/test uses)
    tools/make_tokenizer_fixtures.py check FOLDER OUT.json [--count 100000] [--seed 7]
        expectations for a real tokenizer; compare with: coppice_tokenizer_check FOLDER OUT.json

Needs tokenizers 0.22, transformers 4.57 (its LlamaTokenizer still runs sentencepiece itself) and sentencepiece 0.1.97, which is
Debian's version (later ones break ties between equally likely pieces of a unigram model differently).
Everything is drawn from seeds: the same versions write the same files.
"""
import argparse
import json
import os
import pathlib
import random
import re
import sys
import tempfile

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import sentencepiece  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer  # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

META = "\u2581"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
FULL_IDS = 120  # so many texts are stored with all ids, the others as hashes


# ---- hashes (as in tests/unit/models/text/expectations.cc) ----

def fnv(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:x}"


def hash_ids(ids) -> str:
    return fnv(b"".join(i.to_bytes(4, "little") for i in ids))


# ---- the corpus ----

EMOJI = ["😀", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "🏴‍☠️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "❤️‍🔥", "1️⃣", "🫠", "🤷🏿‍♀️", "☺", "☺️"]
WORDS = ("the a of and to in is it was that he for on with his as at be this had not are but from or have an they which "
         "one you were her all she there would their we him been has when who will more no if out so said what up its "
         "about into than them can only other new some could time these two may then do first any my now such like our "
         "over man me even most made after also did many before must through years where much your way well down should "
         "because each just those people how too little state good very make world still own see men work long here").split()
FOREIGN = ["привет мир", "здравствуйте", "γειά σου Κόσμε", "你好世界", "こんにちは世界", "안녕하세요 세계", "مرحبا بالعالم", "שלום עולם",
           "नमस्ते दुनिया", "สวัสดีชาวโลก", "xin chào thế giới", "İstanbul'da ışık", "Größe Straße", "façade naïve coöperate",
           "ﬁne ﬂow", "ｆｕｌｌ　ｗｉｄｔｈ", "𝕳𝖊𝖑𝖑𝖔", "Ⅷ ⅷ ½ ²", "e\u0301 a\u030a o\u0302\u0301", "\u1112\u1161\u11ab", "각", "क़", "ÅÅ", "\u0344"]
CODE = ["def f(x):\n    return x ** 2  # comment\n", "int main() {\n\tprintf(\"%d\\n\", 0x1F);\n}\n", "<div class=\"a\">&nbsp;</div>",
        "SELECT * FROM t WHERE a >= 10.5e-3;", "for(;;){i+=1;}", "https://example.org/a?b=c&d=%20e#f", "a.b_c->d::e<f>()",
        "\\frac{a}{b} \\alpha_{i}^{2}", "{\"k\": [1, 2.0, null, true]}", "x=1;y=22;z=333;w=4444;v=55555;1234567890", "C:\\path\\to\\file.txt"]
LOOKALIKES = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<think>",
              "</think>", "<tool_call>", "[INST]", "[/INST]", "<pad>", "<0x0A>", "<|im_start", "|im_end|>", "<<s>>", "<|im_start|><|im_end|>",
              "<s> ", " </s> ", "<S>", "<mask>", "a<mask>", "<mask>b", " <mask> ", "\t<mask>\n", "▁<s>▁", "<|user|>", "<|end|>"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u3000", "\u2028", "\u200b", "\u180e", "\u0085", "\x0b", "\x0c", "\u2009", "\ufeff", "▁"]


def random_code_point(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        code = rng.randrange(0x20, 0x7F)
    elif kind < 0.6:
        code = rng.randrange(0x80, 0x3000)
    elif kind < 0.8:
        code = rng.randrange(0x3000, 0x10000)
    elif kind < 0.97:
        code = rng.randrange(0x10000, 0x32400)
    else:
        code = rng.randrange(0, 0x110000)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < 0.9 else str(rng.randrange(10 ** rng.randrange(1, 9))) for _ in range(count))


def mixed(rng: random.Random, pieces: int) -> str:
    """Pieces of every kind side by side."""
    pools = [WORDS, FOREIGN, EMOJI, CODE, LOOKALIKES, SPACES]
    out = []
    for _ in range(pieces):
        pool = rng.choice(pools)
        piece = rng.choice(pool)
        if pool in (FOREIGN, CODE) and rng.random() < 0.7:
            begin = rng.randrange(len(piece))
            piece = piece[begin:begin + rng.randrange(1, 12)]
        out.append(piece)
        if rng.random() < 0.4:
            out.append(rng.choice(SPACES))
    return "".join(out)


def block_texts(step: int, rng: random.Random, sample: int | None) -> list[str]:
    """Characters of every block, in order and apart; `sample` picks so many of each block."""
    out = []
    for base in list(range(0, 0x32400, step)) + list(range(0xE0000, 0xE0200, step)) + [0xF0000, 0x10FF00, 0x40000, 0x90000]:
        chars = [chr(c) for c in range(base, min(base + step, 0x110000)) if not 0xD800 <= c < 0xE000]
        if not chars:
            continue
        if sample:
            chars = sorted(rng.sample(chars, sample))
        out.append("".join(chars) if sample is None else "".join(chars[: sample // 2]) + " " + " ".join(chars[sample // 2:]))
        if sample is None:
            out.append(" ".join(chars))
            out.append("a".join(chars))
            out.append("'" + "1'".join(chars))
    return out


def fixed_texts(rng: random.Random) -> list[str]:
    out = ["", " ", "  ", "a", " a", "a ", "\x00", "\x00a\x00"]
    out += ["".join(chr(c) for c in range(32)), " ".join(chr(c) for c in range(0x7F, 0xA1))]
    out += FOREIGN + CODE + EMOJI + LOOKALIKES + ["x" + s + "y" for s in SPACES] + [s * 5 for s in SPACES]
    out += ["Hello, world!", "don't you're I've I'm he'll she'd it's", "DON'T YOU'RE I'VE", "'ſ 'K", "can''t 'tis 's's'll",
            "1 12 123 1234 12345 123456 1,234,567.89", "½⅓ ²³ ٣٤٥ 一二三", "a" * 300, "ab" * 200, " " * 200 + "a", "\n" * 120, "!" * 150,
            "the" * 70, "1" * 100, "é" * 100, "中" * 80, "😀" * 40, ("a" * 40 + " ") * 8, "\t" * 60 + "x", "- " * 80, "=" * 77 + "\n" + "=" * 77,
            "\ud7ff\ue000\ufffd\uffff\U0010ffff", "\u0301abc", "e\u0301\u0323", "\u0323\u0301e", "가각힣", "\u1100\u1161\u11a8", "ﷺ", "\u0958\u2126\u212b"]
    for _ in range(20):
        out.append("".join(rng.choice(" \t\n\r\u00a0\u3000") for _ in range(rng.randrange(2, 30))) + rng.choice(["", "x", "1", "!"]))
    return out


def make_corpus(count: int, seed: int, extra: list[str], full_blocks: bool) -> list[str]:
    rng = random.Random(seed)
    out = fixed_texts(rng) + extra + ["x" + e for e in extra] + [e + " x" for e in extra]
    out += block_texts(64, rng, None) if full_blocks else block_texts(0x200, rng, 10)
    english = " ".join(words(rng, 30) for _ in range(20))
    while len(out) < count:
        kind = rng.randrange(6)
        if kind == 0:
            out.append("".join(random_code_point(rng) for _ in range(rng.randrange(1, 40))))
        elif kind == 1:
            out.append(words(rng, rng.randrange(1, 25)).capitalize() + rng.choice([".", "!", "?", "\n", ""]))
        elif kind == 2:
            out.append("".join(rng.choice(extra + SPACES + WORDS + EMOJI) for _ in range(rng.randrange(1, 12))))
        elif kind == 3:
            begin = rng.randrange(len(english) - 40)
            text = list(english[begin:begin + rng.randrange(5, 40)])
            for _ in range(rng.randrange(1, 5)):
                text[rng.randrange(len(text))] = random_code_point(rng)
            out.append("".join(text))
        else:
            out.append(mixed(rng, rng.randrange(1, 8)))
    return out


# ---- oracles: each gives ids of a text, and texts of ids ----

class FastOracle:
    """A tokenizer of Hugging Face `tokenizers`, set up by transformers where the folder has a tokenizer_config.json."""

    def __init__(self, folder: pathlib.Path):
        if (folder / "tokenizer_config.json").exists():
            import transformers
            self.front = transformers.AutoTokenizer.from_pretrained(str(folder), use_fast=True)
            self.tokenizer = self.front.backend_tokenizer
            self.bos, self.eos = self.front.bos_token_id, self.front.eos_token_id
        else:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            empty = self.tokenizer.encode("").ids
            self.bos = empty[0] if empty else None
            self.eos = empty[1] if len(empty) > 1 else None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.size = self.tokenizer.get_vocab_size()
        self.specials = [t.content for t in self.tokenizer.get_added_tokens_decoder().values()]

    def encode_all(self, texts, parse_special):
        self.tokenizer.encode_special_tokens = not parse_special
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=not parse_special)]

    def decode_all(self, lists, skip_special):
        return self.tokenizer.decode_batch(lists, skip_special_tokens=skip_special)


class SentencePieceOracle:
    """transformers' slow LlamaTokenizer for ids; for texts sentencepiece itself, run by run between special tokens."""

    def __init__(self, folder: pathlib.Path):
        import transformers
        config = folder / "tokenizer_config.json"
        settings = json.loads(config.read_text()) if config.exists() else {}
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        self.legacy = settings.get("legacy", True)
        self.slow = transformers.LlamaTokenizer.from_pretrained(str(folder), use_fast=False, legacy=self.legacy)
        self.bos, self.eos = self.slow.bos_token_id, self.slow.eos_token_id
        self.size = len(self.slow)
        self.special_ids = {i for i in range(self.pieces.get_piece_size()) if self.pieces.is_control(i) or self.pieces.is_unknown(i)}
        self.special_ids |= {i for i, t in self.slow.added_tokens_decoder.items() if t.special}
        self.specials = [t.content for t in self.slow.added_tokens_decoder.values()]

    def encode_all(self, texts, parse_special):
        if parse_special:
            return [self.encode(t, False) for t in texts]
        # Special tokens hidden from the slow tokenizer, whose own switch would hide added tokens that are not special too.
        from transformers.tokenization_utils import Trie
        keep = self.slow.tokens_trie, self.slow._added_tokens_encoder
        plain = {t.content: i for i, t in self.slow.added_tokens_decoder.items() if not t.special}
        self.slow.tokens_trie, self.slow._added_tokens_encoder = Trie(list(plain)), plain
        out = [self.encode(t, False) for t in texts]
        self.slow.tokens_trie, self.slow._added_tokens_encoder = keep
        return [self.slow.build_inputs_with_special_tokens(ids) for ids in out]

    def encode(self, text, add_special):
        ids = self.slow.encode(text, add_special_tokens=add_special)
        # Not legacy: the slow tokenizer leaves a lone "▁" in front of an added token that begins the text, unless that
        # token has a role. The fast tokenizers never do; we follow them.
        added = self.slow.added_tokens_decoder
        if not self.legacy and len(ids) > 1 and ids[1] in added and self.slow.convert_ids_to_tokens(ids[0]) == META \
                and text.startswith(added[ids[1]].content):
            ids = ids[1:]
        return ids

    def decode_all(self, lists, skip_special):
        return [self.decode(ids, skip_special) for ids in lists]

    def decode(self, ids, skip_special):
        text, run, first_run = "", [], True
        for i in ids:
            if i in self.special_ids or i in self.slow.added_tokens_decoder:
                if i in self.special_ids and skip_special:
                    continue
                text += self.run(run, first_run) + self.slow.convert_ids_to_tokens(i)
                run, first_run = [], self.legacy  # a new run begins; legacy: it got a leading space of its own
            else:
                run.append(i)
        return text + self.run(run, first_run)

    def run(self, ids, first_run):
        if not ids:
            return ""
        if first_run:
            return self.pieces.decode(ids)
        # Decoding behind an ordinary token keeps the leading space.
        anchor = self.pieces.piece_to_id(META + "a") if self.pieces.piece_to_id(META + "a") != self.pieces.unk_id() else self.pieces.piece_to_id("a")
        return self.pieces.decode([anchor] + ids)[1:]


def oracle_of(folder: pathlib.Path):
    if not (folder / "tokenizer.json").exists() and (folder / "tokenizer.model").exists():
        return SentencePieceOracle(folder)
    return FastOracle(folder)


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
                ids[len(ids) // 2:len(ids) // 2] = source[at:at + 5]
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
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(training_texts(), trainer)
    return tokenizer


def make_gpt2(folder: pathlib.Path) -> None:
    tokenizer = train_byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), None, 700)
    model = json.loads(tokenizer.to_str())["model"]
    model["vocab"]["<|endoftext|>"] = len(model["vocab"])
    write_json(folder / "vocab.json", model["vocab"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "model_max_length": 1024,
        "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"})


def make_llama3(folder: pathlib.Path) -> None:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated")
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), None, 800, ignore_merges=True)
    value = json.loads(tokenizer.to_str())
    # ignore_merges matters where a token cannot be reached by merges: drop some merges.
    value["model"]["merges"] = [m for i, m in enumerate(value["model"]["merges"]) if i % 17]
    used = set(value["model"]["vocab"])
    value["model"]["merges"] = [m for m in value["model"]["merges"] if "".join(m) in used]
    (folder / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([special(t) for t in ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"]])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", begin)])])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    added = tokenizer.get_added_tokens_decoder()
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
        "clean_up_tokenization_spaces": True, "model_max_length": 131072, "added_tokens_decoder": added_json(added)})


def added_json(added: dict) -> dict:
    return {str(i): {"content": t.content, "lstrip": t.lstrip, "normalized": t.normalized, "rstrip": t.rstrip,
                     "single_word": t.single_word, "special": t.special} for i, t in sorted(added.items())}


def make_qwen2(folder: pathlib.Path) -> None:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN.replace("{1,3}", "")), "isolated")
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), normalizers.NFC(), 700)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([special(t) for t in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ["<tool_call>", "<think>", "</think>"]])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "split_special_tokens": False,
        "chat_template": [{"name": "default", "template": "{{ messages[0]['content'] }}"}, {"name": "tool_use", "template": "tools"}],
        "added_tokens_decoder": added_json(tokenizer.get_added_tokens_decoder())})


def train_sentencepiece(folder: pathlib.Path, **options) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        text = pathlib.Path(scratch, "text.txt")
        text.write_text("\n".join(re.sub(r"[\r\n\u2028\u2029\x85\x0b\x0c]", " ", t) for t in training_texts()))
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(pathlib.Path(scratch, "m")), num_threads=1, minloglevel=2,
            input_sentence_size=0, shuffle_input_sentence=False, **options)
        (folder / "tokenizer.model").write_bytes(pathlib.Path(scratch, "m.model").read_bytes())


LLAMA_ROLES = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
               "add_bos_token": True, "add_eos_token": False}


def role(i: int, content: str) -> tuple[str, dict]:
    return str(i), {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}


def make_sentencepiece_bpe(folder: pathlib.Path, vocab_size: int = 800) -> None:
    train_sentencepiece(folder, model_type="bpe", vocab_size=vocab_size, byte_fallback=True, normalization_rule_name="identity",
                        remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True, character_coverage=0.995,
                        allow_whitespace_only_pieces=True)
    added = dict([role(0, "<unk>"), role(1, "<s>"), role(2, "</s>"), role(vocab_size, "<|im_start|>"), role(vocab_size + 1, "<|im_end|>")])
    added[str(vocab_size + 2)] = {**added["1"], "content": "<think>", "special": False}
    write_json(folder / "tokenizer_config.json", {**LLAMA_ROLES, "legacy": True, "added_tokens_decoder": added})


def make_sentencepiece_new(folder: pathlib.Path, source: pathlib.Path) -> None:
    (folder / "tokenizer.model").write_bytes((source / "tokenizer.model").read_bytes())
    config = json.loads((source / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**config, "legacy": False, "add_eos_token": True})


def make_sentencepiece_unigram(folder: pathlib.Path) -> None:
    train_sentencepiece(folder, model_type="unigram", vocab_size=700, byte_fallback=False, character_coverage=0.99,
                        user_defined_symbols=["<tool>", "<|user|>"])
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
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r" {2,}"), " "), normalizers.Replace("ß", "ss")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex(r"[.,!?]"), "merged_with_previous"),
        pre_tokenizers.Split(Regex(r"[\-=(]+"), "merged_with_next"), pre_tokenizers.Split("z", "removed"),
        pre_tokenizers.Split(Regex(r"\p{Lu}{1,2}+|\s"), "contiguous"), pre_tokenizers.Metaspace(prepend_scheme="always", split=True)])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=90, show_progress=False)
    tokenizer.train_from_iterator(training_texts(), trainer)
    tokenizer.add_special_tokens([special("<mask>", lstrip=True, rstrip=True), special("<|user|>", single_word=True), special("<|end|>", normalized=True)])
    tokenizer.add_tokens([AddedToken("world", single_word=True), AddedToken("Größe", normalized=True), AddedToken("  ", normalized=False)])
    ids = {t: tokenizer.token_to_id(t) for t in ["<s>", "</s>"]}
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=list(ids.items()))
    (folder / "tokenizer.json").write_text(tokenizer.to_str())


def fixtures(out: pathlib.Path) -> None:
    makers = {
        "gpt2": make_gpt2, "llama3": make_llama3, "qwen2": make_qwen2, "sentencepiece_bpe": make_sentencepiece_bpe,
        "sentencepiece_new": lambda f: make_sentencepiece_new(f, out / "sentencepiece_bpe"),
        "sentencepiece_unigram": make_sentencepiece_unigram,
        "llama2": lambda f: make_llama2_json(f, out / "sentencepiece_bpe", True),
        "llama2_new": lambda f: make_llama2_json(f, out / "sentencepiece_bpe", False), "odd": make_odd,
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
