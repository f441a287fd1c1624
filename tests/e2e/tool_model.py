"""A model that calls tools: the demo model's weights with a tokenizer in which single tokens spell whole calls.

A logit bias makes it say what a test wants, so tool calls can be tested without a model that has learned them.
"""

import json
import shutil

from running_server import ROOT

DEMO = ROOT / "models" / "demo"
CALL = '<tool_call>{"name":"look_up","arguments":{"word":"fox"}}</tool_call>'
STOP = "##"
CALL_TOKEN = 300  # its text is CALL
CALL_AND_STOP_TOKEN = 301  # its text is CALL + STOP
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


def byte_alphabet():
    """The characters that stand for the 256 bytes in byte-level BPE (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def make_tool_model(folder):
    """Writes the model to `folder`, which must not exist."""
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("tokenizer.model"))
    size = json.loads((DEMO / "config.json").read_text())["vocab_size"]
    words = ["<unk>", "<s>", "</s>", *byte_alphabet()]
    words += [f"w{i}" for i in range(len(words), size)]
    words[CALL_TOKEN] = CALL
    words[CALL_AND_STOP_TOKEN] = CALL + STOP
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": words[i], **special} for i in range(3)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {word: i for i, word in enumerate(words)},
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    template += "{% if false %}<tool_call>{% endif %}"  # from which the server knows how the model writes calls
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "chat_template": template}))
    return folder
