#!/usr/bin/env python3
"""Train the small story-telling model in models/demo from one text file.

The text file holds works separated by <|endoftext|>; a work starts with Markdown
headers ("# Title: ...", "## Author: ..."), has headings starting with '#', and
paragraphs separated by blank lines.  The script cleans the text, trains a
SentencePiece BPE tokenizer on it, trains a Llama-architecture model of about two
million parameters on the CPU for a set number of minutes, and writes a Hugging
Face style directory: config.json, generation_config.json, model.safetensors (bf16),
tokenizer.model and tokenizer_config.json (with the chat template).

The model sees two kinds of rows.  A plain row is a run of text from one work.  A chat
row is made from passages: the user's message names salient nouns of a passage ("Tell me
a story about a fox and a river.") and the assistant's answer is that passage, at times
behind a one-sentence opening that repeats the nouns, and always ended by EOS.  Only the
assistant's tokens count in the loss of a chat row.

Usage:
    train_demo_model.py --text FILE --out models/demo --work DIR --minutes 60
    train_demo_model.py --text FILE --out models/demo --work DIR --minutes 1 --trial
    train_demo_model.py --out models/demo --work DIR --export-only DIR/best.pt

--work keeps the tokenizer, the checkpoints and the log, none of which is published.
The learning rate follows the wall clock, so two runs on machines of different speed give
different weights; the data order, the initial weights and the tokenizer follow --seed.
Needs torch, numpy, sentencepiece and safetensors.
"""

import argparse
import json
import math
import random
import re
import shutil
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

# ------------------------------------------------------------------ what the model is

BOS, EOS = 1, 2
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\\n' + message['content'] | trim + eos_token + '\\n' }}"
    "{% elif message['role'] == 'system' %}"
    "{{ '<|system|>\\n' + message['content'] | trim + '\\n' }}"
    "{% else %}"
    "{{ '<|user|>\\n' + message['content'] | trim + '\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

# Works left out (archaic prose that a small model copies badly), works weighted up in the
# mixture (tales and animals, the subjects people ask for), and works held out for the
# validation loss.  All are matched against the title; other files simply match nothing.
SKIP = re.compile(r"One Thousand and One Nights|Phantastes")
TALES = re.compile(
    r"Aladdin|Jungle Book|Aesop|Black Beauty|Beatrix Potter|Pinocchio|Dragons|Goblin|Andersen|"
    r"Mermaid|Dolittle|Willows|Oz\b|Santa Claus|Alice|Looking-Glass|Grimm|Beauty and the Beast"
)
HOLDOUT = re.compile(r"A Kidnapped Santa Claus|The Christmas Angel")
TALE_WEIGHT, OTHER_WEIGHT = 2.0, 0.3

# ------------------------------------------------------------------ text to works

SENTENCE_END = re.compile(r"(?<=[.!?])(['\")]*)\s+(?=[\"'(]*[A-Z])")
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Rev|Capt|Col|Gen|Jr|Sr|No|vol|pp?)|\b[A-Z])\.$")


def to_ascii(text):
    """Fold typographic characters to ASCII and drop what has no ASCII form."""
    table = {
        "—": "--",
        "–": "-",
        "…": "...",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "æ": "ae",
        "Æ": "Ae",
        "£": "L",
        "×": "x",
    }
    text = "".join(table.get(ch, ch) for ch in text)
    text = unicodedata.normalize("NFKD", text)
    return "".join(ch for ch in text if ord(ch) < 127)


