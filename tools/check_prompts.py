#!/usr/bin/env python3
"""Proves what becomes of a chat's messages against Hugging Face transformers, on real templates.

  check_prompts.py PROBE TEMPLATE.jinja...

PROBE is the built tests helper prompt_probe. Needs transformers and jinja2 (checked with 5.24.0 and 3.1.6).

Each template gets conversations with tool calls, in every way that clients spell them, and unfinished final messages.
The expected prompt is what transformers makes of the messages in the form that the template can read: content "" (or
null, where a template finds calls by it), arguments as an object (or as text), ids that the template accepts. Where
transformers refuses all of them, so must we.
"""

import json
import pathlib
import subprocess
import sys

from transformers.utils.chat_template_utils import render_jinja_template

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
PARAMETERS = {"type": "object", "properties": {"w": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "other_tool", "description": "d", "parameters": PARAMETERS}}]
PREFILLS = ["", "<", "a", " a", "a ", " a \n", "\n", "  \n ", "a\n\n", "<|im_end|>", "<|im_start|>assistant\n",
            "assistant", "model", "[INST]", "[/INST]", "</s>", "x", "question", "\u00a0", "a\u00a0", "<think>\nso",
            "{", '{"a": 1', "CONTINUE_FINAL_MESSAGE_TAG", "\n\n", "a" * 3000, "None", "é", "<|eot_id|>",
            "<end_of_turn>\n", "```\n", "0"]


def transformers_says(template, messages, **flags):
    try:
        rendered, _ = render_jinja_template([messages], chat_template=template, **SPECIAL, **flags)
        return rendered[0]
    except Exception:  # whatever a template says no with
        return None


def call(arguments, ident="call_AbCdEfGh123", content=None):
    function = {"name": "look_up"} if arguments is ... else {"name": "look_up", "arguments": arguments}
    return {"role": "assistant", "content": content,
            "tool_calls": [{"id": ident, "type": "function", "function": function}]}


def readable(message, content, as_text, short):
    """The message in one of the forms that a template may want."""
    message = json.loads(json.dumps(message))
    if not message.get("content"):
        message["content"] = content if message.get("tool_calls") else ""
    for entry in message.get("tool_calls") or []:
        arguments = entry["function"].get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments.strip() or "{}")
            except ValueError:
                pass
        arguments = {} if arguments is None else arguments
        entry["function"]["arguments"] = json.dumps(arguments, separators=(",", ":")) if as_text else arguments
        entry["id"] = entry["id"][-9:] if short else entry["id"]
    if short and "tool_call_id" in message:
        message["tool_call_id"] = message["tool_call_id"][-9:]
    return {key: value for key, value in message.items() if value not in (None, []) or key == "content"}


def expected(template, body):
    """What transformers makes of the first form that shows the calls; else of the first that renders."""
    flags = {"tools": body.get("tools"), "add_generation_prompt": True}
    first = None
    for as_text in (False, True):
        for content in ("", None):
            for short in (False, True):
                messages = [readable(m, content, as_text, short) for m in body["messages"]]
                text = transformers_says(template, messages, **flags)
                if text is None or "None" in text:
                    continue
                if "look_up" in text or "tools" not in body:
                    return text
                first = text if first is None else first
    return first


def prefilled(template, text):
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": text}]
    return transformers_says(template, messages, continue_final_message=True, tools=None)


def closed(template, text):
    """The prompt up to the end of an assistant's text, found by a mark: also where transformers goes wrong."""
    mark = "\uE000"
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": text + mark}]
    rendered = transformers_says(template, messages, tools=None)
    return None if rendered is None or mark not in rendered else rendered[: rendered.rindex(mark)]


def conversations():
    user, answer = {"role": "user", "content": "question"}, {"role": "tool", "content": "7", "name": "look_up"}
    arguments = ['{"w": "fox"}', {"w": "fox"}, "", None, "{}", '{"n": 123456789012345678901234567890}', "  ", ...]
    for sent in arguments:
        for content in (None, "", "Let me see."):
            result = {**answer, "tool_call_id": "call_AbCdEfGh123"}
            yield {"messages": [user, call(sent, content=content), result], "tools": TOOLS}
    plain = {"role": "assistant", "content": "fine", "tool_calls": [], "function_call": None, "refusal": None}
    yield {"messages": [user, plain, user]}
    yield {"messages": [user, {**plain, "tool_calls": None, "audio": None, "annotations": []}, user]}


def ask(probe, template, bodies):
    lines = [json.dumps({"templates": {"default": template}, "added": [], "body": body}) for body in bodies]
    done = subprocess.run([probe], input=("\n".join(lines) + "\n").encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def main():
    probe, *paths = sys.argv[1:]
    wrong = checked = 0
    for path in paths:
        template = pathlib.Path(path).read_text()
        bodies = list(conversations())
        wanted = [expected(template, body) for body in bodies]
        bodies += [{"messages": [{"role": "user", "content": "question"}, {"role": "assistant", "content": text}],
                    "continue_final_message": True} for text in PREFILLS]
        wanted += [None] * len(PREFILLS)
        answers = ask(probe, template, bodies)
        for number, (body, want, got) in enumerate(zip(bodies, wanted, answers)):
            checked += 1
            if "continue_final_message" in body:
                text = PREFILLS[number - len(bodies)]
                ends = closed(template, text)
                trimmed = closed(template, text.rstrip()) if ends is not None else None
                theirs = prefilled(template, text)
                fine = ends is None and "error" in got or got.get("prompt") in (ends, trimmed)
                if theirs is not None and text.strip() and theirs != got.get("prompt"):
                    fine = False
                want = {"exactly": ends, "trimmed": trimmed, "transformers": theirs}
            else:
                # Text arguments stay as they were sent, white space included.
                got_prompt = got.get("prompt", "").replace('": ', '":')
                fine = got_prompt == want.replace('": ', '":') if want is not None else "error" in got
            if not fine:
                wrong += 1
                print(f"{path}\n  sent {json.dumps(body)[:600]}\n  want {want!r}\n  got  {got!r}\n")
    print(f"{checked} prompts of {len(paths)} templates: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
