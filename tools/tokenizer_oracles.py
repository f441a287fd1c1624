"""Who knows the right ids: Hugging Face `tokenizers` as transformers sets it up, and sentencepiece.

Each oracle gives the ids of texts and the texts of ids for one tokenizer folder (tools/make_tokenizer_fixtures.py).
"""

import json
import pathlib

import sentencepiece
from tokenizers import Tokenizer

META = "\u2581"


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
        self.special_ids = {
            i for i in range(self.pieces.get_piece_size()) if self.pieces.is_control(i) or self.pieces.is_unknown(i)
        }
        self.special_ids |= {i for i, t in self.slow.added_tokens_decoder.items() if t.special}
        self.specials = [t.content for t in self.slow.added_tokens_decoder.values()]

    def encode_all(self, texts, parse_special):
        if parse_special:
            return [self.encode(t, False) for t in texts]
        # Special tokens hidden from the slow tokenizer, whose own switch would hide other added tokens too.
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
        if (
            not self.legacy
            and len(ids) > 1
            and ids[1] in added
            and self.slow.convert_ids_to_tokens(ids[0]) == META
            and text.startswith(added[ids[1]].content)
        ):
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
        anchor = (
            self.pieces.piece_to_id(META + "a")
            if self.pieces.piece_to_id(META + "a") != self.pieces.unk_id()
            else self.pieces.piece_to_id("a")
        )
        return self.pieces.decode([anchor] + ids)[1:]


def oracle_of(folder: pathlib.Path):
    if not (folder / "tokenizer.json").exists() and (folder / "tokenizer.model").exists():
        return SentencePieceOracle(folder)
    return FastOracle(folder)