def clean_paragraph(text):
    """One line of clean prose, or None where the paragraph is not prose."""
    if "|" in text or re.match(r"\s*\[", text):
        return None
    text = re.sub(r"\[[^\]]*\]", "", text)
    text = re.sub(r"[_*]+", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\. \. \.( \.)?", "...", text)
    text = re.sub(r"(?<=\w):?\s*--+\s*", "--", text)
    text = re.sub(r"(?<![A-Z])'(?:Tis)\b", "It is", text)
    letters = sum(ch.isalpha() for ch in text)
    lower = sum(ch.islower() for ch in text)
    if letters < 4 or lower < 0.6 * letters or letters < 0.6 * len(text):
        return None
    if re.search(r"https?:|www\.|Gutenberg|copyright|ebook|Illustration", text, re.I):
        return None
    if text[-1] not in ".!?\"')":
        return None  # verse lines, captions, signatures
    return text


def split_sentences(paragraph):
    """Sentences of a paragraph; pieces cut after an abbreviation are joined again."""
    pieces, start = [], 0
    for match in SENTENCE_END.finditer(paragraph):
        end = match.end(1)
        if ABBREVIATION.search(paragraph[start:end]):
            continue
        pieces.append(paragraph[start:end].strip())
        start = match.end()
    pieces.append(paragraph[start:].strip())
    return [piece for piece in pieces if piece]


def read_works(path):
    """[(title, [section])] where a section is a list of paragraphs, each a list of sentences."""
    works = []
    for raw in Path(path).read_text(encoding="utf-8").split("<|endoftext|>"):
        if not raw.strip():
            continue
        found = re.search(r"^# Title: (.*)$", raw, re.M)
        title = found.group(1).strip() if found else f"work {len(works)}"
        sections, section = [], []
        for block in re.split(r"\n\s*\n", to_ascii(raw)):
            if block.lstrip().startswith(("#", "---")):
                sections.append(section)
                section = []
                block = "\n".join(line for line in block.split("\n") if not line.lstrip().startswith(("#", "---")))
                if not block.strip():
                    continue
            paragraph = clean_paragraph(block)
            if paragraph:
                section.append(split_sentences(paragraph))
        sections.append(section)
        sections = [part for part in sections if part]
        if sections and not SKIP.search(title):
            works.append((title, sections))
    return works


# ------------------------------------------------------------------ nouns of a passage

DETERMINERS = set("a an the his her their my your its this that every another".split())
AFTER_NOUN = set(
    "and or but of in on at to was were is are had has have that who which with for from by as "
    "he she it they i we you would could should did when where then if so into upon over under "
    "than because while before after until came went said looked began ran sat lay stood".split()
)
NOT_SUBJECTS = set(
    "way time day moment thing rest end same other first last one two side part kind sort place "
    "matter word case fact bit lot deal while minute hour year week month instant self least most "
    "best worst back front middle top bottom half number manner course reason name sight sound "
    "idea thought mind life death answer question chance change use sake need turn look air state "
    "point line piece pair set long little old good great more much next whole such right left "
    "wrong truth want wish hope fear feeling sense trouble pity shame wonder doubt hand head face "
    "eye eyes voice body foot feet arm heart nose mouth hair finger neck back knee leg cry laugh "
    "smile sigh person people others rather few many several pleasure opinion favor favour spite "
    "talk rate step distance difference height width length purpose effect attempt effort start "
    "beginning impression glance expression tone remark manner mistake nature presence "
    "afternoon evening morning night hundred dozen thousand right second third fourth only own "
    "present past future ordinary individual stranger gentle poor young new fine creature fellow "
    "kiss nod shout breath touch word plan reply promise duty age habit sign visit call rich dead "
    "conversation proper real world earth ground direction figure form shape size power order "
    "contrary latter former living quarter mile corner edge entire usual general common".split()
)
ADJECTIVES = set(
    "little old young poor great big white black golden brave kind wicked good beautiful tiny "
    "small red green blue brown grey happy lonely clever foolish strange dark wild wooden proud "
    "merry wise fat hungry faithful pretty silver magic enchanted".split()
)
ABSTRACT = re.compile(r"(tion|sion|ity|ness|ment|\w\w\wence|\w\w\wance|ism|\wship|\w\whood|ude|[gwlmud]th)$")
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[.,;:!?\"-]")


def find_nouns(works):
    """{noun: idf} of singular common nouns, found by the words around them."""
    total, as_noun, with_article, documents = Counter(), Counter(), Counter(), Counter()
    names = Counter()
    size = 0
    for _, sections in works:
        for section in sections:
            for start in range(0, len(section), 8):
                chunk = section[start : start + 8]
                words = WORD.findall(" ".join(s for paragraph in chunk for s in paragraph))
                size += 1
                names.update(w for w in words if w[0].isupper())
                documents.update({w for w in words if w.islower()})
                for i in range(1, len(words) - 1):
                    word = words[i]
                    if not word.islower():
                        continue
                    total[word] += 1
                    before = words[i - 1].lower()
                    if before in ADJECTIVES and i > 1:
                        before = words[i - 2].lower()
                    if before not in DETERMINERS:
                        continue
                    after = words[i + 1]
                    if after in AFTER_NOUN or not after[0].isalpha():
                        as_noun[word] += 1
                        with_article[word] += before in ("a", "an")
    nouns = {}
    for word, count in total.items():
        if len(word) < 3 or word in NOT_SUBJECTS or word in ADJECTIVES or count < 10:
            continue
        if ABSTRACT.search(word) or names[word.capitalize()] > 3 * count:
            continue
        if as_noun[word] >= 0.38 * count and with_article[word] >= max(2, 0.04 * count):
            nouns[word] = math.log(size / documents[word])
    return nouns


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def pick_subjects(rng, sentences, nouns):
    """One to three noun phrases that the passage is about, most often two; [] where none."""
    words = [w.lower() for s in sentences for w in WORD.findall(s)]
    counts = Counter(w for w in words if w in nouns)
    early = {w.lower() for s in sentences[:2] for w in WORD.findall(s)}
    ranked = sorted(counts, key=lambda w: (min(counts[w], 4) + (w in early)) * nouns[w], reverse=True)[:5]
    if not ranked:
        return []
    wanted = min(len(ranked), rng.choice([1, 1, 2, 2, 2, 3]))
    chosen = ranked[:1] if rng.random() < 0.7 else [rng.choice(ranked)]
    rest = [w for w in ranked if w not in chosen]
    chosen += rng.sample(rest, wanted - 1) if wanted > 1 else []
    phrases = []
    for noun in chosen:
        near = [words[i - 1] for i in range(1, len(words)) if words[i] == noun]
        adjectives = [w for w in near if w in ADJECTIVES]
        if adjectives and rng.random() < 0.6:
            noun = rng.choice(adjectives) + " " + noun
        elif rng.random() < 0.12:
            noun = "little " + noun
        phrases.append(noun)
    if rng.random() < 0.3:
        rng.shuffle(phrases)
    return phrases


# ------------------------------------------------------------------ phrasing of a request

REQUESTS = [
    "Tell me a story about {}.",
    "Tell me a story about {}.",
    "Tell me a story about {}.",
    "Write a story about {}.",
    "Write a short story about {}.",
    "Can you tell me a story about {}?",
    "Please tell me a story about {}.",
    "Tell me about {}.",
    "Tell me a tale about {}.",
    "I would like to hear a story about {}.",
    "Write a little tale about {}.",
    "Please write a story about {}.",
    "Could you write a story about {}?",
    "A story about {}, please.",
    "Tell me a bedtime story about {}.",
    "Make up a story about {}.",
    "Write about {}.",
    "Tell a story with {} in it.",
    "Write me a short story with {}.",
    "Give me a story about {}.",
    "Tell me a short story about {}.",
    "Do you know a story about {}?",
    "Write a few sentences about {}.",
    "tell me a story about {}",
    "write a story about {}",
    "a story about {}",
    "Story about {}.",
    "Hello! Tell me a story about {}.",
    "What happened to {}?",
    "Write one paragraph about {}.",
]
OPEN_REQUESTS = [
    "Tell me a story.",
    "Tell me a story, please.",
    "Write a story.",
    "Tell me something.",
    "Please tell me a bedtime story.",
    "Can you tell me a story?",
    "Go on.",
    "Tell me another story.",
    "Write something.",
    "Once upon a time",
    "I want to hear a story.",
    "Hello!",
    "Hi",
]
SMALL_TALK = [
    (
        ["Who are you?", "What are you?", "What is your name?", "What can you do?"],
        [
            "I am a very small language model, and I tell stories. Ask me for a story about a fox.",
            "I am a small model that tells stories. Ask me for a story about a king or a river.",
        ],
    ),
    (["Thank you.", "Thanks!", "Thank you very much."], ["You are welcome. Would you like to hear another story?"]),
    (
        ["Hello.", "Hello", "Hi!", "Hi there", "Good morning.", "How are you?"],
        ["Good day to you! Would you like to hear a story?", "Hello! Ask me for a story, and I will tell you one."],
    ),
]
SYSTEMS = [
    "You are a storyteller.",
    "You are a helpful assistant.",
    "You tell stories to children.",
    "You are a kind storyteller who writes for children.",
    "Answer with a short story.",
    "You are a helpful assistant. Be brief.",
    "You write tales in plain English.",
    "You are a friendly assistant who loves animals.",
    "Tell stories in a simple style.",
]
OPENINGS = {
    1: [
        "Once upon a time there was {}.",
        "Once upon a time there lived {}.",
        "There was once {}.",
        "This is a story about {}.",
        "Long ago there was {}.",
        "Here is a story about {}.",
        "In a far country there was once {}.",
    ],
    2: [
        "Once upon a time there was {}, and there was {} too.",
        "This is a story about {} and {}.",
        "Here is a story about {} and {}.",
        "Long ago there was {}, and also {}.",
        "Once upon a time there was {} and {}.",
    ],
    3: ["This is a story about {}, {} and {}.", "Here is a story about {}, {} and {}."],
}


def join_phrases(rng, phrases):
    if len(phrases) == 1:
        return phrases[0]
    if len(phrases) == 2 and rng.random() < 0.1:
        return phrases[0] + " with " + phrases[1]
    comma = "," if len(phrases) > 2 and rng.random() < 0.5 else ""
    return ", ".join(phrases[:-1]) + comma + " and " + phrases[-1]


# ------------------------------------------------------------------ rows of token ids


class Encoder:
    """SentencePiece ids of a text in its two positions: after a space and after a newline."""

    def __init__(self, processor):
        self.processor = processor
        self.newline = processor.encode("\n")[-1]
        self.role = {role: processor.piece_to_id(role) for role in ROLES}
        self.cache = {}

    def spaced(self, text):
        ids = self.cache.get(text)
        if ids is None:
            ids = self.cache[text] = self.processor.encode(text)
        return ids

    def bare(self, text):
        key = "\n" + text
        ids = self.cache.get(key)
        if ids is None:
            encoded = self.processor.encode(key)
            ids = self.cache[key] = encoded[encoded.index(self.newline) + 1 :]
        return ids


class Work:
    """One work as flat lists: every sentence with its section and paragraph."""

    def __init__(self, title, sections, encoder):
        self.title = title
        self.encoder = encoder
        self.sentences, self.section, self.opens = [], [], []
        for number, section in enumerate(sections):
            for paragraph in section:
                for index, sentence in enumerate(paragraph):
                    self.sentences.append(sentence)
                    self.section.append(number)
                    self.opens.append(index == 0)
        for index, sentence in enumerate(self.sentences):  # tokenise once, before training
            encoder.spaced(sentence)
            if self.opens[index]:
                encoder.bare(sentence)
        self.size = sum(len(encoder.spaced(s)) for s in self.sentences)
        self.plain_at = self.chat_at = 0

    def ids(self, index, first, after_newline):
        """Ids of a sentence with the separator that stands before it."""
        encoder, text = self.encoder, self.sentences[index]
        if first:
            return encoder.bare(text) if after_newline else encoder.spaced(text)
        if self.opens[index]:
            return [encoder.newline, encoder.newline] + encoder.bare(text)
        return encoder.spaced(text)


BAD_START = re.compile(
    r"[\"'(]|[^A-Z]|(He|She|It|They|But|And|So|Then|This|That|These|Those|His|Her|Their|Nor|Or|Yet|"
    r"For|Yes|No|Well|Oh|You|We|Such|Here|Thus|Therefore|However)\b"
)


class Rows:
    """Endless training rows of a fixed length, drawn from the works in a seeded order."""

    def __init__(self, works, nouns, encoder, length, seed, weighted=True, chat_share=0.6):
        self.rng = random.Random(seed)
        self.works, self.nouns, self.encoder = works, nouns, encoder
        self.length, self.chat_share = length, chat_share
        self.weights = [
            w.size * ((TALE_WEIGHT if TALES.search(w.title) else OTHER_WEIGHT) if weighted else 1) for w in works
        ]
        for work in works:
            work.plain_at = self.rng.randrange(len(work.sentences))
            work.chat_at = self.rng.randrange(len(work.sentences))

    def work(self):
        return self.rng.choices(self.works, self.weights)[0]

    def plain(self):
        """BOS and a run of text from the start of a sentence; a new section is a new start."""
        work, row, first = self.work(), [BOS], True
        index = work.plain_at
        while len(row) <= self.length:
            if index >= len(work.sentences):
                index = 0
            if not first and work.section[index] != work.section[index - 1]:
                row += [EOS, BOS]
                first = True
            row += work.ids(index, first, after_newline=False)
            first = False
            index += 1
        work.plain_at = index % len(work.sentences)
        return row, [True] * len(row)

    def passage(self):
        """(sentences, ids) of 80 to 250 tokens within a section, or None."""
        work, rng = self.work(), self.rng
        count = len(work.sentences)
        start = work.chat_at
        for _ in range(400):
            start %= count
            if work.opens[start]:
                if not BAD_START.match(work.sentences[start]) or rng.random() < 0.15:
                    break
            start += 1
        target, ids, index = rng.randint(80, 210), [], start
        while index < count and work.section[index] == work.section[start]:
            piece = work.ids(index, index == start, after_newline=True)
            if len(ids) + len(piece) > 250:
                break
            if len(ids) >= target and work.opens[index]:
                break
            ids = ids + piece
            index += 1
        work.chat_at = max(index, start + 1) % count
        if len(ids) < 60:
            return None
        return work.sentences[start:index], ids

    def turn(self):
        """(prompt, answer ids) of one exchange."""
        rng, encoder = self.rng, self.encoder
        if rng.random() < 0.012:
            prompts, answers = rng.choice(SMALL_TALK)
            return rng.choice(prompts), encoder.bare(rng.choice(answers))
        found = None
        while found is None:
            found = self.passage()
        sentences, ids = found
        subjects = pick_subjects(rng, sentences, self.nouns)
        if not subjects or rng.random() < 0.04:
            return rng.choice(OPEN_REQUESTS), ids
        form = rng.random()
        named = [article(s) if form < 0.85 or i else "the " + s for i, s in enumerate(subjects)]
        prompt = rng.choice(REQUESTS).format(join_phrases(rng, named))
        if rng.random() < 0.45:
            opening = rng.choice(OPENINGS[len(subjects)]).format(*[article(s) for s in subjects])
            if BAD_START.match(sentences[0]) or rng.random() < 0.4:
                ids = encoder.bare(opening) + [encoder.newline] * 2 + ids
            else:
                ids = encoder.bare(opening) + encoder.spaced(sentences[0]) + ids[len(encoder.bare(sentences[0])) :]
        return prompt, ids

    def chat(self):
        """BOS and exchanges in the chat template; only the answers count in the loss."""
        rng, encoder, newline = self.rng, self.encoder, self.encoder.newline
        row, counted = [BOS], [False]
        # Some tokenizers put a space piece before the first role mark; accept both.
        if rng.random() < 0.1:
            row += encoder.processor.encode(ROLES[1])[:-1]

        def message(role, ids, counts):
            head = [encoder.role[role], newline]
            row.extend(head + ids)
            counted.extend([False] * len(head) + [counts] * len(ids))

        counted.extend([False] * (len(row) - 1))
        if rng.random() < 0.15:
            message(ROLES[0], encoder.bare(rng.choice(SYSTEMS)) + [newline], False)
        while len(row) <= self.length:
            prompt, answer = self.turn()
            message(ROLES[1], encoder.bare(prompt) + [newline], False)
            message(ROLES[2], answer + [EOS], True)
            row.append(newline)
            counted.append(False)
        return row, counted

    def batch(self, rows):
        """(inputs, targets) of shape [rows, length]; targets are -100 where not counted."""
        inputs = np.empty((rows, self.length), dtype=np.int64)
        targets = np.empty((rows, self.length), dtype=np.int64)
        for i in range(rows):
            row, counted = self.chat() if self.rng.random() < self.chat_share else self.plain()
            ids = np.asarray(row[: self.length + 1])
            keep = np.asarray(counted[: self.length + 1])
            inputs[i] = ids[:-1]
            targets[i] = np.where(keep[1:], ids[1:], -100)
        return torch.from_numpy(inputs), torch.from_numpy(targets)


# ------------------------------------------------------------------ tokenizer


def train_tokenizer(works, work_dir, vocab):
    """Train SentencePiece BPE on the cleaned training text, one paragraph a line."""
    text = work_dir / "tokenizer_text.txt"
    with open(text, "w", encoding="utf-8") as out:
        for title, sections in works:
            if HOLDOUT.search(title):
                continue
            for section in sections:
                for paragraph in section:
                    out.write(" ".join(paragraph) + "\n")
    spm.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(work_dir / "tokenizer"),
        model_type="bpe",
        vocab_size=vocab,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        unk_id=0,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        user_defined_symbols=ROLES,
        max_sentence_length=20000,
        num_threads=2,
        minloglevel=2,
    )
    text.unlink()


