#!/usr/bin/env python3
"""Compares the answers of two builds of coppice to the bit: every fixture model and the demo model, in f32 and bf16.

Usage: compare_answers.py OLD NEW [--model FOLDER ...] [--dtype f32 bf16]
OLD and NEW are `coppice` programs. Each answers the same batch files (greedy and drawn, penalties, several choices,
prompt logprobs, shared prefixes, speculation on and off); every field of every answer but ids and times must be equal,
logprobs included. Exits 1 at the first model that differs. A change that must not change answers runs it.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests/fixtures/models"
DEMO = ROOT / "models/demo"
# How many drafts were tried depends on measured times.
UNEQUAL_BY_NATURE = {
    "id",
    "created",
    "request_id",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
    "speculation",
}
PROMPT_SEED = 20261129  # any; fixed so that two runs ask the same
MODES = [["--speculation", "off"], ["--speculation", "suffix"], ["--speculation", "suffix", "--max-batch-tokens", "48"]]


def token_requests(vocabulary):
    """Requests of token ids: they need no text, so they suit every fixture model."""
    draw = random.Random(PROMPT_SEED)
    shared = [draw.randrange(3, vocabulary) for _ in range(70)]
    for i in range(12):
        prompt = shared[: 10 + 5 * i] + [draw.randrange(3, vocabulary) for _ in range(1 + i)]
        yield {"prompt": prompt, "max_tokens": 24, "temperature": 0, "logprobs": 4, "ignore_eos": True}
        yield {"prompt": prompt, "max_tokens": 16, "temperature": 0.9, "top_p": 0.95, "seed": i, "logprobs": 2, "n": 2}
    yield {"prompt": shared, "max_tokens": 32, "temperature": 0.7, "top_k": 20, "min_p": 0.02, "seed": 7,
           "repetition_penalty": 1.1, "presence_penalty": 0.3, "frequency_penalty": 0.2, "logprobs": 1}
    yield {"prompt": shared * 3, "max_tokens": 40, "temperature": 0, "logprobs": 0, "ignore_eos": True}
    yield {"prompt": shared, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 3}


def text_requests():
    story = "Once upon a time there was a little girl who lived near the woods. "
    for i in range(4):
        messages = [{"role": "user", "content": story * (i + 1) + "What happened then?"}]
        yield {"messages": messages, "max_tokens": 24, "temperature": 0, "logprobs": True, "top_logprobs": 3}
        yield {"messages": messages, "max_tokens": 24, "temperature": 1, "seed": i, "n": 2}
    for stop in (None, ["."], ["the", "girl"]):
        yield {"prompt": story, "max_tokens": 40, "temperature": 0, "stop": stop, "logprobs": 2}


def write_batch(path, requests, name):
    with path.open("w") as file:
        for number, body in enumerate(requests):
            url = "/v1/chat/completions" if "messages" in body else "/v1/completions"
            line = {"custom_id": str(number), "method": "POST", "url": url, "body": {"model": name, **body}}
            file.write(json.dumps(line) + "\n")


def without_ids(value):
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in UNEQUAL_BY_NATURE}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def answers(program, model, batch, out, flags):
    out.unlink(missing_ok=True)
    command = [program, "batch", str(model), str(batch), str(out), "--served-model-name", "m", "--device", "cpu"]
    command += flags
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    lines = [json.loads(line, parse_float=str) for line in out.read_text().splitlines()]
    return {line["custom_id"]: without_ids(line) for line in lines}


def model_folder(fixture, where):
    """A fixture model with the demo's tokenizer beside it: a batch wants one, though requests name token ids."""
    folder = where / fixture.name
    shutil.copytree(fixture, folder)
    for file in ("tokenizer.model", "tokenizer_config.json"):
        if not (folder / file).exists():
            shutil.copy(DEMO / file, folder / file)
    return folder


def compare(old, new, name, folder, requests, dtypes, where):
    batch = where / f"{name}.jsonl"
    write_batch(batch, requests, "m")
    answered = 0
    for dtype in dtypes:
        for mode in MODES:
            flags = ["--dtype", dtype, "--seed", "1", *mode]
            want = answers(old, folder, batch, where / "old.jsonl", flags)
            got = answers(new, folder, batch, where / "new.jsonl", flags)
            for key, answer in want.items():
                if got.get(key) != answer:
                    print(f"{name} {' '.join(flags)}: request {key} differs\n  old {answer}\n  new {got.get(key)}")
                    return None
                answered += answer["response"]["status_code"] == 200
            if set(got) != set(want):
                print(f"{name}: {len(want)} answers from the old program, {len(got)} from the new")
                return None
    return answered


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--model", nargs="*", default=[], help="further model folders that have a tokenizer")
    parser.add_argument("--dtype", nargs="*", default=["f32", "bf16"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        where = Path(temporary)
        work = []
        for fixture in sorted(path for path in FIXTURES.iterdir() if path.is_dir()):
            vocabulary = json.loads((fixture / "config.json").read_text())["vocab_size"]
            work.append((fixture.name, model_folder(fixture, where), list(token_requests(vocabulary))))
        for folder in [DEMO, *map(Path, options.model)]:
            vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
            work.append((folder.name, folder, [*token_requests(vocabulary), *text_requests()]))
        for name, folder, requests in work:
            answered = compare(options.old, options.new, name, folder, requests, options.dtype, where)
            if not answered:
                print(f"{name}: no equal answers")
                return 1
            print(f"{name}: {answered} answers equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
