#!/usr/bin/env python3
"""Compares what compiled JSON schemas accept with two judges that we did not write: jsonschema and llguidance.

Usage: check_grammars.py PROBE [--schemas N] [--seed S] [--show N]
Needs the PyPI packages jsonschema[format]==4.26.0 and llguidance==1.9.1. PROBE is the program grammar_probe of
tests/unit/text/grammar.

Objects with properties or patternProperties are taken as closed where the schema does not say. Every schema is
compiled strictly and not strictly. Texts are judged that were made from the schema, changed ones and random ones that the grammar itself
allows. A text that is accepted although it is no JSON or not valid is "wrongly accepted": an error where nothing was
listed as unenforced. A value as a writer of JSON spells it, in the schema's order of names, that jsonschema accepts
and llguidance does not refuse, is "valid"; one that the lenient grammar refuses is "wrongly refused": all are listed,
and more than 1 % are an error. Exit code 1 for an error.
"""

import argparse
import collections
import copy
import json
import random
import re
import subprocess
import sys

import jsonschema
import llguidance

WRONGLY_REFUSED_MAX = 0.01
FORMATS = ["date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "email", "uuid"]
PATTERNS = ["^[a-z]+$", "^[A-Z]{2}-\\d{3}$", "x", "^a|b$", "^(foo|bar)*$", "[^,]{2,4}", "^\\S+@\\S+$", "^.{0,5}$",
            "\\w+", "^$", "^(?:a|b)?c{2,}$", "^[^é]+$", "^\\u0041[\\x42-\\x44]$", "^\\d+(\\.\\d+)?$"]  # fmt: skip
UNSUPPORTED_PATTERNS = ["^(?!a)b", "\\bfoo\\b", "(a)\\1", "\\p{L}+", "a^b", "^\"q\"$", "^\\n$"]
NAMES = ["name", "id", "a/b", "été", "x y", "type", "A", "ab", "abc"]
WORDS = ["", "a", "b", "x", "ab", "foo", "AB-123", "été", "1.5", "a,b", "a b", 'q"q', "tab\t", "line\nend", "ABC", "𝄞",
         "foobar", "cc", "me@here.org"]  # fmt: skip
OF_FORMAT = {
    "date": ["2024-02-29", "2023-02-29", "2023-04-31", "2000-02-29", "1900-02-29", "2023-1-1"],
    "time": ["12:00:00Z", "23:59:59.5+01:00", "24:00:00Z", "12:00:00"],
    "date-time": ["2024-02-29T12:00:00Z", "2023-13-01T00:00:00Z", "2024-02-29"],
    "duration": ["P1D", "PT5M", "P1Y2M3D", "P", "P1W", "1D"],
    "ipv4": ["1.2.3.4", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3"],
    "ipv6": ["::", "::1", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7", "12345::", "fe80::1", ":::"],
    "hostname": ["example.com", "a", "-a", "a-", "a..b", "x" * 64],
    "email": ["a@b.c", "a.b@c.org", "a@", "@b", "a..b@c.d", "a@b@c"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
}


class Schemas:
    """Random schemas of a kind that people write, with some that cannot be enforced."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.definitions = {}

    def document(self):
        self.definitions = {}
        schema = self.schema(3)
        if self.definitions:
            schema = dict(schema) if isinstance(schema, dict) else {}
            schema["$defs"] = self.definitions
        return schema

    def chance(self, share):
        return self.random.random() < share

    def schema(self, depth):
        kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "any"]
        if depth > 0:
            kinds += ["object"] * 7 + ["array"] * 4 + ["anyOf", "oneOf", "allOf", "ref", "types", "rare"]
        kind = self.random.choice(kinds)
        return getattr(self, "of_" + kind)(depth)

    def of_any(self, _depth):
        return self.random.choice([{}, True, {"title": "anything"}])

    def of_null(self, _depth):
        return {"type": "null"}

    def of_boolean(self, _depth):
        return {"type": "boolean"}

    def of_string(self, _depth):
        schema = {"type": "string"} if self.chance(0.9) else {"minLength": 0}
        choice = self.random.randrange(8)
        if choice == 0:
            schema["format"] = self.random.choice(FORMATS + ["uri", "weird"])
        elif choice == 1:
            schema["pattern"] = self.random.choice(PATTERNS + UNSUPPORTED_PATTERNS)
        elif choice == 2:
            schema["minLength"] = self.random.randrange(4)
        if choice in (2, 3) or (choice < 2 and self.chance(0.2)):
            schema["maxLength"] = self.random.randrange(3, 8)
        return schema

    def bound(self, schema, keyword, values):
        exclusive = "exclusive" + keyword[0].upper() + keyword[1:]
        schema[self.random.choice([keyword, exclusive])] = self.random.choice(values)

    def of_integer(self, _depth):
        schema = {"type": "integer"}
        if self.chance(0.5):
            self.bound(schema, "minimum", [-1000, -12, 0, 1, 7, 0.5, 99])
        if self.chance(0.5):
            self.bound(schema, "maximum", [100, 101, 255, 1000, 123456, 150.5])
        if self.chance(0.15):
            schema["multipleOf"] = self.random.choice([1, 2, 5, 7, 0.5, 5000])
        return schema

    def of_number(self, _depth):
        schema = {"type": "number"}
        if self.chance(0.4):
            self.bound(schema, "minimum", [-10.25, -1, 0, 0.1, 2.5, -0.001])
        if self.chance(0.4):
            self.bound(schema, "maximum", [3, 10, 99.99, 1000, 3.14159])
        if self.chance(0.05):
            schema["multipleOf"] = self.random.choice([0.5, 1])
        return schema

    def value(self, depth=1):
        choices = [None, True, False, 0, 1, -3, 2.5, 1e10] + WORDS
        if depth > 0:
            choices += [[], {}, [self.value(0)], {self.random.choice(NAMES): self.value(0)}]
        return self.random.choice(choices)

    def of_enum(self, _depth):
        schema = {"enum": [self.value() for _ in range(self.random.randrange(1, 5))]}
        if self.chance(0.3):
            schema["enum"].append("text")
            schema["type"] = "string"
        return schema

    def of_const(self, _depth):
        return {"const": self.value()}

    def of_types(self, _depth):
        types = ["string", "integer", "number", "boolean", "null"]
        return {"type": self.random.sample(types, self.random.randrange(1, 3))}

    def of_array(self, depth):
        schema = {"type": "array"}
        if self.chance(0.8):
            schema["items"] = self.schema(depth - 1)
        if self.chance(0.2):
            schema["prefixItems"] = [self.schema(depth - 1) for _ in range(self.random.randrange(1, 3))]
        if self.chance(0.3):
            schema["minItems"] = self.random.randrange(3)
        if self.chance(0.3):
            schema["maxItems"] = self.random.randrange(2, 5)
        if self.chance(0.05):
            schema["uniqueItems"] = self.chance(0.5)
        return schema

    def of_object(self, depth):
        schema = {"type": "object"}
        names = self.random.sample(NAMES, self.random.randrange(5))
        if names or self.chance(0.5):
            schema["properties"] = {name: self.schema(depth - 1) for name in names}
        if self.chance(0.6):
            schema["required"] = [name for name in names if self.chance(0.6)]
            if self.chance(0.05):
                schema["required"].append("undeclared")
        if self.chance(0.6):
            schema["additionalProperties"] = self.random.choice([False, False, True, None])
            if schema["additionalProperties"] is None:
                schema["additionalProperties"] = self.schema(0)
        if self.chance(0.06):
            schema["patternProperties"] = {self.random.choice(PATTERNS): self.schema(0)}
        if self.chance(0.04):
            names_of = [{"pattern": "^[a-z]+$"}, {"maxLength": 3}, {"enum": ["a", "b"]}]
            schema["propertyNames"] = self.random.choice(names_of)
        if self.chance(0.04):
            schema["minProperties"] = self.random.randrange(3)
        if self.chance(0.04):
            schema["maxProperties"] = self.random.randrange(1, 4)
        return schema

    def of_anyOf(self, depth):
        schema = {"anyOf": [self.schema(depth - 1) for _ in range(self.random.randrange(1, 4))]}
        if self.chance(0.2):
            schema["type"] = self.random.choice(["string", "object"])
        return schema

    def of_oneOf(self, depth):
        if self.chance(0.5):
            return {"oneOf": [self.schema(depth - 1) for _ in range(self.random.randrange(1, 4))]}
        return {"oneOf": [{"type": "object", "required": ["type"],
                           "properties": {"type": {"const": kind}, "v": self.schema(0)}}
                          for kind in ("circle", "square")]}  # fmt: skip

    def of_allOf(self, depth):
        return {"allOf": [self.schema(depth - 1) for _ in range(self.random.randrange(1, 3))]}

    def of_ref(self, depth):
        name = self.random.choice(["node", "leaf", "odd~name/x"])
        if name not in self.definitions:
            self.definitions[name] = True
            self.definitions[name] = self.schema(depth - 1)
        return {"$ref": "#/$defs/" + name.replace("~", "~0").replace("/", "~1")}

    def of_rare(self, depth):
        schema = self.of_object(depth)
        keyword = self.random.choice(["not", "if", "dependentRequired", "contains", "unevaluatedProperties"])
        schema[keyword] = {"not": {"required": ["id"]}, "if": {"required": ["id"]},
                           "dependentRequired": {"id": ["name"]}, "contains": {"type": "string"},
                           "unevaluatedProperties": False}[keyword]  # fmt: skip
        if keyword == "if":
            schema["then"] = {"required": ["name"]}
        return schema


class Instances:
    """Values for a schema: mostly valid, then changed."""

    def __init__(self, seed, root):
        self.random = random.Random(seed)
        self.root = root

    def of(self, schema, depth=6):
        if not isinstance(schema, dict) or depth < 0:
            return self.random.choice([None, 1, "x", {}, []])
        if "$ref" in schema:
            target = self.root
            for token in schema["$ref"].split("/")[1:]:
                target = target[token.replace("~1", "/").replace("~0", "~")]
            return self.of(target, depth - 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                return self.of(self.random.choice(schema[keyword]), depth - 1)
        kind = schema.get("type", "string" if "minLength" in schema else None)
        kind = self.random.choice(kind) if isinstance(kind, list) else kind
        return getattr(self, "of_" + str(kind), lambda *_: self.random.choice([1, "x", None]))(schema, depth)

    def of_string(self, schema, _depth):
        if schema.get("format") in OF_FORMAT and self.random.random() < 0.9:
            return self.random.choice(OF_FORMAT[schema["format"]])
        return self.random.choice(WORDS)

    def of_integer(self, schema, _depth):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -20))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 2000))
        edges = [int(low) + d for d in (-1, 0, 1, 2)] + [int(high) + d for d in (-1, 0, 1)]
        return self.random.choice(edges + [self.random.randrange(-2000, 130000)])

    def of_number(self, schema, _depth):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -2))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 20))
        near = [low, high, low + 0.25, high - 0.25, low - 0.25, high + 0.25, (low + high) / 2, 0, 1, -1, 1e3, 2.5]
        return round(self.random.choice(near), 6)

    def of_boolean(self, _schema, _depth):
        return self.random.choice([True, False])

    def of_null(self, _schema, _depth):
        return None

    def of_array(self, schema, depth):
        items = [self.of(item, depth - 1) for item in schema.get("prefixItems", [])]
        count = self.random.randrange(schema.get("minItems", 0), schema.get("maxItems", 3) + 2)
        while len(items) < count:
            items.append(self.of(schema.get("items", True), depth - 1))
        return items[: max(count, schema.get("minItems", 0))]

    def of_object(self, schema, depth):
        required = schema.get("required", [])
        value = {}
        for name, inner in schema.get("properties", {}).items():
            if name in required or self.random.random() < 0.6:
                value[name] = self.of(inner, depth - 1)
        if schema.get("additionalProperties", True) is not False and self.random.random() < 0.3:
            value["other"] = self.of(schema.get("additionalProperties", True), depth - 1)
        return value

    def changed(self, value):
        """The value with one thing other than before."""
        value = copy.deepcopy(value)
        if isinstance(value, dict) and value and self.random.random() < 0.8:
            name = self.random.choice(list(value))
            choice = self.random.randrange(3)
            if choice == 0:
                del value[name]
            elif choice == 1:
                value["more"] = 1
            else:
                value[name] = self.changed(value[name])
            return value
        if isinstance(value, list) and value and self.random.random() < 0.8:
            index = self.random.randrange(len(value))
            if self.random.random() < 0.5:
                value.append(value[index])
            else:
                value[index] = self.changed(value[index])
            return value
        return self.random.choice([None, True, 0, -1, 1.5, "", "y", "long enough text", [], {}, ["x"], {"k": 1}])


def spoiled(text, rng):
    """The text with one change that a JSON writer would not make; most are no JSON or not valid any more."""
    choice = rng.randrange(7)
    at = rng.randrange(len(text))
    if choice == 0:
        return text.replace('"', '"\\u0061', 1)
    if choice == 1:
        return text[:at] + "\t" + text[at:]
    if choice == 2:
        return text[:-1]
    if choice == 3:
        return text[:at] + text[at] + text[at:]
    if choice == 4:
        return text.replace(":", ": ").replace(",", ", \n ")
    if choice == 5:
        return text + "}"
    return text.replace('":', '":1,"', 1)


def parsed(text):
    """(is JSON, value); NaN and its like are no JSON."""

    def refuse(_name):
        raise ValueError

    try:
        return True, json.loads(text, parse_constant=refuse)
    except ValueError:
        return False, None


def closed(schema):
    """The schema with objects that take no other names than theirs where it does not say: what we compile."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: value if key in ("const", "enum", "required") else closed(value) for key, value in schema.items()}
    rules = {"additionalProperties", "unevaluatedProperties", "propertyNames"}
    if (schema.get("properties") or schema.get("patternProperties")) and not rules & set(schema):
        result["additionalProperties"] = False
    return result


class Judges:
    def __init__(self, schema):
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        self.validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        schema = closed(schema)
        self.closed_validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        self.tokenizer = llguidance.LLTokenizer("byte")
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        self.matcher = llguidance.LLMatcher(self.tokenizer, grammar, log_level=0)
        self.has_grammar = not self.matcher.is_error()

    def is_valid(self, text):
        is_json, value = parsed(text)
        try:
            return is_json and self.validator.is_valid(value)
        except OverflowError:  # 1e999 is JSON, but no double: nothing of a schema speaks of it
            return True
        except re.error:  # a pattern that Python does not know, nor the engine: it is listed
            return True

    def is_surely_valid(self, text):
        """Whether the text is what a writer makes of a value that both judges take."""
        is_json, value = parsed(text)
        if not is_json or spelled(value) != text:
            return False
        try:
            if not self.closed_validator.is_valid(value):
                return False
        except (OverflowError, re.error):
            return False
        return self.llguidance_accepts(text) if self.has_grammar else True

    def llguidance_accepts(self, text):
        if not text:
            return False
        self.matcher.reset()
        return self.matcher.consume_tokens(list(text.encode())) and self.matcher.is_accepting()


def spelled(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def texts_for(schema, seed):
    instances = Instances(seed, schema)
    values = [instances.of(schema) for _ in range(6)]
    values += [instances.changed(value) for value in values for _ in range(2)]
    texts = [spelled(value) for value in values]
    texts += [spoiled(text, instances.random) for text in texts[:10]]
    return sorted(set(texts))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("probe")
    arguments.add_argument("--schemas", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--show", type=int, default=20)
    options = arguments.parse_args()
    makes = Schemas(options.seed)
    seen = {}
    while len(seen) < options.schemas:
        schema = makes.document()
        seen.setdefault(json.dumps(schema, ensure_ascii=False), schema)
    cases = [(text, schema, texts_for(schema, index), strict)
             for index, (text, schema) in enumerate(seen.items()) for strict in (True, False)]  # fmt: skip
    lines = [json.dumps({"kind": 1, "text": text, "strict": strict, "instances": texts, "walks": 8})
             for text, _, texts, strict in cases]  # fmt: skip
    probe = subprocess.run([options.probe], input="\n".join(lines), capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in probe.stdout.splitlines()]
    if probe.returncode != 0 or len(answers) != len(cases):
        print(f"the probe failed after {len(answers)} of {len(cases)}: {probe.stderr[-500:]}\n{lines[len(answers)]}")
        return 1
    return report(cases, answers, options.show)


def report(cases, answers, show):
    counts = collections.Counter()
    errors = []
    refused = []
    causes = collections.Counter()
    judges = {}
    for (text, schema, texts, strict), answer in zip(cases, answers):
        kind = "strict" if strict else "lenient"
        if "error" in answer:
            counts[kind + " schemas refused"] += 1
            causes[answer["error"].split(": ", 1)[-1]] += strict
            continue
        counts[kind + " schemas compiled"] += 1
        judge = judges.setdefault(text, None) or Judges(schema)
        judges[text] = judge
        is_exact = not answer["unenforced"]
        # As a detokenizer makes text of bytes.
        walks = [bytes.fromhex(walk).decode("utf-8", "replace") for walk in answer.get("walks", []) if walk]
        for instance, accepted in list(zip(texts, answer["accepted"])) + [(walk, True) for walk in walks]:
            counts[kind + " texts"] += 1
            valid = judge.is_valid(instance)
            if accepted and not valid:
                counts[kind + (" wrongly accepted" if is_exact else " accepted though invalid, listed")] += 1
                if is_exact:
                    errors.append((kind, text, instance))
            if not strict and valid and judge.is_surely_valid(instance):
                counts["lenient valid"] += 1
                if not accepted:
                    refused.append((kind, text, instance))
        counts[kind + " walks"] += len(walks)
    counts["lenient wrongly refused"] = len(refused)
    # Strings with a length, a pattern or a format are enforced without JSON's escapes.
    counts["lenient wrongly refused, with an escape"] = sum("\\" in instance for _, _, instance in refused)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    times = sorted(answer["compile_us"] for answer in answers if "compile_us" in answer)
    middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"compile time, us, {len(times)} schemas: p50 {middle}, p99 {late}, max {times[-1]}")
    print("strict schemas refused for:")
    for cause, count in causes.most_common(25):
        print(f"  {count:4} {cause}")
    for title, rows in (("wrongly accepted", errors), ("wrongly refused", refused)):
        for kind, text, instance in rows[:show]:
            print(f"{title} ({kind}): {instance}\n    {text}")
    share = len(refused) / max(counts["lenient valid"], 1)
    print(f"wrongly refused: {100 * share:.2f} %")
    return 1 if errors or share > WRONGLY_REFUSED_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