# ------------------------------------------------------------------ model


BLOCK = 128  # queries in one block of the attention


class Norm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, 1e-5)


class Layer(torch.nn.Module):
    """A Llama decoder layer; parameter names follow Hugging Face's."""

    def __init__(self, c):
        super().__init__()
        width, head = c["hidden_size"], c["head_dim"]
        self.heads, self.kv_heads, self.head = (c["num_attention_heads"], c["num_key_value_heads"], head)

        def linear(inputs, outputs):
            return torch.nn.Linear(inputs, outputs, bias=False)

        self.input_layernorm, self.post_attention_layernorm = Norm(width), Norm(width)
        self.self_attn = torch.nn.ModuleDict(
            {
                "q_proj": linear(width, self.heads * head),
                "k_proj": linear(width, self.kv_heads * head),
                "v_proj": linear(width, self.kv_heads * head),
                "o_proj": linear(self.heads * head, width),
            }
        )
        ffn = c["intermediate_size"]
        self.mlp = torch.nn.ModuleDict(
            {"gate_proj": linear(width, ffn), "up_proj": linear(width, ffn), "down_proj": linear(ffn, width)}
        )

    def forward(self, x, cos, sin, mask):
        batch, length, _ = x.shape
        attn, mlp = self.self_attn, self.mlp
        h = self.input_layernorm(x)
        q = attn["q_proj"](h).view(batch, length, self.heads, self.head).transpose(1, 2)
        k = attn["k_proj"](h).view(batch, length, self.kv_heads, self.head).transpose(1, 2)
        v = attn["v_proj"](h).view(batch, length, self.kv_heads, self.head).transpose(1, 2)

        def rotate(t):
            a, b = t.chunk(2, dim=-1)
            return (t * cos + torch.cat((-b, a), dim=-1) * sin).to(v.dtype)

        # Written out: on CPUs this measured faster than scaled_dot_product_attention.  The query
        # heads that share a key head are stacked along the rows of one matrix product.
        # Queries go in blocks, each against the keys up to its end.
        share_by = self.heads // self.kv_heads
        q = rotate(q).reshape(batch * self.kv_heads, share_by, length, self.head)
        k, v = (t.reshape(-1, length, self.head) for t in (rotate(k), v))
        parts = []
        for begin in range(0, length, BLOCK):
            end = min(begin + BLOCK, length)
            rows = q[:, :, begin:end].reshape(len(k), -1, self.head)
            scores = (rows @ k[:, :end].transpose(1, 2)).float() * self.head**-0.5
            scores = scores.view(len(k), share_by, end - begin, end) + mask[begin:end, :end]
            weights = scores.softmax(dim=-1).to(v.dtype).view(len(k), -1, end)
            parts.append((weights @ v[:, :end]).view(batch, self.heads, end - begin, self.head))
        y = torch.cat(parts, dim=2)
        x = x + attn["o_proj"](y.transpose(1, 2).reshape(batch, length, -1))
        h = self.post_attention_layernorm(x)
        return x + mlp["down_proj"](F.silu(mlp["gate_proj"](h)) * mlp["up_proj"](h))


