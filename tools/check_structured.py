#!/usr/bin/env python3
"""Asks a served model for answers of many schemas at temperature 1 and checks each with jsonschema; then the same with
speculation off: every answer has to be the same bytes.

Usage: check_structured.py COPPICE MODEL [--requests 200] [--at-once 16]
Needs the PyPI package jsonschema[format]==4.26.0. Exit code 1 for an answer that is not valid or differs.
"""

import argparse
import concurrent.futures
import json
import pathlib
import sys
import time

import jsonschema

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from running_server import RunningServer  # noqa: E402

WORD = {"type": "string", "maxLength": 20}
PERSON = {
    "type": "object",
    "properties": {
        "name": WORD,
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "is_alive": {"type": "boolean"},
    },
    "required": ["name", "age", "is_alive"],
    "additionalProperties": False,
}


def node(following):
    return {
        "type": "object",
        "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9}, "next": following},
        "required": ["v", "next"],
    }


# A list of at most three: a model that draws at random ends no list that may go on for ever.
NODES = {
    "first": node({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/second"}]}),
    "second": node({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/third"}]}),
    "third": node({"type": "null"}),
}
SHAPES = [
    {"type": "object", "properties": {"kind": {"const": kind}, size: {"type": "number", "minimum": 0, "maximum": 99}},
     "required": ["kind", size]}
    for kind, size in (("circle", "radius"), ("square", "side"))
]  # fmt: skip
SCHEMAS = [
    PERSON,
    {"type": "array", "items": PERSON, "minItems": 1, "maxItems": 2},
    {"enum": ["yes", "no", "maybe", None, 3]},
    {"oneOf": SHAPES},
    {"type": "object", "properties": {"date": {"type": "string", "format": "date"},
     "id": {"type": "string", "format": "uuid"}}, "required": ["date", "id"]},
    {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, "tags": {
        "type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 3}}, "required": ["code", "tags"]},
    {"$ref": "#/$defs/first", "$defs": NODES},
    {"type": "object", "properties": {"on": {"type": "boolean"}, "note": {"type": ["string", "null"], "maxLength": 12}},
     "required": ["on"], "additionalProperties": False},
    {"type": "object", "properties": {"été": {"type": ["string", "null"], "maxLength": 8}, "x": {"type": "array",
     "prefixItems": [{"type": "integer", "minimum": -5, "maximum": 5}, {"type": "boolean"}],
     "minItems": 2, "maxItems": 2}},
     "required": ["été", "x"]},
    {"type": "string", "minLength": 3, "maxLength": 30},
]  # fmt: skip
SECONDS_MAX = 900  # an answer, beside the others, on a busy machine
TOKENS_MAX = 1500  # more than any of the schemas lets an answer have


def ask(server, number, schema):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    words = f"Write number {number} of a list of examples as JSON, of this schema: {json.dumps(schema)}"
    body = {"messages": [{"role": "user", "content": words}], "response_format": form, "temperature": 1, "seed": number,
            "max_tokens": TOKENS_MAX}  # fmt: skip
    status, _, text = server.request("POST", "/v1/chat/completions", body, timeout=SECONDS_MAX)
    if status != 200:
        raise RuntimeError(text)
    answer = json.loads(text)
    choice = answer["choices"][0]
    return choice["finish_reason"], choice["message"]["content"], answer["usage"]["completion_tokens"]


def is_valid(text, schema):
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    try:
        return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(json.loads(text))
    except ValueError:
        return False


def answers(options, speculation):
    flags = ["--kv-memory", "1GiB", "--seed", "1", "--speculation", speculation]
    with RunningServer(options.coppice, options.model, *flags) as server:
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
            said = list(pool.map(lambda i: ask(server, i, SCHEMAS[i % len(SCHEMAS)]), range(options.requests)))
        passed = time.monotonic() - begin
        steps = server.metric("coppice:engine_steps_total")
    tokens = sum(row[2] for row in said)
    print(f"speculation {speculation}: {tokens} tokens, {steps:.0f} steps, {passed:.1f} s")
    return said


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("coppice")
    arguments.add_argument("model")
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--at-once", type=int, default=16)
    options = arguments.parse_args()
    drafted = answers(options, "suffix")
    plain = answers(options, "off")
    wrong = [(i, row) for i, row in enumerate(drafted) if not is_valid(row[1], SCHEMAS[i % len(SCHEMAS)])]
    for number, (reason, text, tokens) in wrong:
        print(f"not valid: {number}, {reason} after {tokens} tokens: {text[:200]}")
    different = sum(mine != theirs for mine, theirs in zip(drafted, plain, strict=True))
    print(f"{options.requests - len(wrong)} of {options.requests} valid; {different} differ without drafts")
    return 1 if wrong or different else 0


if __name__ == "__main__":
    sys.exit(main())
