"""Words that a reader stumbles over, and what to write instead.

Comments, docs, messages, identifiers and file names are checked alike: `kLuckyRows`, `lucky_rows` and "lucky rows" are
the same words.
"""

import re

# Pattern of the words, in lower case -> use instead.
BANNED = {
    r"but for": "except",
    r"sets? back": "preempt",
    r"nobody|somebody|someone|whoever": "the caller, sequence, thread or client that is meant",
    r"(?:un)?lucky": "drafts well, or the number that is meant",
    r"soften(?:s|ed|ing)?": "softmax",
    r"(?:take|takes|taken|took) for done": "assume completed",
    r"learnt": "learned",
    r"one part in": "1/n of",
    r"so (?:many|much|long)": "the number, 'as many as', or nothing",
    r"at the (?:most|least)": "at most, at least",
    r"ghosts?": "what it is: a match, a followed text",
    r"riders?": "an inner end: a suffix that ends inside an edge",
    r"doors?": "front end, API, entry point, queue",
    r"news": "output events",
    r"(?:is|are) wanted": "must be, is needed, is requested",
    r"may besides": "may also",
    r"stretch(?:es|ed)?": "logit for ln(p / (1 - p)); run or range for a part",
    r"rests": "remaining tokens",
    r"tells": "returns, reports, says",
}
# In code that knows no people, a sequence or a thread is no person.
BANNED_WITHOUT_PEOPLE = {r"who|whom": "the sequence, the caller; 'that' or 'which'"}
WITHOUT_PEOPLE = ("base/", "engine/", "kernels/", "models/", "text/")  # except their READMEs
# What clients or a story model's readers see keeps its words: the label of a metric; the demo model's description.
ALLOWED = ('{"door",', "I am a small model that tells stories")
# They name the words that they forbid, or quote what a model wrote.
EXEMPT = ("tests/tidy/", "LICENSE", "models/demo/README.md")


def _compiled(table):
    return [(re.compile(rf"\b(?:{pattern})\b"), use) for pattern, use in table.items()]


_EVERYWHERE = _compiled(BANNED)
_WITHOUT_PEOPLE = _compiled(BANNED_WITHOUT_PEOPLE)


def plain_words(text):
    """Lower case, with identifiers cut into their words."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    text = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", text)
    return re.sub(r"[_\-/.]+(?=\w)", " ", text).lower()


def banned_words(line, knows_people=True):
    """Yields (word, use instead) for each banned word of the line."""
    for allowed in ALLOWED:
        line = line.replace(allowed, "")
    words = plain_words(line)
    for pattern, use in _EVERYWHERE if knows_people else _EVERYWHERE + _WITHOUT_PEOPLE:
        for match in pattern.finditer(words):
            yield match.group(0), use


def check_words(name, text):
    name = str(name)
    if name.startswith(EXEMPT):
        return
    knows_people = not name.startswith(WITHOUT_PEOPLE) or name.endswith(".md")
    for word, use in banned_words(name, knows_people):
        yield f"{name}: '{word}' in the file's name: {use}"
    previous = ""
    for number, line in enumerate(text.split("\n"), 1):
        for word, use in banned_words(line, knows_people):
            yield f"{name}:{number}: '{word}': {use}"
        # Words that a line break parts.
        start = re.sub(r"^\s*(?://+|#|\*)?\s*", "", line)
        joined = f"{' '.join(previous.split()[-2:])} {' '.join(start.split()[:2])}"
        apart = [word for part in (previous, start) for word, _ in banned_words(part, knows_people)]
        for word, use in banned_words(joined, knows_people):
            if word not in apart:
                yield f"{name}:{number}: '{word}' over the line break: {use}"
        previous = line