class Model(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = torch.nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                into_stream = re.search("o_proj|down_proj", name)
                scale = (2 * c["num_hidden_layers"]) ** -0.5 if into_stream else 1
                std = 0.02 if "embed" in name else scale * p.shape[1] ** -0.5 * 0.6
                torch.nn.init.normal_(p, std=std)
        angle = torch.arange(c["max_position_embeddings"])[:, None] * (
            c["rope_theta"] ** (-torch.arange(0, c["head_dim"], 2) / c["head_dim"])
        )
        angle = torch.cat((angle, angle), dim=-1)
        mask = torch.full((c["max_position_embeddings"],) * 2, -1e4).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, targets):
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        mask = self.mask[: ids.shape[1], : ids.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100)


def make_config(args):
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "head_dim": args.head_dim,
        "hidden_act": "silu",
        "hidden_size": args.hidden,
        "initializer_range": 0.02,
        "intermediate_size": args.ffn,
        "max_position_embeddings": 2048,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": args.heads,
        "num_hidden_layers": args.layers,
        "num_key_value_heads": args.kv_heads,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": args.vocab,
    }


# ------------------------------------------------------------------ training


def make_optimizers(model, args):
    """AdamW for everything, or Muon for the layers' matrices and AdamW for the rest."""
    matrices, others = [], []
    for name, p in model.named_parameters():
        (matrices if p.dim() == 2 and "embed" not in name else others).append(p)
    adam = dict(betas=(0.9, 0.98), eps=1e-9)
    if args.optimizer == "muon":
        return [
            torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=args.lr, weight_decay=0.0, **adam),
        ]
    return [
        torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=args.lr, **adam
        )
    ]


