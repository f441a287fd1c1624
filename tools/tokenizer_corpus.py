"""Texts for the tokenizer tests: every Unicode block, control characters, emoji, mixed scripts, white space, code,
numbers, long runs, text that looks like special tokens. All drawn from seeds (tools/make_tokenizer_fixtures.py)."""

import random

EMOJI = ["😀", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "🏴‍☠️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "❤️‍🔥", "1️⃣", "🫠", "🤷🏿‍♀️", "☺", "☺️"]
WORDS = (
    "the a of and to in is it was that he for on with his as at be this had not are but from or have an they which "
    "one you were her all she there would their we him been has when who will more no if out so said what up its "
    "about into than them can only other new some could time these two may then do first any my now such like our "
    "over man me even most made after also did many before must through years where much your way well down should "
    "because each just those people how too little state good very make world still own see men work long here"
).split()
FOREIGN = [
    "привет мир",
    "здравствуйте",
    "γειά σου Κόσμε",
    "你好世界",
    "こんにちは世界",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "xin chào thế giới",
    "İstanbul'da ışık",
    "Größe Straße",
    "façade naïve coöperate",
    "ﬁne ﬂow",
    "ｆｕｌｌ　ｗｉｄｔｈ",
    "𝕳𝖊𝖑𝖑𝖔",
    "Ⅷ ⅷ ½ ²",
    "e\u0301 a\u030a o\u0302\u0301",
    "\u1112\u1161\u11ab",
    "각",
    "क़",
    "ÅÅ",
    "\u0344",
]
CODE = [
    "def f(x):\n    return x ** 2  # comment\n",
    'int main() {\n\tprintf("%d\\n", 0x1F);\n}\n',
    '<div class="a">&nbsp;</div>',
    "SELECT * FROM t WHERE a >= 10.5e-3;",
    "for(;;){i+=1;}",
    "https://example.org/a?b=c&d=%20e#f",
    "a.b_c->d::e<f>()",
    "\\frac{a}{b} \\alpha_{i}^{2}",
    '{"k": [1, 2.0, null, true]}',
    "x=1;y=22;z=333;w=4444;v=55555;1234567890",
    "C:\\path\\to\\file.txt",
]
LOOKALIKES = [
    "<s>",
    "</s>",
    "<unk>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "[INST]",
    "[/INST]",
    "<pad>",
    "<0x0A>",
    "<|im_start",
    "|im_end|>",
    "<<s>>",
    "<|im_start|><|im_end|>",
    "<s> ",
    " </s> ",
    "<S>",
    "<mask>",
    "a<mask>",
    "<mask>b",
    " <mask> ",
    "\t<mask>\n",
    "▁<s>▁",
    "<|user|>",
    "<|end|>",
]
SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "\n ",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\u200b",
    "\u180e",
    "\u0085",
    "\x0b",
    "\x0c",
    "\u2009",
    "\ufeff",
    "▁",
]


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
    return " ".join(
        rng.choice(WORDS) if rng.random() < 0.9 else str(rng.randrange(10 ** rng.randrange(1, 9)))
        for _ in range(count)
    )


def mixed(rng: random.Random, pieces: int) -> str:
    """Pieces of every kind side by side."""
    pools = [WORDS, FOREIGN, EMOJI, CODE, LOOKALIKES, SPACES]
    out = []
    for _ in range(pieces):
        pool = rng.choice(pools)
        piece = rng.choice(pool)
        if pool in (FOREIGN, CODE) and rng.random() < 0.7:
            begin = rng.randrange(len(piece))
            piece = piece[begin : begin + rng.randrange(1, 12)]
        out.append(piece)
        if rng.random() < 0.4:
            out.append(rng.choice(SPACES))
    return "".join(out)


def block_texts(step: int, rng: random.Random, sample: int | None) -> list[str]:
    """Characters of every block, in order and apart; `sample`: how many of each block are picked."""
    out = []
    for base in (
        list(range(0, 0x32400, step)) + list(range(0xE0000, 0xE0200, step)) + [0xF0000, 0x10FF00, 0x40000, 0x90000]
    ):
        chars = [chr(c) for c in range(base, min(base + step, 0x110000)) if not 0xD800 <= c < 0xE000]
        if not chars:
            continue
        if sample:
            chars = sorted(rng.sample(chars, sample))
        out.append(
            "".join(chars) if sample is None else "".join(chars[: sample // 2]) + " " + " ".join(chars[sample // 2 :])
        )
        if sample is None:
            out.append(" ".join(chars))
            out.append("a".join(chars))
            out.append("'" + "1'".join(chars))
    return out


def fixed_texts(rng: random.Random) -> list[str]:
    out = ["", " ", "  ", "a", " a", "a ", "\x00", "\x00a\x00"]
    out += ["".join(chr(c) for c in range(32)), " ".join(chr(c) for c in range(0x7F, 0xA1))]
    out += FOREIGN + CODE + EMOJI + LOOKALIKES + ["x" + s + "y" for s in SPACES] + [s * 5 for s in SPACES]
    out += [
        "Hello, world!",
        "don't you're I've I'm he'll she'd it's",
        "DON'T YOU'RE I'VE",
        "'ſ 'K",
        "can''t 'tis 's's'll",
        "1 12 123 1234 12345 123456 1,234,567.89",
        "½⅓ ²³ ٣٤٥ 一二三",
        "a" * 300,
        "ab" * 200,
        " " * 200 + "a",
        "\n" * 120,
        "!" * 150,
        "the" * 70,
        "1" * 100,
        "é" * 100,
        "中" * 80,
        "😀" * 40,
        ("a" * 40 + " ") * 8,
        "\t" * 60 + "x",
        "- " * 80,
        "=" * 77 + "\n" + "=" * 77,
        "\ud7ff\ue000\ufffd\uffff\U0010ffff",
        "\u0301abc",
        "e\u0301\u0323",
        "\u0323\u0301e",
        "가각힣",
        "\u1100\u1161\u11a8",
        "ﷺ",
        "\u0958\u2126\u212b",
    ]
    for _ in range(20):
        out.append(
            "".join(rng.choice(" \t\n\r\u00a0\u3000") for _ in range(rng.randrange(2, 30)))
            + rng.choice(["", "x", "1", "!"])
        )
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
            text = list(english[begin : begin + rng.randrange(5, 40)])
            for _ in range(rng.randrange(1, 5)):
                text[rng.randrange(len(text))] = random_code_point(rng)
            out.append("".join(text))
        else:
            out.append(mixed(rng, rng.randrange(1, 8)))
    return out
