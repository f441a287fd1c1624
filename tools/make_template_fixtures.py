#!/usr/bin/env python3
"""Proves the chat template interpreter against the real thing: jinja2, set up by Hugging Face transformers itself.

  make_template_fixtures.py fixtures                      writes tests/unit/text/jinja/fixtures.json (committed)
  make_template_fixtures.py check PROBE FILE...           compares on real templates (*.jinja, tokenizer_config.json)
  make_template_fixtures.py fuzz PROBE [COUNT] [SEED]     compares on random templates (template_fuzz_grammar.py)

PROBE is the built tests helper template_probe. Needs transformers and jinja2 (the fixtures were made with transformers
5.23.0, jinja2 3.1.6, Python 3.11); the test suite itself needs neither.
"""

import copy
import datetime
import json
import pathlib
import subprocess
import sys

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests/unit/text/jinja"
CONVERSATIONS = json.loads((ROOT / "tools/template_conversations.json").read_text())
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class FixedTime(datetime.datetime):
    """strftime_now() must say the same whenever this runs; template_probe.cc and the test use this moment too."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 4, 5, 6, 7)


chat_template_utils.datetime = FixedTime


def render(template, context):
    """{"output": text}, or {"error": kind} where kind is "raised: message" for raise_exception()."""
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        text = compiled.render(**copy.deepcopy(context))  # a template can change lists, by sum() for one
        text.encode("utf-8")
        return {"output": text}
    except chat_template_utils.jinja2.exceptions.TemplateError as error:
        raised = type(error) is chat_template_utils.jinja2.exceptions.TemplateError
        return {"error": f"raised: {error}" if raised else f"{type(error).__name__}: {error}"}
    except RecursionError:
        return {"error": "RecursionError"}
    except Exception as error:  # whatever Python says no to, ours must say no to as well
        return {"error": f"{type(error).__name__}: {error}"}


def snippets():
    blocks = (TESTS / "snippets.txt").read_text().split("\n====\n")
    return [block.rstrip("\n") for block in blocks[1:]]


def contexts(variations=None):
    """Every conversation with every variation of flags (or the first few), as (name, context)."""
    for name, messages in CONVERSATIONS["conversations"].items():
        for number, variation in enumerate(CONVERSATIONS["variations"][:variations]):
            context = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": False}
            context.update(variation)
            for key in ("tools", "documents"):
                if context[key] is not None:
                    context[key] = CONVERSATIONS[key]
            context.update(SPECIAL_TOKENS)
            yield f"{name}/{number}", context


def make_fixtures():
    cases = [{"template": t, "context": "snippets"} | render(t, CONVERSATIONS["snippets"]) for t in snippets()]
    named = {"snippets": CONVERSATIONS["snippets"]}
    templates = {}
    for path in sorted(TESTS.glob("templates/*.jinja")):
        templates[path.name] = path.read_text()
        for name, context in contexts(3):
            named[name] = context
            cases.append({"file": path.name, "context": name} | render(templates[path.name], context))
    assert not any(" at 0x" in case.get("output", "") for case in cases), "an address is no fixture"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    shown = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in named.items())
    text = f'{{"contexts": {{\n{shown}\n}},\n"cases": [\n{lines}\n]}}\n'
    (TESTS / "fixtures.json").write_text(text)
    errors = sum("error" in case for case in cases)
    print(f"{len(cases)} cases ({errors} of them errors), {len(text)} bytes")


def load_templates(path):
    """The templates of a .jinja file or a tokenizer_config.json."""
    text = pathlib.Path(path).read_text()
    if not str(path).endswith(".json"):
        return {path: text}
    template = json.loads(text)["chat_template"]
    if isinstance(template, str):
        return {path: template}
    return {f"{path}:{entry['name']}": entry["template"] for entry in template}


def ask(probe, requests):
    lines = "\n".join(json.dumps({"template": t, "context": c}) for t, c in requests) + "\n"
    done = subprocess.run([probe], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.decode("utf-8").split("\n") if line]


def incomparable(expected, answer):
    """Printed addresses of functions; integers that only Python can hold; what ours refuses by name."""
    refused = ("leaves the 64-bit range", "in chat templates")
    return " at 0x" in expected.get("output", "") or any(words in answer.get("error", "") for words in refused)


def same(expected, answer):
    if "output" in expected:
        return answer.get("output") == expected["output"]
    if "error" not in answer:
        return False
    if expected["error"].startswith("raised: "):
        return answer["code"] == "FAILED_PRECONDITION" and answer["error"].endswith(expected["error"][8:])
    return answer["code"] != "FAILED_PRECONDITION"


def compare(probe, requests, label):
    expected = [render(template, context) for template, context in requests]
    answers = ask(probe, requests)
    assert len(answers) == len(expected), "the probe did not answer every request"
    differences = errors = skipped = 0
    for number, (want, got) in enumerate(zip(expected, answers)):
        if incomparable(want, got):
            skipped += 1
            continue
        errors += "error" in want
        if not same(want, got):
            differences += 1
            if differences <= 20:
                print(
                    f"DIFFERENT {label(number)}\n  jinja2: {json.dumps(want)[:1500]}\n"
                    f"  ours:   {json.dumps(got)[:1500]}"
                )
    print(
        f"{len(expected) - skipped} compared ({skipped} not comparable), {errors} of them errors in jinja2, "
        f"{differences} different"
    )
    return differences


def check(probe, paths):
    requests, labels = [], []
    for path in paths:
        for name, template in load_templates(path).items():
            for context_name, context in contexts():
                requests.append((template, context))
                labels.append(f"{pathlib.Path(name).name} with {context_name}")
    print(f"{len(set(t for t, _ in requests))} templates")
    return compare(probe, requests, lambda number: labels[number])


def fuzz(probe, count=20000, seed=1):
    from template_fuzz_grammar import random_template

    requests = [(random_template(seed * 1_000_003 + i), CONVERSATIONS["snippets"]) for i in range(int(count))]
    return compare(probe, requests, lambda number: requests[number][0])


def main():
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command == "fixtures":
        make_fixtures()
    elif command == "check" and len(arguments) >= 2:
        sys.exit(check(arguments[0], arguments[1:]) != 0)
    elif command == "fuzz" and arguments:
        sys.exit(fuzz(arguments[0], *(int(a) for a in arguments[1:])) != 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