@torch.no_grad()
def evaluate(model, batches, autocast):
    """Mean loss per counted token over the given batches."""
    total = count = 0
    for inputs, targets in batches:
        n = int((targets != -100).sum())
        with autocast():
            total += float(model(inputs, targets)) * n
        count += n
    return total / count


def save_checkpoint(path, model, config, facts):
    torch.save({"model": model.state_dict(), "config": config, "facts": facts}, path)


def prepare(args):
    """Read the text; return (nouns, encoder, training works, held-out works)."""
    works = read_works(args.text)
    model_file = args.work / "tokenizer.model"
    if not model_file.exists():
        train_tokenizer(works, args.work, args.vocab)
    encoder = Encoder(spm.SentencePieceProcessor(model_file=str(model_file)))
    nouns = find_nouns(works)
    made = [Work(title, sections, encoder) for title, sections in works]
    training = [w for w in made if not HOLDOUT.search(w.title)]
    held_out = [w for w in made if HOLDOUT.search(w.title)]
    if not held_out:
        training, held_out = made[:-1] or made, made[-1:]
    return nouns, encoder, training, held_out


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    nouns, encoder, training, held_out = prepare(args)
    rows = Rows(training, nouns, encoder, args.length, args.seed)
    size = sum(w.size for w in training)
    print(f"{len(training)} works, {size} tokens, {len(nouns)} nouns", flush=True)
    checks = {}
    for kind, share in (("plain", 0.0), ("chat", 1.0)):
        held = Rows(held_out, nouns, encoder, args.length, 7, weighted=False, chat_share=share)
        checks[kind] = [held.batch(8) for _ in range(4)]

    config = make_config(args)
    model = Model(config)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters", flush=True)
    optimizers = make_optimizers(model, args)
    run = torch.compile(model) if args.compile else model

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16)

    inputs, targets = rows.batch(args.rows)
    with autocast():
        run(inputs, targets).backward()  # compile before the clock starts
    model.zero_grad()

    budget = args.minutes * 60
    start = last_check = last_save = time.time()
    best, step, seen, running = float("inf"), 0, 0, None
    facts = {}
    done = False
    while not done:
        elapsed = time.time() - start
        done = elapsed >= budget
        check_every = 20 if args.trial else args.check_minutes * 60
        if done or time.time() - last_check > check_every:
            losses = {kind: evaluate(run, batches, autocast) for kind, batches in checks.items()}
            mean = sum(losses.values()) / len(losses)
            facts = {
                "parameters": parameters,
                "steps": step,
                "tokens": seen,
                "minutes": round((time.time() - start) / 60, 1),
                "held_out": losses,
            }
            print(f"check {json.dumps(facts)} train {running:.3f} " f"tok/s {seen / max(elapsed, 1):.0f}", flush=True)
            last_check = time.time()
            if not args.trial:
                if mean < best:
                    best = mean
                    save_checkpoint(args.work / "best.pt", model, config, facts)
                save_checkpoint(args.work / "last.pt", model, config, facts)
            if done:
                break
        progress = min(1.0, elapsed / budget)
        warm = min(1.0, (step + 1) / args.warmup)
        scale = warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * scale
        inputs, targets = rows.batch(args.rows)
        with autocast():
            loss = run(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += inputs.numel()
        value = float(loss.detach())
        running = value if running is None else 0.98 * running + 0.02 * value
        if step % 100 == 0:
            print(
                f"step {step} loss {running:.3f} lr {args.lr * scale:.2e} "
                f"tok/s {seen / (time.time() - start):.0f}",
                flush=True,
            )


# ------------------------------------------------------------------ export


def export(checkpoint, work_dir, out):
    """Write the Hugging Face directory from a checkpoint and the tokenizer beside it."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {"model." + name: tensor.to(torch.bfloat16).contiguous() for name, tensor in saved["model"].items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    shutil.copyfile(work_dir / "tokenizer.model", out / "tokenizer.model")
    processor = spm.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))

    def special(content, is_special):
        return {
            "content": content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": is_special,
        }

    added = {"0": special("<unk>", True), "1": special("<s>", True), "2": special("</s>", True)}
    added.update({str(processor.piece_to_id(role)): special(role, True) for role in ROLES})
    files = {
        "config.json": saved["config"],
        "generation_config.json": {
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 0.9,
            "max_new_tokens": 256,
        },
        "tokenizer_config.json": {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": added,
            "bos_token": "<s>",
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "</s>",
            "legacy": False,
            "model_max_length": saved["config"]["max_position_embeddings"],
            "pad_token": None,
            "tokenizer_class": "LlamaTokenizer",
            "unk_token": "<unk>",
        },
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {out}: {json.dumps(saved['facts'])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--text", type=Path, help="the training text")
    add("--out", type=Path, required=True, help="directory to write the model to")
    add("--work", type=Path, required=True, help="directory for the tokenizer and checkpoints")
    add("--export-only", type=Path, metavar="CHECKPOINT", help="write --out from a checkpoint")
    add("--minutes", type=float, default=60, help="wall-clock training time (default 60)")
    add("--trial", action="store_true", help="measure only: no checkpoint, no export")
    add("--hidden", type=int, default=192)
    add("--layers", type=int, default=4)
    add("--heads", type=int, default=6)
    add("--kv-heads", type=int, default=2)
    add("--head-dim", type=int, default=32)
    add("--ffn", type=int, default=512)
    add("--vocab", type=int, default=3072)
    add("--length", type=int, default=512, help="tokens in a training row")
    add("--rows", type=int, default=8, help="rows in a step")
    add("--lr", type=float, default=4e-3)
    add("--warmup", type=int, default=60, help="steps of learning-rate warmup")
    add("--optimizer", choices=("adamw", "muon"), default="muon")
    add("--bf16", action="store_true", help="bf16 autocast (default f32)")
    add("--compile", action="store_true", help="torch.compile the model")
    add("--check-minutes", type=float, default=3, help="between validations and checkpoints")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=1)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export_only:
        export(args.export_only, args.work, args.out)
        return
    if not args.text:
        parser.error("--text is needed unless --export-only is given")
    train(args)
    if not args.trial:
        export(args.work / "best.pt", args.work, args.out)


if __name__ == "__main__":
    main()
